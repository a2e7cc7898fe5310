"""The report's pictures: labels that would cover each other share a place, and a scale is said."""

from __future__ import annotations

import itertools
import math
import re

import pytest

from joulemill.analysis.report import Ceiling
from joulemill.figure import Basis, Figure
from joulemill.reports.svg.run import barrel, histogram

#: Units of width that a label of three letters takes, about.
WIDE = 18.0


def labels(picture: str) -> list[tuple[str, float, float]]:
    """Label, left and right of each mark."""
    texts = re.findall(r'<text x="([\d.]+)" y="28.0" text-anchor="(\w+)"[^>]*>([^<]+)<', picture)
    places = []
    for x, anchor, words in texts:
        wide = WIDE * len(words) / 3
        left = float(x) - (wide if anchor == "end" else 0.0)
        places.append((words, left, left + wide))
    return places


@pytest.mark.parametrize(
    "values_s",
    [
        [0.010, 0.58, 0.59, 0.59],
        [0.1, 0.1, 0.101, 5.0],
        [0.1, 0.2, 0.3, 0.9],
        [0.5, 0.95, 0.97, 1.0],
        [1.0, 1.0, 1.0],
        [0.0, 0.9, 0.93, 0.94, 1.0],
    ],
)
def test_labels_of_percentiles_never_cover_each_other_or_leave_the_picture(values_s: list[float]) -> None:
    places = sorted(labels(histogram("TTFT", values_s)), key=lambda place: place[1])
    assert ", ".join(words for words, _, _ in places) == "p50, p99"
    assert all(a[2] <= b[1] for a, b in itertools.pairwise(places))
    assert places[0][1] >= 0.0 and places[-1][2] <= 420.0


def test_a_histogram_says_of_how_many_requests_it_is() -> None:
    assert "TPOT of 3 requests of the load" in histogram("TPOT", [0.1, 0.2, 0.3])


def test_the_barrel_says_that_its_scale_is_a_logarithm() -> None:
    ceilings = [Ceiling(name="compute", rate_tok_s=Figure(1000.0, "tok/s", Basis.MODELLED, low=900.0, high=1100.0))]
    assert ">tok/s, log scale<" in barrel(ceilings, "compute", 46.0)


def test_a_ceiling_without_an_upper_bound_leaves_the_others_their_height() -> None:
    """Joules per token that may be 0 bound no rate from above: the picture is as tall, and the whisker ends in it."""
    stave = Ceiling(name="compute", rate_tok_s=Figure(1000.0, "tok/s", Basis.MODELLED, low=900.0, high=1100.0))
    watts = Ceiling(name="power", rate_tok_s=Figure(1e5, "tok/s", Basis.MODELLED, low=1e4, high=math.inf))
    picture = barrel([stave, watts], "compute", 46.0)
    heights = [float(h) for h in re.findall(r'<rect[^>]* height="([\d.]+)"[^>]*class="ceiling', picture)]
    assert len(heights) == 2 and 50.0 < heights[0] < heights[1] <= 170.0
    assert "inf" not in picture and "nan" not in picture
