"""Every view of one report: nothing hostile reaches markup, nothing is fetched, unknown is never shown as zero."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from dataclasses import replace

import jinja2
import pytest
from rich.console import Console
from simulated.runs import steady_run

from joulemill.analysis.comparison import compare
from joulemill.analysis.report import Waterfall, WaterfallPart
from joulemill.analysis.run import analyze
from joulemill.analysis.samples import METRICS, of_report
from joulemill.analysis.serialization import from_json, schema, to_json
from joulemill.errors import InputError
from joulemill.figure import unknown
from joulemill.reports import comparison as compare_views
from joulemill.reports import markdown_latex as tables
from joulemill.reports.exports.huggingface import model_card
from joulemill.reports.html import run as html
from joulemill.reports.html.run import render
from joulemill.reports.svg import draw
from joulemill.reports.svg import run as pictures
from joulemill.reports.text import run as terminal
from tests.support.example_report import HOSTILE, example
from tests.support.manifests import manifest_of, members_of
from tests.support.tags import Tags


def test_page_is_offline_and_holds_no_script() -> None:
    page = Tags()
    text = html.render(example())
    page.feed(text)
    assert "script" not in page.tags
    assert page.fetched == []
    assert "@import" not in text and "url(" not in text
    assert page.tags.count("svg") == 5


def test_every_figure_stands_with_its_basis() -> None:
    text = html.render(example())
    assert text.count('class="basis modelled"') >= 4
    assert "420 mJ/tok" in text and "378–462" in text
    assert "unknown: the site states no water use" in text


def test_terminal_shows_the_four_demands() -> None:
    screen = io.StringIO()
    terminal.show(example(), Console(file=screen, width=160, color_system=None))
    shown = screen.getvalue()
    for wanted in (
        "420 mJ/tok",
        "memory bandwidth",
        "active constraint",
        "108 W",
        "utilization-adjusted output",
        "TTFT",
        "accuracy",
    ):
        assert wanted in shown
    assert "420 mJ/tok node modelled" in terminal.one_line(example())


def test_markdown_cells_hold_no_markup() -> None:
    text = tables.markdown(example())
    assert "<script>" not in text
    rows = [line for line in text.splitlines() if line.startswith("| memory bandwidth")]
    assert len(re.findall(r"(?<!\\)\|", rows[0])) == 8


def test_latex_escapes() -> None:
    text = tables.latex_row(example())
    assert r"\&" in text and r"50\%" in text
    assert text.endswith("\\\\\n")
    assert tables.latex(example()).count(r"\\") > 10


def test_json_round_trip_gives_the_same_bytes() -> None:
    text = to_json(example())
    assert to_json(from_json(text)) == text
    assert json.loads(text)["energy"]["device_j_tok"]["value"] is None


def test_schema_describes_the_document() -> None:
    made = schema()
    assert set(json.loads(to_json(example()))) == set(made["properties"])
    assert "node_j_tok" in json.dumps(made)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not a report"),
        ("[" * 10_000, "not a report"),
        ("[]", "no schema_version"),
        ('{"schema_version": "9.0"}', "version '9.0'"),
        ('{"schema_version": "1.0"}', "not a valid report"),
    ],
)
def test_reading_what_is_no_report(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        from_json(text)


def test_pictures_of_nothing_say_so() -> None:
    assert "no ceiling is known" in pictures.barrel((), "undecided", None)
    nothing = Waterfall((WaterfallPart("node", unknown("J", "no meter"), "whole"),))
    assert "no joules are known" in pictures.joules(nothing)
    assert "too few values" in pictures.histogram("TTFT", ())


def test_gap_breaks_the_line() -> None:
    path = draw.path([(0.0, 1.0), (1.0, None), (2.0, 1.0), (3.0, 2.0)])
    assert path == '<path d="M0.0 1.0M2.0 1.0L3.0 2.0" class="line"/>'


def test_staves_stand_in_order_of_height() -> None:
    picture = pictures.barrel(example().ceilings, "memory_bandwidth", 166.0)
    heights = {m[1]: float(m[0]) for m in re.findall(r'height="([\d.]+)" class="ceiling( binding)?"', picture)}
    every = [float(h) for h in re.findall(r'height="([\d.]+)" class="ceiling(?: binding)?"', picture)]
    assert every == sorted(every)
    assert heights[" binding"] == min(every)


def test_names_of_staves_take_no_more_room_than_they_have() -> None:
    ceilings = example().ceilings * 3
    picture = pictures.barrel(ceilings, "memory_bandwidth", 166.0)
    pressed = re.findall(r'textLength="([\d.]+)"[^>]*>(\w+)<', picture)
    assert {word for _, word in pressed} >= {"bandwidth"}
    assert all(float(room) < pictures.WIDTH / len(ceilings) for room, _ in pressed)
    assert ">KV<" in picture and "KV" not in {word for _, word in pressed}


def test_hostile_names_are_text() -> None:
    assert HOSTILE not in html.render(example())
    assert str(jinja2.filters.escape(HOSTILE)) in html.render(example())


# --- names of others in Markdown and LaTeX ---------------------------------------------------------------------------
LIVE = [
    "![i](http://evil/x.png)",
    "[x](javascript:alert(1))",
    "<b>x</b>",
    "# head",
    "*x*",
    "~~x~~",
    "a|b",
    "x\n# y",
    "$x$",
    "www.evil.example",
    "\x1b]0;PWNED\x07",
    "a\u202eb",
    "- item",
    "1. item",
    "a\\|b",
]


@pytest.mark.finding("F43")
@pytest.mark.finding("F16")
@pytest.mark.parametrize("name", LIVE)
def test_a_name_never_becomes_live_markdown_or_control(name: str) -> None:
    report = example()
    told = dataclasses.replace(report.conditions, model={**report.conditions.model, "name": name})
    named = dataclasses.replace(report, conditions=told)
    comparison = compare([({m: of_report(r, m, name) for m in METRICS}, r) for r in (report, named)])
    cards = (tables.markdown(named), model_card(named), compare_views.markdown(comparison))
    latex = (tables.latex(named), tables.latex_row(named), compare_views.latex(comparison))
    for text in (*cards, *latex, render(named), compare_views.render(comparison)):
        assert "\x1b" not in text and "\u202e" not in text and "\x07" not in text
    for text in cards:
        assert not re.search(r"(?<!\\)\[[^\]\\]*\]\(", text) and "http://evil" not in text
        assert "<b>" not in text and "www.evil" not in text and not re.search(r"(?<!\\)[*~$]x", text)
    assert not tables.cell(name).startswith(("# ", "- ", "1. ")) and "\n" not in tables.cell(name)


@pytest.mark.finding("F38")
def test_a_name_is_bounded_in_every_view() -> None:
    run = steady_run()
    model = {"name": "m" * 200_000}
    server = {"models": [f"model {n}" for n in range(100_000)], "version": "v" * 200_000}
    report = analyze(replace(run, manifest=manifest_of({**members_of(run), "model": model, "server": server})))
    assert max(map(len, (tables.markdown(report), render(report), to_json(report)))) < 300_000
    assert len(tables.latex_row(report)) < 2_000
