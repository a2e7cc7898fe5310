"""Measured runs, opened: ``joulemill.open_run``, and ``joulemill.import_run`` for those of another tool."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.analysis.baseline import Baseline, need_baseline, write_baseline
from joulemill.analysis.load import load_run
from joulemill.analysis.measurement import Measurement
from joulemill.analysis.report import Report
from joulemill.analysis.serialization import report_document, schema
from joulemill.api.frames import frame_of
from joulemill.api.inputs import altered_by, keep_grid, site_of, with_quality
from joulemill.api.results import Result
from joulemill.api.scopes import ByScope
from joulemill.catalog.stated_device import stated_device
from joulemill.decisions.diagnosis import Diagnosis
from joulemill.errors import InputError, MachineError
from joulemill.figure import Figure
from joulemill.files import write_text
from joulemill.ledger.record import RequestRecord, RunRecord
from joulemill.recording.writer import free_folder, write_run
from joulemill.wording import title

if TYPE_CHECKING:
    from joulemill.api.levers import LeverStudy

__all__ = [
    "Baseline",
    "Report",
    "Run",
    "baseline_document",
    "import_run",
    "open_baseline",
    "open_run",
    "report_schema",
    "save_baseline",
]


@dataclass(frozen=True, repr=False)
class Run(Result):
    """A measured run: its report, and with the run folder its record and diagnosis.

    path         the run folder, or the report document
    report       every figure of the run, as ``joulemill report --json`` prints them
    measurement  what follows from the run's record; None for a report document, which holds none
    """

    path: Path
    report: Report
    measurement: Measurement | None

    @property
    def record(self) -> RunRecord:
        """What was recorded: readings, requests, counters. InputError for a report document."""
        return self._measured().record

    @property
    def diagnosis(self) -> Diagnosis:
        """Every candidate for the active constraint, with its evidence. InputError for a report document."""
        return self._measured().diagnosis

    @property
    def energy(self) -> ByScope:
        """Joules per output token in the steady-state window [J/tok]."""
        return ByScope(self.report.energy.device_j_tok, self.report.energy.node_j_tok, self.report.energy.site_j_tok)

    @property
    def power(self) -> ByScope:
        """Mean power in the window [W]."""
        return ByScope(self.report.power.device_w, self.report.power.node_w, self.report.power.site_w)

    @property
    def rate_tok_s(self) -> Figure:
        """Output tokens per second in the window."""
        return self.report.output.rate_tok_s

    @property
    def bottleneck(self) -> str:
        """Name of the active constraint; "undecided" where the evidence does not decide."""
        return self.report.binding.name

    @property
    def status(self) -> str:
        """complete, interrupted or failed."""
        return self.report.status

    def levers(self, **settings: Any) -> LeverStudy:
        """What would lower its joules per token; the arguments are those of ``joulemill.levers``."""
        from joulemill.api.levers import levers

        self._measured()
        return levers(self.path, **settings)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill report --json``."""
        return report_document(self.report)

    def to_html(self, path: str | Path, baseline: Baseline | None = None) -> None:
        """Write the report as one offline page, beside ``baseline`` where one is given."""
        write_text(path, self.page(baseline))

    def page(self, baseline: Baseline | None = None) -> str:
        """The offline page as text: the report, its levers, the sweep that the run belongs to."""
        from joulemill.reports.baseline import card
        from joulemill.reports.html.levers_of_run import lever_cards
        from joulemill.reports.html.run import render
        from joulemill.reports.sweep import sweep_card

        cards: list[Mapping[str, Any]] = [] if baseline is None else [card(baseline, self.report)]
        if self.measurement is not None:
            cards += [*sweep_card(self.path), *lever_cards(self.path, self.measurement, self.report)]
        return render(self.report, cards)

    def to_frame(self, backend: str | None = None) -> Any:
        """One row per request: id, phase, outcome, times on the client's clock [s], tokens."""
        names = [f.name for f in fields(RequestRecord) if f.name != "chunk_mono_s"]
        requests = self.record.requests
        return frame_of({n: [_cell(getattr(r, n)) for r in requests] for n in names}, backend)

    def _measured(self) -> Measurement:
        if self.measurement is None:
            raise InputError(f"{self.path} is a report: it holds no record; open the run folder instead")
        return self.measurement

    def _line(self) -> str:
        energy = self.energy
        scope = next((s for s in ("node", "device") if getattr(energy, s).known), "node")
        joules = f"{getattr(energy, scope)} at the {scope}"
        return f"run {self.path.name}, {self.status}: {joules}, {self.rate_tok_s}, bottleneck {title(self.bottleneck)}"

    def _rows(self) -> Iterable[tuple[str, str]]:
        for scope in ("device", "node", "site"):
            yield f"energy, {scope}", str(getattr(self.energy, scope))
        yield "token rate", str(self.rate_tok_s)
        yield "bottleneck", title(self.bottleneck)
        yield from (("warning", warning) for warning in self.report.warnings)


