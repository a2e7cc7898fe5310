"""What pictures and pages are drawn with: one module of SVG, templates of markup, and no tags beside them."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import joulemill
from joulemill.figure import Basis, Figure
from joulemill.reports.html.page import cards_page, numbered, part, stacked
from joulemill.reports.svg import draw

SRC = Path(joulemill.__file__).parent
HOSTILE = '<script>alert("x")</script>&\''


def test_a_picture_is_well_formed_and_escapes_what_it_is_told() -> None:
    body = [
        draw.text(1, 2, HOSTILE),
        draw.line(0, 0, 1, 1, "axis"),
        draw.bar(0, 0, -1, 2, "part"),
        draw.dot(1, 1, 2, "part"),
    ]
    root = ElementTree.fromstring(draw.svg(60, HOSTILE, HOSTILE, body))
    assert root.get("viewBox") == "0 0 420 60" and root.get("aria-label") == HOSTILE
    assert [e.tag for e in root] == ["title", "desc", "text", "line", "rect", "circle"]
    assert root[2].text == HOSTILE and root[4].get("width") == "0.0"


def test_scales_reach_their_ends_and_halve_as_they_double() -> None:
    log, lin = draw.logarithmic(1.0, 16.0, 100.0, 0.0), draw.linear(1.0, 16.0, 0.0, 30.0)
    assert (log(1.0), log(4.0), log(16.0)) == pytest.approx((100.0, 50.0, 0.0))
    assert (lin(1.0), lin(8.5), lin(16.0)) == pytest.approx((0.0, 15.0, 30.0))
    assert draw.logarithmic(3.0, 3.0, 0.0, 10.0)(3.0) == 5.0
    half, double = (Figure(v, "1", Basis.MODELLED, low=v, high=v) for v in (-0.5, 1.0))
    assert draw.log_change(half)[1] == pytest.approx(-draw.log_change(double)[1]) == pytest.approx(-math.log(2.0))


def test_words_are_pressed_into_their_room() -> None:
    assert 'textLength="20.0"' in draw.text(0, 0, "eleven char", room=20.0)
    assert "textLength" not in draw.text(0, 0, "four", room=40.0)


def test_parts_and_pages_escape_texts_and_keep_markup() -> None:
    cells = (HOSTILE, numbered(HOSTILE), stacked(HOSTILE, HOSTILE, bold=True))
    bodies = [
        part("table", (HOSTILE,), [cells]),
        part("definitions", [(HOSTILE, HOSTILE)]),
        part("notes", [HOSTILE]),
        part("warnings", HOSTILE, [HOSTILE]),
        part("paragraphs", [HOSTILE]),
    ]
    cards = [{"title": HOSTILE, "body": body} for body in bodies]
    page = cards_page(HOSTILE, HOSTILE, HOSTILE, cards, [HOSTILE])
    assert "<script" not in page and page.count("&lt;script&gt;") == 5 + 4 + (5 + 2 + 1 + 2 + 1)  # titles, page, parts
    assert page.startswith("<!doctype html>") and page.count("<table>") == 1 and page.count("<dl>") == 1


#: A tag's beginning or end, wherever it stands in a text.
TAG = re.compile(
    r"</?(svg|text|line|rect|circle|path|p|div|table|thead|tr|td|th|ul|li|dl|dt|h\d|span|b|br|html|style)\b[ />]"
)


def tags(path: Path) -> list[str]:
    """Texts of a file that open or close a tag, docstrings left out."""
    tree = ast.parse(path.read_text())
    nodes = [n for n in ast.walk(tree) if isinstance(n, ast.Module | ast.ClassDef | ast.FunctionDef)]
    docs = {id(n.body[0].value) for n in nodes if n.body and isinstance(n.body[0], ast.Expr)}
    texts = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    return [t.value for t in texts if id(t) not in docs and TAG.search(t.value)]


def test_no_view_writes_tags_by_hand() -> None:
    """SVG is written in one module, HTML in templates."""
    assert {str(p.relative_to(SRC)) for p in (SRC / "reports").rglob("*.py") if tags(p)} == {"reports/svg/draw.py"}
