"""What is asked of a deployment over time: requests as columns. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.errors import InputError
from joulemill.simulation.columns import Whole, put, whole

#: More tokens than any request has; more is a slip of a unit.
MOST_TOK = 100_000_000
NS_IN_S = 1_000_000_000


@dataclass(frozen=True, kw_only=True, eq=False)
class Traffic:
    """Requests in the order in which they arrive.

    arrival_ns     sorted; of a request with a preceding turn: no sooner than then, and not before that turn has
                   finished and ``think_ns`` have passed
    input_tok, output_tok   prompt and answer, at least one token each
    block_hash, block_offset   hashes of the prompt's blocks of ``block_tok`` tokens, all requests one after another:
                   those of request i are block_hash[block_offset[i]:block_offset[i + 1]]; equal hashes mean an equal
                   prompt up to there. A part of a block at the end has none. None: no two prompts share anything
    session        whose request it is, −1: nobody's; None: no sessions
    previous       index of the preceding turn of the session, −1: none; None: no request waits for another
    think_ns       wait after the preceding turn finished (a user reads, a tool runs)
    """

    arrival_ns: Whole
    input_tok: Whole
    output_tok: Whole
    block_hash: Whole | None = None
    block_offset: Whole | None = None
    block_tok: int = 16
    session: Whole | None = None
    previous: Whole | None = None
    think_ns: Whole | None = None

    def __post_init__(self) -> None:
        arrival = whole(self.arrival_ns, "arrival_ns", least=0)
        n = arrival.size
        if n > 1 and np.any(arrival[1:] < arrival[:-1]):
            raise InputError("arrival_ns: requests must be sorted by their arrival")
        lengths = {m: whole(getattr(self, m), m, n, 1) for m in ("input_tok", "output_tok")}
        for name, column in lengths.items():
            if n and column.max() > MOST_TOK:
                raise InputError(f"{name}: {column.max()} is above {MOST_TOK:,} tokens")
        put(self, arrival_ns=arrival, **lengths)
        self._check_blocks(n)
        self._check_turns(n)

    def _check_blocks(self, n: int) -> None:
        if (self.block_hash is None) != (self.block_offset is None):
            raise InputError("block_hash and block_offset go together: give both or none")
        if self.block_hash is None or self.block_offset is None:
            return
        if self.block_tok < 1:
            raise InputError(f"block_tok is {self.block_tok}; it must be at least 1")
        hashes = whole(self.block_hash, "block_hash")
        offset = whole(self.block_offset, "block_offset", n + 1, 0)
        if offset[0] != 0 or offset[-1] != hashes.size or np.any(offset[1:] < offset[:-1]):
            raise InputError("block_offset: it must rise from 0 to the number of hashes")
        if np.any((offset[1:] - offset[:-1]) * self.block_tok >= self.input_tok + self.block_tok):
            raise InputError("block_hash: a request has more blocks than its prompt has tokens")
        put(self, block_hash=hashes, block_offset=offset)

    def _check_turns(self, n: int) -> None:
        if self.session is not None:
            put(self, session=whole(self.session, "session", n, -1))
        if (self.previous is None) != (self.think_ns is None):
            raise InputError("previous and think_ns go together: give both or none")
        if self.previous is None or self.think_ns is None:
            return
        previous = whole(self.previous, "previous", n, -1)
        if np.any(previous >= np.arange(n)):
            raise InputError("previous: a turn must come after the one that it waits for")
        turns = previous[previous >= 0]
        if np.unique(turns).size != turns.size:
            raise InputError("previous: two turns wait for the same one")
        put(self, previous=previous, think_ns=whole(self.think_ns, "think_ns", n, 0))

    @property
    def requests_count(self) -> int:
        """Requests in all."""
        return int(self.arrival_ns.size)
