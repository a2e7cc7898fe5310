"""A ``monitor.toml`` written from what others' documents name: a ``[[target]]`` for each server page.

What is known stands as a key, what is not as a comment to be filled in. A page is metered by the boards of its own pod
alone: boards that nobody tells apart, or that several pods share, stay out, so that no joule is another server's.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.errors import InputError
from joulemill.monitor.config import MonitorConfig, TargetConfig, first_fault
from joulemill.monitor.config_checks import targets_checked
from joulemill.monitor.discovery.config_sources import Exporter, ListedBoard, NamedSources, Page

#: Lines of what was passed over (assumed).
MOST_PASSED = 20
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*(?:/[A-Za-z0-9][A-Za-z0-9._:-]*)?")
_BARE = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class TargetMetering:
    """What meters a page: its SPEC and its boards' device; or a comment that says what is missing."""

    spec: str | None = None
    device: str | None = None
    boards_count: int | None = None
    comment: str | None = None


def config_text(named: NamedSources, boards: Sequence[ListedBoard], source: str) -> str:
    """The configuration. Raises InputError where there is no server page in it."""
    pages = list(_once(named.pages))
    whole = [p for p in pages if p.url is not None]
    if not whole:
        raise InputError(f"{source}: names no model server whose address is known{_why(named, pages)}")
    head = [
        f"# Written by `joulemill monitor config` from {source}: {_count(len(whole), 'server page')}.",
        "# A comment that holds … is to be filled in; `joulemill monitor check FILE` tries it.",
        "period_s = 10",
    ]
    parts = ["\n".join(head), *("\n".join(_target(p, boards, named.exporters, pages)) for p in pages)]
    if named.passed:
        more = [f"and {len(named.passed) - MOST_PASSED} more"] if len(named.passed) > MOST_PASSED else []
        parts.append("\n".join(["# Passed over:", *(f"#   {t}" for t in [*named.passed[:MOST_PASSED], *more])]))
    text = "\n\n".join(parts) + "\n"
    _checked(text, source)
    return text


def _why(named: NamedSources, pages: Sequence[Page]) -> str:
    notes = [f"{p.name}: {', '.join(p.notes)}" for p in pages if p.notes] or list(named.passed)
    return f" ({'; '.join(notes[:3])}{' …' if len(notes) > 3 else ''})" if notes else ""


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _once(pages: Iterable[Page]) -> Iterator[Page]:
    """Each page once, each name once: a name that is taken gets a number."""
    urls: set[str] = set()
    names: dict[str, int] = {}
    for page in pages:
        if page.url is not None and page.url in urls:
            continue
        urls.add(page.url or "")
        name, number = page.name, names.get(page.name, 0) + 1
        while number > 1 and f"{name}-{number}" in names:
            number += 1
        names[name] = number
        if number > 1:
            name = f"{name}-{number}"
            names[name] = 1
        yield replace(page, name=name)


def _target(
    page: Page, boards: Sequence[ListedBoard], exporters: Sequence[Exporter], pages: Sequence[Page]
) -> list[str]:
    """The lines of one page's ``[[target]]``; all of them comments where it cannot be one."""
    metering = metered(page, boards, exporters, pages)
    model, cataloged, comment = modelled(page.model)
    count = page.boards_count or metering.boards_count
    keys: dict[str, object] = {
        "name": page.name,
        "model": model,
        "own_model": None if cataloged else True,
        "metrics_url": page.url,
        "device": metering.device,
        "devices_count": count,
        "node": page.node,
        "meters": None if metering.spec is None else [metering.spec],
        "labels": dict(page.labels) or None,
    }
    known = {k: v for k, v in keys.items() if v is not None}
    fault = _fault(known)
    lines = ["[[target]]"]
    for key, value in known.items():
        lines.append(f"{key} = {written(value)}" + (f"   # {comment}" if key == "model" and comment else ""))
    lines += [f"# {note}" for note in page.notes]
    if metering.device is None:
        lines.append(
            '# device = "h100"   # …: its boards; with it the node is modelled, and ceilings where the model is known'
        )
    if count is None:
        lines.append("# devices_count = 1   # …: how many boards it uses")
    if metering.comment is not None:
        lines.append(f"# {metering.comment}")
    if fault is None:
        return lines
    return [f"# not taken: {fault}", *(x if x.startswith("#") else f"# {x}" for x in lines)]


