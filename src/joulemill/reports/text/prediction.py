"""A prediction as people read it: what it misses, what it does, what limits it, what more would bring."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from joulemill.figure import Figure
from joulemill.physics.production.prediction import Prediction
from joulemill.prediction.question import PredictionResult
from joulemill.reports.text.architecture import architecture_lines
from joulemill.reports.text.page import add_row, plain_table, prose, split_unit
from joulemill.wording import count, digits, interval, percent, quantity, title

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Half-width of an interval, as a logarithm, from which two digits say all that is known.
WIDE_INTERVAL = 0.1
TOK_MILLION = 1e6
#: Carbon from which people read it in kg.
LEAST_KG_GCO2E = 1e4


def show(answer: PredictionResult, console: Console, *, explain: bool = False) -> None:
    """Print the prediction: what is missed, the figures, the ceilings, sensitivities; with ``explain`` the terms."""
    prose(console, *(f"DOES NOT MEET WHAT IS ASKED: {missed.text}" for missed in answer.short_by), style="bold red")
    if answer.short_by:
        prose(console, f"Shown is what the limits leave: {_left(answer)}", "")
    prose(console, *_heading(answer), "")
    console.print(_figures(answer.prediction))
    prose(console, "", f"Bottleneck: {answer.prediction.binding.explanation}")
    console.print(_ceilings(answer.prediction))
    prose(console, *_unknown_ceilings(answer.prediction), "")
    console.print(_sensitivities(answer.prediction))
    prose(console, *_views(answer.prediction))
    if explain:
        _explain(answer.prediction, console)
    prose(console, *(f"note: {note}" for note in answer.every_note))


def _heading(answer: PredictionResult) -> Iterator[str]:
    q, p, layout = answer.question, answer.prediction, answer.deployment.parallelism
    stages = f", pp {layout.pipeline}" if layout.pipeline > 1 else ""
    yield (
        f"{q.model} in {answer.deployment.precision.name} on {q.devices} × {answer.deployment.device.label} "
        f"(tp {layout.tensor}, dp {layout.data}, ep {layout.expert}{stages}, replicas {layout.replicas}), "
        f"{answer.profile}"
    )
    pool = answer.deployment.prefill
    if pool is not None:
        yield (
            f"prompts on {pool.devices * pool.replicas} devices more (tp {pool.tensor}, dp {pool.data}, "
            f"ep {pool.expert}, replicas {pool.replicas}), {percent(float(p.prefill_busy_ratio))} busy"
        )
    yield from architecture_lines(answer.deployment.architecture, answer.deployment.precision)
    yield (
        f"{q.input_tokens:g} input and {q.output_tokens:g} output tokens, concurrency {count(p.batch.concurrency)} per "
        f"replica ({p.batch.why})"
    )


def _left(answer: PredictionResult) -> str:
    p = answer.prediction
    each = f"concurrency {count(p.batch.concurrency)} per replica"
    if p.held_ratio == 1.0:
        return f"{each}."
    return f"{percent(p.held_ratio)} of what all devices would do, as many devices as the site feeds, {each}."


def _figures(p: Prediction) -> Table:
    """The figures, J per token first; numbers and units in columns of their own."""
    table = plain_table("", "value", "", "80 % interval", "basis", right={1}, fold=3)
    site = p.site
    for label, figure in (
        ("energy per token, node", p.node_j_tok),
        ("energy per token, devices", p.device_j_tok),
        ("energy per token, site", site.site_j_tok if site else None),
        ("node power", p.node_power_w),
        ("devices' power", p.device_power_w),
        ("PUE-adjusted power (site)", site.site_w if site else None),
        ("output rate", p.rate_tok_s),
        ("TTFT", p.ttft_s),
        ("TPOT", p.tpot_s),
        ("median step", p.itl_s),
        ("Φ, rate ÷ lowest ceiling", p.phi),
    ):
        if figure is not None:
            _add_figure(table, label, figure)
    if site is not None:
        currency = site.cost_currency_tok.unit.partition("/")[0]
        carbon = site.carbon_gco2e_tok.scaled(TOK_MILLION, "gCO2e")
        if carbon.value is not None and carbon.value >= LEAST_KG_GCO2E:
            carbon = carbon.scaled(1e-3, "kgCO2e")
        _add_figure(table, "cost per million tokens", site.cost_currency_tok.scaled(TOK_MILLION, currency))
        _add_figure(table, "carbon per million tokens", carbon)
        _add_figure(table, "water per million tokens", site.water_l_tok.scaled(TOK_MILLION, "L"))
    return table


def _add_figure(table: Table, label: str, figure: Figure) -> None:
    if figure.value is None:
        add_row(table, label, "unknown", "", figure.reason or "", "", style="dim")
        return
    significant = _significant(figure)
    number, unit = split_unit(quantity(figure.value, figure.unit, significant))
    add_row(table, label, number, unit, interval(figure, significant), str(figure.basis or ""))


def _ceilings(p: Prediction) -> Table:
    """Known ceilings from the lowest up."""
    table = plain_table("ceiling", "tok/s", "80 % interval", "basis", right={1})
    for ceiling in sorted(p.ceilings, key=lambda c: c.rate_tok_s.value or math.inf):
        rate = ceiling.rate_tok_s
        if rate.value is not None:
            significant = _significant(rate)
            cells = (digits(rate.value, significant), interval(rate, significant), str(rate.basis or ""))
            add_row(table, title(ceiling.name), *cells)
    return table


def _unknown_ceilings(p: Prediction) -> Iterator[str]:
    for ceiling in p.ceilings:
        if ceiling.rate_tok_s.value is None:
            yield f"{title(ceiling.name)}: unknown: {ceiling.rate_tok_s.reason}"


def _sensitivities(p: Prediction) -> Table:
    """What one per cent more of each resource brings, and its shadow price."""
    table = plain_table("1 % more of", "rate", "shadow price", right={1}, fold=2)
    for m in p.sensitivities:
        moved = "unknown" if m.elasticity_ratio is None else f"{m.elasticity_ratio:+.2f} %"
        worth = m.shadow_price
        price = f"unknown: {worth.reason}" if worth.value is None else said_price(worth.value, worth.unit)
        add_row(table, "concurrency" if m.resource == "batch" else title(m.resource), moved, price)
    return table


#: Units that a shadow price is said in multiples of, and how they are written after a prefix.
_PRICED = {"flop/s": "FLOP/s", "byte/s": "B/s", "byte": "B", "W": "W"}


def said_price(value: float, unit: str) -> str:
    """A shadow price per so large a unit that its number needs no exponent.

    >>> said_price(2.91e-14, "tok/s per flop/s"), said_price(39.1, "tok/s per request in flight")
    ('0.0291 tok/s per TFLOP/s', '39.1 tok/s per request in flight')
    """
    gain, _, each = unit.partition(" per ")
    if value and each in _PRICED:
        for factor, prefix in ((1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"), (1e15, "P")):
            if abs(value * factor) >= 0.01 or prefix == "P":
                return f"{digits(value * factor)} {gain} per {prefix}{_PRICED[each]}"
    return f"{digits(value)} {unit}"


def _views(p: Prediction) -> Iterator[str]:
    """Compute against power, and J/token by utilization."""
    if p.two_ceilings is not None:
        compute, power = (quantity(x, "tok/s") for x in (p.two_ceilings.compute_tok_s, p.two_ceilings.power_tok_s))
        yield (
            f"Compute against power: compute allows {compute}, the site's power {power}; "
            f"{p.two_ceilings.binding} is the lower; Φ {p.two_ceilings.phi_ratio:.2f}"
        )
    if p.j_tok_by_utilization:
        each = ", ".join(f"{quantity(e, 'J/tok')} at {percent(u)}" for u, e in p.j_tok_by_utilization.items())
        yield f"Node J/token by utilization: {each}"


#: How people read a size: unit → (least value that is scaled, divisor, unit shown).
_SHOWN = {"s": (0.0, 1e-3, "ms"), "byte": (1e8, 1e9, "GB"), "byte/tok": (1e3, 1e3, "kB/tok"), "1": (0.0, 1.0, "")}


def _explain(p: Prediction, console: Console) -> None:
    """Terms by part; those of a step with their share of it, and the step's total."""
    for part in dict.fromkeys(t.part for t in p.terms):
        terms = [t for t in p.terms if t.part == part]
        total = sum(t.value for t in terms) if "step" in part else 0.0
        table = plain_table(part, "value", "", "share" if total else "note", right={1}, fold=3)
        for term in terms:
            least, divisor, unit = _SHOWN.get(term.unit, (0.0, 1.0, term.unit))
            if term.value < least:
                divisor, unit = 1.0, term.unit
            note = f"{term.value / total:>4.0%}" if total else term.note
            add_row(table, f"  {term.name}", f"{term.value / divisor:.4g}", unit, note)
        if total:
            add_row(table, "  total", f"{total / 1e-3:.4g}", "ms", "")
        prose(console, "")
        console.print(table)


def _significant(figure: Figure) -> int:
    if not figure.value or not figure.low or not figure.high or figure.low <= 0.0:
        return 3
    return 2 if math.log(figure.high / figure.low) / 2 > WIDE_INTERVAL else 3
