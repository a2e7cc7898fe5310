"""How arrivals are written: parts, their arguments, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.simulation.arrival_spec import parse_arrivals
from joulemill.statistics.lengths import Lengths


@pytest.mark.parametrize(("text", "shape"), [("constant", math.inf), ("poisson", 1.0), ("gamma:0.25", 0.25)])
def test_how_regular_arrivals_are(text: str, shape: float) -> None:
    assert parse_arrivals(text).burstiness_ratio == shape
    assert parse_arrivals(f"{text}+ramp:1:2").burstiness_ratio == shape


def test_how_the_rate_moves() -> None:
    def rates(text: str, *at_s: float) -> list[float]:
        return parse_arrivals(text).profile(10.0, 3600.0, start_s=6 * 3600.0).at(np.array(at_s)).tolist()

    assert rates("poisson", 0.0, 3600.0) == [10.0, 10.0]
    assert rates("ramp:0.5:2", 0.0, 1800.0, 3600.0) == pytest.approx([5.0, 12.5, 20.0])
    assert rates("spike:5:10min:60s", 599.0, 630.0, 700.0) == [10.0, 50.0, 10.0]
    # Six hours after midnight, eight before the peak at 14:00.
    assert rates("diurnal:50%", 0.0)[0] == pytest.approx(10.0 * (1 + 0.5 * math.cos(2 * math.pi * 8 / 24)))
    assert rates("diurnal:50%:6h", 0.0)[0] == pytest.approx(15.0)


def test_stages_state_their_rates_and_times_themselves() -> None:
    spec = parse_arrivals("constant+stages:2x60s,5x2min")
    assert spec.states_rates
    profile = spec.profile(None, None)
    assert (profile.duration_s, profile.mean_req_s) == (180.0, pytest.approx((2 * 60 + 5 * 120) / 180))


def test_agents_are_sessions() -> None:
    sessions = parse_arrivals("poisson+agents:3-9:2s:400").sessions(Lengths("fixed", 7))
    assert sessions is not None
    assert (sessions.turns.kind, sessions.wait_s, sessions.added.mean_tok) == ("uniform", 2.0, 400.0)
    default = parse_arrivals("agents:5:0s").sessions(Lengths("fixed", 7))
    assert default is not None and default.added.mean_tok == 7.0


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("poison", "did you mean poisson"),
        ("gamma", "write gamma:SHAPE"),
        ("gamma:0", "above 0|must be"),
        ("poisson+constant", "drop constant"),
        ("ramp:1:2+diurnal:50%", "drop diurnal"),
        ("stages:2", "RATExTIME"),
        ("stages:2x60", "no unit"),
        ("diurnal:150%", "diurnal"),
        ("agents:5", "write agents"),
        ("agents:0:1s", "at least 1"),
        ("", "is not known"),
    ],
)
def test_what_cannot_be_is_refused_and_says_how_it_is_written(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_arrivals(text)
