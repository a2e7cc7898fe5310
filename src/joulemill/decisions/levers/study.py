"""Every lever on a case: what it changes, how surely, ranked; and combinations, evaluated jointly. Pure.

A lever is evaluated by predicting the case with it and without it, so its sign follows from batch, context and phase.
The interval is that of the *ratio*: what both predictions have in common (the model's bias for this family, the
meter's gain) cancels in it. Its half-width is the 80 % quantile of |ln predicted − ln measured| over measured pairs
that differ in a lever of that kind; a lever that no pair holds takes a share of its own effect instead (assumed).
Where nothing changes, the difference is 0, exactly. Effects do not add: a combination is one prediction.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from joulemill.decisions.levers.case import Case, Lever, LeverOutcome, Route, Settings
from joulemill.decisions.levers.on_hardware import PLANT_LEVERS, generation
from joulemill.decisions.levers.on_model import MODEL_LEVERS
from joulemill.decisions.levers.on_serving import SERVING_LEVERS
from joulemill.decisions.levers.outcome import outcome
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure
from joulemill.physics.serving.continuous_batching import Rates

#: Levers without measured pairs: half-width of the interval as a share of the effect [ln], and the least. Assumed.
UNMEASURED_SHARE, UNMEASURED_LEAST = 0.5, 0.05
#: Costs that a combination does not propose unless asked to.
BEYOND_TUNING = frozenset({"retrain", "other model", "hardware", "facility"})
MOST_COMBINED, MOST_TOGETHER = 9, 4
LEVEL = 0.8
#: Combinations whose figures differ by less are one point: far below what a prediction can tell apart. Assumed.
NEAR_RATIO = 0.03
Widths = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A lever's effect, or why it does not apply (then ``after`` is None). Changes are new ÷ old − 1.

    accuracy, answer_change   share of correct answers with it, the change of joules per one, where a route is
                              taken and both models' accuracies are stated; else None
    """

    lever: Lever
    why_not: str | None = None
    after: LeverOutcome | None = None
    energy_change: Figure | None = None
    rate_change: Figure | None = None
    request_change: Figure | None = None
    ttft_change: Figure | None = None
    tpot_change: Figure | None = None
    carbon_change: Figure | None = None
    cost_change: Figure | None = None
    accuracy: Figure | None = None
    answer_change: Figure | None = None


@dataclass(frozen=True)
class Combination:
    """Levers together: the outcome of one prediction, and what J/token the single effects multiplied would give."""

    names: tuple[str, ...]
    after: LeverOutcome
    energy_change_ratio: float
    multiplied_change_ratio: float


@dataclass(frozen=True)
class Study:
    """The case before, every lever, combinations; ``front``: those that no other beats in J/token, tok/s and TPOT.

    Of points of the front that are nearly one, the front has one (``apart``).
    """

    before: LeverOutcome
    effects: tuple[Effect, ...]
    combinations: tuple[Combination, ...]
    front: tuple[Combination, ...]


def all_levers(settings: Settings) -> tuple[Lever, ...]:
    """Every lever, devices of the settings included, in the order in which combinations apply them."""
    devices = tuple(generation(device, node) for device, node in settings.devices)
    return (*devices, *MODEL_LEVERS, *SERVING_LEVERS, *PLANT_LEVERS)


def study(
    case: Case,
    settings: Settings,
    rates: Rates,
    widths: Widths,
    *,
    beyond: frozenset[str] = frozenset(),
    barred: frozenset[str] = frozenset(),
) -> Study:
    """All levers on ``case``, applicable ones ranked by J/token (carbon and price last), and their combinations.

    widths   half-width [ln] by kind of lever;  beyond  costs outside tuning that combinations may use as well;
    barred  names of levers that they may not, as those whose outputs differ
    """
    before = outcome(case, rates)
    effects = [effect(lever, case, settings, before, rates, widths) for lever in all_levers(settings)]
    ranked = sorted(effects, key=_rank)
    free = [e for e in ranked if e.lever.name not in barred and e.lever.cost not in BEYOND_TUNING - beyond]
    together = combined(case, settings, rates, before, free)
    return Study(before, tuple(ranked), together, apart(pareto(together)))


def _rank(effect: Effect) -> tuple[bool, float]:
    change = effect.energy_change
    return effect.after is None, 0.0 if change is None or change.value is None else change.value


