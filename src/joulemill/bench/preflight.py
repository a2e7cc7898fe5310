"""What can be known before a run begins: files, packages, meters' names, and how long it will take.

A mistake that shows only after minutes of load has cost the load. Nothing is started here, and nothing is written.
"""

from __future__ import annotations

import importlib.util
import math
import os
from collections.abc import Callable
from pathlib import Path

from joulemill.bench.host import asked_endpoint
from joulemill.bench.load.replay import replayed
from joulemill.bench.machine.server_process import server_process
from joulemill.bench.options import BenchOptions
from joulemill.catalog.question_sets import load_questions
from joulemill.errors import InputError, JoulemillError, MachineError
from joulemill.meters.opening import known_meter
from joulemill.recording.writer import FILES
from joulemill.servers.bundled import find_bundled_gguf


def check_before(options: BenchOptions) -> None:
    """Raises InputError or MachineError for what would end the run of ``options`` later, all that is missing in one."""
    check_out(options.out)
    if options.trace is not None:
        replayed(options)
    for spec in options.meters:
        known_meter(spec)
    if options.url is None:
        _check_embedded(options)
    else:
        server_process(asked_endpoint(options, None).url, None, options.server_pid)


def _check_embedded(options: BenchOptions) -> None:
    """The embedded server's package and models: each absence with what gives it, in one line."""
    missing = [fault for fault in (_reason(check) for check in _parts(options)) if fault is not None]
    if missing:
        raise MachineError("; ".join(missing))
    for path in (options.gguf, options.draft_gguf, options.second_gguf):
        if path is not None:
            from joulemill.catalog.gguf_shards import read_gguf

            read_gguf(path)


def _parts(options: BenchOptions) -> list[Callable[[], object]]:
    named = [p for p in (options.gguf, options.draft_gguf, options.second_gguf) if p is not None]
    checks: list[Callable[[], object]] = [_package, *((lambda p=path: _file(p)) for path in named)]
    return checks if options.gguf is not None else [*checks, find_bundled_gguf]


def _reason(check: Callable[[], object]) -> str | None:
    try:
        check()
    except JoulemillError as fault:
        return str(fault)
    return None


def _package() -> None:
    if importlib.util.find_spec("xllamacpp") is None:
        raise MachineError(
            "the embedded server is not installed; pip install 'joulemill[embedded]', or give `url` of a running server"
        )


def _file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; give a model as GGUF")


def check_out(out: Path | None) -> None:
    """``out``: a folder that may be written, without a run in it. Raises InputError, MachineError."""
    if out is None:
        out = Path("runs")
    elif out.is_dir() and any((out / name).exists() for name in ("run.json", *(f"{n}.jsonl" for n in FILES))):
        raise InputError(f"`out` {out}: holds a run already; name a new folder, as runs are never overwritten")
    standing = next(p for p in (out.absolute(), *out.absolute().parents) if os.path.lexists(p))
    if not standing.is_dir():
        raise InputError(f"`out` {out}: {standing} is no folder; name another")
    if not os.access(standing, os.W_OK | os.X_OK):
        raise MachineError(f"`out` {out}: {standing} may not be written; name another folder")


def announced(options: BenchOptions, runs: int = 1) -> str:
    """How long ``runs`` of such a run will take, in a sentence, as far as it is known before."""
    trace_s = replayed(options)[-1].at_s if options.trace is not None else None
    parts = {
        "idle": options.idle_s,
        "warm-up": options.warmup_s,
        "load": trace_s if trace_s is not None and options.duration_s is None else options.load_s,
    }
    spans = ", ".join(f"{_time(s)} {name}" for name, s in parts.items() if s and math.isfinite(s))
    total_s = runs * sum(parts.values())
    about = "at most" if options.until_ratio is not None else "about"
    length = f"{about} {_time(total_s)}" if math.isfinite(total_s) else f"until {options.requests} requests are done"
    each = f" for {runs} runs, each" if runs > 1 else ""
    questions = 0 if options.quality is None or options.quality_stated is not None else _questions(options.quality)
    then = f", then {questions} questions" if questions else ""
    drain = f"the server's start and up to {_time(options.drain_s)} of drain"
    return f"this takes {length}{each}: {spans}{then}; beside it {drain}"


def _questions(name: str) -> int:
    return len(load_questions(name))


def _time(seconds: float) -> str:
    if seconds < 120.0:
        return f"{seconds:.3g} s"
    return f"{seconds / 60.0:.3g} min" if seconds < 7200.0 else f"{seconds / 3600.0:.3g} h"
