"""Server pages, exporters and boards that others' documents name, for a configuration that is written from them. Pure.

Prometheus' ``/api/v1/targets`` and its service discovery name pages; ``kubectl get pods -o json`` names pods with their
arguments; dcgm-exporter's pages name boards and the pod that has each. Whatever a document says is text of others: an
address is taken where it is a plain one, a name is made printable and short, and what is not known stays unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from joulemill.errors import InputError
from joulemill.formats.prometheus_text import TextSample
from joulemill.monitor.discovery.pod_arguments import model_of, port_of

#: Pages that one document may name (assumed), and characters that a name keeps.
MOST_PAGES = 20_000
MOST_CHARS = 200
#: What tells a model server, an exporter of boards' power, and what is surely neither, by names (assumed).
SERVERS = re.compile(
    r"vllm|sglang|\btgi\b|text-generation|triton|tensorrt|trt-?llm|llama|lmdeploy|\bnim\b|llm|inference|"
    r"qwen|mistral|deepseek|gemma|gpt-oss",
    re.I,
)
EXPORTERS = re.compile(r"dcgm|amd-?gpu|gpu-?metrics|gpu-?exporter|device-metrics-exporter", re.I)
OTHERS = re.compile(
    r"prometheus$|alertmanager|grafana|kube|cadvisor|coredns|etcd|node-?exporter|blackbox|apiserver", re.I
)
EXPORTER_PORT = 9400
#: Of an address: nothing that a SPEC or a browser would read otherwise.
_URL = re.compile(
    r"https?://(?:[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?(?:/[A-Za-z0-9._~/?=&%-]*)?"
)
_UUID = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{3,80}")
_POD, _NAMESPACE = ("exported_pod", "pod", "pod_name"), ("exported_namespace", "namespace", "pod_namespace")
_NODE = ("node", "nodename", "kubernetes_node", "Hostname", "hostname")
_GPU = re.compile(r"[a-z0-9.-]+\.com/(?:gpu|mig-[a-z0-9.-]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One server page. ``boards_count``: boards that it asks for; ``notes``: what someone should know of it.

    ``node``: the machine as it is called; ``host``: its address, where no name is known.
    """

    name: str
    url: str | None
    model: str | None = None
    namespace: str | None = None
    pod: str | None = None
    node: str | None = None
    boards_count: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    host: str | None = None


@dataclass(frozen=True, slots=True)
class Exporter:
    """A page that shows boards' power, and the names of the machine that it is on."""

    url: str
    hosts: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ListedBoard:
    """One board as an exporter shows it; ``url`` of that page where it was asked by address."""

    uuid: str
    device: str | None
    host: str | None
    namespace: str | None
    pod: str | None
    url: str | None


@dataclass(frozen=True, slots=True)
class NamedSources:
    """What a document names: server pages, exporters, and what was passed over with the reason."""

    pages: tuple[Page, ...] = ()
    exporters: tuple[Exporter, ...] = ()
    passed: tuple[str, ...] = ()


def safe(text: Any) -> str:
    """``text`` as a name that can be shown and written: printable, of bounded length; "" for what is no text."""
    if not isinstance(text, (str, int, float)):
        return ""
    shown = "".join(c if c.isprintable() else "_" for c in str(text)[: 2 * MOST_CHARS])
    return shown.strip()[:MOST_CHARS]


def plain_url(text: Any) -> str | None:
    """``text`` where it is a plain http address, without a password and without anything that a SPEC would split."""
    if not isinstance(text, str) or len(text) > 1000 or not _URL.fullmatch(text):
        return None
    try:
        return text if urlsplit(text).port != 0 else None
    except ValueError:
        return None


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _first(labels: Mapping[str, Any], names: Iterable[str]) -> str | None:
    return next((text for n in names if (text := safe(labels.get(n)))), None)


# --- Prometheus --------------------------------------------------------------------------------------------------


