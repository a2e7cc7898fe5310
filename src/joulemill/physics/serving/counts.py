"""The useful work of one step: FLOP and bytes that the model needs for what the step carries. Pure, vectorised.

A step decodes b sequences at context S and computes p prompt tokens; m = b + p rows pass the matrices. On one device:

    matrices     2N·m flop, their bytes once a step        head: a row a sequence, and one a prompt that ends
    experts      2n·m·k flop, the bytes of the E(m) experts that any row chooses
    attention    b·S·f flop, b·S·κ bytes (S → min(S, W) under a window); a prompt of n tokens behind c cached ones has
                 Σ min(c + i, W) pairs, i = 1 … n, and its c + n keys are read once; each row's own key is written
    state        flop per row; read and written once a step by each sequence and prompt
    activations  12·h elements a row and layer, 3·(h + w) a row and chosen expert of width w
    links        all-reduce over r devices: 2(r − 1)/r of a message; rows to the d·(1 − (1 − 1/d)^k) data-parallel ranks
                 that hold their experts, and back, their own rank aside

There are no rates here, no padding and no waiting. Rows that are computed to fill a tile, to match the busiest rank, or
under a mask cost time and joules (``step.times``), but they are not work. On a whole model (``shard.whole_model``)
these are the model's own counts; on a device's share, the copies that tensor parallelism makes are in them. Left out:
softmax, sampling, choosing and sorting experts, look-ups in the embedding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.serving.shard import ShardTable


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLoad:
    """What one step carries, a rank of data-parallel attention. Arrays that broadcast with the table's rows.

    decode_tok, context_tok  sequences decoding and their mean context
    prefill_tok, past_tok    prompt tokens in the step, and mean number of tokens before each
    prompt_tok               computed tokens of each prompt; 0: single queries (drafts that are verified)
    busiest_tok              prompt tokens of the busiest rank, which the others wait for
    head_tok                 rows that pass the vocabulary head
    evenness_ratio           shape of the gamma-distributed popularity of experts; large is even
    """

    decode_tok: Array
    context_tok: Array
    prefill_tok: Array
    past_tok: Array
    prompt_tok: Array
    busiest_tok: Array
    head_tok: Array
    evenness_ratio: Array

    @property
    def rows_tok(self) -> Array:
        """Tokens that pass the matrices."""
        return self.decode_tok + self.prefill_tok

    @property
    def prompts_count(self) -> Array:
        """Prompts that the step computes; a share of one where it is computed in several steps."""
        whole = self.prompt_tok > 0.0
        return np.asarray(np.where(whole, self.prefill_tok / np.where(whole, self.prompt_tok, 1.0), 0.0))


def decode_load(decode_tok: Array, context_tok: Array, evenness_ratio: Array) -> StepLoad:
    """A step that only decodes."""
    zero = np.zeros_like(decode_tok)
    return StepLoad(
        decode_tok=decode_tok,
        context_tok=context_tok,
        prefill_tok=zero,
        past_tok=zero,
        prompt_tok=zero,
        busiest_tok=zero,
        head_tok=decode_tok,
        evenness_ratio=evenness_ratio,
    )


def prompts_load(plain: StepLoad, count: Array, computed_tok: Array, cached_tok: Array) -> StepLoad:
    """``plain`` with ``count`` whole prompts, each of ``computed_tok`` behind ``cached_tok``."""
    tok = count * computed_tok
    return prefill_load(plain, tok, (cached_tok + 0.5 * computed_tok, computed_tok), tok, count)


def prefill_load(
    plain: StepLoad, prefill_tok: Array, prompt: tuple[Array, Array], busiest_tok: Array, ended_count: Array
) -> StepLoad:
    """``plain`` with ``prefill_tok`` tokens of prompts, of which ``ended_count`` end and pass the head.

    prompt   of one prompt: what its tokens have before them on average, and how many of them are computed
    """
    past_tok, prompt_tok = prompt
    return StepLoad(
        decode_tok=plain.decode_tok,
        context_tok=plain.context_tok,
        prefill_tok=prefill_tok,
        past_tok=past_tok,
        prompt_tok=prompt_tok,
        busiest_tok=busiest_tok,
        head_tok=plain.decode_tok + ended_count,
        evenness_ratio=plain.evenness_ratio,
    )


def without_decoding(load: StepLoad, nothing: StepLoad) -> StepLoad:
    """The prompts of ``load`` in a step of their own; ``nothing``: a step with no sequence."""
    ended_count = load.head_tok - load.decode_tok
    return prefill_load(nothing, load.prefill_tok, (load.past_tok, load.prompt_tok), load.busiest_tok, ended_count)


def verify_load(plain: StepLoad, draft_count: Array | float) -> StepLoad:
    """``plain`` where each sequence has ``draft_count`` drafted tokens to verify beside its own."""
    more = plain.decode_tok * draft_count
    return StepLoad(
        decode_tok=plain.decode_tok,
        context_tok=plain.context_tok,
        prefill_tok=more,
        past_tok=plain.context_tok,
        prompt_tok=np.zeros_like(more),
        busiest_tok=more,
        head_tok=plain.decode_tok + more,
        evenness_ratio=plain.evenness_ratio,
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """Useful work of a step on one device of ``table`` under ``load``, by part; FLOP [flop], bytes [byte]."""

    table: ShardTable
    load: StepLoad

    @property
    def flop(self) -> Array:
        """All of it."""
        return self.flop_0 + self.flop_1 + self.expert_flop

    @property
    def flop_0(self) -> Array:
        """In 16 bits: matrices that stayed wide, head, attention, recurrent state."""
        t, load = self.table, self.load
        matrices = t.matrix_flop_0 * load.rows_tok + t.head_flop * load.head_tok
        return matrices + self.attention_flop + self.prompt_flop + self.state_flop

    @property
    def flop_1(self) -> Array:
        """In the class of the quantized matrices."""
        return self.table.matrix_flop_1 * self.load.rows_tok

    @property
    def expert_flop(self) -> Array:
        """By routed experts."""
        t = self.table
        return t.expert_flop * (self.load.rows_tok * t.data_count * t.active_count / t.expert_ranks_count)

    @property
    def attention_flop(self) -> Array:
        """Attention of the sequences that decode."""
        t, load = self.table, self.load
        return load.decode_tok * (t.kv_flop_0 * load.context_tok + t.kv_flop_1 * keys_seen_tok(t, load.context_tok))

    @property
    def prompt_flop(self) -> Array:
        """Attention of the prompts, or of drafts under verification, which attend as decoding tokens do."""
        t, load = self.table, self.load
        whole, windowed = _attended_tok(t, load)
        prompts = t.prefill_flop_0 * whole + t.prefill_flop_1 * windowed
        drafts = t.kv_flop_0 * whole + t.kv_flop_1 * windowed
        return load.prefill_tok * np.where(load.prompt_tok > 0.0, prompts, drafts)

    @property
    def state_flop(self) -> Array:
        """Updates of recurrent state."""
        t, load = self.table, self.load
        return t.decode_state_flop_tok * load.decode_tok + t.prefill_state_flop_tok * load.prefill_tok

    @property
    def byte(self) -> Array:
        """All that passes device memory."""
        return self.weight_byte + self.cache_byte + self.activation_byte

    @property
    def weight_byte(self) -> Array:
        """Matrices, head, and the experts that any row chooses, each once."""
        t = self.table
        rows = self.load.rows_tok * t.data_count
        touched = experts_touched_count(rows, t.experts_count, t.active_count, self.load.evenness_ratio)
        return t.matrix_byte_0 + t.matrix_byte_1 + t.head_byte + t.expert_byte * touched / t.expert_ranks_count

    @property
    def cache_byte(self) -> Array:
        """KV cache and recurrent state, read and written."""
        t = self.table
        written = self.load.rows_tok * (t.kv_store_byte_0 + t.kv_store_byte_1)
        return self.decode_cache_byte + self.prompt_cache_byte + written

    @property
    def decode_cache_byte(self) -> Array:
        """KV cache that decoding sequences read; their recurrent state, read and written."""
        t, load = self.table, self.load
        keys = t.kv_byte_0 * load.context_tok + t.kv_byte_1 * keys_seen_tok(t, load.context_tok)
        return load.decode_tok * (keys + t.state_moved_byte)

    @property
    def prompt_cache_byte(self) -> Array:
        """KV cache that prompts read, of earlier tokens too; their recurrent state, read and written."""
        t, load = self.table, self.load
        cached_tok = load.past_tok - 0.5 * load.prompt_tok
        windowed_tok = load.prompt_tok + np.minimum(cached_tok, t.window_tok)
        keys = t.kv_byte_0 * (load.prompt_tok + cached_tok) + t.kv_byte_1 * windowed_tok
        return load.prompts_count * (keys + t.state_moved_byte)

    @property
    def activation_byte(self) -> Array:
        """What passes between kernels, rows gathered for their experts included."""
        t = self.table
        return (t.act_byte_tok + t.choice_byte_tok * t.data_count / t.expert_ranks_count) * self.load.rows_tok

    @property
    def reduce_byte(self) -> Array:
        """Sent to other devices of the tensor group."""
        t = self.table
        ring_ratio = 2.0 * (t.tensor_count - 1.0) / t.tensor_count
        return t.reduce_count * t.reduce_byte_tok * ring_ratio * self.load.rows_tok

    @property
    def exchange_byte(self) -> Array:
        """Sent to other data-parallel ranks, where the experts of a row are, and back."""
        t = self.table
        away = -np.expm1(t.active_count * np.log1p(-1.0 / np.maximum(t.data_count, 1.0 + 1e-12)))
        return t.exchange_byte_tok * (t.data_count - 1.0) * away * self.load.rows_tok


def counts(table: ShardTable, load: StepLoad) -> Counts:
    """The useful work of a step, row by row of the table; parts are computed as they are asked for."""
    return Counts(table, load)


def keys_seen_tok(t: ShardTable, context_tok: Array) -> Array:
    """Keys that a token attends to under the window [tok]; under chunks, half a chunk on average beyond the first."""
    sliding = np.minimum(context_tok, t.window_tok)
    if not np.any(t.chunked_window):
        return sliding
    beyond = (t.chunked_window > 0.0) & (context_tok > t.window_tok)
    return np.asarray(np.where(beyond, 0.5 * (t.window_tok + 1.0), sliding))


def experts_touched_count(tok: Array, experts: Array, active: Array, evenness_ratio: Array) -> Array:
    """Distinct experts that ``tok`` tokens choose, k each of E, where popularity is gamma-distributed of shape a.

    k + (E − k)·(1 − (1 + x/a)^−a), x = −(T − 1)·ln(1 − k/E): k for a lone token, and for a → ∞, even routing,
    E·(1 − (1 − k/E)^T). A token in part chooses its part of k.
    """
    rest = -np.log1p(-np.minimum(active / experts, 1.0 - 1e-12))
    x = np.maximum(tok - 1.0, 0.0) * rest
    more = (experts - active) * -np.expm1(-evenness_ratio * np.log1p(x / evenness_ratio))
    return np.asarray(np.minimum(active + more, tok * active))


def attended_pairs_count(new: Array, past: Array, window: Array) -> Array:
    """Query–key pairs of a prompt's ``new`` tokens behind ``past``, causal: Σ min(past + i, window), i = 1 … new."""
    growing = np.clip(window - past, 0.0, new)
    flat = new - growing
    rest = np.where(flat > 0.0, flat * np.minimum(window, past + new), 0.0)
    return np.asarray(growing * (past + 0.5 * (growing + 1.0)) + rest)


def _attended_tok(t: ShardTable, load: StepLoad) -> tuple[Array, Array]:
    """Tokens that one of a prompt attends to on average, itself included: of all, and of those under the window."""
    single = load.prompt_tok <= 0.0
    new, past = np.where(single, 1.0, load.prompt_tok), load.past_tok - 0.5 * load.prompt_tok
    windowed = attended_pairs_count(new, past, t.window_tok) / new
    if np.any(t.chunked_window):
        chunk = np.where(t.chunked_window > 0.0, t.window_tok, 1.0)
        pairs = _pairs_in_chunks_count(past + new, chunk) - _pairs_in_chunks_count(past, chunk)
        windowed = np.where(t.chunked_window > 0.0, pairs / new, windowed)
    whole = load.past_tok + np.where(single, 0.0, 0.5)
    return np.asarray(whole), np.asarray(np.where(single, keys_seen_tok(t, load.past_tok), windowed))


def _pairs_in_chunks_count(length: Array, chunk: Array) -> Array:
    whole = np.floor(length / chunk)
    rest = length - whole * chunk
    return np.asarray(whole * chunk * (chunk + 1.0) / 2.0 + rest * (rest + 1.0) / 2.0)
