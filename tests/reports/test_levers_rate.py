"""Levers at an offered rate: the rate tells nothing apart, faster devices idle longer, shorter answers cost less."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

import pytest

from joulemill.decisions.levers.case import Settings
from joulemill.decisions.levers.study import NEAR_RATIO, Combination, apart, by_use
from joulemill.prediction.levers import LeversAnswer, levers_answer
from joulemill.prediction.question import PredictionRequest
from joulemill.reports.html.levers import cards
from joulemill.reports.svg.levers import front_plane
from joulemill.reports.text.levers import document, show
from tests.support.screen import on_screen

pytestmark = pytest.mark.usefixtures("few_combinations")


@pytest.fixture(scope="module")
def offered() -> LeversAnswer:
    """Eight boards that serve less than they could."""
    asked = PredictionRequest(model="Qwen/Qwen3-8B", device="h100", devices=8, concurrency=None, rate_req_s=10.0)
    return levers_answer(asked, {"to": "b200"}, Settings(), frozenset())


def spots(picture: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', picture)]


def test_the_plane_shows_the_time_a_token_where_all_serve_the_same_rate(offered: LeversAnswer) -> None:
    picture, how = front_plane(offered.study.combinations, offered.study.front)
    across = [x for x, _ in spots(picture)]
    assert max(across) - min(across) > 300 and "TPOT [ms], log" in picture and "tok/s" not in picture
    assert "Left and down is better" in how


def test_the_plane_shows_the_rate_where_it_differs(offered: LeversAnswer) -> None:
    faster = [
        replace(c, after=replace(c.after, rate_tok_s=c.after.rate_tok_s * (1 + n / 10)))
        for n, c in enumerate(offered.study.combinations[:9])
    ]
    picture, how = front_plane(faster, ())
    assert "tok/s, log" in picture and "Right and down is better" in how


def test_what_tells_nothing_apart_is_not_drawn_and_says_why(offered: LeversAnswer) -> None:
    picture, why = front_plane([replace(c, after=offered.study.before) for c in offered.study.combinations], ())
    assert "<circle" not in picture and "only J/token differs" in why


def test_no_two_points_of_front_or_json_are_nearly_one(offered: LeversAnswer) -> None:
    told = document(offered)
    for named in ("front", "combinations"):
        changed = [c["after"] for c in told[named] if c["levers"]]
        figures = [tuple(after[k] for k in ("energy_j_tok", "rate_tok_s", "tpot_s")) for after in changed]
        assert len(figures) > 2
        for one, other in combinations(figures, 2):
            assert any(abs(a - b) > NEAR_RATIO * max(a, b) for a, b in zip(one, other, strict=True)), (one, other)


def test_of_combinations_that_are_one_point_the_simplest_stays(offered: LeversAnswer) -> None:
    after = offered.study.before
    made = [Combination(names, after, 0.0, 0.0) for names in (("a", "b", "c"), ("a", "b"), ("d", "e", "f"), ())]
    assert [c.names for c in apart(made)] == [("a", "b"), ()]


def test_another_device_says_what_is_held_fixed(offered: LeversAnswer) -> None:
    said = "as many boards at the same offered rate"
    assert said in on_screen(show, offered)
    published = next(c["body"] for c in cards(offered) if "published" in c["title"])
    assert said in published.split("<dt>device-b200</dt>")[1].split("<dt>")[0]


def test_shorter_answers_rank_by_the_request_and_say_so(offered: LeversAnswer) -> None:
    names = [e.lever.name for e in by_use(offered.study.effects) if e.after is not None]
    assert [x["name"] for x in document(offered)["levers"] if x["applies"]] == names
    assert names.index("thinking-budget") < names.index("device-b200")
    row = next(line for line in on_screen(show, offered).splitlines() if line.startswith("  thinking-budget:"))
    assert row.startswith("  thinking-budget: fewer tokens per request: ranked by ΔJ/req (−")
    drawn = cards(offered)[0]["body"]
    assert "J/req" in drawn and "+97" not in drawn
