"""Targets that others know of: documents of Prometheus' service discovery and of Kubernetes, as target entries. Pure.

A document may say which servers there are and what they are called. It may not say what meters them, nor where a
credential of ours goes: both are the configuration's (``[discover.meters]``, ``allow_hosts``).

Prometheus' file and HTTP service discovery share one form: ``[{"targets": ["10.0.0.7:8000"], "labels": {…}}]``. Labels
that a target entry has a field for (``model``, ``site``, ``device``, ``devices_count``, ``dialect``, ``name``) fill it;
``__scheme__`` and ``__metrics_path__`` make the address; every other label stays a label.
Of Kubernetes, lists of Pods, EndpointSlices and Endpoints are read; a Pod's annotations ``prometheus.io/port``,
``prometheus.io/path`` and ``prometheus.io/scheme`` say where its metrics are, and its labels become labels. A Pod is
called ``namespace/name`` and is at the site of its ``[[discover]]``, whatever its labels say.

An entry that cannot be taken is passed over and told; the others stand.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from joulemill.errors import InputError
from joulemill.monitor.config import DiscoverConfig, TargetConfig, first_fault

_POD_FIELDS = ("model", "device", "devices_count", "dialect")
_FIELDS = (*_POD_FIELDS, "site", "name")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_PATH = re.compile(r"[!-~]{0,1000}")
#: A document may name so many targets; more is a fault of the document (assumed).
MOST_TARGETS = 20_000
#: Faults of one document that are told in full (assumed).
MOST_TOLD = 3


@dataclass(frozen=True, slots=True)
class Entry:
    """One target as a document tells it. ``fields``: of a target entry; the rest are ``labels``."""

    address: str
    fields: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    scheme: str = "http"
    path: str | None = None


@dataclass(frozen=True, slots=True)
class Discovery:
    """The targets of a document, and what is wrong with entries that were passed over or taken in part."""

    targets: tuple[TargetConfig, ...]
    faults: tuple[str, ...] = ()

    def fault_line(self, where: str) -> str | None:
        """The faults in one line; None where there are none."""
        more = [f"and {len(self.faults) - MOST_TOLD} more"] if len(self.faults) > MOST_TOLD else []
        return f"{where}: " + "; ".join([*self.faults[:MOST_TOLD], *more]) if self.faults else None


def targets_of(document: Any, asked: DiscoverConfig) -> Discovery:
    """What a discovery document tells. Raises InputError where it is none at all."""
    if isinstance(document, Mapping) and "items" in document:
        parts, reader = _kubernetes(document, asked)
    elif isinstance(document, list):
        parts, reader = document, _group
    else:
        raise InputError(f"{asked.where}: neither a list of targets nor a list of Kubernetes objects")
    faults: list[str] = []
    entries = list(_entries(parts, reader, asked, faults))
    if len(entries) > MOST_TARGETS:
        raise InputError(f"{asked.where}: more than {MOST_TARGETS} targets, at most so many are taken")
    targets: dict[str, TargetConfig] = {}
    for entry in entries:
        try:
            _add(targets, _target(entry, asked, faults))
        except Exception as fault:
            faults.append(_reason(fault, entry.address))
    return Discovery(tuple(targets.values()), tuple(faults))


def _entries(
    parts: Iterable[Any],
    reader: Callable[[Any, DiscoverConfig], Iterator[Entry]],
    asked: DiscoverConfig,
    faults: list[str],
) -> Iterator[Entry]:
    """Each part by itself: whatever is wrong with one is its own fault."""
    count = 0
    for number, part in enumerate(parts):
        try:
            for entry in reader(part, asked):
                yield entry
                if (count := count + 1) > MOST_TARGETS:
                    return
        except Exception as fault:
            faults.append(_reason(fault, f"entry {number}"))


def _reason(fault: Exception, what: str) -> str:
    return str(fault) if isinstance(fault, InputError) else f"{what[:200]!r} is no target ({type(fault).__name__})"


def _add(targets: dict[str, TargetConfig], target: TargetConfig) -> None:
    """Whoever had a name first keeps it; an address that is named twice is one target."""
    known = targets.setdefault(target.name, target)
    if known.metrics_url != target.metrics_url:
        raise InputError(f"two targets are called {target.name!r}; the first one is kept")


def _group(group: Any, asked: DiscoverConfig) -> Iterator[Entry]:
    addresses = group.get("targets") if isinstance(group, Mapping) else None
    labels = (group.get("labels") or {}) if isinstance(group, Mapping) else None
    if not isinstance(addresses, list) or not isinstance(labels, Mapping):
        raise InputError('a discovery document must hold groups such as {"targets": ["HOST:PORT"], "labels": {}}')
    texts = _texts(labels)
    scheme, path = texts.pop("__scheme__", "http"), texts.pop("__metrics_path__", None)
    fields = {k: texts.pop(k) for k in _FIELDS if k in texts}
    shown = {k: v for k, v in texts.items() if not k.startswith("__")}
    for address in addresses:
        yield Entry(_plain_text(address), fields, shown, scheme, path)


def _kubernetes(document: Mapping[str, Any], asked: DiscoverConfig) -> tuple[list[Any], Any]:
    kind, items = document.get("kind", ""), document.get("items") or []
    readers = {"PodList": _pod, "EndpointSliceList": _slice, "EndpointsList": _endpoints}
    reader = readers.get(kind) if isinstance(kind, str) else None
    if reader is None or not isinstance(items, list):
        what = f"a {kind[:60]}" if isinstance(kind, str) and kind else "a list without a kind"
        raise InputError(f"{asked.where}: {what}; PodList, EndpointSliceList or EndpointsList")
    return items, reader


def _plain_text(text: Any) -> str:
    if not isinstance(text, str):
        raise InputError("a target's address is a text such as HOST:PORT")
    return text


def _texts(labels: Mapping[Any, Any]) -> dict[str, str]:
    return {str(k): str(v) for k, v in labels.items()}


def _labels(item: Mapping[str, Any]) -> dict[str, str]:
    """What the object's owner wrote, and over it what Kubernetes itself says."""
    meta = item.get("metadata") or {}
    written = {k: v for k, v in _texts(meta.get("labels") or {}).items() if not k.startswith("__")}
    namespace = str(meta.get("namespace") or "")
    return {k: v for k, v in {**written, "namespace": namespace}.items() if v != ""}


