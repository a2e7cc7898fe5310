"""Time to first token: against an event-by-event simulation of a closed loop, by hand, and its limits."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.physics.serving.first_token import ArrivalRates, OfferedLoad, PromptSteps, first_token_s, pool_token_s

PLAIN_S, SEQUENCE_S, ALONE_S, PROMPT_TOK_S, BUDGET_TOK = 6e-3, 1e-4, 2e-3, 1.3e-5, 8192
RATES = ArrivalRates(
    ingest_s=1e-9,
    ingest_tok_s=1e-12,
    gateway_s=1e-9,
    scheduler_interval_count=1e-9,
    initial_burst_ratio=0.1,
    arrival_burst_ratio=1e-9,
    lock_ratio=0.02,
)


@dataclass
class Loop:
    """A server and ``batch`` clients that each ask again when they are answered; ten answers a client.

    ``first``: waiting prompts are computed before anything decodes on; else they share steps with decoding.
    ``shortest_ratio``: lengths are drawn evenly between this and 1 of what is asked.
    """

    batch: int
    input_tok: int
    output_tok: int
    first: bool = False
    shortest_ratio: float = 1.0

    def ttft_s(self) -> float:
        rng = random.Random(7)
        total = 10 * self.batch

        def length(tok: int) -> int:
            return rng.randint(int(self.shortest_ratio * tok), tok)

        asked = [(length(self.input_tok), length(self.output_tok)) for _ in range(total)]
        waiting = list(range(self.batch))
        came = [0.0] * total
        left, running, seen, now, tokens = 0, [], [], 0.0, 0
        upcoming = self.batch
        while len(seen) < total or running:
            room, done = BUDGET_TOK - (0 if self.first else len(running)), []
            work = 0
            while waiting and room > 0:
                left = left or asked[waiting[0]][0]
                part = min(left, room)
                left, room, work = left - part, room - part, work + part
                if not left:
                    done.append(waiting.pop(0))
            stalls = self.first and work > 0
            now += PLAIN_S + (ALONE_S + PROMPT_TOK_S * work if work else 0.0)
            now += 0.0 if stalls else SEQUENCE_S * len(running)
            tokens += not stalls
            seen += [now - came[i] for i in done]
            while running and running[0][0] <= tokens:
                heapq.heappop(running)
                if upcoming < total:
                    came[upcoming] = now
                    waiting.append(upcoming)
                    upcoming += 1
            for i in done:
                heapq.heappush(running, (tokens + asked[i][1] - 1, i))
        return sum(seen) / total


def steps_of(batch: float, input_tok: float) -> PromptSteps:
    """What the simulated server's prompts cost; half the batch decodes on average."""
    fits = BUDGET_TOK / input_tok
    many = min(batch, max(fits, 1.0))

    def cost(count: float) -> np.ndarray:
        tok = min(count * input_tok, BUDGET_TOK)
        return np.array([ALONE_S + PROMPT_TOK_S * tok])

    plain = PLAIN_S + SEQUENCE_S * 0.7 * batch
    one = np.ones(1)
    return PromptSteps(one * plain, one, cost(1.0), one * many, cost(many), one * fits)


def closed_s(batch: float, input_tok: float, rates: ArrivalRates, lockstep: float, answer_steps: float = 1e9) -> float:
    a = np.ones(1)
    load = OfferedLoad(
        concurrency=a * batch,
        input_tok=a * input_tok,
        answer_steps=a * answer_steps,
        step_s=a * PLAIN_S,
        uniform_lengths=a * lockstep,
        scheduler_interval_count=a * 0.0,
        spread_ratio=0.2 / 12**0.5 / 0.9,
    )
    return float(first_token_s(rates, steps_of(batch, input_tok), load)[0])


@pytest.mark.parametrize(("batch", "input_tok"), [(4, 1024), (16, 1024), (64, 1024), (16, 8192), (64, 8192)])
def test_prompts_first_and_one_length_keep_all_together(batch: int, input_tok: int) -> None:
    simulated = Loop(batch, input_tok, 256, first=True).ttft_s()
    together = replace(RATES, lock_ratio=1.0)
    assert closed_s(batch, input_tok, together, 1.0) == pytest.approx(simulated, rel=0.12)


@pytest.mark.parametrize(
    ("batch", "input_tok", "output_tok"),
    [(4, 1024, 1024), (64, 1024, 1024), (256, 1024, 1024), (64, 1024, 4096), (16, 8192, 1024), (128, 8192, 1024)],
)
def test_answers_end_as_dense_as_their_lengths_are_alike(batch: int, input_tok: int, output_tok: int) -> None:
    """Lengths between 0.8 and 1: with the opening burst that is all that a loop of ten answers a slot knows."""
    simulated = Loop(batch, input_tok, output_tok, shortest_ratio=0.8).ttft_s()
    scale = 0.9  # mean of what is drawn
    assert closed_s(batch, input_tok * scale, RATES, 0.0, output_tok * scale) == pytest.approx(simulated, rel=0.15)


def test_steps_shared_with_decoding_stay_shared() -> None:
    """Eight prompts to a step, all of one length: they end together and come back together."""
    rates = replace(RATES, lock_ratio=7.0 / 63.0)
    assert closed_s(64, 1024, rates, 1.0) == pytest.approx(Loop(64, 1024, 256).ttft_s(), rel=0.15)


def test_a_router_adds_its_time_where_one_stands_before_the_server() -> None:
    a = np.ones(1)
    rates = replace(RATES, gateway_s=0.07)
    load = OfferedLoad(
        concurrency=a * 16.0,
        input_tok=a * 1024.0,
        answer_steps=a * 512.0,
        step_s=a * 0.02,
        uniform_lengths=a * 0.0,
        scheduler_interval_count=a * 0.0,
    )
    steps = steps_of(16.0, 1024.0)
    routed = first_token_s(rates, steps, replace(load, behind_router=a))
    assert (routed - first_token_s(rates, steps, load))[0] == pytest.approx(0.07)


