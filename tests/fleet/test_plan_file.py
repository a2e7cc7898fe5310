"""A plan's file: what cannot be is one message that names line, table and key; what can be is read in SI units."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.errors import InputError
from joulemill.fleet.classes import hour_count, served_classes
from joulemill.fleet.plan_file import load_plan
from joulemill.fleet.study import study
from joulemill.fleet.toml_lines import key_lines
from tests.support.plan_files import PLAN, plan_file

#: (what is written, in place of, parts that the message must have)
WRONG = [
    ('"6 kW"', '"6"', ("line 5", "site 'lab'", "it_power_limit", "has no unit")),
    ('"6 kW"', "6000", ("line 5", "it_power_limit", "has no unit")),
    ('"6 kW"', '"-6 kW"', ("line 5", "it_power_limit", "must lie between 0 W")),
    ("pue = 1.3", "pue = 0.9", ("line 6", "pue is 0.9", "at least 1")),
    ("pue = 1.3", "peu = 1.3", ("line 6", "unknown key 'peu'", "did you mean pue?")),
    ('device = "h100"', 'device = "h10000"', ("line 14", "pool 'h100'", "did you mean h100-sxm")),
    ('site = "lab"', 'site = "lap"', ("line 13", "site 'lap' is not known", "did you mean lab?")),
    ("owned_count = 8", "owned_count = -8", ("line 15", "owned_count is -8", "at least 0")),
    ("owned_count = 8\n", "", ("line 11", "pool 'h100'", "has no devices")),
    ('unused = "off"', 'unused = "of"', ("line 16", "did you mean off?")),
    ('model = "Qwen/Qwen3-32B"', "quality_target = 0.8", ("line 27", "no model meets the quality target 0.8")),
    ('rate = "unlimited"', 'rate = "5 tok/h"', ("line 28", "rate", "tok/h")),
    ('rate = "unlimited"\n', "", ("demand 'chat'", "needs one of rate")),
    ('"40 ms"', "40", ("line 31", "slo_tpot", "has no unit; write 40ms")),
    ("[[demand]]", "[[demnd]]", ("line 25", "unknown key 'demnd'", "did you mean demand?")),
    ("tp = [2]", 'tp = ["two"]', ("line 22", "model 'Qwen/Qwen3-32B'", "whole number")),
    ("pue = 1.3", "carbon_by_hour_gco2e_kwh = [1, 2]", ("line 6", "24 or 8,760 numbers", "not 2")),
    ("pue = 1.3", f"carbon_by_hour_gco2e_kwh = {[-5] * 24}", ("line 6", "has -5", "between 0 and 3000")),
    ("pue = 1.3", f"power_by_hour_ratio = {[7] * 24}", ("line 6", "has 7", "between 0 and 1")),
    ("pue = 1.3", f"cooling_by_hour_ratio = {[-1] * 24}", ("line 6", "has -1", "between 0 and 1")),
    ("pue = 1.3", "pue_curve = [[0.1, 0.5], [1, 1.2]]", ("line 6", "the PUE at least 1")),
    ("tp = [2]", "tp = [0]", ("line 22", "tp is 0", "at least 1")),
    ("tp = [2]", 'tp = [2]\nkv_dtypes = ["fp9"]', ("line 23", "fp9")),
    ("concurrency = [", "concurrency = [-3, ", ("line 23", "concurrency is -3", "at least 1")),
    ("tp = [2]", 'engine = "vlm"', ("line 22", "engine 'vlm'")),
    ("precisions = [", 'precisions = ["bf17", ', ("line 20", "bf17")),
    ('"unlimited"', '"unlimited"\nleast_ratio = 1.0', ("line 25", "unlimited rate", "state a rate")),
]


@pytest.mark.parametrize(("before", "after", "parts"), WRONG, ids=lambda v: v if isinstance(v, str) else "")
def test_one_clear_error(tmp_path: Path, before: str, after: str, parts: tuple[str, ...]) -> None:
    path = plan_file(tmp_path, (before, after))
    with pytest.raises(InputError) as fault:
        load_plan(path)
    assert all(part in str(fault.value) for part in (str(path), *parts)), str(fault.value)
    assert "\n" not in str(fault.value)


def test_broken_toml_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text('[[site]]\nname = "x\n', encoding="utf-8")
    with pytest.raises(InputError, match="line 2"):
        load_plan(path)


def test_lines_of_keys_among_lists_and_texts() -> None:
    text = (
        'a = [\n  1, # ]\n  2,\n]\n[[site]]\nname = "x [y]"\n[[site]]\n"pue" = 1\nnote = """\n[[pool]]\n"""\nlast = 1\n'
    )
    lines = key_lines(text)
    assert lines[("", 0, "a")] == 1 and lines[("site", 0, "name")] == 6
    assert lines[("site", 1, "pue")] == 8 and lines[("site", 1, "last")] == 12
    assert ("pool", 0, "") not in lines


def test_set_replaces_one_value(tmp_path: Path) -> None:
    path = plan_file(tmp_path)
    changed = load_plan(path, ["site.lab.it_power_limit=30MW", "objective.goal=least_energy"])
    assert changed.tables.site[0].it_power_limit == 30e6 and changed.tables.objective.goal == ("least_energy",)
    assert changed.changed == ("site lab: it_power_limit = 30MW", "objective goal = least_energy")
    model = load_plan(path, ["model.Qwen/Qwen3-32B.tp=[4]"])
    assert model.tables.model[0].tp == (4,)
    for text, part in (
        ("site.lap.pue=1.2", "did you mean lab?"),
        ("site.lab.peu=1.2", "did you mean pue?"),
        ("pue=2", "`changes` pue=2"),
        ("site.lab.pue=0.5", r"^`changes` site.lab.pue=0.5: site 'lab': pue is 0.5; it must be at least 1"),
    ):
        with pytest.raises(InputError, match=part):
            load_plan(path, [text])


def test_a_site_file_stands_where_the_plan_is_silent(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text('pue = 1.1\nit_power_limit = "9 kW"\nwater_l_kwh = 0.4\n', encoding="utf-8")
    path = plan_file(tmp_path, ("pue = 1.3", 'site_file = "site.toml"'))
    site = load_plan(path).tables.site[0]
    assert (site.pue, site.it_power_limit, site.water_l_kwh) == (1.1, 6e3, 0.4)


def test_rates_by_request_by_hour_and_of_a_trace(tmp_path: Path) -> None:
    """30 req/s of 250 tokens; a day's shape; a trace of 2 days with 100 tokens at every full hour but every third."""

    def rates(*changes: tuple[str, str]) -> list[float]:
        file = load_plan(plan_file(tmp_path, *changes))
        hours = hour_count(file.tables)
        return served_classes(file.tables, tmp_path, hours)[0].rate_tok_s.tolist()

    assert rates(('"unlimited"', '"30 req/s"')) == [7500.0]
    shape = [0.5] * 12 + [1.5] * 12
    assert rates(('"unlimited"', f'"2 ktok/s"\nby_hour_ratio = {shape}')) == [1000.0] * 12 + [3000.0] * 12
    rows = [f"{h * 3600},50,100" for h in range(48) if h % 3]
    (tmp_path / "t.csv").write_text(
        "\n".join(["timestamp_s,input_tokens,output_tokens", "0,50,1", *rows]), encoding="utf-8"
    )
    traced = rates(('rate = "unlimited"', 'trace = "t.csv"'))
    assert traced == pytest.approx([100 / 3600 if h % 3 else 0.5 / 3600 if h == 0 else 0.0 for h in range(24)])


