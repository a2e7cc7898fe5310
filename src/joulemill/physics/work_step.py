"""What one engine step processes, and how the model is cut over devices; every size may be an array.

One element of the arrays is one deployment, so that thousands are computed at once. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from joulemill.errors import InputError

Array = NDArray[np.float64]


def array_of(x: ArrayLike) -> Array:
    """``x`` as floats."""
    return np.asarray(x, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Sharding:
    """How the layers are cut; broadcastable arrays.

    tp        devices that share each attention and dense matrix
    dp        attention replicas inside one instance, each with its own sequences (1 without data-parallel attention)
    ep        devices that the experts of a layer are dealt to
    moe_tp    devices that share each expert's matrices; tp · dp = ep · moe_tp
    pp        pipeline stages; a step passes them in turn, so its work is that of all stages
    """

    tp: Array
    dp: Array
    ep: Array
    moe_tp: Array
    pp: Array

    @property
    def devices_count(self) -> Array:
        """Devices of one instance."""
        return self.tp * self.dp * self.pp


def sharding(
    tp: ArrayLike = 1,
    *,
    ep: ArrayLike | None = None,
    dp: ArrayLike = 1,
    moe_tp: ArrayLike | None = None,
    pp: ArrayLike = 1,
) -> Sharding:
    """Build a ``Sharding``. Experts are cut like dense matrices (ep = 1) unless ``ep`` or ``moe_tp`` says otherwise.

    ``moe_tp`` follows from ``ep`` as tp · dp / ep and the other way round. InputError where they do not fit.
    """
    t, d, p = array_of(tp), array_of(dp), array_of(pp)
    given = [array_of(x) for x in (tp, dp, pp, ep, moe_tp) if x is not None]
    if any(np.any(x < 1) for x in given):
        raise InputError("tp, dp, ep, moe_tp and pp must be 1 or more")
    group = t * d
    e = array_of(ep) if ep is not None else group / (group if moe_tp is None else array_of(moe_tp))
    m = array_of(moe_tp) if moe_tp is not None else group / e
    if np.any(e * m > group * (1 + 1e-6)) or np.any(e * m < group * (1 - 1e-6)) or np.any(m < 1):
        raise InputError("expert parallelism does not fit: ep x moe_tp must equal tp x dp")
    return Sharding(t, d, e, m, p)


@dataclass(frozen=True, slots=True)
class Decoding:
    """Sequences that get new tokens in a step, per attention replica.

    sequences   how many
    context     keys that each new token attends to on average, itself included [tok]
    queries     tokens per sequence: 1, or 1 + draft length where drafts are verified
    """

    sequences: Array
    context: Array
    queries: Array


@dataclass(frozen=True, slots=True)
class Prefilling:
    """Prompts (or chunks of them) that a step reads, per attention replica.

    prompts    how many
    new        tokens of each [tok]
    past       tokens of each that are in the cache already (earlier chunks, a shared prefix) [tok]
    """

    prompts: Array
    new: Array
    past: Array


@dataclass(frozen=True, slots=True)
class Step:
    """One engine step: decoding, prefilling, or both at once (chunked prefill)."""

    decoding: Decoding | None = None
    prefilling: Prefilling | None = None

    @property
    def tokens_tok(self) -> Array:
        """Tokens that pass the matrices, per attention replica."""
        d, p = self.decoding, self.prefilling
        decode = d.sequences * d.queries if d else array_of(0)
        return decode + (p.prompts * p.new if p else array_of(0))

    @property
    def sampled_tok(self) -> Array:
        """Rows that pass the head: every decoding token, and the last of each prompt."""
        d, p = self.decoding, self.prefilling
        decode = d.sequences * d.queries if d else array_of(0)
        return decode + (p.prompts if p else array_of(0))


def decode_step(sequences: ArrayLike, context: ArrayLike, queries: ArrayLike = 1) -> Step:
    """A step in which ``sequences`` sequences decode at a mean context of ``context`` tokens, the new one included."""
    return Step(Decoding(array_of(sequences), array_of(context), array_of(queries)))


def prefill_step(new: ArrayLike, past: ArrayLike = 0, prompts: ArrayLike = 1) -> Step:
    """A step that reads ``prompts`` prompts of ``new`` tokens each after ``past`` cached ones."""
    return Step(None, Prefilling(array_of(prompts), array_of(new), array_of(past)))


def mixed_step(decode: Step, prefill: Step) -> Step:
    """Both in one step, as continuous batching with chunked prefill runs them."""
    return Step(decode.decoding, prefill.prefilling)
