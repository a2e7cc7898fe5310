"""What one output token costs at a load, prefill's share included: c_tok, b_tok and bytes over links. Pure, vectorised.

B sequences of a rank decode at context S; each ends after O tokens, and a prompt of P computed tokens takes its place:
λ = B·E/O prompts a step, E tokens of a sequence and step (1 without drafts). A step has max(λ, 1) prompts where it has
any, as min(λ, 1) of the steps do, so

    c_tok = (F(B) + min(λ, 1)·(F(B, prompts) − F(B))) / (B·E)        and b_tok, and bytes over links, alike

with F the counts of a step (``counts``). A prompt goes along in a step that the others need anyway: it adds the experts
that it alone chooses, but no other weights. Measured runs and predictions both call ``token_work``, each with the load
that it has; nothing here depends on an engine, a device or a fitted rate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.serving.counts import Counts, StepLoad, counts, decode_load, prompts_load, verify_load
from joulemill.physics.serving.shard import ShardTable
from joulemill.physics.serving.wide_experts import least_sent_ratio

#: Shape of the gamma-distributed popularity of experts over mixed requests: between the 1.12 and 1.36 that the measured
#: steps of four engines show (``serving.csv``, evenness). One number, for measured and predicted work alike.
ROUTING_EVENNESS_RATIO = 1.25


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLoad:
    """The load of one rank of attention, as means over time; arrays that broadcast with the table's rows.

    sequences_count   sequences that decode at once;  context_tok  their mean context
    prompt_tok        computed tokens of a request's prompt;  cached_tok  of it served by a prefix cache
    output_tok        tokens of an answer
    draft_count       tokens drafted a sequence and step;  accepted_tok  tokens that a sequence then gets a step
    """

    sequences_count: Array
    context_tok: Array
    prompt_tok: Array
    cached_tok: Array
    output_tok: Array
    draft_count: Array | float = 0.0
    accepted_tok: Array | float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWork:
    """Useful work of one output token over all devices of a replica.

    flop_0_tok, flop_1_tok, expert_flop_tok   in 16 bits, in the quantized class, by experts [flop/tok]
    weight_byte_tok, cache_byte_tok, activation_byte_tok   through device memory [byte/tok]
    reduce_byte_tok, exchange_byte_tok   over links, within a tensor group and between data-parallel ranks [byte/tok]
    """

    flop_0_tok: Array
    flop_1_tok: Array
    expert_flop_tok: Array
    weight_byte_tok: Array
    cache_byte_tok: Array
    activation_byte_tok: Array
    reduce_byte_tok: Array
    exchange_byte_tok: Array

    @property
    def flop_tok(self) -> Array:
        """c_tok [flop/tok]."""
        return self.flop_0_tok + self.flop_1_tok + self.expert_flop_tok

    @property
    def byte_tok(self) -> Array:
        """b_tok [byte/tok]."""
        return self.weight_byte_tok + self.cache_byte_tok + self.activation_byte_tok


def token_work(table: ShardTable, load: TokenLoad, drafting: ShardTable | None = None) -> TokenWork:
    """Work of an output token at ``load``. On whole models it is the model's own; on shares, copies are in it.

    drafting   the layers that draft (``shard.whole_model`` of ``Architecture.drafting``): passed once a drafted token
    """
    mean = _mean(table, load, drafting)
    return TokenWork(
        flop_0_tok=mean("flop_0"),
        flop_1_tok=mean("flop_1"),
        expert_flop_tok=mean("expert_flop"),
        weight_byte_tok=mean("weight_byte"),
        cache_byte_tok=mean("cache_byte"),
        activation_byte_tok=mean("activation_byte"),
        reduce_byte_tok=mean("reduce_byte"),
        exchange_byte_tok=mean("exchange_byte"),
    )


def sent_byte_tok(table: ShardTable, load: TokenLoad) -> tuple[Array, Array]:
    """Of ``token_work`` the bytes over links alone: within a tensor group, and between data-parallel ranks."""
    mean = _mean(table, load, None)
    return mean("reduce_byte"), mean("exchange_byte") * least_sent_ratio(table)


def _mean(table: ShardTable, load: TokenLoad, drafting: ShardTable | None) -> Callable[[str], Array]:
    """A part of the counts of a mean step, per token."""
    steps = _steps(table, load, drafting)
    per_tok = table.tensor_count * table.pipeline_count / (load.sequences_count * load.accepted_tok)

    def mean(part: str) -> Array:
        total: Array | float = 0.0
        for weight, step in steps:
            total = total + weight * getattr(step, part)
        return np.asarray(total * per_tok)

    return mean


def decode_counts(table: ShardTable, load: TokenLoad) -> Counts:
    """The counts of a step of ``load`` that only decodes, drafted tokens verified in it."""
    return counts(table, verify_load(_alone(load), load.draft_count))


def _alone(load: TokenLoad) -> StepLoad:
    sequences = np.asarray(load.sequences_count, dtype=np.float64)
    return decode_load(sequences, load.context_tok, np.full_like(sequences, ROUTING_EVENNESS_RATIO))


def _steps(table: ShardTable, load: TokenLoad, drafting: ShardTable | None) -> list[tuple[Array | float, Counts]]:
    """Steps that a mean step is made of, each with its weight in it."""
    alone = _alone(load)
    started = alone.decode_tok * load.accepted_tok / load.output_tok
    often, together = np.minimum(started, 1.0), np.maximum(started, 1.0)
    prompts = prompts_load(alone, together, load.prompt_tok, load.cached_tok)
    steps: list[tuple[Array | float, Counts]] = [(often, counts(table, prompts))]
    drafts = np.asarray(load.draft_count, dtype=np.float64)
    if not np.any(drafts > 0.0):
        return [*steps, (1.0 - often, counts(table, alone))]
    steps += [(-often, counts(table, alone)), (1.0, counts(table, verify_load(alone, drafts)))]
    return steps if drafting is None else [*steps, (drafts, counts(drafting, alone))]
