"""Traffic as users ask for it: a file, a value, or a rate with lengths; scaled, clipped, with what must be told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path

import numpy as np

from joulemill.errors import InputError
from joulemill.formats.traces.table import MOST_TOK
from joulemill.importers.traffic_files import read_traffic
from joulemill.importers.workload_files import workload_in
from joulemill.simulation.arrival_spec import ArrivalSpec, parse_arrivals
from joulemill.simulation.assembly import parts_of
from joulemill.simulation.demand import (
    MOST_REQUESTS,
    ClosedLoop,
    SharedPrefix,
    TrafficDemand,
    closed_traffic,
    traffic_of,
)
from joulemill.simulation.quality import Thinking, ThinkingEffect, thought
from joulemill.simulation.scaling import clipped, in_length, in_time, in_volume
from joulemill.simulation.traffic import NS_IN_S, Traffic
from joulemill.statistics.lengths import Lengths, parse_lengths, sample_lengths
from joulemill.wording import percent

#: Requests where neither their number nor a duration is stated (assumed: percentiles up to p99 settle).
REQUESTS = 1000
#: More time than asked for is drawn for, so that so many requests come in almost every draw: standard deviations.
ROOM_SD = 6.0


@dataclass(frozen=True, kw_only=True)
class TrafficOptions:
    """What is asked; the arguments of ``joulemill.simulate`` by the same names."""

    trace: str | Path | Traffic | None = None
    rate_req_s: float | None = None
    input_tokens: float | str | Sequence[int] = 512
    output_tokens: float | str | Sequence[int] = 512
    duration_s: float | None = None
    requests: int | None = None
    arrivals: str = "poisson"
    shared_prefix_tok: int | None = None
    prefix_groups: int = 1
    speed_ratio: float = 1.0
    volume_ratio: float = 1.0
    input_scale_ratio: float = 1.0
    output_scale_ratio: float = 1.0
    time_unit: str = ""
    thinking: Thinking | None = None
    seed: int = 0


@dataclass(frozen=True)
class AskedTraffic:
    """The traffic, what was decided on the way, and until when it goes on [s]; 0: to its last request.

    mean_req_s   requests a second as asked; None where a file, or sessions, say when they come
    thinking   what a budget of reasoning tokens did to it
    """

    traffic: Traffic
    notes: tuple[str, ...]
    duration_s: float
    thinking: ThinkingEffect | None = None
    mean_req_s: float | None = None


def asked_traffic(o: TrafficOptions, *, context_tok: int | None, start_s: float = 0.0) -> AskedTraffic:
    """The traffic of ``o``, cut to a model's context. Raises InputError."""
    _check_numbers(o)
    if o.seed < 0:
        raise InputError(f"`seed` is {o.seed}; it must be 0 or more")
    _check_counts(o, context_tok)
    rng = np.random.default_rng(o.seed)
    asked = _generated(o, rng, start_s) if o.trace is None else _from_trace(o, rng)
    if o.thinking is not None:
        asked = _thought(asked, o.thinking, np.random.default_rng([o.seed, 4]))
    return _clipped(asked, context_tok)


def _check_counts(o: TrafficOptions, context_tok: int | None) -> None:
    """InputError for the first count that is none."""
    context = ", the model's context" if context_tok else ""
    for name, count, most, what in (
        ("requests", o.requests, MOST_REQUESTS, ""),
        ("prefix_groups", o.prefix_groups, MOST_REQUESTS, ""),
        ("shared_prefix_tok", o.shared_prefix_tok, context_tok or MOST_TOK, context),
    ):
        if count is None:
            continue
        if isinstance(count, bool) or not isinstance(count, int | np.integer) or not 1 <= count <= most:
            raise InputError(f"`{name}` is {count}; it must be a whole number from 1 to {most:,}{what}")


def _from_trace(o: TrafficOptions, rng: np.random.Generator) -> AskedTraffic:
    if o.rate_req_s is not None:
        raise InputError("`trace` and `rate_req_s`: give one of them; `speed_ratio` makes a trace faster")
    if o.arrivals != "poisson":
        raise InputError("`trace` and `arrivals`: a trace says when its requests come; leave `arrivals` out")
    traffic, notes = _traced(o, rng)
    traffic = in_time(traffic, o.speed_ratio) if o.speed_ratio != 1.0 else traffic
    if o.volume_ratio != 1.0:
        traffic = in_volume(traffic, o.volume_ratio, rng)
    if (o.input_scale_ratio, o.output_scale_ratio) != (1.0, 1.0):
        traffic = in_length(traffic, o.input_scale_ratio, o.output_scale_ratio)
    return AskedTraffic(_first(traffic, o), notes, o.duration_s or 0.0)


def _thought(asked: AskedTraffic, thinking: Thinking, rng: np.random.Generator) -> AskedTraffic:
    """Reasoning is left out of what later turns send, as chat templates do."""
    output_tok, effect = thought(asked.traffic.output_tok, thinking, rng)
    note = f"reasoning: {effect.asked_tok:,.0f} tokens of a request on average"
    if effect.budget_tok is not None:
        left = f"leaves {effect.kept_tok:,.0f} and cuts {percent(effect.cut_ratio)} of them"
        note += f"; the budget of {effect.budget_tok:,} {left}"
    traffic = replace(asked.traffic, output_tok=output_tok)
    return replace(asked, traffic=traffic, notes=(*asked.notes, note), thinking=effect)


