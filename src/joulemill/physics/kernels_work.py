"""Work of the kernels of a transformer, from their shapes: FLOPs, bytes, and the sizes their speed saturates with.

Shapes are those of one device: heads, experts and widths after tensor or expert parallelism has split them.
All arguments are arrays or numbers and broadcast; results are in flop and byte. One multiply-add is 2 flop.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from joulemill.physics.kernels import Array, KernelWork

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
    batch: ArrayLike, new: ArrayLike, pairs: ArrayLike, heads: ArrayLike, kv_heads: ArrayLike, head_dim: ArrayLike,
    *, kv_byte: ArrayLike = 2.0, past: ArrayLike = 0.0,
) -> KernelWork:  # fmt: skip
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
    choices: ArrayLike, touched: ArrayLike, hidden: ArrayLike, inner: ArrayLike,
    weight_byte: ArrayLike, matrices: ArrayLike = 3.0,
) -> KernelWork:  # fmt: skip
    """Routed experts of one layer on one device.

    choices   token–expert pairs that land on this device (tokens · top_k / expert parallelism)
    touched   experts of this device with at least one token (see :func:`experts_touched`)
    inner     expert width after tensor parallelism; ``matrices`` 3 for gated experts, 2 for plain ones

    Measures: compute (rows an expert, inner, rows·inner over all experts), memory (inner, touched).
    """
    c, e, h, i = _array(choices), _array(touched), _array(hidden), _array(inner)
    s = _array(matrices)
    byte = s * e * h * i * _array(weight_byte) + c * (4.0 * h + 2.0 * s * i)
    return KernelWork(2.0 * s * c * h * i, byte, (c / e, i, c * i), (i, e))
