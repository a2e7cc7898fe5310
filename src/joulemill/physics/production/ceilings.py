"""Ceilings: every limit on the token rate, in output tok/s, and which one binds. Pure.

    ceiling_r = capacity_r / intensity_r

    compute            K [flop/s]           / c   [flop/tok]
    memory_bandwidth   B [byte/s]           / b   [byte/tok]
    kv_capacity        M [byte]             / m·τ [byte·s/tok]   Little's law: M/m sequences fit, 1/τ tok/s each
    interconnect       L [byte/s]           / l   [byte/tok]
    power              P_IT [W]             / e   [J/tok at the node]
    cooling            Q [W]                / e   [J/tok at the node]   all that a node draws leaves it as heat
    latency            the highest rate at which the target still holds, from (rate, latency) points
    demand             request rate [req/s] · output tokens [tok/req]

All intensities are per *output* token, with prefill's share charged to the output tokens that it serves. e, c, b and τ
depend on the load: pass them at full load. An unknown ceiling never binds; it is listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from joulemill.figure import Figure, unknown
from joulemill.statistics.lognormal import probability_less_ratio, product, quotient
from joulemill.wording import quantity

RATE = "tok/s"
#: Below this probability that the least ceiling really is the least, the order counts as not decided.
DECIDED_RATIO = 0.8


@dataclass(frozen=True)
class CeilingValue:
    """One limit on the token rate [tok/s], its two parts where it has them, and what was seen for or against it."""

    name: str
    rate_tok_s: Figure
    capacity: Figure | None = None
    intensity: Figure | None = None
    evidence: str | None = None


@dataclass(frozen=True, kw_only=True)
class BindingValue:
    """The active constraint.

    name               the least ceiling, "undecided" where the data do not decide, "unknown" where none is known
    rate_tok_s         the least ceiling's rate
    margin_ratio       next ceiling ÷ least − 1
    probability_ratio  that the least is below the next, from their intervals (None with fewer than two)
    slack              by ceiling: ceiling ÷ achieved − 1 (unknown without an achieved rate)
    refuted            ceilings that the achieved rate exceeds beyond their interval: their capacity is understated
    unknown            ceilings that could not be stated
    """

    name: str
    rate_tok_s: Figure
    margin_ratio: Figure
    next_name: str | None
    explanation: str
    probability_ratio: float | None = None
    slack: tuple[tuple[str, Figure], ...] = ()
    refuted: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    would_decide: str | None = None


def ceiling(name: str, capacity: Figure, intensity: Figure, evidence: str | None = None) -> CeilingValue:
    """capacity ÷ intensity as a ceiling. A zero intensity is no limit: the rate is unknown, with that reason."""
    if intensity.value == 0:
        rate = unknown(RATE, f"no output token needs any of it ({intensity.unit} is 0), so it is no limit")
    else:
        rate = quotient(capacity, intensity, RATE, f"{capacity.unit} ÷ {intensity.unit}")
    return CeilingValue(name, rate, capacity, intensity, evidence)


def compute_ceiling(peak_flop_s: Figure, work_flop_tok: Figure, evidence: str | None = None) -> CeilingValue:
    """Arithmetic: peak in the dtype that the work runs in ÷ flop per output token, prefill's share included."""
    return ceiling("compute", peak_flop_s, work_flop_tok, evidence)


def memory_bandwidth_ceiling(
    bandwidth_byte_s: Figure, traffic_byte_tok: Figure, evidence: str | None = None
) -> CeilingValue:
    """Main memory: bandwidth ÷ bytes moved per output token (weights ÷ batch, KV, activations)."""
    return ceiling("memory_bandwidth", bandwidth_byte_s, traffic_byte_tok, evidence)


def interconnect_ceiling(
    bandwidth_byte_s: Figure, traffic_byte_tok: Figure, evidence: str | None = None
) -> CeilingValue:
    """Links between devices: bandwidth ÷ bytes per output token. One device sends nothing: no limit."""
    return ceiling("interconnect", bandwidth_byte_s, traffic_byte_tok, evidence)


def kv_capacity_ceiling(
    memory_byte: Figure, sequence_byte: Figure, step_s_tok: Figure, evidence: str | None = None
) -> CeilingValue:
    """Cache: M/m sequences fit at once, and each makes one token per τ seconds (Little's law), so M/(m·τ).

    memory_byte    room for the cache [byte]; sequence_byte: one sequence at its mean length while it lives [byte]
    step_s_tok     time per output token of one sequence at that concurrency [s/tok], its prefill spread over its tokens
    """
    held = product(sequence_byte, step_s_tok, "byte·s/tok", "bytes of one sequence × seconds per token")
    return ceiling("kv_capacity", memory_byte, held, evidence)


def power_ceiling(it_limit_w: Figure, node_j_tok: Figure, evidence: str | None = None) -> CeilingValue:
    """Delivered power: what the IT equipment may draw ÷ node J/tok."""
    return ceiling("power", it_limit_w, node_j_tok, evidence)


def cooling_ceiling(cooling_limit_w: Figure, node_j_tok: Figure, evidence: str | None = None) -> CeilingValue:
    """Heat: what can be removed from the IT equipment ÷ node J/tok; all that a node draws becomes heat."""
    return ceiling("cooling", cooling_limit_w, node_j_tok, evidence)


def demand_ceiling(request_rate_req_s: Figure, output_tok_req: Figure, evidence: str | None = None) -> CeilingValue:
    """What is asked for: offered requests per second × output tokens per request."""
    rate = product(request_rate_req_s, output_tok_req, RATE, "req/s × tok/req")
    return CeilingValue("demand", rate, request_rate_req_s, None, evidence)