def of_prometheus(document: Any, where: str) -> NamedSources:
    """The pages that a Prometheus document names. Raises InputError where it is none."""
    active = _table(_table(document).get("data")).get("activeTargets")
    if isinstance(document, list):
        entries, every = list(_groups(document, where)), True
    elif isinstance(active, list):
        entries, every = [_active(t) for t in active], False
    else:
        raise InputError(
            f'{where}: neither Prometheus\'s /api/v1/targets ({{"data": {{"activeTargets": [...]}}}}) nor service '
            'discovery ([{"targets": ["HOST:PORT"], "labels": {}}])'
        )
    if len(entries) > MOST_PAGES:
        raise InputError(f"{where}: more than {MOST_PAGES} targets, at most so many are read")
    return _sorted_out(entries, every)


def _groups(groups: list[Any], where: str) -> Iterator[tuple[Any, Mapping[str, Any]]]:
    for number, group in enumerate(groups):
        if not isinstance(_table(group).get("targets"), list):
            raise InputError(
                f'{where}: entry {number} is no group such as {{"targets": ["HOST:PORT"], "labels": {{}}}}'
            )
        labels = _table(group.get("labels"))
        scheme, path = labels.get("__scheme__", "http"), labels.get("__metrics_path__", "/metrics")
        for address in group["targets"]:
            url = address if isinstance(address, str) and "://" in address else f"{scheme}://{address}{path}"
            yield url, labels


def _active(target: Any) -> tuple[Any, Mapping[str, Any]]:
    table = _table(target)
    node = _table(table.get("discoveredLabels")).get("__meta_kubernetes_pod_node_name")
    extra_labels = {} if node is None else {"node": node}
    return table.get("scrapeUrl"), {**extra_labels, **_table(table.get("labels")), "__pool__": table.get("scrapePool")}


def _sorted_out(entries: Iterable[tuple[Any, Mapping[str, Any]]], every: bool) -> NamedSources:
    """Each entry as a server page, an exporter or neither. ``every``: whatever is no exporter is a server page."""
    pages, exporters, passed = [], [], []
    for address, labels in entries:
        url = plain_url(address)
        words = " ".join(safe(labels.get(k)) for k in ("job", "__pool__", "container", "app", "service", "pod"))
        if url is None:
            passed.append(f"{safe(address) or 'an entry without an address'}: no plain http address")
        elif EXPORTERS.search(words) or urlsplit(url).port == EXPORTER_PORT:
            exporters.append(Exporter(url, _hosts(url, labels)))
        elif (
            every or "model" in labels or "model_name" in labels or (SERVERS.search(words) and not OTHERS.search(words))
        ):
            pages.append(_page(url, labels))
        else:
            passed.append(f"{url} (job {safe(labels.get('job')) or 'unknown'}): no sign of a model server")
    return NamedSources(tuple(pages), tuple(exporters), tuple(passed))


def _hosts(url: str, labels: Mapping[str, Any]) -> frozenset[str]:
    known = {urlsplit(url).hostname or "", *(safe(labels.get(k)) for k in _NODE)}
    return frozenset(known | {safe(labels.get("instance")).rpartition(":")[0]}) - {""}


def _page(url: str, labels: Mapping[str, Any]) -> Page:
    namespace, pod = _first(labels, _NAMESPACE), _first(labels, _POD)
    name = f"{namespace}/{pod}" if namespace and pod else _first(labels, ("name", "instance"))
    kept = {k: v for k in ("namespace", "pod", "tenant", "team", "job") if (v := safe(labels.get(k)))}
    node, host = _first(labels, _NODE), urlsplit(url).hostname
    model = _first(labels, ("model_name", "model"))
    return Page(
        name=name or urlsplit(url).netloc,
        url=url,
        model=model,
        namespace=namespace,
        pod=pod,
        node=node,
        boards_count=None,
        labels=kept,
        notes=(),
        host=host,
    )


# --- Kubernetes --------------------------------------------------------------------------------------------------


