"""Targets that others know of: documents of Prometheus' service discovery and of Kubernetes, as target entries. Pure.

Prometheus' file and HTTP service discovery share one form: ``[{"targets": ["10.0.0.7:8000"], "labels": {…}}]``. Labels
that a target entry has a field for (``model``, ``site``, ``device``, ``devices_count``, ``dialect``, ``name``,
``meters``) fill it; ``__scheme__`` and ``__metrics_path__`` make the address; every other label stays a label.
Of Kubernetes, lists of Pods, EndpointSlices and Endpoints are read; a Pod's annotations ``prometheus.io/port`` and
``prometheus.io/path`` say where its metrics are, and its labels become labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from joulemill.errors import InputError
from joulemill.monitor.config import DiscoverConfig, TargetConfig, first_fault

_FIELDS = ("model", "site", "device", "devices_count", "dialect", "name", "meters")
#: A document may name so many targets; more is a fault of the document (assumed).
MOST_TARGETS = 20_000


def targets_of(document: Any, asked: DiscoverConfig) -> list[TargetConfig]:
    """The targets of a discovery document. Raises InputError that says which entry is wrong."""
    if isinstance(document, Mapping) and "items" in document:
        entries = list(_kubernetes(document, asked))
    elif isinstance(document, Sequence) and not isinstance(document, str | bytes):
        entries = list(_prometheus(document))
    else:
        raise InputError(f"{asked.where}: neither a list of targets nor a list of Kubernetes objects")
    if len(entries) > MOST_TARGETS:
        raise InputError(f"{asked.where}: {len(entries)} targets, at most {MOST_TARGETS} are taken")
    found = {t.name: t for t in (_target(address, labels, asked) for address, labels in entries)}
    return list(found.values())  # an address that is named twice is one target


def _prometheus(document: Sequence[Any]) -> Iterator[tuple[str, dict[str, str]]]:
    for group in document:
        addresses = group.get("targets") if isinstance(group, Mapping) else None
        labels = group.get("labels") or {} if isinstance(group, Mapping) else None
        if not isinstance(addresses, list) or not isinstance(labels, Mapping):
            raise InputError('a discovery document must hold groups such as {"targets": ["HOST:PORT"], "labels": {}}')
        for address in addresses:
            yield str(address), {str(k): str(v) for k, v in labels.items()}


def _kubernetes(document: Mapping[str, Any], asked: DiscoverConfig) -> Iterator[tuple[str, dict[str, str]]]:
    kind = str(document.get("kind", ""))
    reader = {"PodList": _pod, "EndpointSliceList": _slice, "EndpointsList": _endpoints}.get(kind)
    if reader is None:
        raise InputError(
            f"{asked.where}: a {kind or 'list without a kind'}; PodList, EndpointSliceList or EndpointsList"
        )
    for item in document["items"] or ():
        yield from reader(item, asked)


def _labels(item: Mapping[str, Any]) -> dict[str, str]:
    meta = item.get("metadata") or {}
    told = {"namespace": str(meta.get("namespace", "")), **(meta.get("labels") or {})}
    return {str(k): str(v) for k, v in told.items() if v != ""}


def _pod(item: Mapping[str, Any], asked: DiscoverConfig) -> Iterator[tuple[str, dict[str, str]]]:
    status, meta = item.get("status") or {}, item.get("metadata") or {}
    notes = meta.get("annotations") or {}
    port = notes.get("prometheus.io/port") or asked.port
    if not status.get("podIP") or status.get("phase") != "Running" or meta.get("deletionTimestamp") or not port:
        return
    if notes.get("prometheus.io/scrape") == "false":
        return
    labels = _labels(item) | {"pod": str(meta.get("name", ""))}
    path = notes.get("prometheus.io/path")
    scheme = notes.get("prometheus.io/scheme")
    labels |= {"__metrics_path__": str(path)} if path else {}
    labels |= {"__scheme__": str(scheme)} if scheme else {}
    yield _joined(str(status["podIP"]), port), {"name": f"{meta.get('namespace', '')}/{meta.get('name', '')}", **labels}


def _slice(item: Mapping[str, Any], asked: DiscoverConfig) -> Iterator[tuple[str, dict[str, str]]]:
    port = _port(item.get("ports") or (), asked)
    for endpoint in item.get("endpoints") or ():
        if (endpoint.get("conditions") or {}).get("ready") is False or not port:
            continue
        pod = (endpoint.get("targetRef") or {}).get("name")
        for address in endpoint.get("addresses") or ():
            yield _joined(str(address), port), _labels(item) | ({"pod": str(pod)} if pod else {})


def _endpoints(item: Mapping[str, Any], asked: DiscoverConfig) -> Iterator[tuple[str, dict[str, str]]]:
    for subset in item.get("subsets") or ():
        port = _port(subset.get("ports") or (), asked)
        for address in (subset.get("addresses") or ()) if port else ():
            yield _joined(str(address.get("ip")), port), _labels(item)


def _port(ports: Sequence[Mapping[str, Any]], asked: DiscoverConfig) -> int | None:
    """The port that was asked for, else the one called metrics, else the only one."""
    if asked.port is not None:
        return asked.port
    named = [p for p in ports if str(p.get("name", "")).startswith("metrics")]
    chosen = named or (list(ports) if len(ports) == 1 else [])
    return int(chosen[0]["port"]) if chosen and chosen[0].get("port") else None


def _joined(host: str, port: Any) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _target(address: str, labels: dict[str, str], asked: DiscoverConfig) -> TargetConfig:
    given: dict[str, Any] = {k: labels.pop(k) for k in _FIELDS if k in labels}
    scheme, path = labels.pop("__scheme__", "http"), labels.pop("__metrics_path__", asked.path)
    if "meters" in given:
        given["meters"] = tuple(m for m in given["meters"].split(";") if m)
    url = address if "://" in address else f"{scheme}://{address}/{path.lstrip('/')}"
    shown = {k: v for k, v in labels.items() if not k.startswith("__")}
    fields = {"name": address, "model": asked.model, "site": asked.site, "token_env": asked.token_env, **given}
    try:
        return TargetConfig.model_validate(
            {k: v for k, v in fields.items() if v is not None} | {"metrics_url": url, "labels": shown}
        )
    except ValueError as fault:
        raise InputError(f"{asked.where}: target {address}: {first_fault(fault)}") from None
