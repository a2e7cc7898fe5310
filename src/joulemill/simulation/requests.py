"""Requests on their way: what is asked, how far each is, and what became of it. Columns as lists, one entry each."""

from __future__ import annotations

import numpy as np

from joulemill.simulation.outcomes import NEVER_NS, Outcomes
from joulemill.simulation.traffic import Traffic


class RequestTable:
    """State of all requests of a simulation; index is the request.

    computed_tok, target_tok   of prompt (and of answer, where it is computed again), done and to do
    answered_tok    tokens of the answer that were out when it last began to decode
    begun_step      count of its replica's decode steps then;  kv_tok  tokens behind it then
    held            named blocks that it holds;  own_count  its other blocks;  reserved_count  kept for it by the policy
    prefill_j, share_j   energy of its prompts so far; sums of its replica's shares when it began to decode
    """

    def __init__(self, traffic: Traffic) -> None:
        n = traffic.requests_count
        self.input_tok: list[int] = traffic.input_tok.tolist()
        self.output_tok: list[int] = traffic.output_tok.tolist()
        self.arrival_ns: list[int] = traffic.arrival_ns.tolist()
        self.target_tok: list[int] = list(self.input_tok)
        self.computed_tok, self.answered_tok, self.own_count = _column(n), _column(n), _column(n)
        self.reserved_count = _column(n)
        self.begun_step, self.kv_tok, self.finish_step = _column(n), _column(n), _column(n, NEVER_NS)
        self.held: list[tuple[int, ...] | list[int]] = [()] * n
        self.admitted_ns, self.first_token_ns = _column(n, NEVER_NS), _column(n, NEVER_NS)
        self.finish_ns, self.replica = _column(n, NEVER_NS), _column(n, -1)
        self.cached_tok, self.preemptions_count, self.rejected_for = _column(n), _column(n), _column(n)
        self.energy_j: list[float] = [0.0] * n
        self.share_j: list[tuple[float, float, float]] = [(0.0, 0.0, 0.0)] * n
        self._set_blocks(traffic)

    def _set_blocks(self, traffic: Traffic) -> None:
        self.block_tok = traffic.block_tok
        self.hashes: list[list[int]] | None = None
        if traffic.block_hash is not None and traffic.block_offset is not None:
            flat, offset = traffic.block_hash.tolist(), traffic.block_offset.tolist()
            # A negative hash is one like any other, but below 0 are the names of blocks without one.
            flat = [h * 2 if h >= 0 else -2 * h - 1 for h in flat]
            whole = (traffic.input_tok // traffic.block_tok).tolist()
            self.hashes = [flat[a : min(b, a + w)] for a, b, w in zip(offset, offset[1:], whole, strict=False)]

    def outcomes(self) -> Outcomes:
        """What became of each."""
        rejected_for = np.array(self.rejected_for, dtype=np.int64)
        columns = {
            name: np.array(getattr(self, name), dtype=np.int64)
            for name in (
                "arrival_ns",
                "admitted_ns",
                "first_token_ns",
                "finish_ns",
                "cached_tok",
                "preemptions_count",
                "replica",
            )
        }
        return Outcomes(
            **columns,
            generated_tok=np.array(self.answered_tok, dtype=np.int64),
            rejected=rejected_for > 0,
            rejected_for=rejected_for,
            energy_j=np.maximum(np.array(self.energy_j), 0.0),
        )


def _column(size: int, value: int = 0) -> list[int]:
    return [value] * size