def test_a_trace_of_a_day_and_a_half_has_the_mean_of_each_hour(tmp_path: Path) -> None:
    """A request of 60 tokens a minute: 1 token a second at every hour, whether it was seen once or twice."""
    rows = [f"{60 * m},50,60" for m in range(36 * 60)]
    (tmp_path / "t.csv").write_text("\n".join(["timestamp_s,input_tokens,output_tokens", *rows]), encoding="utf-8")
    file = load_plan(plan_file(tmp_path, ('rate = "unlimited"', 'trace = "t.csv"')))
    assert served_classes(file.tables, tmp_path, 24)[0].rate_tok_s == pytest.approx(1.0)


def test_a_trace_that_ends_within_a_line_is_planned_for_without_it_and_the_plan_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("timestamp_s,input_tokens,output_tokens\n0,50,60\n60,50,60\n120,5")
    file = load_plan(plan_file(tmp_path, ('rate = "unlimited"', 'trace = "t.csv"')))
    assert served_classes(file.tables, tmp_path, 24)[0].rate_tok_s == pytest.approx(2.0)
    assert any("t.csv, line 4: the file ends within this line" in note for note in study(file, extras=False).notes)


def test_hours_must_agree(tmp_path: Path) -> None:
    two = f"price_by_hour_currency_kwh = {[0.1] * 24}\npower_by_hour_ratio = {[1.0] * 8760}"
    file = load_plan(plan_file(tmp_path, ("price_currency_kwh = 0.2", two)))
    with pytest.raises(InputError, match="differ in length: site 'lab': power_by_hour_ratio has 8760"):
        hour_count(file.tables)
    assert hour_count(load_plan(plan_file(tmp_path)).tables) == 1
    assert PLAN.count("[[") == 4


def test_a_site_states_its_pue_in_one_way(tmp_path: Path) -> None:
    hourly = load_plan(plan_file(tmp_path, ("pue = 1.3", f"pue_by_hour = {[1.2] * 24}"))).tables
    assert hour_count(hourly) == 24 and hourly.site[0].states_pue
    for text, part in (
        ("pue = 1.3\npue_by_hour", "states one of pue"),
        ("pue_by_hour", "has 0.9; a PUE is at least 1"),
    ):
        with pytest.raises(InputError, match=part):
            load_plan(plan_file(tmp_path, ("pue = 1.3", f"{text} = {[0.9] * 24}")))