def _pod(item: Mapping[str, Any], asked: DiscoverConfig) -> Iterator[Entry]:
    status, meta = item.get("status") or {}, item.get("metadata") or {}
    notes = meta.get("annotations") or {}
    port = notes.get("prometheus.io/port") or asked.port
    if not status.get("podIP") or status.get("phase") != "Running" or meta.get("deletionTimestamp") or not port:
        return
    if notes.get("prometheus.io/scrape") == "false":
        return
    own_name = str(meta.get("name") or "")
    labels = _labels(item) | {"pod": own_name}
    fields = {k: labels.pop(k) for k in _POD_FIELDS if k in labels}
    path, scheme = notes.get("prometheus.io/path"), notes.get("prometheus.io/scheme")
    fields["name"] = f"{meta.get('namespace') or ''}/{own_name}"
    address = _joined(_plain_text(status["podIP"]), port)
    yield Entry(address, fields, labels, str(scheme or "http"), str(path) if path else None)


def _slice(item: Mapping[str, Any], asked: DiscoverConfig) -> Iterator[Entry]:
    port = _port(item.get("ports") or (), asked)
    for endpoint in item.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False or not port:
            continue
        pod = (endpoint.get("targetRef") or {}).get("name")
        for address in endpoint.get("addresses") or ():
            yield _endpoint(item, _plain_text(address), port, {"pod": str(pod)} if pod else {})


