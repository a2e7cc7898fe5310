"""Measured runs: ``joulemill.bench`` makes one, ``joulemill.open_run`` opens it again."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from joulemill.analysis.load import load_run
from joulemill.analysis.measurement import Measurement
from joulemill.analysis.report import Report
from joulemill.analysis.serialization import plain
from joulemill.api.frames import frame_of
from joulemill.api.levers import LeverStudy, levers
from joulemill.api.results import Result
from joulemill.api.scopes import ByScope
from joulemill.bench.machine.microbenchmark import measure_ceilings
from joulemill.bench.options import BenchOptions
from joulemill.bench.preflight import check_before
from joulemill.bench.progress import Teller
from joulemill.bench.quality import asker
from joulemill.bench.run import Surroundings, run_measure
from joulemill.bench.server_options import check_precision, read_architecture
from joulemill.catalog.sites import site_table
from joulemill.catalog.stated_device import stated_device
from joulemill.decisions.diagnosis import Diagnosis
from joulemill.errors import InputError
from joulemill.figure import Figure
from joulemill.ledger.record import RequestRecord, RunRecord
from joulemill.reports.html.levers_of_run import lever_cards
from joulemill.reports.html.run import render
from joulemill.suggestions import meant
from joulemill.wording import title

#: A key comes from the environment or from the caller, never from a run folder.
KEY_VARIABLES = ("JOULEMILL_API_KEY", "OPENAI_API_KEY")
#: Fields of the options that ``bench`` fills itself, from arguments of other names or forms.
_PATHS = frozenset({"trace", "gguf", "draft_gguf", "second_gguf"})
_DERIVED = frozenset({"site_path", "quality_stated", "architecture_path"})


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
        self._measured()
        return levers(self.path, **settings)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill report --json``."""
        document: dict[str, Any] = plain(self.report)
        return document

    def to_html(self, path: str | Path) -> None:
        """Write the report as one offline page."""
        cards = [] if self.measurement is None else lever_cards(self.path, self.measurement, self.report)
        Path(path).write_text(render(self.report, cards), encoding="utf-8")

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


def open_run(path: str | Path) -> Run:
    """The run in the folder ``path``, analyzed anew; or a report document that was kept as JSON.

    Raises InputError where it is neither.
    """
    report, measurement = load_run(Path(path))
    return Run(Path(path), report, measurement)


def bench(
    *,
    url: str | None = None,
    model: str | None = None,
    concurrency: int | None = None,
    rate_req_s: float | None = None,
    duration_s: float | None = None,
    input_tokens: int | str = 128,
    output_tokens: int | str = 64,
    meters: Sequence[str] = ("auto",),
    device: str | None = None,
    devices: int | None = None,
    site: str | Path | None = None,
    quality: str | None = "small",
    out: str | Path | None = None,
    api_key: str | None = None,
    progress: Teller | None = None,
    **options: Any,
) -> Run:
    """Drive a server, meter it, find the active constraint; the run is kept in a folder and returned.

    url, model       an OpenAI-compatible server; without ``url`` the embedded llama.cpp server is started
    concurrency      requests in flight of a closed loop (default 4); ``rate_req_s`` makes it an open loop
    duration_s       length of the load after its warm-up (default 60)
    input_tokens, output_tokens   a number, or a distribution: "64-256", "normal:128:32" …
    meters           SPECs of meters;  device, devices   hardware of the server, for its ceilings
    site             a site file (TOML): PUE, limits, carbon, price
    quality          "small", a JSONL file of questions, or None: not asked
    out              run folder (default: a new one under ``runs/``)
    api_key          of the server (default: from JOULEMILL_API_KEY or OPENAI_API_KEY); it is never written down
    progress         hears how the run goes on
    …                any other field of ``BenchOptions``: warmup_s, idle_s, requests, trace, slo_ttft_s, slo_tpot_s,
                     seed, precision …

    Raises InputError for what cannot be asked, ServerError where the server was never usable, MachineError for what
    this machine lacks. A server that fails in the middle ends the run early: see ``status``.
    """
    _refuse_unknown(options)
    architecture = options.pop("architecture", None)
    asked = BenchOptions(
        url=url,
        model=model,
        concurrency=concurrency,
        rate_req_s=rate_req_s,
        duration_s=duration_s,
        input_tokens=str(input_tokens),
        output_tokens=str(output_tokens),
        meters=(meters,) if isinstance(meters, str) else tuple(meters),
        device=None if device is None else stated_device(device, devices),
        site_path=None if site is None else Path(site),
        site=None if site is None else site_table(site),
        quality=quality,
        out=None if out is None else Path(out),
        precision=check_precision(options.pop("precision", None)),
        architecture_path=None if architecture is None else Path(architecture),
        architecture=read_architecture(None if architecture is None else Path(architecture)),
        **_as_options(options),
    )
    check_before(asked)
    key = api_key or next((os.environ[k] for k in KEY_VARIABLES if os.environ.get(k)), None)
    ceilings = measure_ceilings(asked.threads) if asked.url is None else None
    around = Surroundings(machine_ceilings=ceilings, ask_quality=asker(asked), api_key=key)
    return open_run(run_measure(asked, progress, around))


def _as_options(arguments: dict[str, Any]) -> dict[str, Any]:
    """Paths and headers in the form that the options have."""
    options = {name: Path(v) if name in _PATHS and v is not None else v for name, v in arguments.items()}
    if isinstance(headers := options.get("headers"), Mapping):
        options["headers"] = tuple(headers.items())
    return options


def _refuse_unknown(options: dict[str, Any]) -> None:
    known = {f.name for f in fields(BenchOptions)} - _DERIVED
    stray = next((name for name in options if name not in known), None)
    if stray is not None:
        raise InputError(f"bench has no argument {stray!r}; {meant(stray, sorted(known))}")


def _cell(value: Any) -> Any:
    return str(value) if isinstance(value, str) else value
