"""What a terminal of 80 columns shows: the summary first, aligned tables, amounts without exponents."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from joulemill.analysis.rows import demands
from joulemill.decisions.levers.case import Settings
from joulemill.figure import Basis, Figure
from joulemill.fleet.plan_file import load_plan
from joulemill.fleet.study import study
from joulemill.physics.hardware.site import Site
from joulemill.prediction.levers import levers_answer
from joulemill.prediction.predict import answer
from joulemill.prediction.question import PredictionRequest
from joulemill.reports.text import levers, plan, prediction, run
from joulemill.reports.text.page import add_row, plain_table
from tests.support.example_report import altered, example
from tests.support.plan_files import plan_file
from tests.support.screen import on_screen

pytestmark = pytest.mark.usefixtures("few_combinations")

SITE = Site(pue_ratio=1.2, price_currency_j=1e-7, currency="EUR", carbon_gco2e_j=1e-4)
QUESTION = PredictionRequest(model="Qwen/Qwen3-32B", device="h100", devices=2, concurrency=32.0, facility=SITE)
EXPONENT = re.compile(r"\d[eE][+-]?\d")


def shown_report(*, verbose: bool = False) -> list[str]:
    return on_screen(run.show, example(), verbose=verbose).splitlines()


def test_a_report_leads_with_the_four_figures_then_quality_and_latency() -> None:
    lines = [line for line in shown_report() if line.strip()][2:]
    begins = (
        "energy per output token, node",
        "active constraint",
        "PUE-adjusted power (site)",
        "utilization-adjusted output",
        "accuracy",
        "TTFT p50",
        "TPOT p50",
    )
    assert [line[: len(b)] for line, b in zip(lines, begins, strict=False)] == list(begins)
    assert "420 mJ/tok" in lines[0] and "378–462" in lines[0] and "modelled" in lines[0]
    assert "memory bandwidth" in lines[1] and "108 W" in lines[2] and "166 tok/s" in lines[3]
    assert "55.0 %" in lines[4] and "100 ms" in lines[5] and "(target 200 ms)" in lines[5]


def test_the_rest_is_verbose() -> None:
    brief, full = "\n".join(shown_report()), "\n".join(shown_report(verbose=True))
    for words in ("energy per prompt token", "capacity ÷ intensity", "end to end", "how they ended"):
        assert words in full and words not in brief
    assert "--verbose" in brief and "--verbose" not in full
    assert len(brief.splitlines()) < 25


def test_a_figure_that_is_not_known_says_why_below_the_summary() -> None:
    unknown = Figure(None, "W", reason="PUE is unknown: state pue in the site file")
    shown = on_screen(run.show, altered(power=replace(example().power, site_w=unknown)))
    assert "PUE-adjusted power (site): PUE is unknown: state pue in the site file" in shown


def test_what_a_dead_meter_leaves_unknown_is_told_once() -> None:
    """Its reason stands in a warning; the summary neither repeats that nor says it again of the site's power."""
    dead = "dead_sensor: nvml:0:power: it does not move"
    report = altered(
        energy=replace(example().energy, node_j_tok=Figure(None, "J/tok", reason=dead)),
        power=replace(example().power, site_w=Figure(None, "W", reason=f"{dead}; PUE is unknown")),
        warnings=(f"Energy per token is unknown: {dead}.",),
    )
    shown = on_screen(run.show, report)
    assert shown.count("it does not move") == 1
    assert "PUE-adjusted power (site): as energy per output token, node; PUE is unknown" in shown


def test_a_million_tokens_are_said_in_kwh() -> None:
    """0.420 J/tok × 10⁶ tok ÷ 3.6 MJ/kWh = 0.117 kWh; the site's J/token where it is known."""
    (name, joules), _, _ = demands(example())
    assert joules.value == pytest.approx(0.420) and name.endswith("node")
    site = example().energy.site_j_tok.value
    line = next(row for row in run.summary(example()) if row[0].startswith("per million tokens"))
    expected = (0.420 if site is None else site) / 3.6
    assert float(line[1].split()[0]) == pytest.approx(expected, rel=0.01) and line[1].endswith("kWh")


@pytest.mark.parametrize("width", [80, 120])
def test_tables_fit_the_terminal(width: int) -> None:
    predicted = on_screen(prediction.show, answer(QUESTION), width, explain=True)
    ranked = on_screen(levers.show, levers_answer(QUESTION, {}, Settings(), frozenset()), width)
    for shown in (predicted, ranked):
        # Prose is left whole where it goes to a file; a row of a table is never wider than the terminal.
        rows = [line for line in shown.splitlines() if "  " in line.strip()]
        assert max(map(len, rows)) <= width
    assert ("ΔTTFT" in ranked) == (width == 120)


def test_nothing_of_a_table_is_cut_off_in_a_narrow_terminal() -> None:
    """Of the levers every cell is whole: changes end with their sign, and a long name stands on two lines."""
    ranked = on_screen(levers.show, levers_answer(QUESTION, {}, Settings(), frozenset()))
    _, _, after = ranked.partition("then limited by  quality")
    rows = [line for line in after.partition("\n\n")[0].splitlines() if line[:1].isalpha()]
    assert len(rows) > 12 and all(re.search(r" (same|lower|unknown|another) *$", row) for row in rows)


def test_names_in_a_table_are_never_lost_for_want_of_room() -> None:
    console = Console(file=io.StringIO(), width=40, color_system=None)
    table = plain_table("pool", "model", "rate", right={2}, fold=1)
    add_row(table, "the-pool-of-the-research-group", "An-Even-Longer-Model-Name", "62.5 ktok/s")
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue().splitlines()
    assert max(map(len, shown)) <= 40 and "62.5 ktok/s" in shown[1]
    pool, model = ("".join(line[at].strip() for line in shown[1:]) for at in (slice(0, 13), slice(15, 27)))
    assert (pool, model) == ("the-pool-of-the-research-group", "An-Even-Longer-Model-Name")


def test_amounts_of_a_prediction_have_no_exponent() -> None:
    shown = on_screen(prediction.show, answer(QUESTION))
    figures = shown.partition("Bottleneck")[0]
    assert "cost per million tokens" in figures and "carbon per million tokens" in figures
    tables = figures + shown.partition("1 % more of")[2]
    assert not EXPONENT.search(tables), EXPONENT.search(tables)


def test_units_stand_in_a_column() -> None:
    """The unit of every figure begins in the same column."""
    shown = on_screen(prediction.show, answer(QUESTION))
    rows = [line for line in shown.splitlines() if re.search(r"(J/tok|tok/s|kW|ms)  +[\d,.]+–", line)]
    assert len(rows) > 7
    starts = {re.search(r"(m?J/tok|tok/s|kW|ms)  ", row).start() for row in rows}  # type: ignore[union-attr]
    assert len(starts) == 1


def test_a_basis_is_on_every_known_figure() -> None:
    energy, power, output = demands(example())
    assert all(f.basis in tuple(Basis) for _, f in (energy, power, output) if f.known)


def test_a_plan_names_its_models_in_80_columns(tmp_path: Path) -> None:
    long = "a-pool-with-a-name-of-forty-letters-here"
    file = load_plan(plan_file(tmp_path, ('name = "h100"', f'name = "{long}"')))
    shown = on_screen(plan.show, study(file, extras=False)).splitlines()
    head = next(i for i, line in enumerate(shown) if line.startswith("pool"))
    assert "model" in shown[head] and "Qwen3-32B" in shown[head + 1] and max(map(len, shown[head : head + 4])) <= 80
