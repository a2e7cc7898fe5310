"""Several runs that belong together: ``joulemill.sweep``, ``probe``, ``find_rate`` and ``measure_levers``.

Each keeps every run in a folder of its own under the series' folder. Ctrl-C ends a series with what was measured kept,
and the same call with ``out`` resumes it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from joulemill.analysis.lever_experiment import Experiment, experiment, is_experiment
from joulemill.analysis.sweep import MEASURES, SweepResult, sweep_result
from joulemill.api.benching import bench_options, machine_ceilings
from joulemill.api.frames import frame_of
from joulemill.api.inputs import api_key, keep_grid
from joulemill.api.results import Result
from joulemill.bench.facts import serves_here
from joulemill.bench.machine.nvml_limits import below_default, metered_boards
from joulemill.bench.machine.power_limits import Limits, left_behind, open_limits
from joulemill.bench.options import BenchOptions
from joulemill.bench.preflight import announced, check_before
from joulemill.bench.progress import NullProgress, Progress
from joulemill.bench.run import RunContext, on_own_loop
from joulemill.bench.series import find_rate as searching
from joulemill.bench.series.lever_experiment import Files, experiment_plan
from joulemill.bench.series.lever_files import completed
from joulemill.bench.series.plan import Plan, probe_plan, sweep_plan
from joulemill.bench.series.runner import run_plan
from joulemill.errors import InputError
from joulemill.jsonable import plain
from joulemill.meters.meter import MeterContext
from joulemill.recording.sweeps import planned_runs
from joulemill.recording.writer import free_folder
from joulemill.reports import lever_experiment as experiment_view
from joulemill.reports import sweep as sweep_view
from joulemill.reports.text.find_rate import sentence
from joulemill.wording import signed


@dataclass(frozen=True, repr=False)
class Sweep(Result):
    """The points of a sweep or probe: figures over the runs of each, the knee, elasticities of a probe.

    folder    where its runs are;  planned   runs that it has when it is whole
    """

    folder: Path
    result: SweepResult
    planned: int

    @property
    def status(self) -> str:
        """complete or interrupted."""
        return self.result.status

    @property
    def done(self) -> int:
        """Runs that ended, those included that are in no figure."""
        return sum(p.runs + len(p.left_out) for p in self.result.points)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill sweep --json``."""
        return dict(plain(self.result))

    def page(self) -> str:
        """One offline page."""
        return sweep_view.render(self.result)

    def to_frame(self, backend: str | None = None) -> Any:
        """One row per point: its label, load, runs, bottleneck, and the value and bounds of each figure."""
        points = self.result.points
        columns: dict[str, list[Any]] = {
            name: [getattr(p, name) for p in points] for name in ("label", "x", "runs", "binding")
        }
        for measure in MEASURES:
            columns |= {
                f"{measure}{suffix}": [getattr(getattr(p, measure), part) for p in points]
                for suffix, part in (("", "value"), ("_low", "low"), ("_high", "high"))
            }
        return frame_of(columns, backend)

    def _line(self) -> str:
        return sweep_view.headline(self.result)

    def _rows(self) -> Iterable[tuple[str, str]]:
        return ((p.label, f"{p.rate_tok_s}, {p.node_j_tok}") for p in self.result.points)


