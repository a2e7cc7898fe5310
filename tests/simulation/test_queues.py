"""Limits in which the engine is a queue that books know: the same paths by Lindley's recursion and by simpy, and means
within the simulation's own interval."""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
import pytest

from joulemill.arrays import Array
from joulemill.simulation.fleet import play
from joulemill.simulation.traffic import NS_IN_S, Traffic
from tests.simulation.degenerate import cost_of, fleet_of

#: A step, and tokens of a mean answer: a service is 100 steps, so that a step is little beside it.
STEP_S, MEAN_TOK = 0.01, 100


def path(seed: int, n: int, used: float, servers: int, fixed: bool = False) -> Traffic:
    """Poisson arrivals that keep ``servers`` busy for ``used`` of the time; geometric answers, or all alike."""
    rng = np.random.default_rng(seed)
    answers = np.full(n, MEAN_TOK) if fixed else rng.geometric(1.0 / MEAN_TOK, n)
    gaps = rng.exponential(MEAN_TOK * STEP_S / (used * servers), n)
    return Traffic(
        arrival_ns=(np.cumsum(gaps) * NS_IN_S).astype(np.int64),
        input_tok=np.ones(n, dtype=np.int64),
        output_tok=answers,
    )


def stay_s(traffic: Traffic, slots: int, shared: bool = False) -> Array:
    """Time in the system of each request, of an engine whose step takes ``STEP_S``: for each sequence where the
    processor is ``shared``, else for all together. The first token comes with the prompt, in a step like any other."""

    def step_s(sequences: Array, context: Array, prompt: Array) -> Array:
        return STEP_S * (np.maximum(sequences + prompt, 1.0) if shared else 1.0) + 0.0 * (sequences + context)

    cost = cost_of(step_s, slots, 64.0)
    out = play(traffic, fleet_of(cost, slots, interval_ns=NS_IN_S)).outcomes
    return np.asarray((out.finish_ns - out.arrival_ns) / NS_IN_S)


def lindley_s(traffic: Traffic) -> Array:
    """Stays in a queue with one server, first come first served: W' = max(W + S − gap, 0)."""
    arrival, service = traffic.arrival_ns / NS_IN_S, traffic.output_tok * STEP_S
    out, free = np.empty(arrival.size), 0.0
    for i, at in enumerate(arrival):
        free = max(free, at) + service[i]
        out[i] = free - at
    return out


def simpy_stays_s(traffic: Traffic, servers: int) -> Array:
    """The same with several servers, by simpy."""
    simpy = pytest.importorskip("simpy")
    world = simpy.Environment()
    desk = simpy.Resource(world, capacity=servers)
    out = np.empty(traffic.requests_count)

    def customer(i: int, at: float, service: float) -> Any:
        yield world.timeout(at)
        with desk.request() as turn:
            yield turn
            yield world.timeout(service)
        out[i] = world.now - at

    for i, (at, tok) in enumerate(zip(traffic.arrival_ns / NS_IN_S, traffic.output_tok * STEP_S, strict=True)):
        world.process(customer(i, float(at), float(tok)))
    world.run()
    return out


def several_s(traffic: Traffic, servers: int) -> Array:
    """The same by a heap of the times at which servers are free."""
    free = [0.0] * servers
    out = np.empty(traffic.requests_count)
    for i, (at, tok) in enumerate(zip(traffic.arrival_ns / NS_IN_S, traffic.output_tok * STEP_S, strict=True)):
        start = max(heapq.heappop(free), float(at))
        heapq.heappush(free, start + float(tok))
        out[i] = start + float(tok) - float(at)
    return out


def shared_s(traffic: Traffic) -> Array:
    """Stays where one processor serves all that are there alike: from event to event, all go on by the same."""
    arrival, left = traffic.arrival_ns / NS_IN_S, dict[int, float]()
    out, now, i = np.empty(arrival.size), 0.0, 0
    while left or i < arrival.size:
        first = min(left, key=lambda j: left[j]) if left else -1
        ends = now + left[first] * len(left) if left else np.inf
        comes = arrival[i] if i < arrival.size else np.inf
        step = (min(ends, comes) - now) / max(len(left), 1)
        left = {j: x - step for j, x in left.items()}
        now = min(ends, comes)
        if comes < ends:
            left[i] = traffic.output_tok[i] * STEP_S
            i += 1
        else:
            out[first] = now - arrival[first]
            del left[first]
    return out


def interval(means: list[float]) -> tuple[float, float]:
    """99 % interval of a mean from independent runs (Student's t of six: 4.03)."""
    half = 4.03 * float(np.std(means, ddof=1)) / len(means) ** 0.5
    return float(np.mean(means)) - half, float(np.mean(means)) + half


@pytest.mark.parametrize("fixed", [False, True], ids=["M/M/1", "M/D/1"])
@pytest.mark.parametrize("used", [0.5, 0.95])
def test_one_server_follows_lindley_and_meets_pollaczek_khinchine(used: float, fixed: bool) -> None:
    warm, n = 60, 600
    paths = [path(seed, n, used, 1, fixed) for seed in range(6)]
    means = []
    for traffic in paths:
        ours, book = stay_s(traffic, 1), lindley_s(traffic)
        # A request waits for the step that runs when it comes, and that once in a busy period: less than a step each.
        assert np.abs(ours - book).max() < STEP_S * 1.001 * (1 + 0.1 * n * used)
        assert ours.mean() == pytest.approx(book.mean(), rel=0.02)
        means.append(float(ours[warm:].mean()))
    service = MEAN_TOK * STEP_S
    moment = service**2 if fixed else (2.0 - 1.0 / MEAN_TOK) * service**2
    closed = service + used / service * moment / (2.0 * (1.0 - used))
    low, high = interval(means)
    assert low < closed < high


@pytest.mark.parametrize("used", [0.6, 0.95])
def test_several_servers_follow_simpy(used: float) -> None:
    traffic = path(5, 1500, used, 4)
    ours, book = stay_s(traffic, 4), simpy_stays_s(traffic, 4)
    assert several_s(traffic, 4) == pytest.approx(book, rel=1e-9)
    assert ours.mean() == pytest.approx(book.mean(), rel=0.03)


def test_several_servers_meet_erlang() -> None:
    """M/M/4 at 0.8: Erlang's C = 0.596, wait C/(4 − 3.2) services."""
    service = MEAN_TOK * STEP_S
    means = [float(stay_s(path(seed, 900, 0.8, 4), 4)[90:].mean()) for seed in range(6)]
    closed = service * (1.0 + 0.5964 / (4.0 - 3.2))
    low, high = interval(means)
    assert low < closed < high


def test_a_shared_processor_does_not_care_how_answers_scatter() -> None:
    """M/G/1-PS: service/(1 − ρ), whatever the distribution."""
    service = MEAN_TOK * STEP_S
    for fixed in (False, True):
        means = [float(stay_s(path(seed, 450, 0.7, 1, fixed), 64, shared=True)[45:].mean()) for seed in range(6)]
        low, high = interval(means)
        assert low < service / (1.0 - 0.7) * 1.02
        assert high > service / (1.0 - 0.7) * 0.98


def test_a_shared_processor_near_saturation_follows_its_path() -> None:
    traffic = path(4, 450, 0.95, 1)
    assert stay_s(traffic, 256, shared=True).mean() == pytest.approx(shared_s(traffic).mean(), rel=0.04)
