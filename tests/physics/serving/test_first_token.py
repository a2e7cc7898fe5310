"""Time to first token: against an event-by-event simulation of a closed loop, by hand, and its limits."""

from __future__ import annotations

import heapq
import random
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.physics.serving.first_token import ArrivalRates, OfferedLoad, PromptSteps, first_token_s

PLAIN_S, SEQUENCE_S, ALONE_S, PROMPT_TOK_S, BUDGET_TOK = 6e-3, 1e-4, 2e-3, 1.3e-5, 8192
RATES = ArrivalRates(
    ingest_s=1e-9,
    ingest_tok_s=1e-12,
    gateway_s=1e-9,
    poll_count=1e-9,
    opening_ratio=0.1,
    clump_ratio=0.02,
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


def closed_s(batch: float, input_tok: float, rates: ArrivalRates, lockstep: float) -> float:
    a = np.ones(1)
    load = OfferedLoad(
        batch_req=a * batch,
        input_tok=a * input_tok,
        answer_steps=a * 1e9,
        step_s=a * PLAIN_S,
        lockstep_ratio=a * lockstep,
        poll_count=a * 0.0,
    )
    return float(first_token_s(rates, steps_of(batch, input_tok), load)[0])


@pytest.mark.parametrize(("batch", "input_tok"), [(4, 1024), (16, 1024), (64, 1024), (16, 8192), (64, 8192)])
def test_prompts_first_and_one_length_keep_all_together(batch: int, input_tok: int) -> None:
    simulated = Loop(batch, input_tok, 256, first=True).ttft_s()
    together = replace(RATES, lock_ratio=1.0)
    assert closed_s(batch, input_tok, together, 1.0) == pytest.approx(simulated, rel=0.12)


@pytest.mark.parametrize(("batch", "input_tok"), [(4, 1024), (16, 1024), (64, 1024), (16, 8192), (64, 8192)])
def test_lengths_that_vary_leave_the_opening_burst_and_small_clumps(batch: int, input_tok: int) -> None:
    simulated = Loop(batch, input_tok, 1024, shortest_ratio=0.8).ttft_s()
    scale = 0.9  # mean of what is drawn
    assert closed_s(batch, input_tok * scale, RATES, 0.0) == pytest.approx(simulated, rel=0.3)


def test_steps_shared_with_decoding_stay_shared() -> None:
    """Eight prompts to a step, all of one length: they end together and come back together."""
    rates = replace(RATES, lock_ratio=7.0 / 63.0)
    assert closed_s(64, 1024, rates, 1.0) == pytest.approx(Loop(64, 1024, 256).ttft_s(), rel=0.15)


def test_a_router_adds_its_time_where_one_stands_before_the_server() -> None:
    a = np.ones(1)
    rates = replace(RATES, gateway_s=0.07)
    load = OfferedLoad(
        batch_req=a * 16.0,
        input_tok=a * 1024.0,
        answer_steps=a * 512.0,
        step_s=a * 0.02,
        lockstep_ratio=a * 0.0,
        poll_count=a * 0.0,
    )
    steps = steps_of(16.0, 1024.0)
    routed = first_token_s(rates, steps, replace(load, gateway_ratio=a))
    assert (routed - first_token_s(rates, steps, load))[0] == pytest.approx(0.07)


def test_answers_that_end_between_two_looks_come_together() -> None:
    """64 slots, answers of 512 steps, a look each 33rd: 32 steps later four more have come; never more than all."""
    a = np.ones(1)
    load = OfferedLoad(
        batch_req=a * 64.0,
        input_tok=a * 1024.0,
        answer_steps=a * 512.0,
        step_s=a * 0.02,
        lockstep_ratio=a * 0.0,
        poll_count=a * 33.0,
    )
    alone = RATES.together_count(replace(load, poll_count=a))
    assert (RATES.together_count(load) - alone)[0] == pytest.approx(32 * 64 / 512)
    assert RATES.together_count(replace(load, poll_count=a * 1e6))[0] == 64.0


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
        batch_req=a * batch,
        input_tok=a * 1024.0,
        answer_steps=a * 1e9,
        step_s=a * 0.02,
        lockstep_ratio=a * 0.0,
        poll_count=a * 0.0,
    )
    steps = steps_of(batch, 1024.0)
    late = first_token_s(RATES, steps, replace(load, poll_count=a * polls))
    assert (late - first_token_s(RATES, steps, load))[0] == pytest.approx(0.5 * polls * 0.02, rel=1e-6)
