"""The atlas: curves of a set of deployments, computed once, on one page that needs no server and no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from joulemill.api.catalog import device, model
from joulemill.api.prediction import predict
from joulemill.errors import InputError
from joulemill.explorer.answering import curve
from joulemill.physics.serving.batch import MemoryShort
from joulemill.version import __version__

STATIC = files("joulemill.explorer") / "static"
SHARED = files("joulemill.monitor.web") / "static"
#: Counts of devices tried, the least that holds the model is taken.
COUNTS = (1, 2, 4, 8, 16, 32, 64)
#: Deployments of an atlas at most.
MOST_DEPLOYMENTS = 5000
#: Digits that figures keep in the file: far more than they are known to.
_DIGITS = 5
#: Modules of the page in the order in which they need each other.
_SCRIPTS = ((SHARED, "dom.js"), (SHARED, "figures.js"), (STATIC, "plane.js"), (STATIC, "atlas.js"))


@dataclass(frozen=True)
class Selection:
    """What an atlas holds: every model × device × precision × pair of lengths [tok]."""

    models: Sequence[str]
    devices: Sequence[str]
    precisions: Sequence[str | None]
    lengths: Sequence[tuple[int, int]]

    def __post_init__(self) -> None:
        for name in self.models:
            model(name)
        for name in self.devices:
            device(name)
        if not 0 < self.count <= MOST_DEPLOYMENTS:
            raise InputError(f"an atlas of {self.count:,} deployments; it must be between 1 and {MOST_DEPLOYMENTS:,}")

    @property
    def count(self) -> int:
        """Deployments in all."""
        return len(self.models) * len(self.devices) * len(self.precisions) * len(self.lengths)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for name in self.models:
            for lengths in self.lengths:
                for precision in self.precisions:
                    for board in self.devices:
                        yield {
                            "model": name,
                            "device": board,
                            "precision": precision,
                            "input_tokens": lengths[0],
                            "output_tokens": lengths[1],
                        }


def export(folder: Path, selection: Selection, progress: Callable[[int], None] = lambda _: None) -> dict[str, int]:
    """Write ``folder/index.html``; ``progress`` hears how many deployments are done. The counts of entries and of
    those that cannot be predicted.

    Raises InputError where the folder cannot be written.
    """
    entries = []
    for done, stated in enumerate(selection, start=1):
        entries.append(entry(stated))
        progress(done)
    known = sum("points" in e for e in entries)
    if not known:
        raise InputError(f"no deployment of the atlas can be predicted; the first: {entries[0]['why']}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "index.html").write_text(page(entries), encoding="utf-8")
    except OSError as fault:
        raise InputError(f"--export {folder}: {fault.strerror}") from None
    return {"deployments": known, "left_out": len(entries) - known}


def entry(stated: dict[str, Any]) -> dict[str, Any]:
    """One deployment on the fewest devices that hold it: its curve, or why there is none."""
    why = ""
    for count in COUNTS:
        whole = {**stated, "devices": count}
        try:
            predict(**whole, concurrency=1)
            return {**whole, **_rounded(curve(whole))}
        except MemoryShort as fault:
            why = str(fault)
        except InputError as fault:
            return {**stated, "why": str(fault)}
    return {**stated, "why": why}


def _rounded(answer: dict[str, Any]) -> dict[str, Any]:
    points = {n: [None if v is None else float(f"{v:.{_DIGITS}g}") for v in c] for n, c in answer["points"].items()}
    return {"points": points, "chosen": answer["chosen"], "most": answer["most"]}


def page(entries: Sequence[dict[str, Any]]) -> str:
    """The page with its data, scripts and style within."""
    data = json.dumps({"version": __version__, "entries": list(entries)}, allow_nan=False, separators=(",", ":"))
    style = "\n".join(
        [(SHARED / "page.css").read_text(encoding="utf-8"), (STATIC / "explore.css").read_text(encoding="utf-8")]
    )
    script = "\n".join(_plain(folder / name) for folder, name in _SCRIPTS)
    html = (STATIC / "atlas.html").read_text(encoding="utf-8")
    return html.replace("/*STYLE*/", style).replace("/*DATA*/", _in_script(data)).replace("/*SCRIPT*/", script)


def _plain(module: Any) -> str:
    """A module's text as part of one script: pages opened from a disk cannot load modules."""
    lines = module.read_text(encoding="utf-8").splitlines()
    return "\n".join(line.removeprefix("export ") for line in lines if not line.startswith("import "))


def _in_script(text: str) -> str:
    """JSON that cannot end the element that it is in."""
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