def _fault(known: Mapping[str, object]) -> str | None:
    """Why the keys are no target; None where they are one."""
    try:
        targets_checked((TargetConfig.model_validate(dict(known)),), ())
    except InputError as fault:
        return " ".join(str(fault).split())
    except ValueError as fault:
        return " ".join(first_fault(fault).split())
    return None


def modelled(text: str | None) -> tuple[str, bool, str | None]:
    """A model's name for the configuration, whether the catalog knows it, and a comment."""
    if not text:
        return "unknown", False, "…: nothing says which model it serves"
    last = text.rstrip("/").rpartition("/")[2]
    for name, comment in ((text, None), (last, f"by the last part of {text}")):
        if _MODEL.fullmatch(name) and ".." not in name and _cataloged(name):
            return name, True, comment
    return text, False, "it is not in the catalog: its ceilings stay unknown"


def _cataloged(name: str) -> bool:
    try:
        find_model(name)
    except InputError:
        return False
    return True


def metered(
    page: Page, boards: Sequence[ListedBoard], exporters: Sequence[Exporter], pages: Sequence[Page] = ()
) -> TargetMetering:
    """The SPEC with the boards of the page's pod, or why there is none."""
    own = [b for b in boards if page.pod and b.pod == page.pod and page.namespace in (None, b.namespace)]
    if not own:
        return _without_boards(page, boards, exporters, pages)
    names = [b.device for b in own]
    device = _device(names[0]) if len(set(names)) == 1 else None
    shared = sorted({b.uuid for b in own} & {b.uuid for b in boards if b not in own})
    if shared:
        why = f"meters = …: another pod has {shared[0]} as well, so its joules are not this server's alone"
        return TargetMetering(device=device, boards_count=len(own), comment=why)
    uuids = "+".join(b.uuid for b in own)
    urls = {b.url or _exporter(exporters, b.host, page.node, page.host) for b in own}
    if len(urls) != 1 or None in urls:
        why = f'meters = ["prometheus:http://…:9400/metrics,gpus={uuids}"]   # …: the address of its exporter'
        return TargetMetering(device=device, boards_count=len(own), comment=why)
    return TargetMetering(f"prometheus:{urls.pop()},gpus={uuids}", device, len(own))


def _without_boards(
    page: Page, boards: Sequence[ListedBoard], exporters: Sequence[Exporter], pages: Sequence[Page]
) -> TargetMetering:
    """Nothing names the page's boards. Where it has its exporter to itself, all of that one's boards are meant."""
    url = _exporter(exporters, page.node, page.host)
    if url is None:
        where = "no exporter of its boards is named" if not boards else "no board says that this pod has it"
        return TargetMetering(comment=f'meters = ["prometheus:http://…:9400/metrics,gpus=…"]   # …: {where} (--dcgm)')
    there = [p for p in pages if (p.node or p.host) == (page.node or page.host)]
    alone = there == [page] and page.boards_count is not None and not boards
    if alone:  # of more or fewer boards than it asks for the joules are refused, so nothing is guessed
        return TargetMetering(
            f"prometheus:{url}", comment="all boards of its exporter, which must be as many as it asks for"
        )
    return TargetMetering(
        comment=f'meters = ["prometheus:{url},gpus=…"]   # …: which boards are its own (--dcgm may tell)'
    )


def _exporter(exporters: Sequence[Exporter], *hosts: str | None) -> str | None:
    """The one exporter on a machine of one of ``hosts``."""
    addresses = {e.url for e in exporters if any(h in e.hosts for h in hosts if h)}
    return addresses.pop() if len(addresses) == 1 else None


def _device(name: str | None) -> str | None:
    try:
        return None if name is None else find_device(name).name
    except InputError:
        return None


def written(value: object) -> str:
    """``value`` as TOML writes it. Texts are printable already, so JSON's escapes are TOML's."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(written(v) for v in value) + "]"
    if isinstance(value, dict):
        items = (f"{k if _BARE.fullmatch(k) else written(k)} = {written(v)}" for k, v in value.items())
        return "{ " + ", ".join(items) + " }"
    return json.dumps(value, ensure_ascii=False)


def _checked(text: str, source: str) -> None:
    """Raise InputError where what was written is no configuration, so that nobody finds out later."""
    try:
        config = MonitorConfig.model_validate(tomllib.loads(text))
        targets_checked(config.target, ())
    except (ValueError, InputError) as fault:
        problem = str(fault) if isinstance(fault, InputError) else first_fault(fault)
        raise InputError(f"{source}: no configuration can be made of it: {problem}") from None
