"""``joulemill.simulate``: traffic played through a deployment, with tokens, latency and power over time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from joulemill.analysis.simulated_record import simulated_record
from joulemill.api.frames import frame_of
from joulemill.api.results import Result
from joulemill.api.runs import Run, open_run
from joulemill.api.scopes import ByScope
from joulemill.catalog.models import find_model
from joulemill.catalog.sites import site_table
from joulemill.errors import InputError
from joulemill.figure import Figure, unknown
from joulemill.importers.asked_traffic import TrafficOptions, asked_traffic
from joulemill.importers.events_file import load_events
from joulemill.jsonable import plain
from joulemill.ledger.manifest import Manifest, ModelDescription, RunOptions, StatedDevice
from joulemill.ledger.record import RunRecord
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.site import Site
from joulemill.prediction.question import PredictionRequest
from joulemill.prediction.simulation.cascade import parse_cascade
from joulemill.prediction.simulation.comparing import PolicyRun, compare_policies, site_limit_w
from joulemill.prediction.simulation.playing import Scene
from joulemill.prediction.simulation.scenarios import LATENCIES, POINTS, Scenarios, play_scenarios
from joulemill.recording.writer import write_run
from joulemill.reports.text.simulation import rows
from joulemill.simulation.autoscale import Autoscale, parse_autoscale
from joulemill.simulation.document import document_of
from joulemill.simulation.events import SiteEvents
from joulemill.simulation.power_statistics import VIOLATION_RATIO
from joulemill.simulation.quality import Thinking, parse_thinking, quality_of
from joulemill.simulation.run import SCOPES, PlayedTraffic
from joulemill.simulation.series import CONSTRAINTS, series_columns
from joulemill.simulation.tables import request_columns
from joulemill.simulation.traffic import Traffic

#: Scenarios that intervals of latencies come from where none are stated, and requests up to which they are played.
SCENARIOS, SCENARIO_REQUESTS = 5, 20_000
NO_INTERVALS = "latencies have no interval under a policy: leave the events out to see how far they may be off"
#: Arguments that are those of ``joulemill.predict``.
DEPLOYMENT = (
    *("model", "device", "devices", "tp", "dp", "ep", "precision", "kv_dtype", "engine", "max_num_seqs"),
    *("max_num_batched_tokens", "gpu_memory_utilization", "power_cap_w", "calibration", "approximate"),
    *("prefill_devices", "prefill_tp", "speculative_tokens", "draft_model"),
)
#: Resolutions [s] that are chosen from where none is stated, and points that a series then has at most.
RESOLUTIONS_S, SERIES_POINTS = (0.25, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0), 3600


def simulate(
    model: str | Path,
    device: str | Path | Device,
    *,
    devices: int = 1,
    replicas: int = 1,
    tp: int | None = None,
    dp: int | None = None,
    ep: int | None = None,
    precision: str | None = None,
    kv_dtype: str | None = None,
    engine: str = "vllm",
    max_num_seqs: float | None = None,
    max_num_batched_tokens: float = 8192,
    gpu_memory_utilization: float = 0.9,
    power_cap_w: float | None = None,
    clock_ratio: float = 1.0,
    prefill_devices: int | None = None,
    prefill_tp: int | None = None,
    speculative_tokens: int = 0,
    draft_model: str | None = None,
    trace: str | Path | Traffic | None = None,
    rate_req_s: float | None = None,
    input_tokens: float | str | Sequence[int] = 512,
    output_tokens: float | str | Sequence[int] = 512,
    duration_s: float | None = None,
    requests: int | None = None,
    arrivals: str = "poisson",
    shared_prefix_tok: int | None = None,
    prefix_groups: int = 1,
    speed_ratio: float = 1.0,
    volume_ratio: float = 1.0,
    input_scale_ratio: float = 1.0,
    output_scale_ratio: float = 1.0,
    time_unit: str = "",
    router: str = "least-load",
    rest: str = "loaded",
    autoscale: str | Autoscale | None = None,
    thinking: str | Thinking | None = None,
    cascade: str | None = None,
    accuracy_ratio: float | None = None,
    slo_ttft_s: float | None = None,
    slo_tpot_s: float | None = None,
    site: str | Path | Site | None = None,
    events: str | Path | SiteEvents | None = None,
    resolution_s: float | None = None,
    violation_ratio: float = VIOLATION_RATIO,
    scenarios: int | None = None,
    calibration: str | Path | None = None,
    approximate: bool = False,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> SimulatedDeployment:
    """Play traffic through a deployment and give tokens, latency and power over time.

    model … draft_model   as in ``joulemill.predict``; ``replicas``: so many copies of that deployment
    trace      a file (CSV or JSON Lines with arrival times and lengths, or another tool's result file), or a Traffic;
               ``speed_ratio``, ``volume_ratio``, ``input_scale_ratio``, ``output_scale_ratio`` scale it;
               ``time_unit`` (s, ms, us, ns) where the file does not tell
    rate_req_s requests per second (or sessions), for ``duration_s`` or ``requests``; lengths as numbers,
               distributions ("lognormal:512:p90=1200") or samples; ``arrivals`` as in ``simulation.arrival_spec``
    router     round-robin, least-load, prefix-aware, power-aware
    rest       what idle replicas do: loaded, boost-off, sleep-1:60s, sleep-2:60s, unload:10min
    autoscale  "min=1,max=8,target=16": as many replicas as hold what is there at 16 requests each; see ``Autoscale``
    thinking   "tokens=lognormal:2000:p90=4000,budget=1024,loss=4%": reasoning tokens on top of the outputs (or
               "share=60%" of them), most of a request, and the accuracy that a cut answer loses, as declared
    cascade    "model=Qwen/Qwen3-8B,escalate=30%,devices=1": a model that answers first, and the share of its answers
               that this deployment answers anew; ``accuracy=`` of those that are kept
    accuracy_ratio   share of correct answers of this deployment, as declared
    events     a TOML file: limits of power, weather, load over time; its policies are compared
    scenarios  how many times the traffic is played again for the intervals of latencies; None: 5 for up to 20,000
               requests; 0: none, nor where policies are compared
    Raises InputError, and MemoryShort where the weights do not fit.
    """
    own = device if isinstance(device, Device) else None
    happening = load_events(events) if isinstance(events, (str, Path)) else events or SiteEvents()
    question = PredictionRequest(
        model=str(model),
        device=own.name if own else str(device),
        devices=devices,
        tp=tp,
        dp=dp,
        ep=ep,
        precision=precision,
        kv_dtype=kv_dtype,
        engine=engine,
        max_num_seqs=max_num_seqs,
        max_num_batched_tokens=max_num_batched_tokens,
        gpu_memory_utilization=gpu_memory_utilization,
        power_cap_w=power_cap_w,
        clock_ratio=clock_ratio,
        prefill_devices=prefill_devices,
        prefill_tp=prefill_tp,
        speculative_tokens=speculative_tokens,
        draft_model=draft_model,
        slo_ttft_s=slo_ttft_s,
        slo_tpot_s=slo_tpot_s,
        calibration=str(calibration) if calibration else None,
        facility=site if isinstance(site, Site) else None,
        hardware=own,
        approximate=approximate,
    )
    if not 1 <= replicas <= 100_000:
        raise InputError(f"`replicas` is {replicas}; it must lie between 1 and 100,000")
    options = TrafficOptions(
        trace=trace,
        rate_req_s=rate_req_s,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        duration_s=duration_s,
        requests=requests,
        arrivals=arrivals,
        shared_prefix_tok=shared_prefix_tok,
        prefix_groups=prefix_groups,
        speed_ratio=speed_ratio,
        volume_ratio=volume_ratio,
        input_scale_ratio=input_scale_ratio,
        output_scale_ratio=output_scale_ratio,
        time_unit=time_unit,
        thinking=parse_thinking(thinking, "`thinking`") if isinstance(thinking, str) else thinking,
        seed=seed,
    )
    context = find_model(str(model), approximate=approximate).architecture.max_context
    asked = asked_traffic(options, context_tok=context, start_s=happening.start_s)
    scene = Scene(
        question=question,
        traffic=asked.traffic,
        copies=replicas,
        router=router,
        rest=rest,
        first=parse_cascade(cascade, question, "`cascade`") if cascade else None,
        quality=quality_of(_ratio(accuracy_ratio), asked.thinking),
        events=happening,
        site_path=str(site) if isinstance(site, (str, Path)) else None,
        until_s=asked.duration_s,
        asked_req_s=asked.mean_req_s,
        seed=seed,
    )
    scene = _scaled_by_load(scene, autoscale)
    runs = compare_policies(scene, progress=progress)
    count = scenarios if scenarios is not None else _scenarios(scene)
    policed = len(runs) > 1  # the traffic is played again without any policy: its intervals are not of the run shown
    spread = play_scenarios(scene, count, progress) if count and not policed else None
    notes = (*asked.notes, *((NO_INTERVALS,) if count and policed else ()))
    return SimulatedDeployment(
        scene, runs, spread, notes, resolution_s or _resolution_s(runs[0].run.duration_s), violation_ratio
    )


def _ratio(accuracy_ratio: float | None) -> float | None:
    if accuracy_ratio is not None and not 0.0 < accuracy_ratio <= 1.0:
        raise InputError(f"`accuracy_ratio` is {accuracy_ratio:g}; it must lie between 0 and 1")
    return accuracy_ratio


def _scaled_by_load(scene: Scene, autoscale: str | Autoscale | None) -> Scene:
    """``scene`` with the stated rule, whose most replicas are those that there are."""
    stated = parse_autoscale(autoscale, "`autoscale`") if isinstance(autoscale, str) else autoscale
    if stated is not None and scene.events.autoscale is not None:
        raise InputError("`autoscale` and [autoscale] of the events file: give one of them")
    rule = stated or scene.events.autoscale
    if rule is None:
        return scene
    each = scene.played.deployment.parallelism.replicas
    most = rule.most_count or scene.copies * each
    if scene.copies != 1 and scene.copies * each != most:
        raise InputError(
            f"`replicas` and `autoscale`: max={most} says how many replicas there are; leave `replicas` out"
        )
    if most % each:
        raise InputError(f"`autoscale`: max={most} must be a multiple of {each}, the replicas that `devices` make")
    return replace(scene, copies=most // each, autoscale=rule)


def _scenarios(scene: Scene) -> int:
    return SCENARIOS if scene.traffic.requests_count <= SCENARIO_REQUESTS else 0


def _resolution_s(duration_s: float) -> float:
    return next((r for r in RESOLUTIONS_S if duration_s / r <= SERIES_POINTS), RESOLUTIONS_S[-1])


@dataclass(frozen=True, repr=False)
class SimulatedDeployment(Result):
    """What a deployment did with the traffic. Energy and power carry 80 % intervals from the prediction's errors.

    ``runs``: without a policy first, then one a policy of the events; the figures are of the first policy where there
    is one. ``run`` holds outcomes by request, the replicas' timeline and power in bins of a quarter second.
    """

    scene: Scene
    runs: tuple[PolicyRun, ...]
    spread: Scenarios | None
    traffic_notes: tuple[str, ...]
    resolution_s: float
    violation_ratio: float

    @property
    def shown(self) -> PolicyRun:
        """The run that the figures are of."""
        return self.runs[1] if len(self.runs) > 1 else self.runs[0]

    @property
    def run(self) -> PlayedTraffic:
        """Its values."""
        return self.shown.run

    @cached_property
    def _document(self) -> dict[str, Any]:
        return document_of(self.run, violation_ratio=self.violation_ratio)

    @property
    def _devices_count(self) -> int:
        """Of the deployment, and of the model that answers before it."""
        first, plant = self.run.quality.cascade, self.scene.plant
        return plant.replicas_count * plant.devices_count + (first.devices_count if first else 0)

    @property
    def energy(self) -> ByScope:
        """Joules per output token [J/tok], idle included."""
        part = self._document["energy"]
        return ByScope(*(part[f"{scope}_j_tok"] for scope in SCOPES))

    @property
    def power(self) -> ByScope:
        """Mean power [W]."""
        return ByScope(*(self._power(scope) for scope in SCOPES))

    def _power(self, scope: str) -> Figure:
        energy = self.run.energy_figure(scope, self.run.duration_s, "W")
        return energy if energy.known else unknown("W", energy.reason or "it is not known")

    @property
    def rate_tok_s(self) -> Figure:
        """Output tokens per second over the whole time."""
        rate: Figure = self._document["output"]["rate_tok_s"]
        return rate

    @property
    def latency(self) -> Mapping[str, Mapping[str, float | None]]:
        """``ttft_s``, ``tpot_s``, ``e2e_s``, ``queue_s`` → mean, p50, p90, p99."""
        part: Mapping[str, Mapping[str, float | None]] = self.to_dict()["latency"]
        return part

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why means of this run should not be trusted, if anything speaks against them."""
        return tuple(self._document["doubts"])

    @property
    def notes(self) -> tuple[str, ...]:
        """What was assumed or decided."""
        return (*self.traffic_notes, *self.run.notes)

    @property
    def closure_j(self) -> float:
        """What the meter counts less the sum of its parts: 0 but for rounding."""
        return self.run.closure_j

    @property
    def policies(self) -> list[dict[str, float | bool | str | None]]:
        """One row a policy: limit kept, tokens, latency, joules, money, carbon; the first is without any."""
        return [r.row(self.runs[0].run) for r in self.runs]

    def series(self, of: PolicyRun | None = None) -> dict[str, Any]:
        """Columns over time at ``resolution_s``; ``constraint`` is the code of one of ``CONSTRAINTS``."""
        run = (of or self.shown).run
        power = run.power.coarser(max(self.resolution_s, run.power.bins.width_s))
        return series_columns(run.timeline, run.outcomes, power, run.around.limits, run.controls)

    def all_series(self) -> dict[str, dict[str, Any]]:
        """Series of every run, by policy."""
        return {r.policy: self.series(r) for r in self.runs}

    def requests(self) -> dict[str, Any]:
        """One row a request, as columns."""
        return request_columns(self.run)

    @property
    def headline(self) -> str:
        """The run in one line."""
        return self._line()

    def record(self) -> RunRecord:
        """The record of the run, as of a measured one. Raises InputError where it has too many requests."""
        q = self.scene.question
        count = self._devices_count
        stated = Manifest(
            options=RunOptions(
                rate_req_s=self.scene.asked_req_s or self.run.traffic.requests_count / max(self.run.offered_s, 1e-9),
                slo_ttft_s=q.slo_ttft_s,
                slo_tpot_s=q.slo_tpot_s,
                seed=self.scene.seed,
            ),
            model=ModelDescription(name=q.model),
            device=StatedDevice(name=self.scene.played.deployment.device.name, count=count),
            site=site_table(self.scene.site_path) if self.scene.site_path else None,
            simulated={"deployment": plain(q.document()), "policy": self.shown.policy, "router": self.scene.router},
        )
        return simulated_record(self.run, stated)

    def to_run(self, path: str | Path) -> Run:
        """The run kept in the folder ``path``, opened: its report says as much as that of a measured one."""
        write_run(Path(path), self.record())
        return open_run(path)

    def series_frame(self, backend: str | None = None) -> Any:
        """``series()`` as a dataframe."""
        return frame_of({k: v.tolist() for k, v in self.series().items()}, backend)

    def requests_frame(self, backend: str | None = None) -> Any:
        """One row a request, as a dataframe."""
        return frame_of({k: v.tolist() for k, v in self.requests().items()}, backend)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill simulate --json``."""
        document: dict[str, Any] = plain(self._document)
        for name in LATENCIES:
            document["latency"][name]["interval"] = self._interval(name)
        q, d = self.scene.question, self.scene.played.deployment
        document["notes"] = list(self.notes)
        document["simulation"] = plain(self.shown.timed.document())
        document["deployment"] = plain(q.document()) | {
            "replicas": int(self.run.timeline.replica.max()) + 1,
            "devices": self._devices_count,
            "precision_used": d.precision.name,
            "profile": self.scene.played.profile,
            "router": self.scene.router,
            "rest": self.scene.rest,
            "autoscale": self.scene.autoscale and asdict(self.scene.autoscale),
            "seed": self.scene.seed,
        }
        document["policies"] = plain(self.policies) if len(self.runs) > 1 else []
        document["policy"] = self.shown.policy
        document["resolution_s"] = self.resolution_s
        document["series"] = None
        document["constraints"] = list(CONSTRAINTS)
        document["start_s"] = self.scene.events.start_s
        document["events"] = plain(self._events())
        document["limits"] = {
            "kv_tok": self.run.around.limits.kv_tok,
            "max_num_seqs": self.run.around.limits.max_running_req,
            "full_load_tok_s": self.run.around.limits.full_load_tok_s,
        }
        return document

    def _events(self) -> list[dict[str, Any]]:
        """Events with their times, and the limit of power that each brings [W]; null where it brings none."""
        free = self.runs[0].run
        return [
            {"name": e.name, "start_s": e.start_s, "end_s": e.end_s, "limit_w": site_limit_w(e, free)}
            for e in self.scene.events.events
        ]

    def _interval(self, name: str) -> dict[str, Any] | None:
        if self.spread is None:
            return None
        bounds = {p: self.spread.interval(name, p) for p in POINTS}
        return {p: b and list(b) for p, b in bounds.items()} | {"level": 0.8, "scenarios": len(self.spread.time_ratios)}

    def _line(self) -> str:
        energy = self.energy
        widest = next(f for f in (energy.site, energy.node, energy.device) if f.known)
        d = self.scene.played.deployment
        first = self.scene.first
        before = f"{first.question.model} before {self.scene.question.model}" if first else self.scene.question.model
        return (
            f"{before} on {self._devices_count} × {d.device.label}, {self.run.traffic.requests_count:,} requests "
            f"in {self.run.duration_s:,.0f} s: {widest} at the {self.run.widest_scope}, {self.rate_tok_s}"
        )

    def _rows(self) -> Iterable[tuple[str, str]]:
        yield from rows(self.to_dict())
