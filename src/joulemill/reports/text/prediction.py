"""A prediction as people read it: what it misses, what it does, what limits it, what more would bring. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from joulemill.figure import Figure
from joulemill.physics.production.prediction import Prediction
from joulemill.prediction.question import Answer
from joulemill.reports.text.architecture import architecture_lines
from joulemill.wording import interval, quantity

#: Half-width of an interval, as a logarithm, from which two digits say all that is known.
WIDE = 0.1
TOK_MILLION = 1e6


def lines(found: Answer, explain: bool) -> Iterator[str]:
    """The page, line by line; what is missed comes first."""
    q, p, cut = found.question, found.prediction, found.deployment.parallelism
    for missed in found.short_by:
        yield f"DOES NOT MEET WHAT IS ASKED: {missed.text}"
    if found.short_by:
        yield f"Shown is what the limits leave: {_left(found)}"
        yield ""
    yield (
        f"{q.model} in {found.deployment.precision.name} on {q.devices} × {found.deployment.device.label} "
        f"(tp {cut.tensor}, dp {cut.data}, ep {cut.expert}, replicas {cut.replicas}), {found.profile}"
    )
    flight = f"{p.batch.batch_req:.0f} in flight per replica: {p.batch.why}"
    yield from architecture_lines(found.deployment.architecture, found.deployment.precision)
    yield f"{q.input_tokens:g} tokens in, {q.output_tokens:g} out; {flight}"
    yield ""
    yield from _figures(p)
    yield ""
    yield f"What limits it: {p.binding.explanation}"
    for c in sorted(p.ceilings, key=lambda c: c.rate_tok_s.value or math.inf):
        yield f"  {c.name:<22}{said(c.rate_tok_s)}"
    yield f"  {'Φ, rate ÷ least':<22}{said(p.phi)}"
    yield ""
    yield from _more(p)
    if explain:
        yield from _explained(p)
    for note in found.every_note:
        yield f"note: {note}"


def _left(found: Answer) -> str:
    p = found.prediction
    each = f"{p.batch.batch_req:.0f} in flight per replica"
    if p.held_ratio == 1.0:
        return f"{each}."
    return f"{p.held_ratio:.0%} of what all devices would do, as many devices as the site feeds, {each}."


def _figures(p: Prediction) -> Iterator[str]:
    site = p.site
    for label, figure in (
        ("token rate", p.rate_tok_s), ("devices", p.device_j_tok), ("node", p.node_j_tok),
        ("site", site.site_j_tok if site else None), ("devices' power", p.device_power_w),
        ("node power", p.node_power_w), ("site power", site.site_w if site else None),
        ("time to first token", p.ttft_s), ("time per token", p.tpot_s), ("median step", p.itl_s),
    ):  # fmt: skip
        if figure is not None:
            yield f"  {label:<22}{said(figure)}"
    if site is not None:
        for label, figure, unit in (
            ("energy cost", site.cost_currency_tok, site.cost_currency_tok.unit.partition("/")[0]),
            ("carbon", site.carbon_gco2e_tok, "gCO2e"),
            ("water", site.water_l_tok, "litres"),
        ):
            yield f"  {label:<22}{said(figure.scaled(TOK_MILLION, f'{unit} per million tokens'))}"


def _more(p: Prediction) -> Iterator[str]:
    yield "One per cent more of …    moves the rate by    shadow price"
    for m in p.marginals:
        moved = "unknown" if m.elasticity_ratio is None else f"{m.elasticity_ratio:+.2f} %"
        price = f"unknown: {m.price.reason}" if m.price.value is None else f"{m.price.value:.3g} {m.price.unit}"
        yield f"  {m.resource:<24}{moved:>10}          {price}"
    if p.two_stave is not None:
        compute, power = (quantity(x, "tok/s") for x in (p.two_stave.compute_tok_s, p.two_stave.power_tok_s))
        yield (
            f"Compute against power: compute allows {compute}, the site's power {power}; "
            f"{p.two_stave.binding} binds; Φ {p.two_stave.phi_ratio:.2f}"
        )
    if p.day_j_tok:
        each = ", ".join(f"{u:.0%} {quantity(e, 'J/tok')}" for u, e in p.day_j_tok.items())
        yield f"Node J/tok by utilization: {each}"


#: How people read a size: unit → (least value that is scaled, divisor, unit shown).
_SHOWN = {"s": (0.0, 1e-3, "ms"), "byte": (1e8, 1e9, "GB"), "byte/tok": (1e3, 1e3, "kB/tok"), "1": (0.0, 1.0, "")}


def _explained(p: Prediction) -> Iterator[str]:
    """Terms by part; those of a step with their share of it, and the step's total."""
    yield ""
    for part in dict.fromkeys(t.part for t in p.terms):
        terms = [t for t in p.terms if t.part == part]
        total = sum(t.value for t in terms) if "step" in part else 0.0
        yield f"{part}:"
        for term in terms:
            least, divisor, unit = _SHOWN.get(term.unit, (0.0, 1.0, term.unit))
            if term.value < least:
                divisor, unit = 1.0, term.unit
            note = f"{term.value / total:>5.0%} of it" if total else term.note
            yield f"  {term.name:<32}{term.value / divisor:>10.4g} {unit:<9}{note}".rstrip()
        if total:
            yield f"  {'in all':<32}{total / 1e-3:>10.4g} ms"


def said(figure: Figure) -> str:
    """A figure with as many digits as its interval bears out, its interval and basis; or unknown and why."""
    if figure.value is None:
        return f"unknown: {figure.reason}"
    digits = _significant(figure)
    between = interval(figure, digits)
    parts = (quantity(figure.value, figure.unit, digits), f"[{between}]" if between else "", str(figure.basis or ""))
    return "  ".join(p for p in parts if p)


def _significant(figure: Figure) -> int:
    if not figure.value or not figure.low or not figure.high or figure.low <= 0.0:
        return 3
    return 2 if math.log(figure.high / figure.low) / 2 > WIDE else 3


def text(found: Answer, *, explain: bool = False) -> str:
    """The page that people read: what it misses, what it does, its limits, prices; the arithmetic with ``explain``."""
    return "\n".join(lines(found, explain)) + "\n"