def of_pods(document: Any, where: str) -> NamedSources:
    """The server pages and exporters among pods. Raises InputError where it is no list of pods."""
    items = _table(document).get("items")
    kinds = {
        _table(i).get("kind", "Pod") for i in _list(items)[:MOST_PAGES] if isinstance(_table(i).get("kind", "Pod"), str)
    }
    if not isinstance(items, list) or (items and kinds != {"Pod"}):
        raise InputError(f"{where}: no list of pods; write it with `kubectl get pods -A -o json`")
    if len(items) > MOST_PAGES:
        raise InputError(f"{where}: more than {MOST_PAGES} pods, at most so many are read")
    pages, exporters, passed = [], [], []
    for item in items:
        meta, spec, status = (_table(_table(item).get(k)) for k in ("metadata", "spec", "status"))
        containers = [_table(c) for c in _list(spec.get("containers"))]
        images = " ".join(safe(c.get("image")) for c in containers)
        boards = _boards_count(containers)
        if EXPORTERS.search(images):
            exporters += _pod_exporter(spec, status, containers)
        elif boards or SERVERS.search(images):
            pages.append(_pod_page(meta, spec, status, containers, boards))
        else:
            passed.append(f"pod {safe(meta.get('namespace'))}/{safe(meta.get('name'))}: asks for no board")
    return NamedSources(tuple(pages), tuple(exporters), tuple(passed))


def _pod_exporter(
    spec: Mapping[str, Any], status: Mapping[str, Any], containers: Sequence[Mapping[str, Any]]
) -> list[Exporter]:
    port = port_of(containers) or EXPORTER_PORT
    url = _pod_url(status, port, "/metrics")
    hosts = {safe(spec.get("nodeName")), safe(status.get("hostIP")), safe(status.get("podIP"))} - {""}
    return [] if url is None else [Exporter(url, frozenset(hosts))]


def _pod_url(status: Mapping[str, Any], port: Any, path: str) -> str | None:
    host = safe(status.get("podIP"))
    return plain_url(f"http://[{host}]:{port}{path}" if ":" in host else f"http://{host}:{port}{path}")


def _pod_page(
    meta: Mapping[str, Any],
    spec: Mapping[str, Any],
    status: Mapping[str, Any],
    containers: Sequence[Mapping[str, Any]],
    boards_count: int | None,
) -> Page:
    notes_of = _table(meta.get("annotations"))
    namespace, pod = safe(meta.get("namespace")) or "default", safe(meta.get("name")) or "unnamed"
    port = safe(notes_of.get("prometheus.io/port")) or port_of(containers)
    path = safe(notes_of.get("prometheus.io/path")) or "/metrics"
    url = None if not port else _pod_url(status, port, "/" + path.lstrip("/"))
    notes = []
    if status.get("phase", "Running") != "Running":
        notes.append(f"the pod is {safe(status.get('phase')) or 'in no known phase'}")
    if url is None:
        notes.append("its address is not known" if port else "its port is not known: annotate prometheus.io/port")
    model = _first(_table(meta.get("labels")), ("model",)) or safe(model_of(containers)) or None
    labels = {"namespace": namespace, "pod": pod}
    node = safe(spec.get("nodeName")) or None
    return Page(
        name=f"{namespace}/{pod}",
        url=url,
        model=model,
        namespace=namespace,
        pod=pod,
        node=node,
        boards_count=boards_count,
        labels=labels,
        notes=tuple(notes),
    )


def _boards_count(containers: Iterable[Mapping[str, Any]]) -> int | None:
    """Boards that a pod's containers ask for; None where none is asked for, or a slice of one."""
    total = 0
    for c in containers:
        for name, count in _table(_table(c.get("resources")).get("limits")).items():
            text = safe(count)
            if isinstance(name, str) and _GPU.fullmatch(name) and text.isascii() and text.isdigit() and len(text) < 4:
                total += int(text)
    return total or None


# --- dcgm-exporter -----------------------------------------------------------------------------------------------


def boards_of(samples: Iterable[TextSample], url: str | None) -> tuple[ListedBoard, ...]:
    """The boards of an exporter's page, each once, with the pod that has it; a board of several pods is several."""
    board_of_key: dict[tuple[str, str | None, str | None], ListedBoard] = {}
    for s in samples:
        uuid = s.labels.get("UUID") or s.labels.get("uuid") or ""
        if _UUID.fullmatch(uuid):
            namespace, pod = _first(s.labels, _NAMESPACE), _first(s.labels, _POD)
            board = ListedBoard(
                uuid, _first(s.labels, ("modelName", "model_name")), _first(s.labels, _NODE), namespace, pod, url
            )
            board_of_key.setdefault((uuid, namespace, pod), board)
    return tuple(board_of_key.values())
