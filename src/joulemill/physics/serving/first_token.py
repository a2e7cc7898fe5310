"""Time to first token in a closed loop whose requests start together and whose slots refill as answers end. Pure.

Prompts that are there together are computed in order, as many a step as its budget holds. Of k together, g = min(k,
budget/I) share a step, which lasts t(g); on average they have their first tokens after

    finish(k) = t(g)·(k/g + 1)/2                                     first group after one step, the last after k/g

A share r = 0.1 of all requests is the opening burst of all b (a benchmark of ten answers a slot). Later ones come as
answers end: α = C·b/O a step, O the steps of an answer. Lengths of deviation s (of their mean) keep the answers of a
generation together, C = 0.147/s times as dense as on average over nine of them, or less where the opening took long. A
prompt waits for the next look at the queue and shares its step with those that came meanwhile (p steps; T(p) is their
length, of one that computes these prompts):

    TTFT = ingest (+ gateway) + ½·T(p) + held + r·finish(b) + (1 − r)·finish(1 + χ(b − 1) + p·α) + (b − running)·O/rate

A share χ of the batch comes together beside. Where all lengths are equal, requests that ended a step apart come back a
step apart: the second while the first is computed, so two are there at least; an engine that computes prompts before it
decodes on keeps all b together for ever (χ = 1).
The last term is Little's law for those that wait for memory or for the step's budget. ``tests/physics`` checks the
form against an event-by-event simulation of such a loop.

A pool that computes prompts alone has no steps of its own between them (``pool_token_s``): a step of n = x/(1 − e^(−x))
prompts lasts x/λ. A prompt that comes waits for half of the step that runs, and shares its own with others that came.
An open loop is a Poisson stream: no burst (r = 0, C = 1), but a queue for the steps that compute prompts, M/D/1 with S
a prompt's time in full steps and ρ = λ·S, and one for the engine's slots (``slot_wait_s``).
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
    scheduler_interval_count     steps between two looks at the queue
    initial_burst_ratio  r, share of the requests that start together
    arrival_burst_ratio    χ, share of the batch that comes together later, beside what lengths tell
    lock_ratio     χ where lengths do not vary
    """

    ingest_s: float
    ingest_tok_s: float
    gateway_s: float
    scheduler_interval_count: float
    initial_burst_ratio: float
    arrival_burst_ratio: float
    lock_ratio: float

    def together_count(self, load: OfferedLoad, fit_count: Array) -> Array:
        """Prompts that a rank finds together once the loop runs: those that come together, and those that come between
        two looks at the queue or while one is held."""
        slots = np.maximum(load.concurrency, 1.0)
        steps = np.maximum(np.maximum(self.scheduler_intervals_count(load), 1.0), load.held_count(fit_count))
        more = (steps - 1.0 * (load.uniform_lengths > 0.0)) * load.arrivals_count(fit_count)
        return np.asarray(np.minimum(self.clumped_count(load) + more, slots))

    def clumped_count(self, load: OfferedLoad) -> Array:
        """Prompts that come in the same step, beside those that lengths tell. Where all lengths are equal, requests
        that ended a step apart come a step apart: one comes while the one before it is computed, and two are there."""
        slots = np.maximum(load.concurrency, 1.0)
        lock = load.uniform_lengths > 0.0
        least = np.where(lock, np.minimum(2.0, slots), 1.0)
        share = np.where(lock, self.lock_ratio, self.arrival_burst_ratio)
        return np.asarray(least + np.minimum(share, 1.0) * (slots - least))

    def scheduler_intervals_count(self, load: OfferedLoad) -> Array:
        """Steps between two looks at the queue."""
        return np.asarray(
            np.where(load.scheduler_interval_count > 0.0, load.scheduler_interval_count, self.scheduler_interval_count)
        )


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

    def cycle_s(self, come_count: Array, ranks_count: Array | float, steps_count: Array) -> Array:
        """``steps_count`` steps, one of which computes the prompts that come in them, ``come_count`` a rank and step
        [s]."""
        come = come_count * steps_count
        together = np.clip(come / np.maximum(-np.expm1(-come), 1e-12), 1.0, np.maximum(self.fit_count, 1.0))
        parts = np.minimum(self.fit_count, 1.0)
        added_s = self.finish_s(together) * parts - self.plain_s
        often = np.minimum(-np.expm1(-come * ranks_count) / parts, steps_count)
        return np.asarray(steps_count * self.plain_s + often * added_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferedLoad:
    """A closed loop over a rank.

    concurrency    slots;  input_tok  of a prompt;  answer_steps  steps of an answer, of ``step_s`` on average
    uniform_lengths 1 where all prompts and answers are of one length;  spread_ratio  deviation of lengths over their
                   mean, 0 where it is not stated
    scheduler_interval_count   steps between two looks at the queue, 0 where it is the engine's
    hold_count     steps that a prompt is held back at most for others to join it
    behind_router  1 where a router stands before the servers;  open_loop  1 where requests come as a steady stream
    ranks_count    ranks whose steps begin and end together
    """

    concurrency: Array
    input_tok: Array
    answer_steps: Array
    step_s: Array
    uniform_lengths: Array
    scheduler_interval_count: Array
    behind_router: Array | float = 0.0
    open_loop: Array | float = 0.0
    spread_ratio: Array | float = 0.0
    hold_count: Array | float = 0.0
    ranks_count: Array | float = 1.0

    def crowd_ratio(self, initial_burst_ratio: Array) -> Array:
        """How much denser answers end, while they end, than on average over the loop.

        initial_burst_ratio   the time that the initial burst takes over an answer's
        """
        spread = np.maximum(np.asarray(self.spread_ratio), LEAST_SPREAD_RATIO)
        opened = initial_burst_ratio / (np.sqrt(12.0) * spread)
        dense = CROWD_SPREAD_RATIO / spread / np.sqrt(1.0 + opened * opened)
        even = (np.asarray(self.open_loop) > 0.0) | (self.uniform_lengths > 0.0)
        return np.asarray(np.where(even, 1.0, np.maximum(dense, 1.0)))

    def arrivals_count(self, fit_count: Array) -> Array:
        """Prompts that come to a rank in a step, of which ``fit_count`` fit one."""
        slots = np.maximum(self.concurrency, 1.0)
        opening = slots / (fit_count * self.answer_steps)
        come = self.crowd_ratio(opening) * slots / self.answer_steps
        return np.asarray(np.minimum(come, fit_count))

    def held_count(self, fit_count: Array) -> Array:
        """Steps from a prompt until it and those that joined it are computed: at most those that it is held, and until
        each rank has one."""
        if not np.any(self.hold_count):
            return np.zeros(1)
        enough = (self.ranks_count - 1.0) / np.maximum(self.arrivals_count(fit_count) * self.ranks_count, 1e-9)
        several = np.asarray(self.ranks_count) > 1.0
        return np.asarray(np.where(several, np.minimum(self.hold_count, enough), self.hold_count))

    def hold_steps(self, fit_count: Array) -> Array:
        """Mean wait of prompts that are held [steps]: the first of them all of it, those that join it half."""
        if not np.any(self.hold_count):
            return np.zeros(1)
        held = self.held_count(fit_count)
        joined = self.arrivals_count(fit_count) * self.ranks_count * held
        return np.asarray(held * (1.0 + 0.5 * joined) / (1.0 + joined))


#: s times how much denser answers end than on average, over the nine generations after the opening burst: the k-th is
#: a normal density of deviation s·√k of an answer, whose mean over itself is 1/(2√π·s·√k). Checked by simulation.
CROWD_SPREAD_RATIO = sum(k**-0.5 for k in range(1, 10)) / 9.0 / (2.0 * np.pi**0.5)
#: Deviation of lengths where none is stated: drawn evenly between 0.8 and 1 of the longest, as load generators do.
LEAST_SPREAD_RATIO = 0.2 / 12**0.5 / 0.9


def first_token_s(rates: ArrivalRates, steps: PromptSteps, load: OfferedLoad) -> Array:
    """Mean time to first token [s], less the wait for memory."""
    batch = np.maximum(load.concurrency, 1.0)
    fits = steps.fit_count
    stream = np.asarray(load.open_loop) > 0.0
    later = np.where(stream, 1.0, rates.together_count(load, fits))
    opening = np.where(stream, 0.0, np.minimum(rates.initial_burst_ratio, 1.0))
    wait_s = opening * steps.finish_s(batch) + (1.0 - opening) * steps.finish_s(later)
    wait_s = wait_s + np.where(stream, _prompt_queue_s(steps, load), 0.0)
    return np.asarray(ingest_s(rates, load) + _look_s(rates, steps, load) + wait_s)


def _look_s(rates: ArrivalRates, steps: PromptSteps, load: OfferedLoad) -> Array:
    """Mean wait for the next look at the queue, and for other prompts where they are held [s]."""
    polls = rates.scheduler_intervals_count(load)
    stated = load.scheduler_interval_count > 0.0
    come = load.arrivals_count(steps.fit_count)
    between = np.where(stated, polls, 1.0)
    cycle_s = polls / between * steps.cycle_s(come, load.ranks_count, between)
    mean_s = np.where((np.asarray(load.open_loop) > 0.0) | (load.uniform_lengths > 0.0), polls * load.step_s, cycle_s)
    return np.asarray(0.5 * mean_s + load.hold_steps(steps.fit_count) * steps.plain_s)


def ingest_s(rates: ArrivalRates, load: OfferedLoad) -> Array:
    """Mean time before a request's first step [s]."""
    return np.asarray(rates.ingest_s + rates.ingest_tok_s * load.input_tok + rates.gateway_s * load.behind_router)


#: Rounds until a pool's steps hold as many prompts as come in one.
POOL_ROUNDS = 8


def pool_token_s(rates: ArrivalRates, steps: PromptSteps, load: OfferedLoad, stay_s: Array) -> Array:
    """Mean time until a pool that computes prompts alone has a first token [s], and the decode worker that takes over
    looks at its queue. ``load`` is that of a rank, whose requests stay ``stay_s`` elsewhere. A prompt waits for the
    step that any rank of its worker is in, and shares the next one with those that come meanwhile."""
    ranks = np.asarray(load.ranks_count)
    queue = np.maximum(load.concurrency, 1.0 / ranks)
    full = np.minimum(np.maximum(steps.fit_count, 1.0), queue)
    one_s, most_rate = steps.finish_s(1.0 / ranks), full / steps.finish_s(full)
    rate = load.crowd_ratio(queue / most_rate / stay_s) * load.concurrency / (stay_s + one_s)
    rate = np.minimum(rate, most_rate)
    step_s = one_s
    for _ in range(POOL_ROUNDS):
        come = np.maximum(rate * ranks * step_s, 1e-9)
        step_s = steps.finish_s(np.minimum(come / -np.expm1(-come) / ranks, full))
    own_s = steps.finish_s(np.minimum(1.0 / ranks + rate * step_s, full))
    later_s = own_s - 0.5 * step_s * np.expm1(-rate * ranks * step_s)
    opening = np.minimum(rates.initial_burst_ratio, 1.0)
    wait_s = opening * steps.finish_s(queue) + (1.0 - opening) * later_s
    return np.asarray(ingest_s(rates, load) + 0.5 * rates.scheduler_intervals_count(load) * load.step_s + wait_s)


#: Utilization up to which a queue's wait is computed: at 1 it has no bound.
FULL_RATIO = 0.995


def _prompt_queue_s(steps: PromptSteps, load: OfferedLoad) -> Array:
    """Mean wait for the steps that compute prompts [s]: M/D/1, ρ·S/2(1 − ρ)."""
    each_s = (steps.plain_s + np.maximum(steps.many_s, 0.0)) / np.maximum(steps.many_count, 1e-9)
    stay_s = np.maximum(load.answer_steps * load.step_s, 1e-12)
    busy = np.minimum(load.concurrency / stay_s * each_s, FULL_RATIO)
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
