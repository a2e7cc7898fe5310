"""The highest rate of requests at which the service targets are met: by doubling or halving, then by bisection.

Each trial is a whole run at one rate, kept like any other. A trial meets the targets where at least a stated share of
the requests that were sent in its window did, and the server kept up with the rate: one that failed, or whose requests
were still waiting, did not. A rate at which the queue grows is none that a server meets, whatever its first tokens do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from joulemill.bench.host import hosted
from joulemill.bench.options import BenchOptions
from joulemill.bench.preflight import announced
from joulemill.bench.progress import Progress
from joulemill.bench.run import RunContext, measure
from joulemill.bench.series.plan import DEFAULT_POINT_S
from joulemill.errors import InputError, MachineError
from joulemill.ledger.account import account
from joulemill.ledger.serving_state import overload
from joulemill.recording.private import write_private
from joulemill.recording.reader import read_run
from joulemill.recording.sweeps import FILE, SCHEMA_VERSION
from joulemill.wording import percent

#: The search ends where the lowest rate that misses is within this factor of the highest that meets.
PRECISION_RATIO = 1.1
MOST_TRIALS = 14
FIRST_RATE_REQ_S = 1.0
LEAST_ATTAINED_RATIO = 0.9


@dataclass(frozen=True, slots=True)
class Trial:
    """One run at one rate: the share of its requests that met the targets, and whether that was enough.

    served_req_s   what the server ended of it, where it did not keep up; else None
    """

    rate_req_s: float
    attained_ratio: float | None
    met: bool
    folder: str
    status: str
    served_req_s: float | None = None


class RateSearch:
    """Which rate is tried next. It knows no server: ``hear`` what a trial said, ask ``next_req_s``."""

    def __init__(self, first_req_s: float = FIRST_RATE_REQ_S) -> None:
        self.met_req_s: float | None = None
        self.missed_req_s: float | None = None
        self._next, self._trials = first_req_s, 0

    def next_req_s(self) -> float | None:
        """The next rate; None where the answer is as near as it is asked for, or nothing more can be tried."""
        if self._trials >= MOST_TRIALS:
            return None
        if self.met_req_s is None or self.missed_req_s is None:
            return self._next
        if self.missed_req_s <= PRECISION_RATIO * self.met_req_s:
            return None
        return math.sqrt(self.met_req_s * self.missed_req_s)

    def hear(self, rate_req_s: float, *, met: bool) -> None:
        """A trial at ``rate_req_s`` has met its targets, or not."""
        self._trials += 1
        if met:
            self.met_req_s = max(rate_req_s, self.met_req_s or 0.0)
            self._next = 2.0 * rate_req_s
        else:
            self.missed_req_s = min(rate_req_s, self.missed_req_s or math.inf)
            self._next = rate_req_s / 2.0


def check_search(options: BenchOptions) -> None:
    """Raises InputError where there is nothing to search for."""
    if options.slo_ttft_s is None and options.slo_tpot_s is None:
        raise InputError("find-rate needs a target to meet: give `slo_ttft_s`, `slo_tpot_s`, or both")
    if options.concurrency is not None or options.trace is not None or options.until_ratio is not None:
        raise InputError("find-rate sets the load itself: leave out `concurrency`, `trace` and `until_ratio`")


async def find_rate(
    options: BenchOptions,
    folder: Path,
    around: RunContext,
    display: Progress,
    *,
    point_s: float | None = None,
    least_attained_ratio: float = LEAST_ATTAINED_RATIO,
    after: Callable[[Path], None] = lambda path: None,
) -> tuple[RateSearch, list[Trial]]:
    """Run the trials into ``folder``; an interrupted one ends the search with what is known until then."""
    lasts_s = point_s or options.duration_s or DEFAULT_POINT_S
    plain = replace(options, duration_s=lasts_s, quality=None, concurrency=None)
    display.note(f"up to {MOST_TRIALS} runs; each: {announced(plain)}")
    async with hosted(plain, around.api_key) as host:
        return await _searched(plain, folder, replace(around, host=host), display, least_attained_ratio, after)


async def _searched(
    plain: BenchOptions,
    folder: Path,
    around: RunContext,
    display: Progress,
    least_attained_ratio: float,
    after: Callable[[Path], None],
) -> tuple[RateSearch, list[Trial]]:
    search, trials = RateSearch(plain.rate_req_s or FIRST_RATE_REQ_S), list[Trial]()
    while (rate_req_s := search.next_req_s()) is not None:
        asked = replace(plain, rate_req_s=rate_req_s, out=folder / f"{len(trials) + 1:02d}-rate-{rate_req_s:.4g}")
        path = await measure(asked, display, around)
        trial = judged(path, rate_req_s, least_attained_ratio)
        trials.append(trial)
        _write(folder, plain, trials)
        after(path)
        if trial.status == "interrupted":
            break
        search.hear(rate_req_s, met=trial.met)
        display.note(_trial_text(trial))
    _write(folder, plain, trials, "interrupted" if trials and trials[-1].status == "interrupted" else "complete")
    return search, trials


def _trial_text(trial: Trial) -> str:
    shown = "–" if trial.attained_ratio is None else percent(trial.attained_ratio)
    served_text = "" if trial.served_req_s is None else f", but only {trial.served_req_s:.3g} req/s were served"
    return f"{trial.rate_req_s:.4g} req/s: {shown} within the targets{served_text}: {'met' if trial.met else 'missed'}"


def judged(path: Path, rate_req_s: float, least_attained_ratio: float) -> Trial:
    """What the run at ``path`` says of its rate."""
    record = read_run(path)
    counted = account(record)
    latencies = counted.latency if counted.latency.sent else counted.load_latency
    attained = latencies.attained_ratio
    excess = overload(record, counted.window)
    enough = attained is not None and attained >= least_attained_ratio
    met = record.status == "complete" and enough and excess is None
    served_req_s = None if excess is None else excess.served_req_s
    return Trial(rate_req_s, attained, met, path.name, record.status, served_req_s)


def _write(folder: Path, options: BenchOptions, trials: list[Trial], status: str = "interrupted") -> None:
    """The trials as a sweep of the rate, for the views of one; ``trials`` beside it."""
    order = sorted(range(len(trials)), key=lambda i: trials[i].rate_req_s)
    place = {index: point for point, index in enumerate(order)}
    points = [
        {
            "label": f"rate={trials[i].rate_req_s:.4g}",
            "knob": "rate",
            "x": trials[i].rate_req_s,
            "options": replace(options, rate_req_s=trials[i].rate_req_s).manifest(),
        }
        for i in order
    ]
    document: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "kind": "sweep",
        "knob": "rate",
        "status": status,
        "points": points,
        "order": [place[i] for i in range(len(trials))],
        "runs": [{"point": place[i], "folder": t.folder, "status": t.status} for i, t in enumerate(trials)],
        "absent": {},
        "trials": [asdict(t) for t in trials],
    }
    try:
        part = folder / f"{FILE}.part"
        write_private(part, json.dumps(document, indent=2, default=str) + "\n")
        part.replace(folder / FILE)
    except OSError as fault:
        raise MachineError(f"{folder}: cannot be written ({fault.strerror}); choose another `out`") from fault
