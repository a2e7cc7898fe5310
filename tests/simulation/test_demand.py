"""Traffic that is made, and traffic that is scaled: counts by hand, conservation, and what turns share."""

from __future__ import annotations

import math

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.simulation.demand import BLOCK_TOK, Sessions, SharedPrefix, TrafficDemand, traffic_of, turns_traffic
from joulemill.simulation.scaling import clipped, in_length, in_time, in_volume
from joulemill.simulation.traffic import Traffic
from joulemill.statistics.arrivals import ramp
from joulemill.statistics.lengths import Lengths

S = 1_000_000_000


def fixed(tok: int) -> Lengths:
    return Lengths("fixed", tok)


def rng(seed: int = 1) -> np.random.Generator:
    return np.random.default_rng(seed)


def blocks(traffic: Traffic, index: int) -> list[int]:
    assert traffic.block_hash is not None
    assert traffic.block_offset is not None
    return traffic.block_hash[traffic.block_offset[index] : traffic.block_offset[index + 1]].tolist()


def test_a_constant_rate_of_fixed_requests_is_known_in_full() -> None:
    demand = TrafficDemand(ramp(2.0, 2.0, 3.0), fixed(100), fixed(10), burstiness_ratio=math.inf)
    traffic = traffic_of(demand, rng())
    assert (traffic.arrival_ns / S).tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert set(traffic.input_tok) == {100} and set(traffic.output_tok) == {10}
    assert traffic.block_hash is None and traffic.previous is None
    assert traffic_of(demand, rng(), requests=4).requests_count == 4


def test_the_same_seed_gives_the_same_traffic_and_another_another() -> None:
    demand = TrafficDemand(ramp(5.0, 5.0, 60.0), Lengths("uniform", 5, 500), Lengths("uniform", 1, 90))
    first, again, other = (traffic_of(demand, rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(first.arrival_ns, again.arrival_ns) and np.array_equal(first.input_tok, again.input_tok)
    assert not np.array_equal(first.arrival_ns[:50], other.arrival_ns[:50])


def test_turns_send_all_that_was_said_and_share_its_blocks() -> None:
    # Session 0: prompts 100, 100+10+50=160, 160+10+50=220. Session 1 has one turn; −1 is nobody's.
    traffic = turns_traffic(
        np.array([0, 0, 0, 2, 1]) * S,
        np.array([0, 0, 0, 1, -1]),
        np.array([100, 50, 50, 64, 30]),
        np.full(5, 10),
        np.array([9.0, 1.5, 2.0, 9.0, 9.0]),
    )
    assert traffic.input_tok.tolist() == [100, 160, 220, 30, 64]
    assert traffic.previous is not None and traffic.think_ns is not None
    assert traffic.previous.tolist() == [-1, 0, 1, -1, -1]
    assert traffic.think_ns.tolist() == [0, 1_500_000_000, 2_000_000_000, 0, 0]
    assert [len(blocks(traffic, i)) for i in range(5)] == [6, 10, 13, 0, 4]
    assert blocks(traffic, 1)[:6] == blocks(traffic, 0)
    assert not set(blocks(traffic, 4)) & set(blocks(traffic, 2))


def test_agent_sessions_have_their_turns_and_waits() -> None:
    sessions = Sessions(fixed(8), fixed(200), wait_s=3.0)
    demand = TrafficDemand(ramp(1.0, 1.0, 500.0), fixed(1000), fixed(50), burstiness_ratio=math.inf, sessions=sessions)
    traffic = traffic_of(demand, rng())
    assert traffic.requests_count == 4000
    assert traffic.session is not None and traffic.previous is not None and traffic.think_ns is not None
    assert np.all(np.bincount(traffic.session) == 8)
    later = traffic.previous >= 0
    grown = traffic.input_tok[later] - traffic.input_tok[traffic.previous[later]]
    assert set(grown) == {250}  # the answer of 50 and what the turn adds
    assert traffic.think_ns[later].mean() / S == pytest.approx(3.0, rel=5 / math.sqrt(3500))


def test_prompts_of_a_group_share_their_prefix_and_no_more() -> None:
    prefix = SharedPrefix(160, groups_count=3)
    traffic = traffic_of(TrafficDemand(ramp(10.0, 10.0, 30.0), fixed(400), fixed(5), prefix=prefix), rng())
    distinct = {tuple(blocks(traffic, i)) for i in range(traffic.requests_count)}
    assert len(distinct) == 3
    assert {len(d) for d in distinct} == {160 // BLOCK_TOK}


@pytest.fixture(scope="module")
def sessions() -> Traffic:
    demand = TrafficDemand(
        ramp(2.0, 2.0, 200.0),
        Lengths("uniform", 50, 900),
        Lengths("uniform", 1, 300),
        sessions=Sessions(Lengths("uniform", 1, 5), fixed(64), 2.0),
    )
    return traffic_of(demand, rng(9))


def test_time_is_compressed_exactly(sessions: Traffic) -> None:
    fast = in_time(sessions, 4.0)
    assert np.abs(fast.arrival_ns - sessions.arrival_ns / 4.0).max() <= 0.5
    assert np.array_equal(fast.input_tok, sessions.input_tok)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0, 3.4])
def test_volume_scales_requests_and_keeps_sessions_whole(sessions: Traffic, ratio: float) -> None:
    larger = in_volume(sessions, ratio, rng(2))
    owners = len(np.unique(sessions.session))
    sizes = np.bincount(larger.session)
    spread = math.sqrt(owners * 0.25)
    assert np.count_nonzero(sizes) == pytest.approx(ratio * owners, abs=5 * spread + 1)
    assert larger.arrival_ns[-1] <= sessions.arrival_ns[-1]
    assert larger.previous is not None and sessions.previous is not None
    turns = np.count_nonzero(larger.previous >= 0) + np.count_nonzero(sizes)
    assert turns == larger.requests_count  # one beginning a session, all other turns follow
    if ratio == 2.0:
        assert larger.input_tok.sum() == 2 * sessions.input_tok.sum()
        assert len(np.unique(larger.block_hash)) == 2 * len(np.unique(sessions.block_hash))


def test_lengths_scale_and_never_fall_below_a_token(sessions: Traffic) -> None:
    short = in_length(sessions, 0.5, 0.001)
    assert np.abs(short.input_tok - sessions.input_tok / 2).max() <= 0.5
    assert set(short.output_tok) == {1}
    assert np.all(np.diff(short.block_offset) * BLOCK_TOK <= short.input_tok + BLOCK_TOK)


def test_clipping_says_how_many_and_keeps_the_answer() -> None:
    traffic = Traffic(arrival_ns=np.arange(3), input_tok=np.array([50, 900, 90]), output_tok=np.array([50, 200, 2000]))
    short, count = clipped(traffic, 1000)
    assert count == 2
    assert short.input_tok.tolist() == [50, 800, 500]
    assert short.output_tok.tolist() == [50, 200, 500]
    assert clipped(traffic, None) == (traffic, 0)


def test_what_cannot_be_is_refused(sessions: Traffic) -> None:
    for wrong in (
        lambda: in_time(sessions, 0.0),
        lambda: in_volume(sessions, -1.0, rng()),
        lambda: in_length(sessions, 1.0, 0.0),
        lambda: in_volume(sessions, 1e9, rng()),
        lambda: traffic_of(TrafficDemand(ramp(1e9, 1e9, 1e6), fixed(1), fixed(1)), rng()),
    ):
        with pytest.raises(InputError):
            wrong()
