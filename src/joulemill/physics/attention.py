"""What attention and recurrent blocks cost: query–key pairs, FLOPs, cache bytes, state bytes. Arrays broadcast.

Symbols: B sequences, S keys seen, H query heads, G key/value heads, d head dim, r latent rank, W window, b bytes an
element.

    decode     F = 2·B·S·H·(d_k + d_v)          read = B·S·G·(d_k + d_v)·b       S -> min(S, W) under a window
    prefill    F = 2·Q·H·(d_k + d_v),           Q = Σ_{i=1..n} min(p + i, W): half of the square n² where p = 0
    MLA decode F = 2·B·S·H·(2r + d_rope)        read = B·S·(r + d_rope)·b, the same on every tensor-parallel device
    DSA        as MLA with S -> min(S, top); indexer: F = 2·B·S·H_i·d_i, read = B·S·(d_i + 4), FP8 and scale
    CSA, HCA   S -> min(S, W) + min(S/m, top): the window and entries of m tokens; F = 4·B·S·H·d, read = B·S·d·b;
               indexer as for DSA with S/m entries
    Mamba-2    state H·P·N read and written each step, F = 6·state a token; chunks of L in prefill
    delta rule state H·d_k·d_v, F = 7·state a token; chunks of L in prefill

Softmax, rotation and norms are left out of FLOPs. Pure.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from joulemill.physics.kernels_work import attended_pairs
from joulemill.physics.model.blocks import (
    CompressedAttention,
    DeltaNet,
    GroupedAttention,
    LatentAttention,
    Mixer,
    Recurrent,
    SelectiveScan,
    SoftmaxAttention,
    StateSpace,
)
from joulemill.physics.model.precision import Precision
from joulemill.physics.work_step import Array, array_of

#: FP8 key of the indexer with one fp32 scale per token [byte over head dim].
_INDEX_SCALE_BYTE = 4.0


def keys_seen(mixer: SoftmaxAttention, context: ArrayLike) -> Array:
    """Keys that one new token attends to at a context of ``context`` tokens, itself included [tok].

    A chunked window (Llama 4) sees its own chunk only: half a chunk on average once the context exceeds it.
    """
    s = array_of(context)
    if isinstance(mixer, LatentAttention):
        return s if mixer.indexer is None else np.minimum(s, mixer.indexer.top)
    if isinstance(mixer, CompressedAttention):
        entries = 0.0 if mixer.stride is None else np.minimum(s, _span_seen(mixer)) / mixer.stride
        return np.asarray(np.minimum(s, mixer.window) + entries)
    if mixer.window is None:
        return s
    if mixer.chunked:
        return np.asarray(np.where(s > mixer.window, 0.5 * (mixer.window + 1.0), s))
    return np.minimum(s, mixer.window)


def _span_seen(mixer: CompressedAttention) -> float:
    """Tokens that the entries seen at most stand for [tok]."""
    return math.inf if mixer.indexer is None or mixer.stride is None else float(mixer.indexer.top * mixer.stride)


def pairs_seen(mixer: SoftmaxAttention, new: ArrayLike, past: ArrayLike = 0.0) -> Array:
    """Query–key pairs of one prompt's ``new`` tokens after ``past`` cached ones, causal and windowed [tok²]."""
    if isinstance(mixer, LatentAttention):
        return attended_pairs(new, past, mixer.indexer.top if mixer.indexer else np.inf)
    if isinstance(mixer, CompressedAttention):
        entries = 0.0 if mixer.stride is None else attended_pairs(new, past, _span_seen(mixer)) / mixer.stride
        return np.asarray(attended_pairs(new, past, mixer.window) + entries)
    if mixer.chunked and mixer.window is not None:
        end = array_of(past) + array_of(new)
        return _pairs_in_chunks(end, mixer.window) - _pairs_in_chunks(array_of(past), mixer.window)
    return attended_pairs(new, past, np.inf if mixer.window is None else mixer.window)


def _pairs_in_chunks(length: Array, chunk: int) -> Array:
    whole = np.floor(length / chunk)
    rest = length - whole * chunk
    return np.asarray(whole * chunk * (chunk + 1) / 2 + rest * (rest + 1) / 2)


def kv_heads_held_count(kv_heads: int, tp: ArrayLike) -> Array:
    """Key/value heads that each of ``tp`` devices holds: below one head each, heads are copied."""
    return np.maximum(np.ceil(kv_heads / array_of(tp)), 1.0)


