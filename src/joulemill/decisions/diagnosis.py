"""What bound a measured run: every candidate with its evidence, its probability, and what would overturn it. Pure.

A constraint binds where relaxing it raises the rate. Evidence that settles a matter takes its share of the probability
first (1 to 3); what is left is divided by weights ÷ their sum (4, 5). The order of thought:

1.  A client that is late by a share of a request's time measures itself. Nothing else can be said then.
2.  Counters that say so: throttled by power or heat, draw at the limit, preemption, requests refused for want of room
    (these as far as 4 leaves them), neighbors on the server's own CPUs, answers cut by the context.
3.  A stated latency target that is missed: less load would have to be sent, whatever the machine still has.
4.  Does the rate answer to more sequences at once (``Evidence.load_elasticity``)? Where it does, whatever admits them
    binds: the server, if requests wait before it, else the load. An open loop whose server stands empty part of the
    time waits for its load, whatever else is seen. Where it does not answer, the machine binds:
5.  which part of it, by the ceilings (least first, as far as their intervals part them), the host's CPU where the
    machine's own threads or its neighbors are seen to hold it up, or a device that idles while requests wait. What
    reaches a few per cent of its ceiling is not named: then something binds that nobody has listed.

The scales below turn evidence into weights. They are judgements (assumed), the same for every run, and checked on
cases whose truth is known by construction: docs/diagnosis.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from joulemill.decisions.case import ConstraintCase
from joulemill.decisions.evidence import Evidence, keeps_up
from joulemill.decisions.next_measurement import OVERTURNED_BY, would_decide
from joulemill.figure import Basis, Figure, unknown
from joulemill.physics.production.ceilings import DECIDED_RATIO, CeilingValue
from joulemill.statistics.lognormal import probability_less_ratio, quotient
from joulemill.wording import percent

HARDWARE = ("compute", "memory_bandwidth", "interconnect")
CANDIDATES = (
    *("client", "power", "cooling", "latency", "kv_capacity", "demand"),
    *("compute", "memory_bandwidth", "interconnect", "host_cpu"),
)
#: Weight of evidence that speaks clearly, of a mere possibility; and of all that nobody has listed here.
CLEAR, POSSIBLE, UNSEEN = 8.0, 1.0, 0.4
#: A ceiling of an architecture and a datasheet is known to about this factor either way, over its own interval.
MODEL_RATIO = 1.2
#: An open loop in which a single request of those that were due did not end: it may be under way at the window's end.
OPEN_ENDED = 0.25
#: A device that is held back runs at down to this part of its datasheet's clock, inverted (assumed).
CLOCK_RATIO = 2.0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One constraint: its probability, achieved ÷ its ceiling, what was seen for and against, what overturns it."""

    name: str
    probability_ratio: float
    use: Figure
    seen_for: tuple[str, ...]
    seen_against: tuple[str, ...]
    overturned_by: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """``name``: a candidate's, or "undecided", and then ``would_decide`` says what would. Likeliest candidate first."""

    name: str
    probability_ratio: float
    candidates: tuple[Candidate, ...]
    explanation: str
    would_decide: str | None

    @property
    def next_name(self) -> str | None:
        """The second likeliest, where it is likely at all."""
        after = [c for c in self.candidates if c.name != self.name and c.probability_ratio >= 0.01]
        return after[0].name if after else None


def diagnose(evidence: Evidence) -> Diagnosis:
    """Which constraint bound the run that ``seen`` is of."""
    cases = {name: ConstraintCase() for name in CANDIDATES}
    if not evidence.achieved_tok_s.known:
        why = evidence.achieved_tok_s.reason or "no rate was measured"
        ranked = _ranked(cases, evidence, UNSEEN)
        return Diagnosis("undecided", 0.0, ranked, f"Nothing can be said: {why}.", "a run with load")
    for reason in evidence.client_reasons:
        cases["client"].settle(1.0, reason)
    if not evidence.client_reasons:
        late = f"{'; '.join(evidence.client_late)}: too small a share of a request's time to limit the rate"
        cases["client"].argue(0.0, late if evidence.client_late else "on time by every recorded signal")
    answers = _answers(evidence)
    _limits(cases, evidence, _bearing(evidence))
    _neighbors(cases["host_cpu"], evidence)
    _latency(cases["latency"], evidence)
    _admission(cases, evidence, answers)
    unlisted = _machine(cases, evidence, answers)
    return _concluded(_ranked(cases, evidence, UNSEEN + unlisted), evidence)


