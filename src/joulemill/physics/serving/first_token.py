"""Time to first token in a closed loop whose requests start together and whose slots refill as answers end. Pure.

Prompts that are there together are computed in order, as many a step as its budget holds. Of k together, g = min(k,
budget/I) share a step, which lasts t(g); on average they have their first tokens after

    finish(k) = t(g)·(k/g + 1)/2                                     first group after one step, the last after k/g

A share r of all requests is the opening burst of all b (a benchmark of ten answers a slot: r = 0.1). Later ones come as
answers end, in clumps of 1 + χ(b − 1) and of those that ended between two looks at the queue (polls·b/O more). χ is
larger where all lengths are equal: those that shared a step end together and come back together, and an engine that
computes prompts before it decodes on keeps all b together for ever (χ = 1).

    TTFT = ingest (+ gateway) + ½·polls·T + r·finish(b) + (1 − r)·finish(clump) + (b − running)·O/rate

The last term is Little's law for those that wait for memory or for the step's budget. ``tests/physics`` checks the
form against an event-by-event simulation of such a loop.

An open loop is a Poisson stream: no burst, no clumps (r = 0, clump = 1), but a queue for the steps that compute
prompts, M/D/1 with S a prompt's time in full steps and ρ = λ·S, and one for the engine's slots (``slot_wait_s``).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from joulemill.arrays import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrivalRates:
    """Fitted habits of a server's front and of the load generators that measured it.

    ingest_s, ingest_tok_s   before a request's first step: fixed, and a prompt token
    gateway_s      more of it where a router stands before the servers
    poll_count     steps between two looks at the queue
    opening_ratio  r, share of the requests that start together
    clump_ratio    χ, share of the batch that comes together later, where lengths vary
    lock_ratio     χ where lengths do not vary
    """

    ingest_s: float
    ingest_tok_s: float
    gateway_s: float
    poll_count: float
    opening_ratio: float
    clump_ratio: float
    lock_ratio: float

    def together_count(self, load: OfferedLoad) -> Array:
        """Prompts that a rank finds together once the loop runs: those that come between two looks at the queue; a share
        of the slots where all lengths are equal."""
        locked = np.minimum(self.lock_ratio, 1.0)
        slots = np.maximum(load.batch_req, 1.0)
        crowd = load.crowd_ratio * slots / load.answer_steps
        between = np.maximum(np.maximum(self.polls_count(load), 1.0), load.held_count) * crowd
        equal = locked * (slots - 1.0) + np.maximum(between - crowd, 0.0)
        return np.asarray(np.minimum(1.0 + np.where(load.lockstep_ratio > 0.0, equal, between), slots))

    def polls_count(self, load: OfferedLoad) -> Array:
        """Steps between two looks at the queue."""
        return np.asarray(np.where(load.poll_count > 0.0, load.poll_count, self.poll_count))


@dataclass(frozen=True, slots=True)
class PromptSteps:
    """What prompts cost in steps, row by row [s]: ``plain_s`` a step without any; ``few_count`` prompts add ``few_s``
    to a step, ``many_count`` add ``many_s``; ``fit_count`` prompts are in a step's budget (below 1: steps a prompt)."""

    plain_s: Array
    few_count: Array
    few_s: Array
    many_count: Array
    many_s: Array
    fit_count: Array

    def scaled(self, factor: Array | float) -> PromptSteps:
        """The same where every step lasts ``factor`` times as long."""
        return replace(self, plain_s=self.plain_s * factor, few_s=self.few_s * factor, many_s=self.many_s * factor)

    def shared_count(self, together: Array) -> Array:
        """Prompts that share a step when ``together`` are there."""
        return np.asarray(np.minimum(together, np.maximum(self.fit_count, 1.0)))

    def finish_s(self, together: Array) -> Array:
        """Mean time until ``together`` prompts that come at once have their first tokens [s]."""
        shared = self.shared_count(together)
        apart = self.many_count - self.few_count
        wide = apart > 0.01
        slope_s = np.where(wide, (self.many_s - self.few_s) / np.where(wide, apart, 1.0), self.few_s / self.few_count)
        added_s = np.maximum(self.few_s + (shared - self.few_count) * slope_s, 0.0)
        step_s = self.plain_s / np.minimum(self.fit_count, 1.0) + added_s
        return np.asarray(step_s * (together / shared + 1.0) / 2.0)

    def cycle_s(self, arrivals: Array, ranks: Array | float, steps_count: Array) -> Array:
        """``steps_count`` steps, one of which has the prompts that come in them, ``arrivals`` a rank and step [s]."""
        come = arrivals * steps_count
        own = np.clip(come / np.maximum(-np.expm1(-come), 1e-12), 1.0, np.maximum(self.fit_count, 1.0))
        parts = np.minimum(self.fit_count, 1.0)
        added_s = self.finish_s(own) * parts - self.plain_s
        often = np.minimum(-np.expm1(-come * ranks) / parts, steps_count)
        return np.asarray(steps_count * self.plain_s + often * added_s)

    def crowded_s(self, arrivals: Array, batch: Array) -> Array:
        """Mean wait for steps that are full of earlier prompts [s]."""
        fits = self.fit_count
        parts = np.minimum(fits, 1.0)
        full_s = np.maximum(self.finish_s(np.maximum(fits, 1.0)) * parts, self.plain_s)
        used = arrivals / fits
        used = used / np.cbrt(1.0 + used**3)
        slots = np.maximum(fits, 1.0)
        queue = 0.5 / (slots * parts) * used ** (np.sqrt(2.0 * (slots + 1.0)) - 1.0) / (1.0 - used)
        return np.asarray(full_s * np.minimum(queue, 0.5 * batch / fits))


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedLoad:
    """A closed loop of ``batch_req`` slots with prompts of ``input_tok`` and answers of ``answer_steps`` steps;
    ``step_s`` is a mean step; ``lockstep_ratio``
    is 1 where all prompts and answers are of one length; ``poll_count`` 0 where it is the engine's; ``gateway_ratio`` 1
    where a router stands before the servers; ``open_ratio`` 1 where requests come as a steady stream."""

    batch_req: Array
    input_tok: Array
    answer_steps: Array
    step_s: Array
    lockstep_ratio: Array
    poll_count: Array
    gateway_ratio: Array | float = 0.0
    open_ratio: Array | float = 0.0
    spread_ratio: Array | float = 0.0
    hold_count: Array | float = 0.0
    ranks_count: Array | float = 1.0

    @property
    def crowd_ratio(self) -> Array:
        """How much denser answers end, at the time when they end, than on average over the loop."""
        spread = np.maximum(np.asarray(self.spread_ratio), 1e-3)
        loose = np.maximum(CROWD_SPREAD_RATIO / spread, 1.0)
        even = (np.asarray(self.open_ratio) > 0.0) | (self.lockstep_ratio > 0.0)
        return np.asarray(np.where(even, 1.0, loose))

    @property
    def held_count(self) -> Array:
        """Steps from a prompt until it and those that joined it are computed: until there is one a rank, or the most."""
        enough = (self.ranks_count - 1.0) / np.maximum(self.arrivals_count * self.ranks_count, 1e-9)
        return np.asarray(np.where(np.asarray(self.ranks_count) > 1.0, np.minimum(self.hold_count, enough), self.hold_count))

    @property
    def hold_steps(self) -> Array:
        """Mean wait of prompts that are held: the first of them all of it, those that join it half."""
        joined = self.arrivals_count * self.ranks_count * self.held_count
        return np.asarray(self.held_count * (1.0 + 0.5 * joined) / (1.0 + joined))

    @property
    def arrivals_count(self) -> Array:
        """Prompts that come to a rank in a step."""
        return np.asarray(self.crowd_ratio * np.maximum(self.batch_req, 1.0) / self.answer_steps)


