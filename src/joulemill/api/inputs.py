"""What a run takes from outside: the server's key, its site with the grid asked, accuracy of another tool."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.errors import InputError, MachineError, ServerError
from joulemill.ledger.manifest import StatedQuality, part_of

if TYPE_CHECKING:
    from joulemill.ledger.record import RunRecord

#: A key comes from the environment or from the caller, never from a flag: flags end in shell histories and process
#: lists. It is never written down.
KEY_VARIABLES = ("JOULEMILL_API_KEY", "OPENAI_API_KEY")


def api_key() -> str | None:
    """The key of the server to drive, from the environment."""
    return next((os.environ[k] for k in KEY_VARIABLES if os.environ.get(k)), None)


def site_of(path: Path | None) -> dict[str, Any] | None:
    """The site's table as written. Raises InputError where it is no site, or its grid could not be asked."""
    if path is None:
        return None
    from joulemill.catalog.sites import carbon_source, site_table

    table = site_table(path)
    source = carbon_source(table)
    if source is not None:
        from joulemill.carbon.sources import check_source

        check_source(source, os.environ)
    return table


def ask_grid(record: RunRecord) -> dict[str, Any] | None:
    """The event that says what the grid of the record's site was in its window; None where no source is named.

    A service that fails costs no run: the event then says why.
    """
    from joulemill.analysis.site import EVENT, wall_window
    from joulemill.carbon.sources import fetch
    from joulemill.catalog.sites import carbon_source
    from joulemill.ledger.account import account

    source = carbon_source(dict(record.manifest.site or {}))
    window = wall_window(record, account(record)) if source is not None else None
    if source is None or window is None:
        return None
    event: dict[str, Any] = {"kind": EVENT, "source": source.source, "asked_wall_s": time.time()}
    try:
        signal = fetch(source, *window, now_s=time.time(), environment=os.environ)
    except (InputError, ServerError) as fault:
        return {**event, "error": str(fault)}
    near = [p for p in signal.points if p.end_s > window[0] and p.start_s < window[1]]
    return {
        **event,
        "place": signal.place,
        "signal_kind": signal.kind,
        "notes": list(signal.notes),
        "points": [[p.start_s, p.end_s, p.carbon_gco2e_j] for p in near],
    }


def keep_grid(folder: Path, record: RunRecord | None = None) -> None:
    """Ask the grid for the run in ``folder``, and keep the answer in it; ``record``: the run where it was read before.

    Raises MachineError where the answer cannot be kept.
    """
    from joulemill.recording.reader import read_run

    event = ask_grid(record or read_run(folder))
    if event is None:
        return
    try:
        with (folder / "events.jsonl").open("a", encoding="utf-8", newline="\n") as lines:
            lines.write(json.dumps(event, allow_nan=False, ensure_ascii=False) + "\n")
    except OSError as fault:
        raise MachineError(f"{folder}: cannot be written ({fault.strerror})") from fault


def with_site(record: RunRecord, path: Path) -> RunRecord:
    """``record`` at the site of ``path``, its grid asked."""
    record = replace(record, manifest=replace(record.manifest, site=site_of(path)))
    event = ask_grid(record)
    return record if event is None else replace(record, events=(*record.events, event))


def stated_quality(text: str) -> dict[str, Any]:
    """What ``lm-eval:FILE`` states. Raises InputError for anything else: a run that is over answers nothing."""
    from joulemill.importers.lm_eval import PREFIX, load_lm_eval

    if not text.startswith(PREFIX):
        raise InputError(f"`quality` {text}: the run is over; give {PREFIX}FILE, results of lm-evaluation-harness")
    return load_lm_eval(Path(text.removeprefix(PREFIX)))


def with_quality(record: RunRecord, text: str) -> RunRecord:
    """``record`` with that accuracy. Raises InputError where the run has answers of its own: measured beats stated."""
    stated = stated_quality(text)
    if record.quality:
        raise InputError(f"`quality` {text}: the run was asked questions itself; its own accuracy is kept")
    options = replace(record.manifest.asked, quality=text, quality_stated=part_of(StatedQuality, stated))
    return replace(record, manifest=replace(record.manifest, options=options))


def altered_by(site: str | Path | None, quality: str | None) -> Callable[[RunRecord], RunRecord] | None:
    """What makes of a record the one at ``site`` with ``quality``; None where neither is asked for."""
    if site is None and quality is None:
        return None

    def changed_record(record: RunRecord) -> RunRecord:
        there = record if site is None else with_site(record, Path(site))
        return there if quality is None else with_quality(there, quality)

    return changed_record