@dataclass(frozen=True, repr=False)
class RateSearchResult(Result):
    """The highest request rate that meets the latency targets, and every trial.

    highest_rate_req_s, lowest_missed_rate_req_s   None where no trial met the targets, or none missed them
    """

    folder: Path
    highest_rate_req_s: float | None
    lowest_missed_rate_req_s: float | None
    slo_ttft_s: float | None
    slo_tpot_s: float | None
    trials: tuple[searching.Trial, ...]

    @property
    def status(self) -> str:
        """complete or interrupted."""
        return "interrupted" if self.trials and self.trials[-1].status == "interrupted" else "complete"

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill find-rate --json``."""
        return {
            "kind": "find-rate",
            "highest_rate_req_s": self.highest_rate_req_s,
            "lowest_missed_rate_req_s": self.lowest_missed_rate_req_s,
            "slo_ttft_s": self.slo_ttft_s,
            "slo_tpot_s": self.slo_tpot_s,
            "trials": [asdict(t) for t in self.trials],
            "folder": str(self.folder),
        }

    def _line(self) -> str:
        shares = {t.rate_req_s: t.attained_ratio for t in self.trials}
        served = {t.rate_req_s: t.served_req_s for t in self.trials}
        return sentence(self.highest_rate_req_s, self.lowest_missed_rate_req_s, shares, served)

    def _rows(self) -> Iterable[tuple[str, str]]:
        return ((f"{t.rate_req_s:.4g} req/s", "met" if t.met else "missed") for t in self.trials)


@dataclass(frozen=True, repr=False)
class LeverExperiment(Result):
    """Levers measured for real, each against the unchanged runs, beside what was predicted of it."""

    folder: Path
    result: Experiment

    @property
    def status(self) -> str:
        """complete or interrupted."""
        return self.result.status

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill levers measure --json``."""
        return experiment_view.document(self.result)

    def page(self) -> str:
        """One offline page."""
        return experiment_view.page(self.result)

    def _line(self) -> str:
        return experiment_view.headline(self.result)

    def _rows(self) -> Iterable[tuple[str, str]]:
        for lever in self.result.levers:
            yield lever.label, lever.why_not or f"J/token {signed(lever.energy_change, bounds=True)}"


def sweep(points: str, *, repeats: int = 2, progress: Progress | None = None, **arguments: Any) -> Sweep:
    """Run the load at each value of ``points`` ("concurrency=1,2,4,8"), interleaved, ``repeats`` times.

    The other arguments are those of ``bench``; ``duration_s`` is that of each run (default 20), ``out`` resumes.
    """
    options, folder = _started(arguments)
    _run(sweep_plan(options, points, repeats), folder, options, progress)
    return open_sweep(folder)


def probe(
    *,
    board: str | None = None,
    repeats: int = 2,
    progress: Progress | None = None,
    notice: Callable[[str], None] = lambda text: None,
    **arguments: Any,
) -> Sweep:
    """Change load, slots, threads or board limits one at a time, to see what the token rate depends on.

    board    "power", "clock" or "power,clock": also lower the NVIDIA boards that serve ``url``; put back afterwards
    notice   hears what is changed;  the other arguments are those of ``bench``
    """
    options, folder = _started(arguments)
    with _limits(board, options, folder, notice) as limits:
        plan = probe_plan(options, repeats, None, None if limits is None else limits.changes)
        _run(plan, folder, options, progress, limits)
    return open_sweep(folder)


def find_rate(*, least_attained: float = 0.9, progress: Progress | None = None, **arguments: Any) -> RateSearchResult:
    """The highest request rate at which a share of ``least_attained`` of the requests meets the latency targets.

    The other arguments are those of ``bench``: ``slo_ttft_s``, ``slo_tpot_s`` or both; it begins at ``rate_req_s``.
    """
    options = bench_options(**arguments)
    searching.check_search(options)
    if not 0.0 < least_attained <= 1.0:
        raise InputError(f"`least_attained` is {least_attained}; it must be a share above 0 and at most 1")
    folder = _folder(options)
    work = searching.find_rate(
        options,
        folder,
        RunContext(api_key=api_key()),
        progress or NullProgress(),
        least_attained_ratio=least_attained,
        after=keep_grid,
    )
    search, trials = on_own_loop(work)
    return RateSearchResult(
        folder, search.met_req_s, search.missed_req_s, options.slo_ttft_s, options.slo_tpot_s, tuple(trials)
    )


