"""Traffic made faster, larger, longer or shorter, and cut to what a context holds. Pure.

Nothing is changed unless it is asked for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from joulemill.errors import InputError
from joulemill.simulation.assembly import LooseRequests, joined, parts_of, with_lengths
from joulemill.simulation.demand import MOST_REQUESTS
from joulemill.simulation.traffic import NS_IN_S, Traffic

#: Copies of a request are moved by up to this, so that they do not come at one moment (assumed).
COPY_SHIFT_S = 30.0


def in_time(traffic: Traffic, speed_ratio: float) -> Traffic:
    """The same requests, arriving ``speed_ratio`` times as fast; waits between turns are people's, and stay."""
    if not speed_ratio > 0:
        raise InputError(f"the speed is {speed_ratio:g}; it must be above 0")
    return replace(traffic, arrival_ns=np.rint(traffic.arrival_ns / speed_ratio).astype(np.int64))


def in_length(traffic: Traffic, input_ratio: float, output_ratio: float) -> Traffic:
    """Prompts and answers ``…_ratio`` times as long, at least a token."""
    if not (input_ratio > 0 and output_ratio > 0):
        raise InputError("the scale of lengths must be above 0")
    scaled = ((traffic.input_tok, input_ratio), (traffic.output_tok, output_ratio))
    prompts, answers = (np.maximum(1, np.rint(tok * ratio)).astype(np.int64) for tok, ratio in scaled)
    return with_lengths(parts_of(traffic), prompts, answers).in_order()


def clipped(traffic: Traffic, context_tok: int | None) -> tuple[Traffic, int]:
    """``traffic`` that a context of ``context_tok`` holds, and how many requests had to be shortened for it.

    The prompt gives way, since the answer's length is what the energy is of; an answer takes at most half.
    """
    if context_tok is None:
        return traffic, 0
    long = traffic.input_tok + traffic.output_tok > context_tok
    if not long.any():
        return traffic, 0
    answers = np.where(long, np.minimum(traffic.output_tok, max(context_tok // 2, 1)), traffic.output_tok)
    prompts = np.where(long, np.maximum(context_tok - answers, 1), traffic.input_tok)
    return with_lengths(parts_of(traffic), prompts, answers).in_order(), int(long.sum())


def in_volume(traffic: Traffic, ratio: float, rng: np.random.Generator) -> Traffic:
    """``ratio`` times as many requests at the same times of day: whole copies, and a share drawn at random.

    A copy is moved by up to ``COPY_SHIFT_S`` and shares no prefix with the others. Sessions are kept whole.
    """
    if not 0 < ratio * traffic.requests_count <= MOST_REQUESTS:
        raise InputError(f"the volume is {ratio:g}; it must be above 0, and give at most {MOST_REQUESTS:,} requests")
    requests = parts_of(traffic)
    owner = requests.owner
    copies = [_moved(requests, number, rng) for number in range(int(ratio))]
    kept = rng.random(int(owner.max()) + 1)[owner] < ratio - int(ratio)
    if kept.any():
        copies.append(_moved(requests.picked(kept), int(ratio), rng))
    if not copies:
        raise InputError(f"the volume is {ratio:g}, and no request is left; raise it")
    return joined(copies).in_order()


def _moved(requests: LooseRequests, number: int, rng: np.random.Generator) -> LooseRequests:
    """Copy ``number`` of the requests; the first is they themselves."""
    if number == 0:
        return requests
    owner = requests.owner
    shift = rng.uniform(-COPY_SHIFT_S, COPY_SHIFT_S, int(owner.max()) + 1)[owner]
    at_ns = requests.at_ns + np.rint(shift * NS_IN_S).astype(np.int64)
    return replace(requests, at_ns=np.clip(at_ns, 0, requests.at_ns.max()))