def effect(lever: Lever, case: Case, settings: Settings, before: LeverOutcome, rates: Rates, widths: Widths) -> Effect:
    """One lever on one case."""
    changed = lever.apply(case, settings)
    if isinstance(changed, str):
        return Effect(lever=lever, why_not=changed)
    try:
        after = outcome(changed, rates)
    except InputError as error:
        return Effect(lever=lever, why_not=f"it does not fit: {error}")
    if after.scope != before.scope:
        return Effect(
            lever=lever, why_not=f"energy is known at the {after.scope} only, not at the {before.scope} as before"
        )

    def change(of: Callable[[LeverOutcome], float | None]) -> Figure | None:
        return change_figure(of(before), of(after), lever.kind, widths)

    requests = change(lambda o: o.energy_j_req)
    accuracy = None if changed.route is None else routed_accuracy(changed.route, settings)
    return Effect(
        lever=lever,
        why_not=None,
        after=after,
        energy_change=change(lambda o: o.energy_j_tok),
        rate_change=change(lambda o: o.rate_tok_s),
        request_change=requests,
        ttft_change=change(lambda o: o.ttft_s),
        tpot_change=change(lambda o: o.tpot_s),
        carbon_change=change(lambda o: o.carbon_gco2e_tok),
        cost_change=change(lambda o: o.cost_currency_tok),
        accuracy=accuracy,
        answer_change=answer_change(requests, accuracy, settings.accuracy_ratio),
    )


def routed_accuracy(route: Route, settings: Settings) -> Figure | None:
    """Share of correct answers over both models; None where either's is not stated.

    With s of the requests ended by the small model, s·q_small + (1 − s)·q: who decides knows nothing of the answer. A
    cascade's judge may know: at best all that it lets pass is right as far as the small model is (min(s, q_small)), and
    the rest is answered as well as by the model (upper bound).
    """
    q, small, s = settings.accuracy_ratio, settings.small_accuracy_ratio, route.share_ratio
    if q is None or small is None:
        return None
    blind = s * small + (1.0 - s) * q
    best = min(min(s, small) + (1.0 - s) * q, 1.0) if route.cascade else blind
    source = "shares times the stated accuracies; low: the judge knows nothing, high: it lets pass what is right"
    return Figure(blind, "1", Basis.DECLARED, low=min(blind, best), high=max(blind, best), level=None, source=source)


def answer_change(requests: Figure | None, accuracy: Figure | None, before_ratio: float | None) -> Figure | None:
    """Change of joules per correct answer: that of joules per request, by the accuracies before and with the lever."""
    if requests is None or requests.value is None or accuracy is None or not accuracy.value or not before_ratio:
        return None
    low, high = accuracy.low or accuracy.value, accuracy.high or accuracy.value

    def changed_ratio(change_ratio: float, accuracy_ratio: float) -> float:
        return (1.0 + change_ratio) * before_ratio / accuracy_ratio - 1.0

    least = None if requests.low is None else changed_ratio(requests.low, high)
    most = None if requests.high is None else changed_ratio(requests.high, low)
    source = "J/request ÷ share of correct answers"
    value = changed_ratio(requests.value, accuracy.value)
    return Figure(value, "1", Basis.MODELLED, low=least, high=most, level=requests.level, source=source)


def change_figure(old: float | None, new: float | None, kind: str, widths: Widths) -> Figure | None:
    """new ÷ old − 1 with its 80 % interval; None where either is unknown. Equal values differ by 0, exactly."""
    if old is None or new is None or not 0.0 < old < math.inf or not 0.0 < new < math.inf:
        return None
    log = math.log(new / old)
    if abs(log) < 1e-9:
        return Figure(0.0, "1", Basis.MODELLED, low=0.0, high=0.0, level=LEVEL, source="nothing that counts is changed")
    if kind == "declared":
        return Figure(math.expm1(log), "1", Basis.MODELLED, source="arithmetic on what is stated")
    half = widths.get(kind)
    source = f"80 % of measured pairs that differ in {kind}"
    if half is None:
        half = max(UNMEASURED_LEAST, UNMEASURED_SHARE * abs(log))
        source = "no measured pairs: half of the effect, assumed"
    return Figure(
        math.expm1(log),
        "1",
        Basis.MODELLED,
        low=math.expm1(log - half),
        high=math.expm1(log + half),
        level=LEVEL,
        source=source,
    )


def combined(
    case: Case, settings: Settings, rates: Rates, before: LeverOutcome, effects: Sequence[Effect]
) -> tuple[Combination, ...]:
    """Combinations of up to MOST_TOGETHER levers that lower J/token or raise the rate, one of a family, best first.

    The single levers and doing nothing are among them. Case by case, each is one joint prediction.
    """
    useful = [e for e in effects if e.after is not None and _helps(e, before)]
    chosen = _strongest(useful)
    single = {e.lever.name: _gain(e) for e in chosen}
    order = [lever.name for lever in all_levers(settings)]
    chosen.sort(key=lambda e: order.index(e.lever.name))
    combinations = [Combination((), before, 0.0, 0.0)]
    for levers in _sets([e.lever for e in chosen]):
        after = _together(levers, case, settings, rates)
        if after is None or (not after.meets and before.meets):
            continue
        names = tuple(lever.name for lever in levers)
        product = math.prod(single[n] for n in names) - 1.0
        combinations.append(Combination(names, after, after.energy_j_tok / before.energy_j_tok - 1.0, product))
    return tuple(sorted(combinations, key=lambda c: c.after.energy_j_tok))