def kv_token_byte(mixer: Mixer, precision: Precision, tp: ArrayLike = 1) -> Array:
    """Cache bytes that one token adds to one layer on one device [byte/tok].

    GQA (d_k + d_v)·G/tp·b; MLA (r + d_rope)·b whatever tp is, plus the indexer's FP8 key; compressed attention d·b
    in its window and 1/m of an entry and its indexer's key; recurrent blocks none.
    """
    b = precision.kv.element_byte
    if isinstance(mixer, GroupedAttention):
        if not mixer.owns_cache:
            return array_of(0.0)
        return (mixer.head_dim + mixer.value_dim) * kv_heads_held_count(mixer.kv_heads, tp) * b
    if isinstance(mixer, LatentAttention):
        return array_of((mixer.kv_rank + mixer.rope_dim) * b + index_key_byte(mixer))
    if isinstance(mixer, CompressedAttention):
        return array_of(mixer.head_dim * b + entry_token_byte(mixer, precision))
    return array_of(0.0)


def index_key_byte(mixer: LatentAttention | CompressedAttention) -> float:
    """One key of the indexer, 0 where there is none [byte]."""
    return mixer.indexer.head_dim + _INDEX_SCALE_BYTE if mixer.indexer else 0.0


def entry_token_byte(mixer: CompressedAttention, precision: Precision) -> float:
    """Bytes of entries, the indexer's among them, that one token makes [byte/tok]."""
    if mixer.stride is None:
        return 0.0
    return (mixer.head_dim * precision.kv.element_byte + index_key_byte(mixer)) / mixer.stride


def kv_held_byte(mixer: Mixer, precision: Precision, context: ArrayLike, tp: ArrayLike = 1) -> Array:
    """Cache bytes that one sequence of ``context`` tokens holds in one layer on one device [byte].

    Windowed layers keep ``window`` tokens (servers that do not free them keep all: pass them a mixer without window);
    sparse attention keeps every key.
    """
    s = array_of(context)
    if isinstance(mixer, CompressedAttention):
        recent = np.minimum(s, mixer.window) * (mixer.head_dim * precision.kv.element_byte)
        return np.asarray(recent + s * entry_token_byte(mixer, precision))
    if isinstance(mixer, GroupedAttention) and mixer.window is not None:
        s = np.minimum(s, mixer.window)
    return s * kv_token_byte(mixer, precision, tp)


def state_held_byte(mixer: Mixer, precision: Precision, tp: ArrayLike = 1) -> Array:
    """Bytes of running state that one sequence holds in one layer on one device, whatever its length [byte]."""
    if isinstance(mixer, SoftmaxAttention):
        return array_of(0.0)
    conv = mixer.conv_channels * max(mixer.kernel - 1, 0) * precision.activation.element_byte
    return (mixer.state_elements * precision.recurrent.element_byte + conv) / array_of(tp)


def recurrent_token_flop(mixer: Recurrent) -> float:
    """FLOPs of one decoded token in one recurrent layer, projections aside [flop].

    Mamba-2: decay 1, outer product and sum 3, read-out 2 per state element. Delta rule: decay 1, recall 2, outer
    product 2, read-out 2. Convolution 2·kernel per channel.
    """
    conv = 2.0 * mixer.conv_channels * mixer.kernel
    per_element = 6.0 if isinstance(mixer, StateSpace) else 7.0  # Mamba-1: an exponential of its own per element
    return conv + per_element * mixer.state_elements


def recurrent_prefill_token_flop(mixer: Recurrent) -> float:
    """FLOPs of one prompt token in one recurrent layer in chunks of L, projections aside [flop].

    Mamba-1: as decode, token by token.
    Mamba-2 (SSD): C·Bᵀ within the chunk G·L·N, its use H·L·P, states in and out 4·H·P·N. Delta rule: q·kᵀ, k·kᵀ and
    two triangular products H·L·(3·d_k + 2·d_v), states 6·H·d_k·d_v. Triangles count half.
    """
    conv = 2.0 * mixer.conv_channels * mixer.kernel
    if isinstance(mixer, SelectiveScan):
        return recurrent_token_flop(mixer)
    if isinstance(mixer, StateSpace):
        inside = mixer.chunk * (mixer.groups * mixer.state_dim + mixer.inner)
        return conv + inside + 4.0 * mixer.state_elements
    if isinstance(mixer, DeltaNet):
        inside = mixer.value_heads * mixer.chunk * (3 * mixer.key_dim + 2 * mixer.value_dim)
        return conv + inside + 6.0 * mixer.state_elements
    return conv
