"""What a plan's figures are called and how its prices are words: for the terminal and the page alike. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from joulemill.fleet.study import PlanStudy, Shortage, TargetPrice
from joulemill.planning.prices import LimitPrice
from joulemill.planning.robustness import ScenarioLoss
from joulemill.wording import digits, percent

#: Goal's value → (unit that people read, factor to it).
SAID = {
    "tok/s": ("tok/s", 1.0),
    "W": ("W", 1.0),
    "gCO2e/s": ("kg CO2e/h", 3.6),
    "currency/s": ("/h", 3600.0),
    "devices": ("devices", 1.0),
    "weighted": ("weighted", 1.0),
}
LIMITS = {
    "it_power": "IT power",
    "facility_power": "feed power",
    "cooling": "cooling",
    "devices": "devices",
    "demand": "demand",
    "least_demand": "demand that must be served",
    "carbon": "carbon",
    "budget": "budget",
    "racks": "racks",
    "slo_ttft": "time to first token",
    "slo_tpot": "time per output token",
    "deployment": "devices that hold the model",
}
#: What the frontier is the best of.
FRONTIER_IS = "all power limits scaled together, fractional replicas, no demand that must be served"
TONNE_G = 1e6
_STEPS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def prefixed(value: float, unit: str, significant: int = 3) -> str:
    """2.1e6 tok/s → 2.10 Mtok/s; counts and money without prefix.

    >>> prefixed(2.1e6, "tok/s"), prefixed(30e6, "W"), prefixed(1234.0, "devices")
    ('2.10 Mtok/s', '30.0 MW', '1,234 devices')
    >>> prefixed(2.5e6, "gCO2e")
    '2.50 tCO2e'
    """
    if unit == "gCO2e" and abs(value) >= TONNE_G:
        return f"{digits(value / TONNE_G, significant)} tCO2e"
    if unit not in ("tok/s", "W", "J", "gCO2e", "s"):
        return f"{_count(value, significant)} {unit}".strip()
    if unit == "s":
        return f"{digits(value * 1e3, significant)} ms" if abs(value) < 1.0 else f"{digits(value, significant)} s"
    factor, prefix = next((s for s in _STEPS if abs(value) >= s[0] * 0.9995), (1.0, ""))
    return f"{digits(value / factor, significant)} {prefix}{unit}"


def _count(value: float, significant: int) -> str:
    if abs(value) >= 10**significant or value == round(value):
        return f"{value:,.0f}"
    return digits(value, significant)


def goal_text(value: float | None, unit: str, *, sign: bool = False, money: str = "currency") -> str:
    """A goal's value, or with ``sign`` a change of it."""
    if value is None:
        return "unknown"
    name, factor = SAID[unit]
    plus = "+" if sign and value > 0.0 else "−" if value < 0.0 else ""
    if name == "/h":
        return f"{plus}{digits(abs(value) * factor)} {money} an hour" if value else "0"
    text = prefixed(abs(value) * factor, name)
    return f"{plus}{text}" if value else "0"


def step_of(price: LimitPrice) -> float:
    """An amount of a limit that people think in: 1 MW of 30 MW, 1 kW of 20 kW, one device."""
    if price.unit in ("devices", "racks"):
        return 1.0
    size = abs(price.value)
    return next((s for s in (1e9, 1e6, 1e3) if size >= 2.0 * s), 1.0)


def where(name: str, subject: str) -> str:
    """A limit and whose it is."""
    words = LIMITS.get(name, name)
    if not subject:
        return words
    return (
        f"{words} of {subject}"
        if name in ("demand", "least_demand", "slo_ttft", "slo_tpot")
        else f"{words} at {subject}"
    )


def price_sentence(price: LimitPrice, goal_unit: str, money: str = "currency") -> str:
    """ "1 MW more of IT power at oslo: +2.10 Mtok/s, valid up to +4.3 MW"; of what is left over, how much."""
    step = step_of(price)
    more = _more(price, step, money)
    if not price.active and not price.shadow_price:
        return f"{more}: 0 ({_amount(price.slack, price, money)} left)"
    if price.shadow_price is None:
        return f"{more}: unknown"
    if not price.shadow_price:
        if price.held_whole:
            return (
                f"{more}: 0 (none left; more changes nothing for these replicas, but may for others: try it with --set)"
            )
        return f"{more}: 0 (none left, but more of this alone changes nothing: another limit is active as well)"
    change = goal_text(price.shadow_price * step, goal_unit, sign=True, money=money)
    return f"{more}: {change}{_range(price, money)}"