def measure_levers(
    *,
    only: Sequence[str] = (),
    repeats: int = 3,
    run_s: float = 20.0,
    small_gguf: str | Path | None = None,
    second_gguf: str | Path | None = None,
    draft_gguf: str | Path | None = None,
    out: str | Path | None = None,
    progress: Progress | None = None,
    **arguments: Any,
) -> LeverExperiment:
    """Run each lever for real on the embedded server, interleaved with the unchanged base.

    only         these levers (default: all that apply);  repeats, run_s   runs of each, and the load of one
    small_gguf   the same weights in fewer bits;  second_gguf, draft_gguf   another model; one that drafts tokens
    The other arguments are those of ``bench``.
    """
    named = {"small_gguf": small_gguf, "second_gguf": second_gguf, "draft_gguf": draft_gguf}
    for path in (*named.values(), arguments.get("gguf")):
        if path is not None and not Path(path).is_file():
            raise InputError(f"{path}: no such file; name a GGUF file")
    small, second, draft = (None if p is None else Path(p) for p in named.values())
    options = bench_options(**arguments)
    # What can be made is made only once all else is known to be right.
    experiment_plan(options, Files(draft, small or Path(), second or Path()), only, repeats, run_s)
    folder = free_folder(Path("runs"), time.time()) if out is None else Path(out)
    display = progress or NullProgress()
    files = completed(Files(draft, small, second), options, folder, only, display.note)
    plan = experiment_plan(options, files, only, repeats, run_s)
    around = RunContext(machine_ceilings=machine_ceilings(options, display))
    # Ctrl-C between two runs: what was measured is in the folder already.
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        on_own_loop(run_plan(plan, folder, display, around))
    return open_experiment(folder)


def open_sweep(folder: str | Path) -> Sweep:
    """The sweep or probe in ``folder``. Raises InputError where there is none, or not one run was completed."""
    return Sweep(Path(folder), sweep_result(Path(folder)), planned_runs(Path(folder)))


def open_experiment(folder: str | Path) -> LeverExperiment:
    """The lever experiment in ``folder``. Raises InputError where there is none."""
    return LeverExperiment(Path(folder), experiment(Path(folder)))


def open_series(folder: str | Path) -> Sweep | LeverExperiment | None:
    """What several runs ``folder`` holds; None where it holds none."""
    path = Path(folder)
    if not (path / "sweep.json").is_file() or (path / "run.json").exists():
        return None
    return open_experiment(path) if is_experiment(path) else open_sweep(path)


def _started(arguments: dict[str, Any]) -> tuple[BenchOptions, Path]:
    """The options and the folder of the series, once all that can be checked before it is right."""
    options = bench_options(**arguments)
    return options, _folder(options)


def _folder(options: BenchOptions) -> Path:
    check_before(replace(options, out=None))
    return options.out or free_folder(Path("runs"), time.time())


def _run(
    plan: Plan, folder: Path, options: BenchOptions, progress: Progress | None, limits: Limits | None = None
) -> None:
    display = progress or NullProgress()
    around = RunContext(machine_ceilings=machine_ceilings(options, display), api_key=api_key())
    display.note(announced(plan.settings[0].options, len(plan.order)))
    # Ctrl-C between two runs: what was measured is in the folder already.
    with suppress(KeyboardInterrupt, asyncio.CancelledError):
        on_own_loop(run_plan(plan, folder, display, around, limits=limits, after=keep_grid))


@contextmanager
def _limits(
    board: str | None, options: BenchOptions, folder: Path, notice: Callable[[str], None]
) -> Iterator[Limits | None]:
    """The limits of the boards that ``board`` names, put back at the end; None where it names none."""
    if board is None:
        yield None
        return
    context = MeterContext(notice=notice)
    here = options.url is not None and serves_here(options.url)
    limits = open_limits(options.url, here, context, lambda: metered_boards(context, options.meters), board, folder)
    for text in (*left_behind(folder.parent), *below_default(context)):
        notice(text)
    for change in limits.changes:
        notice(f"{change.label} for one run at a time, put back after each")
    with limits:
        yield limits