def _ramp(value: float, low: float, high: float) -> float:
    """0 at ``low``, 1 at ``high``, straight between."""
    return min(max((value - low) / (high - low), 0.0), 1.0)


def _bearing(evidence: Evidence) -> float:
    """How far a lower clock can cost rate: 1 fully, 0 not. Only arithmetic runs on that clock, memory and links do not.

    So a device at its limit wants more sequences, and not more watts, where the rate answers to load; and no watts
    either where memory is what is waited for, or where all of its ceilings are far: farther than the lower clock itself
    puts them.
    """
    answer, phi = evidence.load_elasticity.value, _phi(evidence)
    bearing = 1.0 if answer is None else 1.0 - _ramp(answer, 0.1, 0.4)
    known = {c.name: c.rate_tok_s for c in evidence.ceilings if c.rate_tok_s.value}
    if "compute" in known and "memory_bandwidth" in known:
        slowed = known["compute"].scaled(1.0 / CLOCK_RATIO, known["compute"].unit)
        bearing *= probability_less_ratio(_widened(slowed), _widened(known["memory_bandwidth"]))
    return bearing if phi is None else bearing * _ramp(CLOCK_RATIO * phi, 0.08, 0.2)


def _limits(cases: dict[str, ConstraintCase], evidence: Evidence, bearing: float) -> None:
    held = {"power": evidence.throttle_power_ratio, "cooling": evidence.throttle_thermal_ratio}
    for name, share in held.items():
        if share is not None:
            word = {"power": "its power limit", "cooling": "heat"}[name]
            cases[name].settle(
                bearing * _ramp(share, 0.02, 0.15), f"throttled by {word} {percent(share)} of the window"
            )
    if evidence.limit_use_ratio is not None:
        # A counter that says that the clock was not held outranks a draw that comes near the limit.
        held_ratio = 1.0 if evidence.throttle_power_ratio is None else _ramp(evidence.throttle_power_ratio, 0.0, 0.02)
        text = f"drew {percent(evidence.limit_use_ratio)} of the enforced power limit"
        text += "" if held_ratio else ", which never lowered its clock"
        cases["power"].settle(bearing * held_ratio * _ramp(evidence.limit_use_ratio, 0.92, 0.97), text)
    for name in held:
        use = _use(evidence, name)
        if use.value is not None:
            text = f"drew {percent(use.value)} of what the site states for it"
            cases[name].settle(_ramp(use.value, 0.90, 0.97), text)


def _neighbors(case: ConstraintCase, evidence: Evidence) -> None:
    """A server of our own on this machine loses to its neighbors, unless it has time to spare all the same."""
    if evidence.threads_count is not None and evidence.others_ratio is not None and evidence.others_ratio > 0.1:
        text = f"other processes took {percent(evidence.others_ratio)} of the CPUs that the server computes on"
        case.settle(_ramp(evidence.others_ratio, 0.1, 0.4) * (1.0 - _spare(evidence)), text)


def _spare(evidence: Evidence) -> float:
    """How surely an open loop leaves its server time to spare: where it stands empty, only a request can end that."""
    return 0.0 if evidence.closed or evidence.empty_ratio is None else _ramp(evidence.empty_ratio, 0.05, 0.25)


def _latency(case: ConstraintCase, evidence: Evidence) -> None:
    if evidence.attained_ratio is not None:
        text = f"{percent(evidence.attained_ratio, 1)} of requests met the stated targets"
        case.settle(_ramp(1.0 - evidence.attained_ratio, 0.03, 0.15), text)


def _answers(evidence: Evidence) -> float | None:
    """How surely the rate answers to more sequences at once: 1 yes, 0 no, ½ open; None where nothing tells."""
    elasticity, phi = evidence.load_elasticity, _phi(evidence)
    if elasticity.value is None:
        return None
    ends = (
        [elasticity.value]
        if elasticity.low is None or elasticity.high is None
        else [elasticity.low, elasticity.value, elasticity.high]
    )
    answer = sum(_ramp(e, 0.25, 0.55) for e in ends) / len(ends)
    if elasticity.basis is not Basis.MODELLED or phi is None:
        return answer
    # What a machine far below its ceilings waits for is not in the architecture, so neither is its answer.
    trust = _ramp(phi, 0.15, 0.4)
    return trust * answer + (1.0 - trust) * 0.5


