"""The record of a run: what was really seen, as values. Everything a report says is computed from this.

A run folder (``joulemill.recording.writer``) is this record on disk; a recorded, imported, simulated or monitored run
becomes the same value. Pure: nothing here reads a clock or a file. Two clocks stand side by side: ``*_mono_s`` is
the client's monotonic clock (all differences are taken on it), ``*_wall_s`` is Unix time (for joining with others).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from joulemill.figure import Basis
from joulemill.ledger.manifest import Manifest


class Scope(StrEnum):
    """Where energy is counted. device ⊂ node ⊂ rack ⊂ site; overlapping scopes are never added.

    ``cpu`` and ``memory`` are parts of a node beside its devices (RAPL package, RAPL DRAM).
    """

    CPU = "cpu"
    MEMORY = "memory"
    DEVICE = "device"
    NODE = "node"
    RACK = "rack"
    SITE = "site"


class Quantity(StrEnum):
    """What a reading's number means.

    ``energy`` is a counter in J since an arbitrary start; ``power`` an average or instant in W. ``foreign_use`` is the
    most that processes other than the server's can have had of a device's work, 0–1.
    """

    ENERGY = "energy_j"
    POWER = "power_w"
    POWER_LIMIT = "power_limit_w"
    CLOCK = "clock_hz"
    TEMPERATURE = "temperature_c"
    THROTTLE_POWER = "throttle_power_s"
    THROTTLE_THERMAL = "throttle_thermal_s"
    UTILIZATION = "utilization_ratio"
    HEAT_REMOVED = "heat_removed_w"
    FOREIGN_USE = "foreign_use_ratio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One thing that a meter reads: one counter or gauge of one device.

    id            unique in the run, e.g. ``nvml:GPU-3f…:energy``
    meter         the meter's SPEC, e.g. ``nvml``, ``rapl``, ``declared``
    device        the physical thing, by UUID or stable name, e.g. ``GPU-3f…``, ``package-0``
    scope         where it counts
    quantity      what the number is
    basis         ``measured`` for a sensor; ``declared``/``datasheet``/``modelled`` for a power model
    resolution    smallest step of the reading, in its unit; None unknown
    update_period_s   how often the sensor itself updates; None unknown
    max_range     where a counter wraps to 0, in its unit; None: it does not
    rel_error     stated relative uncertainty of the sensor or model (half width at 95 %); None unknown
    clock_skew_s  bound on the offset between the meter's clock and ours; 0: a local sensor; None: unbounded
    includes      ids of channels whose energy is already inside this one (psys ⊇ package): never add them
    source        where the facts above come from
    sampled_ratio share of the time in which the sensor looks; None: all of it, or unknown
    limit_w       power limit (TDP) by the data sheet of what the meter says the board is; None unknown
    """

    id: str
    meter: str
    device: str
    scope: Scope
    quantity: Quantity
    basis: Basis
    resolution: float | None = None
    update_period_s: float | None = None
    max_range: float | None = None
    rel_error: float | None = None
    clock_skew_s: float | None = 0.0
    includes: tuple[str, ...] = ()
    source: str | None = None
    sampled_ratio: float | None = None
    limit_w: float | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """One number read from a channel at one time. ``value`` None: the read failed, ``error`` says how."""

    channel: str
    t_mono_s: float
    t_wall_s: float
    value: float | None
    error: str | None = None