def open_run(path: str | Path, *, site: str | Path | None = None, quality: str | None = None) -> Run:
    """The run in the folder ``path``, analyzed anew; or a report document that was kept as JSON.

    site      at this site instead (a TOML file);  quality   "lm-eval:FILE": accuracy that lm-evaluation-harness found
    Raises InputError where it is neither, or where a document is to be changed.
    """
    report, measurement = load_run(Path(path), altered_by(site, quality))
    return Run(Path(path), report, measurement)


def import_run(
    *files: str | Path,
    meter_file: str | None = None,
    part: int | None = None,
    client_tokens: bool = False,
    device: str | None = None,
    model: str | None = None,
    site: str | Path | None = None,
    quality: str | None = None,
    out: str | Path | None = None,
) -> Run:
    """Another tool's results as a run: they are kept as a run folder, which is opened.

    files          result files of one run of one tool;  part   which benchmark of a file that holds several, from 1
    meter_file     a power file, joined by time: "FILE[,OPTIONS]", as the meter ``file:FILE`` takes them
    client_tokens  use the tool's own token counts where the server reported none
    device, model  the hardware ("h100:8"), and the model where the file calls it by an unusual name
    site, quality  as of ``open_run``;  out   the run folder (default: a new one under ``runs/``)
    """
    from joulemill.importers.joining import AddedFacts
    from joulemill.importers.opening import import_files
    from joulemill.importers.recording import Choice

    added = AddedFacts(
        device=stated_device(device) if device else None,
        model=model or None,
        site=None if site is None else site_of(Path(site)),
    )
    record = import_files([Path(f) for f in files], Choice(part, client_tokens), meter_file, added)
    if quality:
        record = with_quality(record, quality)
    folder = free_folder(Path("runs"), time.time()) if out is None else Path(out)
    try:
        write_run(folder, record)
    except OSError as fault:
        raise MachineError(f"`out` {folder}: cannot be written ({fault.strerror})") from fault
    keep_grid(folder)
    return open_run(folder)


def open_baseline(path: str | Path) -> Baseline:
    """The baseline in the file ``path``: its name and the reports of its runs. InputError where there is none."""
    return need_baseline(Path(path))


def save_baseline(path: str | Path, runs: Sequence[Run | str | Path], name: str | None = None) -> Baseline:
    """Keep runs, several being repeats of one configuration, as the baseline that later ones are compared with.

    Raises InputError for none, or for one that did not complete.
    """
    if not runs:
        raise InputError("`runs` is empty: give the run to keep")
    opened = [run if isinstance(run, Run) else open_run(run) for run in runs]
    broken = next((run.path for run in opened if run.status != "complete"), None)
    if broken is not None:
        raise InputError(f"{broken}: the run did not complete, so nothing should be measured against it; run it again")
    write_baseline(Path(path), name or opened[0].path.resolve().stem, [run.report for run in opened])
    return open_baseline(path)


def baseline_document(baseline: Baseline, path: str | Path) -> dict[str, Any]:
    """The document of ``joulemill baseline show --json``; ``path`` is where the baseline is kept."""
    return {"name": baseline.name, "file": str(path), "reports": [report_document(r) for r in baseline.reports]}


def report_schema() -> dict[str, Any]:
    """The JSON Schema of the report document."""
    return schema()


def _cell(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