def _elastic(evidence: Evidence) -> str:
    value = evidence.load_elasticity.value
    source = evidence.load_elasticity.source or "by the architecture"
    return f"1 % more sequences at once give {value:.2f} % more tokens ({source})" if value is not None else ""


def _admission(cases: dict[str, ConstraintCase], evidence: Evidence, answers: float | None) -> None:
    kv, demand = cases["kv_capacity"], cases["demand"]
    waits = _waits(evidence)
    elastic = 1.0 if answers is None else answers  # want of room costs rate only where more at once would give more
    beside = "" if answers is None else f"; {_elastic(evidence)}"
    if evidence.preemptions_count:
        kv.settle(elastic, f"{evidence.preemptions_count:.0f} sequences were preempted: KV cache full{beside}")
    if evidence.cut_ratio:
        early = percent(evidence.cut_ratio)
        text = f"{early} of answers ended early, at the end of the context or of what the server allows"
        kv.settle(_ramp(evidence.cut_ratio, 0.02, 0.15), text)
    if evidence.refused_ratio:
        text = (
            f"{percent(evidence.refused_ratio)} of requests were refused: longer than the context, or too many at once"
        )
        weight = 1.0 if keeps_up(evidence, waits) else elastic
        kv.settle(weight * _ramp(evidence.refused_ratio, 0.02, 0.15), text + (beside if weight < 1.0 else ""))
    if waits is not None:
        kv.argue(waits * _fullness(evidence) * elastic, _queue(evidence))
    if not evidence.closed:
        _offered(demand, evidence, waits)
        return
    if waits is not None and waits > 0.5:
        demand.argue(0.0, "requests wait before the server")
    elif answers is None:
        demand.argue(POSSIBLE * 2, "no evidence whether higher concurrency would raise throughput")
    else:
        demand.argue(CLEAR * 2 * answers * (1.0 - (waits or 0.0)), _elastic(evidence))


def _offered(demand: ConstraintCase, evidence: Evidence, waits: float | None) -> None:
    """An open loop: the load binds where the server keeps up with it."""
    if _spare(evidence) > 0.0:
        demand.argue(
            CLEAR * 3 * _spare(evidence), f"no request was in flight {percent(evidence.empty_ratio)} of the time"
        )
    served = evidence.served_ratio
    if served is None:
        return
    text = f"{percent(min(served, 1.0))} of the requests that were due were served in the window"
    if waits is not None:
        text += f", and some waited {percent(waits)} of the time"
    keeps_up = _ramp(served, 0.80, 0.93)
    if evidence.due_count is not None and (1.0 - served) * evidence.due_count < 1.5:
        keeps_up = max(keeps_up, OPEN_ENDED)
    demand.argue(CLEAR * 3 * keeps_up * (1.0 - _ramp(waits or 0.0, 0.3, 0.9)), text)


def _waits(evidence: Evidence) -> float | None:
    """Share of the time in which requests waited: by the server's gauge, else by its slots and what was in flight."""
    if evidence.waiting_ratio is not None:
        return evidence.waiting_ratio
    if evidence.slots_count is not None and evidence.in_flight_count is not None:
        return _ramp(evidence.in_flight_count / evidence.slots_count, 1.05, 1.5)
    return None


def _queue(evidence: Evidence) -> str:
    parts = []
    if evidence.waiting_ratio is not None:
        often, many = evidence.waiting_ratio, evidence.waiting_count or 0
        parts.append(f"requests waited in {percent(often)} of the samples, {many:.1f} on average")
    if evidence.slots_count is not None:
        parts.append(
            f"{evidence.in_flight_count or 0:.1f} were in flight for {evidence.slots_count:.3g} that the server holds"
        )
    if evidence.kv_use_ratio is not None:
        parts.append(f"{percent(evidence.kv_use_ratio)} of the cache was in use")
    return ", ".join(parts)


