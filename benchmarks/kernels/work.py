"""Work of the kernels of a transformer, from their shapes: FLOPs, bytes, and the sizes their speed saturates with.

Shapes are those of one device: heads, experts and widths after tensor or expert parallelism has split them.
All arguments are arrays or numbers and broadcast; results are in flop and byte. One multiply-add is 2 flop.
"""

from __future__ import annotations

import numpy as np
from benchmarks.kernels.law import Array, KernelWork
from numpy.typing import ArrayLike

#: Tile edge that matrix kernels cut their outputs into [count] (assumed; CUTLASS and cuBLAS use 64 to 256).
TILE_COUNT = 128.0


def _array(x: ArrayLike) -> Array:
    return np.asarray(x, dtype=np.float64)


def gemm(
    rows: ArrayLike, columns: ArrayLike, depth: ArrayLike, weight_byte: ArrayLike, act_byte: ArrayLike
) -> KernelWork:
    """C[rows, columns] = A[rows, depth] · W[depth, columns].

    ``weight_byte``, ``act_byte``: bytes an element of W and of A (with block scales: 1.03 for FP8, 0.5625 for
    NVFP4). C is written in 2 bytes an element. Measures: compute (rows, rows·columns, depth), memory (columns,
    depth).
    """
    m, n, k = _array(rows), _array(columns), _array(depth)
    byte = n * k * _array(weight_byte) + m * (k * _array(act_byte) + 2.0 * n)
    return KernelWork(2.0 * m * n * k, byte, (m, m * n, k), (n, k))


def decode_attention(
    batch: ArrayLike, context: ArrayLike, heads: ArrayLike, kv_heads: ArrayLike, head_dim: ArrayLike, kv_byte: ArrayLike
) -> KernelWork:
    """One new token a sequence attends to ``context`` cached ones (already min(context, window) where windowed).

    Measures: compute (query heads a KV head), memory (context, batch·kv_heads).
    """
    b, s, h, g, d = _array(batch), _array(context), _array(heads), _array(kv_heads), _array(head_dim)
    byte = 2.0 * b * s * g * d * _array(kv_byte) + 4.0 * b * h * d
    return KernelWork(4.0 * b * s * h * d, byte, (h / g,), (s, b * g))


def windowed_context(context: ArrayLike, window: ArrayLike, block: ArrayLike = TILE_COUNT) -> Array:
    """Cached tokens that a decode kernel reads under a sliding ``window`` (0 or inf: none).

    Kernels read whole blocks of keys, so a window that straddles them costs up to one ``block`` more.
    """
    s, w = _array(context), _array(window)
    return np.asarray(np.where((w > 0.0) & (s > w), np.minimum(s, w + _array(block)), s))


def attended_pairs(new: ArrayLike, past: ArrayLike = 0.0, window: ArrayLike = np.inf) -> Array:
    """Query–key pairs of a causal prefill of ``new`` tokens after ``past`` cached ones under a sliding ``window``.

    Σ_{i=1..new} min(past + i, window), exact; pass ``window`` = inf (or 0) for full attention.
    """
    n, p, w = _array(new), _array(past), _array(window)
    w = np.where(w <= 0.0, np.inf, w)
    growing = np.clip(w - p, 0.0, n)
    flat = n - growing
    return np.asarray(growing * (p + 0.5 * (growing + 1.0)) + np.where(flat > 0.0, flat * np.minimum(w, p + n), 0.0))


def prefill_attention(
    batch: ArrayLike,
    new: ArrayLike,
    pairs: ArrayLike,
    heads: ArrayLike,
    kv_heads: ArrayLike,
    head_dim: ArrayLike,
    *,
    kv_byte: ArrayLike = 2.0,
    past: ArrayLike = 0.0,
) -> KernelWork:
    """Causal attention of ``batch`` sequences of ``new`` tokens; ``pairs`` a sequence from :func:`attended_pairs`.

    Measures: compute (keys a query sees on average, batch·heads·new), memory ().
    """
    b, n, q, h, g, d = _array(batch), _array(new), _array(pairs), _array(heads), _array(kv_heads), _array(head_dim)
    byte = b * d * (4.0 * n * h + 2.0 * (n + _array(past)) * g * _array(kv_byte))
    return KernelWork(4.0 * b * q * h * d, byte, (q / n, b * h * n), ())


def experts_touched(tokens: ArrayLike, experts: ArrayLike, top_k: ArrayLike, evenness: ArrayLike = np.inf) -> Array:
    """Expected number of distinct experts [count] that ``tokens`` tokens choosing ``top_k`` of ``experts`` touch.

    Popularity of experts is gamma-distributed with shape ``evenness``: E·(1 − (1 + x/a)^−a), x = tokens·k/E; ``inf``
    is uniform routing, E·(1 − (1 − k/E)^tokens).
    """
    t, e, k, a = _array(tokens), _array(experts), _array(top_k), _array(evenness)
    even = e * -np.expm1(t * np.log1p(-np.minimum(k / e, 1.0 - 1e-12)))
    if np.all(np.isinf(a)):
        return np.asarray(even)
    a = np.where(np.isinf(a), 1e9, a)
    skewed = e * -np.expm1(-a * np.log1p(t * k / (e * a)))
    return np.asarray(np.minimum(np.maximum(skewed, np.minimum(k, e)), np.minimum(e, t * k)))


