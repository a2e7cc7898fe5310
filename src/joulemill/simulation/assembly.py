"""Traffic put together from parts: columns in any order, which become requests in the order of time. Pure.

A turn must stand after the one that it waits for, and come no sooner; sorting by time then keeps that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemill.simulation.columns import Flags, Whole
from joulemill.simulation.traffic import Traffic

#: Room for the blocks of one text in the numbering of hashes.
_STRIDE = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class LooseRequests:
    """Columns of ``Traffic`` in any order; ``block_count`` of each request's blocks, which follow one another.

    session, previous   −1: none
    """

    at_ns: Whole
    input_tok: Whole
    output_tok: Whole
    block_hash: Whole
    block_count: Whole
    block_tok: int
    session: Whole
    previous: Whole
    think_ns: Whole

    def picked(self, kept: Whole | Flags) -> LooseRequests:
        """The requests ``kept``, in that order; a turn whose preceding one is left out waits for none."""
        kept = np.flatnonzero(kept) if kept.dtype == np.bool_ else kept
        place = np.full(len(self.at_ns) + 1, -1, dtype=np.int64)
        place[kept] = np.arange(len(kept))
        count = self.block_count[kept]
        starts = (np.cumsum(self.block_count) - self.block_count)[kept]
        source = np.repeat(starts - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
        return LooseRequests(
            at_ns=self.at_ns[kept],
            input_tok=self.input_tok[kept],
            output_tok=self.output_tok[kept],
            block_hash=self.block_hash[source],
            block_count=count,
            block_tok=self.block_tok,
            session=self.session[kept],
            previous=place[self.previous[kept]],
            think_ns=self.think_ns[kept],
        )

    def in_order(self) -> Traffic:
        """As traffic, in the order of time; columns that say nothing are left out."""
        r = self.picked(np.argsort(self.at_ns, kind="stable"))
        return Traffic(
            arrival_ns=r.at_ns,
            input_tok=r.input_tok,
            output_tok=r.output_tok,
            block_tok=r.block_tok,
            block_hash=r.block_hash if len(r.block_hash) else None,
            block_offset=np.concatenate([[0], np.cumsum(r.block_count)]) if len(r.block_hash) else None,
            session=r.session if np.any(r.session >= 0) else None,
            previous=r.previous if np.any(r.previous >= 0) else None,
            think_ns=r.think_ns if np.any(r.previous >= 0) else None,
        )

    @property
    def owner(self) -> Whole:
        """A number for each session, and one for each request of none."""
        lone = self.session.max(initial=-1) + 1 + np.arange(len(self.session))
        return np.unique(np.where(self.session < 0, lone, self.session), return_inverse=True)[1]


def parts_of(traffic: Traffic) -> LooseRequests:
    """``traffic`` as columns."""
    n = traffic.requests_count
    none, zero = np.full(n, -1, dtype=np.int64), np.zeros(n, dtype=np.int64)
    offset = traffic.block_offset
    return LooseRequests(
        at_ns=traffic.arrival_ns,
        input_tok=traffic.input_tok,
        output_tok=traffic.output_tok,
        block_hash=zero[:0] if traffic.block_hash is None else traffic.block_hash,
        block_count=zero if offset is None else np.diff(offset),
        block_tok=traffic.block_tok,
        session=none if traffic.session is None else traffic.session,
        previous=none if traffic.previous is None else traffic.previous,
        think_ns=zero if traffic.think_ns is None else traffic.think_ns,
    )


def joined(parts: Sequence[LooseRequests]) -> LooseRequests:
    """All ``parts``; nothing is shared between them, neither a prefix nor a session."""
    starts = np.cumsum([0, *(len(p.at_ns) for p in parts)])
    previous = [np.where(p.previous >= 0, p.previous + s, -1) for p, s in zip(parts, starts, strict=False)]
    whole = {
        name: np.concatenate([getattr(p, name) for p in parts])
        for name in ("at_ns", "input_tok", "output_tok", "block_count", "think_ns")
    }
    return LooseRequests(
        **whole,
        block_tok=parts[0].block_tok,
        previous=np.concatenate(previous),
        session=_apart([p.session for p in parts]),
        block_hash=_apart([p.block_hash for p in parts]),
    )


def _apart(columns: Sequence[Whole]) -> Whole:
    """Numbers of several parts, each moved beyond those before; −1 stays."""
    moved, beyond = [], 0
    for column in columns:
        least = int(column.min(initial=0))
        moved.append(np.where(column == -1, -1, column + beyond) if least >= -1 else column + beyond - least)
        beyond = max(beyond, int(moved[-1].max(initial=-1)) + 1)
    return np.concatenate(moved)


def numbered_blocks(owner: Whole, count: Whole) -> Whole:
    """Hashes of prompts whose first ``count`` blocks are those of their ``owner``: one owner, one text."""
    within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.asarray(np.repeat(owner, count) * _STRIDE + within, dtype=np.int64)


def with_lengths(requests: LooseRequests, prompts: Whole, answers: Whole) -> LooseRequests:
    """Other lengths; blocks beyond a shorter prompt are left out."""
    count = np.minimum(requests.block_count, -(-prompts // requests.block_tok))
    starts = np.cumsum(requests.block_count) - requests.block_count
    source = np.repeat(starts - (np.cumsum(count) - count), count) + np.arange(int(count.sum()))
    kept = requests.block_hash[source]
    return replace(requests, input_tok=prompts, output_tok=answers, block_hash=kept, block_count=count)
