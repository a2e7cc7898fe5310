"""Users who ask again as soon as they are answered: a backlog that keeps so many requests in flight. Pure."""

from __future__ import annotations

import numpy as np

from joulemill.errors import InputError
from joulemill.simulation.assembly import numbered_blocks
from joulemill.simulation.demand import BLOCK_TOK
from joulemill.simulation.traffic import Traffic
from joulemill.statistics.lengths import Lengths


def closed_loop(
    users_count: int,
    turns_count: int,
    input_tok: int,
    output: Lengths,
    rng: np.random.Generator,
    *,
    prefix_tok: int = 0,
) -> Traffic:
    """Traffic of ``users_count`` users with ``turns_count`` requests each; prompts share their first ``prefix_tok``.

    The first answer of each user is cut at a random place, so that the users do not end together for ever after.
    Raises InputError where there is no user or turn.
    """
    if users_count < 1 or turns_count < 1:
        raise InputError(f"{users_count} users with {turns_count} turns make no traffic")
    count = users_count * turns_count
    answers = output.draw(rng, count)
    answers[:users_count] = np.ceil(answers[:users_count] * (1.0 - rng.random(users_count)))
    blocks = np.full(count, min(prefix_tok, input_tok - 1) // BLOCK_TOK)
    shared = bool(blocks.sum())
    return Traffic(
        arrival_ns=np.zeros(count, dtype=np.int64),
        input_tok=np.full(count, input_tok),
        output_tok=answers,
        previous=np.maximum(np.arange(count) - users_count, -1),
        think_ns=np.zeros(count, dtype=np.int64),
        block_hash=numbered_blocks(np.zeros(count, dtype=np.int64), blocks) if shared else None,
        block_offset=np.concatenate([[0], np.cumsum(blocks)]) if shared else None,
        block_tok=BLOCK_TOK,
    )