def moe(
    choices: ArrayLike,
    touched: ArrayLike,
    hidden: ArrayLike,
    inner: ArrayLike,
    weight_byte: ArrayLike,
    matrices: ArrayLike = 3.0,
    *,
    slots: ArrayLike | None = None,
) -> KernelWork:
    """Routed experts of one layer on one device.

    choices   token–expert pairs that land on this device (tokens · top_k / expert parallelism)
    touched   experts of this device with at least one token (see :func:`experts_touched`)
    inner     expert width after tensor parallelism; ``matrices`` 3 for gated experts, 2 for plain ones
    slots     token–expert pairs that the element-wise passes run over: kernels with expert parallelism still sweep
              all tokens · top_k of them (default: ``choices``)

    Passes a slot: both products' outputs written and read, the activation written and read, in 2 bytes.
    Measures: compute (rows an expert, inner, rows·inner over all experts), memory (inner, touched).
    """
    c, e, h, i = _array(choices), _array(touched), _array(hidden), _array(inner)
    s, rows = _array(matrices), c if slots is None else _array(slots)
    weights = s * e * h * i * _array(weight_byte)
    passes = rows * (4.0 * s * i + 4.0 * h)
    return KernelWork(2.0 * s * c * h * i, weights + 2.0 * c * h, (c / e, i, c * i), (i, e), passes)


def latent_decode(
    batch: ArrayLike,
    context: ArrayLike,
    heads: ArrayLike,
    kv_byte: ArrayLike,
    latent: ArrayLike = 512.0,
    rope: ArrayLike = 64.0,
) -> KernelWork:
    """Absorbed multi-head latent attention: every head reads the same ``latent + rope`` numbers of a token.

    Measures: compute (heads, context), memory (context, batch).
    """
    b, s, h = _array(batch), _array(context), _array(heads)
    r, d = _array(latent), _array(rope)
    byte = b * s * (r + d) * _array(kv_byte) + 2.0 * b * h * (2.0 * r + d)
    return KernelWork(2.0 * b * s * h * (2.0 * r + d), byte, (h, s), (s, b))


def latent_prefill(
    batch: ArrayLike,
    new: ArrayLike,
    pairs: ArrayLike,
    heads: ArrayLike,
    key_dim: ArrayLike = 192.0,
    value_dim: ArrayLike = 128.0,
) -> KernelWork:
    """Expanded multi-head latent attention over a prompt: keys of ``key_dim``, values of ``value_dim`` for each head.

    Measures: compute (keys a query sees on average, batch·heads·new), memory ().
    """
    b, n, q, h = _array(batch), _array(new), _array(pairs), _array(heads)
    k, v = _array(key_dim), _array(value_dim)
    return KernelWork(2.0 * b * q * h * (k + v), 4.0 * b * n * h * (k + v), (q / n, b * h * n), ())


def sparse_attention(
    queries: ArrayLike,
    context: ArrayLike,
    heads: ArrayLike,
    kv_byte: ArrayLike,
    *,
    chosen: ArrayLike = 2048.0,
    index_heads: ArrayLike = 64.0,
    index_dim: ArrayLike = 128.0,
    index_queries: ArrayLike = 1.0,
) -> KernelWork:
    """DeepSeek sparse attention: an 8-bit indexer scores all ``context`` tokens, latent attention reads the chosen.

    queries        queries in the step (batch, or batch·new); ``index_queries`` of them share one read of the index
    context        tokens that a query sees on average; vLLM's kernels walk a full list of
                   ``chosen`` even where fewer exist (pass min(context, chosen) for those that do not)

    Measures: compute (heads), memory ().
    """
    q, s, h = _array(queries), _array(context), _array(heads)
    read, wide = _array(chosen), _array(index_dim)
    flop = q * (2.0 * read * h * (2.0 * 512.0 + 64.0) + 2.0 * s * _array(index_heads) * wide)
    byte = q * (read * 576.0 * _array(kv_byte) + s * (wide + 4.0) / _array(index_queries))
    return KernelWork(flop, byte, (h,), ())


def linear_prefill(
    batch: ArrayLike,
    new: ArrayLike,
    heads: ArrayLike,
    key_dim: ArrayLike,
    value_dim: ArrayLike,
    chunk: ArrayLike = 64.0,
) -> KernelWork:
    """Chunked linear attention (gated delta rule, Mamba-2's scan): state of key_dim × value_dim for each head.

    FLOPs a token and head: 6·key·value for the state, 4·chunk·(key + value)/2 within the chunk. Bytes: inputs and
    outputs in 16 bits, the 32-bit state read and written once, and the chunk states.
    Measures: compute (new, batch·heads), memory (batch·heads).
    """
    b, n, h, k, v, c = (_array(x) for x in (batch, new, heads, key_dim, value_dim, chunk))
    tokens, state = b * n * h, k * v
    flop = tokens * (6.0 * state + 2.0 * c * (k + v))
    byte = tokens * (6.0 * k + 6.0 * v) + 8.0 * b * h * state + 4.0 * tokens / c * state
    return KernelWork(flop, byte, (n, b * h), (b * h,))


def linear_decode(
    batch: ArrayLike, heads: ArrayLike, key_dim: ArrayLike, value_dim: ArrayLike, state_byte: ArrayLike = 4.0
) -> KernelWork:
    """One token of linear attention: the state is read, updated and written. Measures: none, memory (batch·heads)."""
    b, h, state = _array(batch), _array(heads), _array(key_dim) * _array(value_dim)
    return KernelWork(6.0 * b * h * state, 2.0 * b * h * state * _array(state_byte), (), (b * h,))
