"""Attention of prompts: what its kernels execute and how long they take. Pure, vectorised.

A token attends to the keys before it; its kernel also pays for half a tile of masked ones, for the softmax, and for
the sums that a query ends with. All of that is a number of keys: an even kernel of efficiency η that computes γ/2 more

    t = 2·width·(past + γ/2)/(η·π)                  past → min(past, W) under a window

holds over lengths and windows. Tables of kernels (aiconfigurator 095f58a5, heads of 128, from 16,384 tokens a launch):
η 0.54 to 0.74 and γ 830 to 1,070 under vLLM 0.22 on H200 and B200, γ about 2,000 under TensorRT-LLM 1.3 on B200;
windows of 128 keys take as long as 860 to 1,160 keys would at the peak, which is (128 + γ/2)/η.

Sparse attention over the ``top`` keys of an indexer runs as dense attention for prompts of up to ``top`` tokens.
Beyond, each token gathers all of them, and its kernel computes whole tiles of 64 heads (``shard.SPARSE_HEADS``; modules
of 8, 16 and 64 heads take 0.74, 0.78 and 0.94 us a token and layer on H200, those of 128 heads 1.66).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from joulemill.arrays import Array
from joulemill.physics.serving.counts import StepLoad
from joulemill.physics.serving.shard import ShardTable


def pairs_flop(t: ShardTable, load: StepLoad) -> Array:
    """Executed for one prompt token on average [flop]."""
    whole = t.prefill_flop_0 * load.past_tok
    windowed = t.prefill_flop_1 * np.minimum(load.past_tok, t.window_tok)
    if not np.any(t.sparse_flop_tok):
        return np.asarray(whole + windowed)
    return np.asarray(whole + np.where(_gathers(t, load), t.sparse_flop_tok, windowed))


def padding_flop(t: ShardTable, load: StepLoad, padding_tok: Array | float) -> Array:
    """What ``padding_tok`` more keys add to it; single queries (drafts that are verified) have no tile to fill."""
    windowed_pair_flop = t.prefill_flop_1
    if np.any(t.sparse_flop_tok):  # what is gathered is whole tiles already
        windowed_pair_flop = np.where(_gathers(t, load), 0.0, windowed_pair_flop)
    keys_tok = np.where(load.prompt_tok > 0.0, padding_tok, 0.0)
    return np.asarray((t.prefill_flop_0 + windowed_pair_flop) * keys_tok)


def _gathers(t: ShardTable, load: StepLoad) -> NDArray[np.bool_]:
    """Whether an indexer leaves some of a prompt's keys out."""
    return np.asarray((t.sparse_flop_tok > 0.0) & (load.past_tok + 0.5 * load.prompt_tok > t.window_tok))