def _amount(value: float, price: LimitPrice, money: str, significant: int = 3) -> str:
    return prefixed(value, money if price.unit == "currency" else price.unit, significant)


def worth_saying(prices: Sequence[LimitPrice]) -> list[LimitPrice]:
    """The prices without those of floors under a demand that is the whole demand, and costs nothing."""
    return [p for p in prices if p.name != "least_demand" or p.shadow_price]


def _more(price: LimitPrice, step: float, money: str) -> str:
    """ "1 MW more of IT power at oslo", "one device more in oslo-h100"."""
    if price.name == "devices":
        return f"one device more in {price.subject}"
    if price.name == "racks":
        return f"one rack more at {price.subject}"
    peak = " in its peak hour" if price.by_hour and price.name in ("demand", "least_demand") else ""
    return f"{_amount(step, price, money, 1)} more of {where(price.name, price.subject)}{peak}"


def _range(price: LimitPrice, money: str) -> str:
    if price.valid_to is None:
        return ", without end" if price.valid_from is not None else ""
    return f", valid up to +{_amount(max(price.valid_to - price.value, 0.0), price, money)}"


def target_sentence(target: TargetPrice, goal_unit: str, money: str = "currency") -> str:
    """What a looser latency target brings."""
    change = goal_text(target.gain, goal_unit, sign=True, money=money)
    return f"{prefixed(target.step_s, 's')} more of {where(target.name, target.subject)}: {change}"


def shortage_sentence(short: Shortage) -> str:
    """What is short, in its own unit."""
    named = where(short.name, short.subject)
    if short.name == "deployment":
        return f"demand {short.subject}: no device of the plan holds a model that may serve it"
    if short.name.startswith("slo_"):
        if short.amount is None:
            return f"{named}: no deployment meets this and the other targets of {short.subject} together"
        best = prefixed(short.value + short.amount, "s")
        return f"{named}: {prefixed(short.amount, 's')} short; the fastest deployment reaches {best}"
    stated = prefixed(short.value, short.unit).removesuffix(" devices")
    if short.amount is None:
        return f"{named}: {stated}; it alone cannot make up for what is short"
    amount = prefixed(short.amount, short.unit)
    return (
        f"{named}: {stated}; {amount} less of it alone would suffice"
        if short.less
        else f"{named}: {stated}; {amount} more alone would do"
    )


def currency(plan: PlanStudy) -> str:
    """The currency that all sites state; else "currency"."""
    named = {s.currency for s in plan.file.tables.site}
    return named.pop() or "currency" if len(named) == 1 else "currency"


def served_text(loss: ScenarioLoss) -> str:
    """What a plan serves in a worse case: all tokens, and the share of the stated demand that is missing."""
    if loss.served_tok_s is None or loss.lost_ratio is None:
        return "cannot be run"
    served = prefixed(loss.served_tok_s, "tok/s")
    return f"{served}, {percent(loss.lost_ratio, 1)} of the demand not served" if loss.asked_tok_s else served


def _known_how(plan: PlanStudy) -> str:
    """How the figures of a plan are known: modelled, and what the prediction's interval would leave of the tokens."""
    worst = next((x for x in plan.losses if x.scenario.at_worst and x.scenario.demand_ratio == 1.0), None)
    if worst is None or worst.served_tok_s is None:
        return "modelled"
    return f"modelled; {prefixed(worst.served_tok_s, 'tok/s')} with the prediction at its worst"


def headline(plan: PlanStudy) -> str:
    """The plan in one sentence."""
    if plan.use is None:
        return (
            f"{plan.file.tables.name}: no plan can be" if plan.shortages else f"{plan.file.tables.name}: {plan.status}"
        )
    watts = sum(float(s.it_w.max()) for s in plan.use.sites)
    goal = goal_text(plan.value, plan.goals[0].unit, money=currency(plan))
    devices = sum(float(p.busy_count.max()) for p in plan.use.pools)
    made_rate = prefixed(plan.use.rate_tok_s, "tok/s")
    rate = "" if goal == made_rate else f" for {made_rate}"
    if plan.goals[0].name == "tokens" and rate:
        goal, rate = made_rate, f" (worth {goal})"
    where = f"on {devices:,.0f} devices at {prefixed(watts, 'W')} of IT power"
    return f"{plan.file.tables.name}: {goal}{rate} {where} ({_known_how(plan)})"