CROWD_SPREAD_RATIO = 0.157


def first_token_s(rates: ArrivalRates, steps: PromptSteps, load: OfferedLoad) -> Array:
    """Mean time to first token [s], less the wait for memory."""
    batch = np.maximum(load.batch_req, 1.0)
    stream = np.asarray(load.open_ratio) > 0.0
    later = np.where(stream, 1.0, rates.together_count(load))
    opening = np.where(stream, 0.0, np.minimum(rates.opening_ratio, 1.0))
    equal = stream | (load.lockstep_ratio > 0.0)
    come = load.arrivals_count
    polls = rates.polls_count(load)
    stated = load.poll_count > 0.0
    cycle_s = np.where(stated, 1.0, polls) * steps.cycle_s(come, load.ranks_count, np.where(stated, polls, 1.0))
    poll_s = 0.5 * np.where(equal, polls * load.step_s, cycle_s) + load.hold_steps * steps.plain_s
    later_s = steps.finish_s(later) + np.where(equal, 0.0, steps.crowded_s(come, batch))
    wait_s = opening * steps.finish_s(batch) + (1.0 - opening) * later_s
    wait_s = wait_s + np.where(stream, _prompt_queue_s(steps, load), 0.0)
    return np.asarray(ingest_s(rates, load) + poll_s + wait_s)