class RequestOutcome(StrEnum):
    """How a request ended. Only ``ok`` delivers tokens that count."""

    OK = "ok"
    TIMEOUT = "timeout"
    HTTP_ERROR = "http_error"
    CONNECTION_ERROR = "connection_error"
    CUT_SHORT = "cut_short"
    NO_USAGE = "no_usage"
    NO_TOKENS = "no_tokens"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRecord:
    """One request as the client saw it. Times are on the monotonic clock; None where it never came to that.

    scheduled_mono_s   when the load plan wanted it sent; latency "from schedule" starts here
    dispatched_mono_s  when it was really sent
    first_byte_mono_s, first_token_mono_s, last_token_mono_s, end_mono_s
    chunk_mono_s       arrival of each content chunk (chunks are not tokens)
    prompt_tok, cached_tok, output_tok, reasoning_tok    the server's own ``usage``; None where it gave none
    phase              name of the phase it was sent in ("calibrate", "warmup", "load", "quality")
    history_tok        prompt and output tokens of the conversation's earlier turns, which a cache may hold by design
    """

    id: str
    phase: str
    scheduled_mono_s: float
    dispatched_mono_s: float | None
    first_byte_mono_s: float | None
    first_token_mono_s: float | None
    last_token_mono_s: float | None
    end_mono_s: float | None
    outcome: RequestOutcome
    prompt_tok: int | None = None
    cached_tok: int | None = None
    output_tok: int | None = None
    reasoning_tok: int | None = None
    chunk_mono_s: tuple[float, ...] = ()
    asked_prompt_tok: int | None = None
    asked_output_tok: int | None = None
    finish_reason: str | None = None
    http_status: int | None = None
    retries: int = 0
    error: str | None = None
    history_tok: int | None = None


@dataclass(frozen=True, slots=True)
class ServerSample:
    """The server's own metrics at one time, under our canonical names (the dialect maps them).

    Counters: ``prompt_tok_total`` (served), ``prompt_computed_tok_total``, ``prompt_cached_tok_total``,
    ``output_tok_total``, ``preemptions_total``, ``spec_draft_tok_total``, ``spec_accepted_tok_total``,
    ``prefill_s_total``, ``decode_s_total``.
    Requests
    that ended: ``requests_total``; seconds summed over requests, and over how many: ``ttft_s_total``,
    ``ttft_count_total``, ``tpot_s_total``, ``tpot_count_total``.
    Gauges: ``running_req``, ``waiting_req``, ``kv_use_ratio``, ``kv_capacity_tok``. A name the server lacks is absent.
    """

    t_mono_s: float
    t_wall_s: float
    values: Mapping[str, float]
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineSample:
    """How busy the client's machine was: shares of all CPUs since the sample before, and pressure.

    cpu_busy_ratio    non-idle share of all CPUs, 0–1;  steal_ratio  share taken by the hypervisor
    own_cpu_ratio     share used by this process and by the embedded server (all CPUs = 1)
    server_cpu_ratio  share used by the embedded server alone; None where it is not ours
    psi_some_ratio    /proc/pressure/cpu "some" share over the interval; None where the kernel has none
    loop_lag_s        worst event-loop lag since the sample before
    client_cpu_ratio  share of ONE core used by the client process (its limit is 1)
    """

    t_mono_s: float
    t_wall_s: float
    load1: float | None
    cpu_busy_ratio: float | None
    steal_ratio: float | None
    own_cpu_ratio: float | None
    server_cpu_ratio: float | None
    psi_some_ratio: float | None
    loop_lag_s: float | None
    client_cpu_ratio: float | None


@dataclass(frozen=True, slots=True)
class Phase:
    """A part of the run: "idle", "calibrate", "warmup", "load", "drain", "quality". ``end`` None: interrupted."""

    name: str
    start_mono_s: float
    start_wall_s: float
    end_mono_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityAnswer:
    """One question of the quality set and how the answer scored (0–1)."""

    request_id: str
    task: str
    question_id: str
    scorer: str
    expected: str
    answer: str | None
    score: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A whole run.

    manifest  what the run states of itself (``run.json``)
    status    "complete", "interrupted" or "failed"; ``status_reason`` says why
    """

    manifest: Manifest
    channels: tuple[Channel, ...] = ()
    readings: tuple[Reading, ...] = ()
    requests: tuple[RequestRecord, ...] = ()
    server: tuple[ServerSample, ...] = ()
    machine: tuple[MachineSample, ...] = ()
    phases: tuple[Phase, ...] = ()
    quality: tuple[QualityAnswer, ...] = ()
    events: tuple[Mapping[str, Any], ...] = field(default=())
    status: str = "complete"
    status_reason: str | None = None

    def phase(self, name: str) -> Phase | None:
        """The last phase called ``name``, or None."""
        matching = [p for p in self.phases if p.name == name]
        return matching[-1] if matching else None