def _fullness(evidence: Evidence) -> float:
    """Weight of a queue as a sign of full slots or a full cache; a queue alone may also wait for prefill."""
    if evidence.kv_use_ratio is not None and evidence.kv_use_ratio >= 0.9:
        return CLEAR * 4
    running = evidence.running_count if evidence.running_count is not None else evidence.decoding_count
    if evidence.slots_count is not None and running is not None and running >= 0.85 * evidence.slots_count:
        return CLEAR * 2
    return POSSIBLE * 2


def _machine(cases: dict[str, ConstraintCase], evidence: Evidence, answers: float | None) -> float:
    """What is left where the rate does not answer to load, shared among the parts of the machine.

    Returns the weight of what nobody has listed: a machine far below all of its ceilings waits for something else.
    """
    phi = _phi(evidence)
    keeps_up = not evidence.closed and cases["demand"].weight_ratio >= CLEAR
    if keeps_up:
        rest = 0.0
    elif answers is not None:
        rest = CLEAR * 2 * (1.0 - answers)
    else:
        rest = POSSIBLE * 2 if phi is None else max(CLEAR * _ramp(phi, 0.35, 0.7), POSSIBLE)
    rest = _host_part(cases["host_cpu"], evidence, rest)
    lost = _below_ceilings(
        cases, evidence, rest, phi if answers is not None or evidence.threads_count is not None else None
    )
    for name, share, text in _shares(evidence):
        cases[name].argue((rest - lost) * share, text)
    return lost if evidence.threads_count is not None else 0.0


def _below_ceilings(cases: dict[str, ConstraintCase], evidence: Evidence, rest: float, phi: float | None) -> float:
    """What of ``rest`` cannot be a ceiling's, because too little of each is reached; argued for what it may be."""
    if phi is None:
        return 0.0
    if evidence.threads_count is not None:
        # A server on the CPU has no second machine to wait for: its kernels are then below their ceilings, though not
        # by any factor.
        return rest * (1.0 - _ramp(phi, 0.05, 0.15))
    # A device far below its ceilings is held up by something that has none: launches, scheduling, one thread.
    lost = rest * (1.0 - _ramp(phi, 0.1, 0.35))
    if lost > 0.0:
        text = f"saturated at {percent(phi)} of the lowest known hardware ceiling"
        cases["host_cpu"].argue(lost * 0.5, text)
        if (evidence.devices_count or 1.0) > 1.0 and not _use(evidence, "interconnect").known:
            # several devices wait for each other, or for the host: one looks like the other from here
            cases["interconnect"].argue(lost * 0.5, f"{text}; what crosses the links is not metered")
    return lost


def _host_part(case: ConstraintCase, evidence: Evidence, rest: float) -> float:
    """Gives the host's CPU what of ``rest`` it explains, and returns the remainder."""
    part, texts = 0.0, []
    if evidence.others_ratio is not None:
        part = max(part, _ramp(evidence.others_ratio, 0.08, 0.25))
        texts.append(f"other processes took {percent(evidence.others_ratio)} of all CPUs")
    if evidence.steal_ratio is not None and evidence.steal_ratio > 0.02:
        part = max(part, _ramp(evidence.steal_ratio, 0.02, 0.12))
        texts.append(f"the hypervisor withheld {percent(evidence.steal_ratio)}")
    idle, text = _idle_cores(evidence)
    if text:
        part = max(part, idle)
        texts.append(text)
    if evidence.utilization_ratio is not None:
        part = max(part, 1.0 - _ramp(evidence.utilization_ratio, 0.4, 0.75))
        texts.append(f"a device was busy {percent(evidence.utilization_ratio)} of the time")
    if texts:
        case.argue(rest * part, "; ".join(texts))
    return rest * (1.0 - part)


def _idle_cores(evidence: Evidence) -> tuple[float, str]:
    """The server has fewer threads than the machine has CPUs, and keeps all of them busy."""
    threads, cpus, used = evidence.threads_count, evidence.cpus_count, evidence.server_cpu_ratio
    if threads is None or cpus is None or used is None:
        return 0.0, ""
    busy = used * cpus / threads
    text = f"{threads:.0f} server threads of {cpus:.0f} CPUs, busy {percent(min(busy, 1.0))} of the time"
    return (_ramp(busy, 0.6, 0.85) if threads < cpus else 0.0), text


