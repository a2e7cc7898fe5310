"""A trace as it is replayed: faster or slower, with longer or shorter requests, and cut to what a context holds.

Nothing is changed unless it is asked for, but for one thing: a request that the server could only refuse is shortened
to its context, and how many were is said. The prompt gives way, since the answer's length is what the energy is of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from joulemill.bench.load.arrivals import Arrival, read_trace
from joulemill.bench.options import BenchOptions

#: Room that is left in a clipped context: prompts come out a little longer than asked, and the template is in them.
_ROOM = (0.95, 8)


def replayed(options: BenchOptions) -> tuple[Arrival, ...]:
    """The arrivals of the options' trace, scaled as asked, in the order of time."""
    if options.trace is None:
        return ()
    scales = (options.trace_input_scale_ratio, options.trace_output_scale_ratio)
    return tuple(
        replace(
            a,
            at_s=a.at_s / options.trace_speed_ratio,
            input_tok=_scaled(a.input_tok, scales[0]),
            output_tok=_scaled(a.output_tok, scales[1]),
        )
        for a in read_trace(options.trace)
    )


def clipped(arrivals: Sequence[Arrival], context_tok: int | None) -> tuple[tuple[Arrival, ...], int]:
    """``arrivals`` that a context of ``context_tok`` holds, and how many had to be shortened for it."""
    if context_tok is None:
        return tuple(arrivals), 0
    fitted = tuple(_fitted(a, context_tok) for a in arrivals)
    return fitted, sum(a != b for a, b in zip(arrivals, fitted, strict=True))


def _fitted(arrival: Arrival, context_tok: int) -> Arrival:
    asked, answer = arrival.input_tok, arrival.output_tok
    if asked is None or answer is None or asked + answer <= context_tok:
        return arrival
    answer = min(answer, context_tok // 2)
    return replace(arrival, output_tok=answer, input_tok=max(1, int(_ROOM[0] * (context_tok - answer)) - _ROOM[1]))


def _scaled(length_tok: int | None, ratio: float) -> int | None:
    return None if length_tok is None else max(1, round(length_tok * ratio))