def looked_at(scheduler_interval_count: float, hold_count: float = 0.0, ranks_count: float = 1.0) -> OfferedLoad:
    """64 slots a rank, answers of 512 steps, of lengths so scattered that they end as a steady stream."""
    a = np.ones(1)
    return OfferedLoad(
        concurrency=a * 64.0,
        input_tok=a * 1024.0,
        answer_steps=a * 512.0,
        step_s=a * 0.02,
        uniform_lengths=a * 0.0,
        scheduler_interval_count=a * scheduler_interval_count,
        hold_count=hold_count,
        spread_ratio=0.5,
        ranks_count=ranks_count,
    )


def test_answers_that_end_between_two_looks_come_together() -> None:
    """A look each 33rd step: 32 steps later four more have come; never more than all."""
    many = np.ones(1) * 1e3
    alone, late = (RATES.together_count(looked_at(polls), many) for polls in (1.0, 33.0))
    assert (late - alone)[0] == pytest.approx(32 * 64 / 512)
    assert RATES.together_count(looked_at(1e6), many)[0] == 64.0


def test_a_prompt_that_is_held_waits_longest_and_those_that_join_it_half() -> None:
    """Twenty steps, in which 2.5 more come: (20 + 2.5·10)/3.5; over eight ranks, until seven more have come."""
    many = np.ones(1) * 1e3
    assert looked_at(0.0, 20.0).hold_steps(many)[0] == pytest.approx(45.0 / 3.5)
    assert looked_at(0.0, 60.0, 8.0).held_count(many)[0] == pytest.approx(7.0)


def test_scattered_answers_end_as_a_steady_stream_and_an_opening_that_takes_long_scatters_them() -> None:
    alike = replace(looked_at(0.0), spread_ratio=0.2 / 12**0.5 / 0.9)
    assert looked_at(0.0).crowd_ratio(np.zeros(1))[0] == 1.0
    assert alike.crowd_ratio(np.zeros(1))[0] == pytest.approx(2.3, abs=0.01)
    assert alike.crowd_ratio(np.ones(1))[0] == 1.0


@pytest.mark.parametrize(("loop", "stay_s"), [(16, 15.0), (64, 15.0), (64, 30.0), (128, 30.0)])
def test_a_pool_of_ranks_that_step_together(loop: int, stay_s: float) -> None:
    """Eight ranks, a prompt each a step, against requests that are played one by one."""
    lone_s, full_s, ranks = 0.76, 0.99, 8
    rng, total = random.Random(1), 10 * loop
    coming, sent, free, waits = [0.0] * loop, loop, 0.0, []
    while coming:
        begin = max(free, coming[0])
        batch = [heapq.heappop(coming) for _ in range(min(ranks, sum(x <= begin for x in coming)))]
        free = begin + lone_s + (full_s - lone_s) * (len(batch) - 1) / (ranks - 1)
        waits += [free - x for x in batch]
        for _ in range(min(len(batch), total - sent)):
            sent += 1
            heapq.heappush(coming, free + stay_s * rng.uniform(0.8, 1.0) / 0.9)
    a = np.ones(1)
    steps = PromptSteps(a * 0.0, a / ranks, a * lone_s, a, a * full_s, a)
    load = replace(looked_at(0.0), concurrency=a * loop / ranks, ranks_count=ranks, spread_ratio=0.2 / 12**0.5 / 0.9)
    assert pool_token_s(RATES, steps, load, a * stay_s)[0] == pytest.approx(sum(waits) / total, rel=0.08)


def test_a_burst_by_hand() -> None:
    """Eight prompts, four to a step of 10 ms and 40 ms of prompts: first tokens after 50 and 100 ms."""
    a = np.ones(1)
    steps = PromptSteps(a * 0.01, a, a * 0.01, a * 4.0, a * 0.04, a * 4.0)
    assert steps.finish_s(a * 8.0)[0] == pytest.approx(0.075)
    assert steps.finish_s(a)[0] == pytest.approx(0.02)


def test_a_prompt_longer_than_the_budget_takes_several_steps() -> None:
    a = np.ones(1)
    steps = PromptSteps(a * 0.01, a, a * 0.08, a, a * 0.08, a * 0.25)
    assert steps.finish_s(a)[0] == pytest.approx(4 * 0.01 + 0.08)


@given(
    batch=st.floats(1.0, 500.0),
    more=st.floats(1.0, 4.0),
    tok=st.floats(64.0, 30000.0),
    lock=st.sampled_from([0.0, 1.0]),
)
def test_more_in_flight_never_waits_less(batch: float, more: float, tok: float, lock: float) -> None:
    assert closed_s(batch * more, tok, RATES, lock) >= closed_s(batch, tok, RATES, lock) * (1 - 1e-9)


@given(polls=st.floats(2.0, 100.0), batch=st.floats(1.0, 300.0))
def test_looking_at_the_queue_less_often_adds_half_the_steps_between(polls: float, batch: float) -> None:
    a = np.ones(1)
    load = OfferedLoad(
        concurrency=a * batch,
        input_tok=a * 1024.0,
        answer_steps=a * 1e9,
        step_s=a * 0.02,
        uniform_lengths=a * 0.0,
        scheduler_interval_count=a * 0.0,
    )
    steps = steps_of(batch, 1024.0)
    late = first_token_s(RATES, steps, replace(load, scheduler_interval_count=a * polls))
    assert (late - first_token_s(RATES, steps, load))[0] == pytest.approx(0.5 * polls * steps.plain_s[0], rel=1e-4)