def _shares(evidence: Evidence) -> Iterator[tuple[str, float, str]]:
    """Each part of the machine with its probability to be the least, as far as the ceilings tell."""
    known = {c.name: c for c in evidence.ceilings if c.name in HARDWARE and c.rate_tok_s.value}
    if len(known) < 2:  # one ceiling alone is no comparison: the other may be lower
        for name in ("compute", "memory_bandwidth"):
            yield name, 0.5, _ceiling_text(evidence, name)
        return
    least = {n: min(_less(c, o) for m, o in known.items() if m != n) for n, c in known.items()}
    total = sum(least.values())
    for name, value in least.items():
        yield name, value / total, _ceiling_text(evidence, name)


def _less(a: CeilingValue, b: CeilingValue) -> float:
    return probability_less_ratio(_widened(a.rate_tok_s), _widened(b.rate_tok_s))


def _widened(rate: Figure) -> Figure:
    value = rate.value or 0.0
    low, high = (value if v is None else v for v in (rate.low, rate.high))
    return replace(rate, low=min(low, value) / MODEL_RATIO, high=max(high, value) * MODEL_RATIO)


def _ceiling_text(evidence: Evidence, name: str) -> str:
    use = _use(evidence, name)
    if use.value is None:
        return f"its ceiling is unknown ({use.reason})"
    return f"{percent(use.value)} of its ceiling was reached"


def _use(evidence: Evidence, name: str) -> Figure:
    """Achieved ÷ ceiling."""
    ceiling = next((c.rate_tok_s for c in evidence.ceilings if c.name == name), None)
    if ceiling is None:
        return unknown("1", "no ceiling is stated")
    if ceiling.value == 0:
        return unknown("1", "its ceiling is 0")
    return quotient(evidence.achieved_tok_s, ceiling, "1", "achieved ÷ ceiling")


def _phi(evidence: Evidence) -> float | None:
    uses = [u.value for u in (_use(evidence, n) for n in HARDWARE) if u.value is not None]
    return max(uses) if len(uses) > 1 else None


def _ranked(cases: dict[str, ConstraintCase], evidence: Evidence, unseen: float) -> tuple[Candidate, ...]:
    shares = dict.fromkeys(cases, 0.0)
    left = 1.0
    # A throttled machine misses its targets for that reason, and a late client sees none of this: in this order.
    for stage in (("client",), ("power", "cooling", "host_cpu", "kv_capacity"), ("latency",)):
        strengths = {n: cases[n].settled_ratio for n in stage}
        taken = 1.0 - math.prod(1.0 - s for s in strengths.values())
        for name, strength in strengths.items():
            shares[name] = left * taken * strength / (sum(strengths.values()) or 1.0)
        left *= 1.0 - taken
    total = sum(c.weight_ratio for c in cases.values()) + unseen
    candidates = [
        Candidate(
            n,
            shares[n] + left * c.weight_ratio / total,
            _use(evidence, n),
            c.seen_for,
            c.seen_against,
            OVERTURNED_BY[n],
        )
        for n, c in cases.items()
    ]
    return tuple(sorted(candidates, key=lambda c: -c.probability_ratio))


def _concluded(ranked: tuple[Candidate, ...], evidence: Evidence) -> Diagnosis:
    first, second = ranked[0], ranked[1]
    decided = first.probability_ratio >= DECIDED_RATIO
    sentences = [
        f"{_words(c.name)} ({percent(c.probability_ratio)} likely): {'; '.join(c.seen_for) or 'no evidence for it'}"
        for c in ranked
    ]
    if decided:
        text = f"Bottleneck: {sentences[0]}."
        return Diagnosis(first.name, first.probability_ratio, ranked, text, None)
    some = [t for t, c in zip(sentences, ranked, strict=True) if c.probability_ratio >= 0.1]
    text = "The run does not decide the bottleneck. " + ("Most likely: " + ". Next: ".join(some) + "." if some else "")
    return Diagnosis("undecided", first.probability_ratio, ranked, text.strip(), would_decide(first.name, second.name))


def _words(name: str) -> str:
    return {"kv_capacity": "KV capacity", "host_cpu": "the host's CPU"}.get(name, name.replace("_", " "))