def _endpoints(item: Mapping[str, Any], asked: DiscoverConfig) -> Iterator[Entry]:
    for subset in item.get("subsets") or ():
        port = _port(subset.get("ports") or (), asked)
        for address in (subset.get("addresses") or ()) if port else ():
            yield _endpoint(item, _plain_text(address.get("ip")), port, {})


def _endpoint(item: Mapping[str, Any], host: str, port: Any, more: Mapping[str, str]) -> Entry:
    labels = {**_labels(item), **more}
    return Entry(_joined(host, port), {k: labels.pop(k) for k in _POD_FIELDS if k in labels}, labels)


def _port(ports: Iterable[Mapping[str, Any]], asked: DiscoverConfig) -> int | None:
    """The port that was asked for, else the one called metrics, else the only one."""
    if asked.port is not None:
        return asked.port
    every = list(ports)
    named = [p for p in every if str(p.get("name", "")).startswith("metrics")]
    chosen = named or (every if len(every) == 1 else [])
    return int(chosen[0]["port"]) if chosen and chosen[0].get("port") else None


def _joined(host: str, port: Any) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _target(entry: Entry, asked: DiscoverConfig, faults: list[str]) -> TargetConfig:
    url = _url(entry, asked)
    labels = {k: v for k, v in entry.labels.items() if k != "meters"}
    if "meters" in entry.labels:
        faults.append(f"target {entry.address!r}: a document names no meters; name them in [discover.meters]")
    name = entry.fields.get("name", entry.address)
    host = urlsplit(url).hostname or ""
    fields = {
        "name": name,
        "model": asked.model,
        "site": asked.site,
        **entry.fields,
        "metrics_url": url,
        "labels": labels,
        "meters": asked.meters.get(name) or asked.meters.get(host) or (),
        "token_env": _credential(host, asked, faults),
    }
    try:
        return TargetConfig.model_validate({k: v for k, v in fields.items() if v is not None})
    except ValueError as fault:
        raise InputError(f"target {entry.address[:200]!r}: {first_fault(fault)}") from None


def _url(entry: Entry, asked: DiscoverConfig) -> str:
    """Raises InputError for what is no plain address: nothing of it may be read as another host."""
    if entry.scheme not in ("http", "https"):
        raise InputError(f"target {entry.address[:200]!r}: scheme {entry.scheme[:40]!r} is neither http nor https")
    path = entry.path if entry.path is not None else asked.path
    if "://" in entry.address:
        scheme, _, rest = entry.address.partition("://")
        address, slash, path = rest.partition("/")
        path = path if slash else ""
    else:
        scheme, address = entry.scheme, entry.address
    if "@" in address:
        raise InputError("a target's address must hold no password; name a variable in token_env")
    if scheme not in ("http", "https") or not _ADDRESS.fullmatch(address) or not _PATH.fullmatch(path):
        raise InputError(f"target {entry.address[:200]!r}: not an address such as HOST:PORT")
    return f"{scheme}://{address}/{path.lstrip('/')}"


def _credential(host: str, asked: DiscoverConfig, faults: list[str]) -> str | None:
    """``token_env`` where the configuration names ``host``; else none is sent, and that is told once."""
    if asked.token_env is None or host_allowed(host, asked.allow_hosts):
        return asked.token_env
    fault = f"token_env is not sent to {host}: allow_hosts does not name it"
    if not any(f.startswith("token_env is not sent") for f in faults):
        faults.append(fault)
    return None


def host_allowed(host: str, patterns: Iterable[str]) -> bool:
    """Whether one of ``patterns`` names ``host``: an address, a network (10.0.0.0/8), a name, ``*.llm.svc``."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return any(fnmatchcase(host.lower(), p.lower()) for p in patterns if not _is_network(p))
    return any(address in ipaddress.ip_network(p, strict=False) for p in patterns if _is_network(p))


def _is_network(pattern: str) -> bool:
    try:
        ipaddress.ip_network(pattern, strict=False)
    except ValueError:
        return False
    return True