def _check_numbers(o: TrafficOptions) -> None:
    """InputError for a rate or a length of time that is no number above 0."""
    for name in ("rate_req_s", "duration_s", "requests"):
        value = getattr(o, name)
        if value is not None and (isinstance(value, bool) or not isinstance(value, Real) or not float(value) > 0.0):
            raise InputError(f"`{name}` is {value!r}; it must be a number above 0")


def _traced(o: TrafficOptions, rng: np.random.Generator) -> tuple[Traffic, tuple[str, ...]]:
    if isinstance(o.trace, Traffic):
        return o.trace, ()
    workload = workload_in(Path(o.trace or ""))
    if isinstance(workload, ClosedLoop):
        requests = o.requests or workload.requests_count or REQUESTS
        about = f"the closed loop of {workload.users_count:,} users that the file configures, {requests:,} requests"
        return closed_traffic(workload, rng, requests), (about,)
    if workload is not None:
        return traffic_of(workload, rng), ("the load that the file configures, generated again",)
    file = read_traffic(Path(o.trace or ""), time_unit=o.time_unit)
    return file.traffic, file.notes


def _first(traffic: Traffic, o: TrafficOptions) -> Traffic:
    """The requests within the duration, and no more than asked for."""
    count = traffic.requests_count
    if o.duration_s is not None:
        count = int(np.searchsorted(traffic.arrival_ns, round(o.duration_s * NS_IN_S)))
    count = min(count, o.requests or count)
    if not count:
        raise InputError("`duration_s` leaves no request of the trace; raise it")
    return traffic if count == traffic.requests_count else parts_of(traffic).picked(np.arange(count)).in_order()


def _clipped(asked: AskedTraffic, context_tok: int | None) -> AskedTraffic:
    short, count = clipped(asked.traffic, context_tok)
    if not count:
        return asked
    what = (
        f"{count:,} of {asked.traffic.requests_count:,} requests were longer than the context of {context_tok:,} tokens"
    )
    notes = (*asked.notes, f"{what} and are shortened to it; the prompt is shortened first")
    return replace(asked, traffic=short, notes=notes)


def _generated(o: TrafficOptions, rng: np.random.Generator, start_s: float) -> AskedTraffic:
    spec = parse_arrivals(o.arrivals)
    _refuse_scaling(o)
    if o.rate_req_s is None and not spec.states_rates:
        raise InputError("name the traffic: `trace`, or `rate_req_s` with `duration_s` or `requests`")
    lengths = lengths_of(o.input_tokens, "`input_tokens`"), lengths_of(o.output_tokens, "`output_tokens`")
    requests = o.requests
    if requests is None and o.duration_s is None and not spec.states_rates:
        requests = REQUESTS
    duration_s = (
        o.duration_s if spec.states_rates or o.duration_s else _duration_s(requests or 1, o.rate_req_s or 1.0, spec)
    )
    profile = spec.profile(o.rate_req_s, duration_s, start_s)
    prefix = None if o.shared_prefix_tok is None else SharedPrefix(o.shared_prefix_tok, o.prefix_groups)
    demand = TrafficDemand(
        profile, *lengths, burstiness_ratio=spec.burstiness_ratio, sessions=spec.sessions(lengths[0]), prefix=prefix
    )
    if demand.sessions and prefix:
        raise InputError("`shared_prefix_tok` and agents in `arrivals`: sessions share what was said in them; drop one")
    traffic = traffic_of(demand, rng, requests=requests)
    ends_s = 0.0 if o.duration_s is None and not spec.states_rates else profile.duration_s
    return AskedTraffic(
        traffic, _lengthened(traffic, prefix), ends_s, mean_req_s=None if demand.sessions else profile.mean_req_s
    )


def _lengthened(traffic: Traffic, prefix: SharedPrefix | None) -> tuple[str, ...]:
    """What is told where prompts as drawn were no longer than the prefix that they begin with."""
    if prefix is None:
        return ()
    count = int(np.count_nonzero(traffic.input_tok == prefix.length_tok + 1))
    if not count:
        return ()
    least = f"the shared prefix of {prefix.length_tok:,} tokens and one of their own"
    return (f"{count:,} of {traffic.requests_count:,} prompts have {least}: none is shorter",)


def _refuse_scaling(o: TrafficOptions) -> None:
    for name in ("speed_ratio", "volume_ratio", "input_scale_ratio", "output_scale_ratio"):
        if getattr(o, name) != 1.0:
            raise InputError(f"`{name}` scales a trace; a rate is scaled by `rate_req_s`, lengths by themselves")
    if o.time_unit:
        raise InputError("`time_unit` is of a trace; leave it out")


def _duration_s(requests: int, rate_req_s: float, spec: ArrivalSpec) -> float:
    """Time in which so many requests come in almost every draw."""
    shape = min(spec.burstiness_ratio, 1e9)
    return (requests + ROOM_SD * math.sqrt(requests / shape) + 10.0) / rate_req_s


def lengths_of(stated: float | str | Sequence[int], name: str) -> Lengths:
    """A distribution of lengths from a number, a specification, or a sample."""
    if isinstance(stated, str):
        return parse_lengths(stated, name)
    if isinstance(stated, (int, float)):
        return parse_lengths(f"{stated:.0f}", name)
    return sample_lengths(stated, name)