def latency_ceiling(points: Sequence[tuple[float, float]], target_s: float, like: Figure) -> CeilingValue:
    """The highest rate at which latency still meets ``target_s``, from (rate [tok/s], latency [s]) points.

    Points are sorted by rate; the ceiling lies where latency first crosses the target, interpolated linearly, with the
    two points around the crossing as its interval. Where even the lowest load misses the target, that load's rate is an
    upper bound (low = 0); where every load meets it the ceiling lies above them: unknown. ``like`` lends basis, source.
    """
    ordered = sorted(points)
    met = 0
    while met < len(ordered) and ordered[met][1] <= target_s:
        met += 1
    if met == len(ordered):
        text = f"met at every load seen, up to {ordered[-1][0]:.4g} tok/s" if ordered else "not seen at any load"
        return CeilingValue("latency", unknown(RATE, f"the latency target of {target_s:g} s was {text}"))
    high, latency = ordered[met]
    if met == 0:
        evidence = f"the target of {target_s:g} s is missed even at the lowest load seen; the ceiling is an upper bound"
        return CeilingValue(
            "latency", Figure(high, RATE, like.basis, low=0.0, high=high, source=like.source), evidence=evidence
        )
    low, met_latency = ordered[met - 1]
    value = low + (target_s - met_latency) / (latency - met_latency) * (high - low)
    evidence = f"{met_latency:.3g} s at {low:.4g} tok/s, {latency:.3g} s at {high:.4g} tok/s; target {target_s:g} s"
    return CeilingValue(
        "latency", Figure(value, RATE, like.basis, low=low, high=high, source=like.source), evidence=evidence
    )


def binding(ceilings: Sequence[CeilingValue], achieved_tok_s: Figure | None = None) -> BindingValue:
    """Which ceiling binds: the least known one, by name, with the margin to the next and every ceiling's slack.

    "undecided" where the intervals of the least two leave the order open (probability below ``DECIDED_RATIO``), or
    where the achieved rate exceeds the least ceiling beyond its interval: a ceiling that was broken through is stated
    too low, and might bind at its true height.
    """
    known = sorted((c for c in ceilings if c.rate_tok_s.value is not None), key=_height)
    missing = tuple(c.name for c in ceilings if c.rate_tok_s.value is None)
    slack = tuple((c.name, _slack(c.rate_tok_s, achieved_tok_s)) for c in ceilings)
    if not known:
        nothing = unknown(RATE, "no ceiling is known")
        return BindingValue(
            name="unknown",
            rate_tok_s=nothing,
            margin_ratio=unknown("1", "no ceiling is known"),
            next_name=None,
            explanation="No ceiling is known.",
            unknown=missing,
        )
    least, following = known[0], known[1] if len(known) > 1 else None
    margin = _margin(least, following)
    probability = None if following is None else probability_less_ratio(least.rate_tok_s, following.rate_tok_s)
    refuted = tuple(c.name for c in known if _is_refuted(c.rate_tok_s, achieved_tok_s))
    name, would_decide = _verdict(least, following, probability, refuted)
    return BindingValue(
        name=name,
        rate_tok_s=least.rate_tok_s,
        margin_ratio=margin,
        next_name=None if following is None else following.name,
        explanation=_explain(name, least, following, missing, refuted),
        probability_ratio=probability,
        slack=slack,
        refuted=refuted,
        unknown=missing,
        would_decide=would_decide,
    )


def _height(c: CeilingValue) -> float:
    return float("inf") if c.rate_tok_s.value is None else c.rate_tok_s.value


def _margin(least: CeilingValue, following: CeilingValue | None) -> Figure:
    if following is None:
        return unknown("1", "only one ceiling is known")
    ratio = quotient(following.rate_tok_s, least.rate_tok_s, "1", "next ceiling ÷ least − 1")
    return ratio.mapped(lambda x: x - 1, "1")


def _slack(rate: Figure, achieved: Figure | None) -> Figure:
    if achieved is None or achieved.value is None:
        return unknown("1", "no achieved rate")
    return quotient(rate, achieved, "1", "ceiling ÷ achieved − 1").mapped(lambda x: x - 1, "1")


def _is_refuted(rate: Figure, achieved: Figure | None) -> bool:
    if achieved is None or achieved.value is None or rate.value is None:
        return False
    least_achieved = achieved.value if achieved.low is None else achieved.low
    return least_achieved > (rate.value if rate.high is None else rate.high) * (1 + 1e-9)


def _verdict(
    least: CeilingValue, following: CeilingValue | None, probability: float | None, refuted: tuple[str, ...]
) -> tuple[str, str | None]:
    if least.name in refuted:
        return (
            "undecided",
            f"a better capacity or intensity for {_words(least.name)}: the achieved rate exceeds this ceiling",
        )
    if probability is not None and probability < DECIDED_RATIO and following is not None:
        return "undecided", f"narrower intervals for {_words(least.name)} and {_words(following.name)}"
    return least.name, None


def _explain(
    name: str,
    least: CeilingValue,
    following: CeilingValue | None,
    missing: tuple[str, ...],
    refuted: tuple[str, ...],
) -> str:
    text = f"The lowest known ceiling is {_words(least.name)}, {_rate_text(least)}"
    if following is not None:
        text += f"; next is {_words(following.name)} at {_rate_text(following)}"
    if least.name in refuted:
        text += "; the achieved rate is above the lowest, so that one is stated too low"
    elif name == "undecided":
        text += "; the data do not decide"
    return text + (f". Unknown: {', '.join(_words(m) for m in missing)}." if missing else ".")


def _rate_text(ceiling: CeilingValue) -> str:
    """Its rate as tables of ceilings print it."""
    return quantity(ceiling.rate_tok_s.value, RATE)


def _words(name: str) -> str:
    return name.replace("_", " ").replace("kv", "KV")