def ingest_s(rates: ArrivalRates, load: OfferedLoad) -> Array:
    """Mean time before a request's first step [s]."""
    return np.asarray(rates.ingest_s + rates.ingest_tok_s * load.input_tok + rates.gateway_s * load.gateway_ratio)


def pool_token_s(rates: ArrivalRates, steps: PromptSteps, load: OfferedLoad, stay_s: Array) -> Array:
    """Mean time until a pool that computes prompts alone has a first token [s], and the decode worker that takes over
    looks at its queue. A prompt waits for the step that any rank of its worker is in. ``load`` is that of a rank, whose
    requests stay ``stay_s`` elsewhere."""
    least = 1.0 / np.asarray(load.ranks_count)
    queue = np.maximum(load.batch_req, least)
    fits = np.maximum(steps.fit_count, 1.0)
    one_s = steps.finish_s(least)
    rate = load.crowd_ratio * load.batch_req / (stay_s + one_s)
    shared = np.minimum(least + rate * one_s, np.minimum(fits, queue))
    step_s = steps.finish_s(shared)
    busy = -np.expm1(-rate * load.ranks_count * step_s)
    full = np.minimum(fits, queue)
    full_s = steps.finish_s(full)
    used = rate * full_s / full
    used = used / np.cbrt(1.0 + used**3)
    crowd = 0.5 / fits * used ** (np.sqrt(2.0 * (fits + 1.0)) - 1.0) / (1.0 - used)
    crowd_s = full_s * np.minimum(crowd, 0.5 * queue / fits)
    later_s = step_s * (1.0 + 0.5 * busy) + crowd_s
    opening = np.minimum(rates.opening_ratio, 1.0)
    wait_s = opening * steps.finish_s(queue) + (1.0 - opening) * later_s
    return np.asarray(ingest_s(rates, load) + 0.5 * rates.polls_count(load) * load.step_s + wait_s)


#: Utilization up to which a queue's wait is computed: at 1 it has no bound.
FULL_RATIO = 0.995


def _prompt_queue_s(steps: PromptSteps, load: OfferedLoad) -> Array:
    """Mean wait for the steps that compute prompts [s]: M/D/1, ρ·S/2(1 − ρ)."""
    each_s = (steps.plain_s + np.maximum(steps.many_s, 0.0)) / np.maximum(steps.many_count, 1e-9)
    stay_s = np.maximum(load.answer_steps * load.step_s, 1e-12)
    busy = np.minimum(load.batch_req / stay_s * each_s, FULL_RATIO)
    return np.asarray(0.5 * each_s * busy / (1.0 - busy))


def slot_wait_s(
    used_ratio: Array, slots_count: Array | float, stay_s: Array | float, spread_ratio: Array | float = 0.0
) -> Array:
    """Mean wait for one of ``slots_count`` slots that a request keeps for ``stay_s`` [s]; inf from full use on.

    M/G/c by Sakasegawa (1977): (1 + s²)/2 · stay/c · ρ^(√(2(c + 1)) − 1)/(1 − ρ); exact for one slot.
    """
    used, slots = np.asarray(used_ratio, dtype=np.float64), np.asarray(slots_count, dtype=np.float64)
    varied = 0.5 * (1.0 + np.asarray(spread_ratio) ** 2)
    with np.errstate(divide="ignore"):
        crowd = used ** (np.sqrt(2.0 * (slots + 1.0)) - 1.0) / np.maximum(1.0 - used, 0.0)
    return np.asarray(np.where(used < 1.0, varied * stay_s / slots * crowd, np.inf))