def _helps(e: Effect, before: LeverOutcome) -> bool:
    after = e.after
    if after is None or (before.meets and not after.meets) or e.lever.family == "length":
        return False
    return after.energy_j_tok < before.energy_j_tok * 0.999 or after.rate_tok_s > before.rate_tok_s * 1.001


def _gain(e: Effect) -> float:
    return 1.0 + ((e.energy_change.value if e.energy_change else None) or 0.0)


def _strongest(useful: Sequence[Effect]) -> list[Effect]:
    """The strongest of each family first, then the next ones, MOST_COMBINED in all."""
    count_of_family: dict[str, int] = {}
    marked = []
    for e in sorted(useful, key=_gain):
        count_of_family[e.lever.family] = count_of_family.get(e.lever.family, 0) + 1
        marked.append((count_of_family[e.lever.family], _gain(e), e.lever.name, e))
    return [m[3] for m in sorted(marked, key=lambda m: m[:3])[:MOST_COMBINED]]


def _sets(levers: Sequence[Lever]) -> Iterator[tuple[Lever, ...]]:
    for size in range(1, MOST_TOGETHER + 1):
        for chosen in combinations(levers, size):
            if len({lever.family for lever in chosen}) == size:
                yield chosen


def _together(levers: Sequence[Lever], case: Case, settings: Settings, rates: Rates) -> LeverOutcome | None:
    """The outcome with all of ``levers``; None where one does not apply after another, or it does not fit."""
    for lever in levers:
        changed = lever.apply(case, settings)
        if isinstance(changed, str):
            return None
        case = changed
    try:
        return outcome(case, rates)
    except InputError:
        return None


def pareto(combinations: Sequence[Combination]) -> tuple[Combination, ...]:
    """Those that no other one equals or beats in J/token, tok/s and TPOT at once, by J/token."""
    values = [(c.after.energy_j_tok, -c.after.rate_tok_s, c.after.tpot_s or 0.0) for c in combinations]
    kept = []
    for i, mine in enumerate(values):
        beaten = any(
            all(o <= m for o, m in zip(other, mine, strict=True)) and (other != mine or j < i)
            for j, other in enumerate(values)
            if j != i
        )
        if not beaten:
            kept.append(combinations[i])
    return tuple(kept)


def distinct(combinations: Sequence[Combination], most_count: int) -> tuple[Combination, ...]:
    """The best combinations that are different ideas: none shares half of its levers with a better one."""
    kept: list[Combination] = []
    for c in combinations:
        if c.names and not any(_alike(set(c.names), set(k.names)) for k in kept):
            kept.append(c)
        if len(kept) == most_count:
            break
    return tuple(kept)


def apart(combinations: Sequence[Combination]) -> tuple[Combination, ...]:
    """``combinations`` without those that are one point with one of fewer levers, or an earlier one of as many: within
    NEAR_RATIO of it in every figure."""
    kept: list[Combination] = []
    for c in sorted(combinations, key=lambda c: len(c.names)):
        if not any(_near(c, k) for k in kept):
            kept.append(c)
    return tuple(c for c in combinations if any(c is k for k in kept))


def _near(one: Combination, other: Combination) -> bool:
    def close(a: float, b: float) -> bool:
        return abs(a - b) <= NEAR_RATIO * max(a, b)

    a, b = one.after, other.after
    close_by = close(a.energy_j_tok, b.energy_j_tok) and close(a.rate_tok_s, b.rate_tok_s)
    return bool(one.names) == bool(other.names) and close_by and close(a.tpot_s or 0.0, b.tpot_s or 0.0)


def headline(e: Effect) -> Figure | None:
    """The change that a lever is ranked by: of J/token, and of J/request where answers change their length.

    An answer of half as many tokens shares its prompt's joules among fewer: J/token rises while the request costs less.
    """
    return e.request_change if e.lever.family == "length" else e.energy_change


def by_use(effects: Sequence[Effect]) -> list[Effect]:
    """Effects from the most useful down: by J/token, and by J/request where a lever changes how long answers are."""

    def change_ratio(e: Effect) -> float:
        change = headline(e)
        return math.inf if change is None or change.value is None else change.value

    return sorted(effects, key=change_ratio)


def first_of_each_idea(effects: Sequence[Effect]) -> list[Effect]:
    """The best lever of each idea: one size of the batch, one device, one format of the weights."""
    ideas: dict[str, Effect] = {}
    for e in effects:
        ideas.setdefault(e.lever.family, e)
    return list(ideas.values())


def _alike(mine: set[str], other: set[str]) -> bool:
    """Two sets of levers that share half or more of the smaller one; sizes of the batch are one idea, and devices."""
    a, b = ({_idea(n) for n in names} for names in (mine, other))
    return 2 * len(a & b) >= min(len(a), len(b))


def _idea(name: str) -> str:
    head = name.partition("-")[0]
    return head if head in ("batch", "device") else name
