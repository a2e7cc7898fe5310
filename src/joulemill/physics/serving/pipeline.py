"""Pipeline parallelism: the layers of a model in stages, one after another on devices of their own. Pure.

A replica of s stages of L layers keeps m = min(s, B) micro-batches in flight, each with B/m of its requests. A stage
computes a step of one of them in T, hands its activations on, and takes the next; each sequence has a token every s·T:

    rate = b·m/(s·T), b = B/m          bubbles: a stage stands idle for (s − m)/s of the time
    T = layers·t_l + wait + τ + h·rows·byte/(r·link)         wait: until the fullest stage is done

Stages hold ⌈L/s⌉ layers or fewer, and the last one the head too. A ``Shard`` of stages is that of the mean one, so that
all stages together are the model: FLOP, bytes and joules are conserved; memory and the wait are of the fullest one.
Left out: bubbles that unlike micro-batches (with and without prompts) make for each other.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from joulemill.arrays import Array
from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import Precision
from joulemill.physics.serving.shard import Shard, ShardTable, link_rate_byte_s

#: Columns of a shard that stages divide among them.
DIVIDED = (
    "matrix_byte_0",
    "matrix_byte_1",
    "matrix_flop_0",
    "matrix_flop_1",
    "matrix_count",
    "quantized_count",
    "head_byte",
    "head_flop",
    "act_byte_tok",
    "kv_byte_0",
    "kv_byte_1",
    "kv_flop_0",
    "kv_flop_1",
    "prefill_flop_0",
    "prefill_flop_1",
    "sparse_flop_tok",
    "kv_store_byte_0",
    "kv_store_byte_1",
    "state_byte",
    "state_moved_byte",
    "decode_state_flop_tok",
    "prefill_state_flop_tok",
    "scan_flop_tok",
    "state_count",
    "expert_byte",
    "expert_flop",
    "choice_byte_tok",
    "moe_layers_count",
    "kernels_count",
    "attention_count",
    "reduce_count",
    "exchange_byte_tok",
    "exchange_count",
    "vocabulary_count",
)


def staged(s: Shard, architecture: Architecture, precision: Precision, stages: int) -> Shard:
    """The mean stage of ``stages`` of a model whose shard is ``s``. InputError where there are fewer layers."""
    if stages == 1:
        return s
    layers = int(s.blocks_count)
    if stages > layers:
        raise InputError(f"{architecture.name} has {layers} layers, which cannot be split into `pp={stages}` stages")
    fullest = math.ceil(layers / stages)
    embedding_byte = architecture.vocabulary * architecture.hidden * precision.embedding.element_byte / s.tensor_count
    ends_byte = s.head_byte + (0.0 if architecture.tied else embedding_byte)
    parts = {name: getattr(s, name) / stages for name in DIVIDED}
    return replace(
        s,
        **parts,
        pipeline_count=float(stages),
        fullest_ratio=fullest * stages / layers,
        last_ratio=(layers // stages) * stages / layers,
        stage_byte_tok=architecture.hidden * precision.activation.element_byte / s.tensor_count,
        weight_byte=(s.weight_byte - ends_byte) * fullest / layers + max(s.head_byte, embedding_byte),
    )


def waiting_s(t: ShardTable, device_s: Array, head_s: Array) -> Array:
    """What the mean stage of ``device_s`` waits for the fullest one [s]: one with most layers, or the last, which has
    the whole head (``head_s`` on the mean stage)."""
    layers_s = device_s - head_s
    fullest_s = np.maximum(layers_s * t.fullest_ratio, layers_s * t.last_ratio + head_s * t.pipeline_count)
    return np.asarray(np.maximum(fullest_s - device_s, 0.0))


def stage_byte(t: ShardTable, rows_tok: Array) -> Array:
    """Activations that a stage sends on [byte]: all but the last one do."""
    return np.asarray(t.stage_byte_tok * (1.0 - 1.0 / t.pipeline_count) * rows_tok)


def stage_link_byte_s(t: ShardTable) -> Array:
    """Datasheet bandwidth between stages [byte/s]: within a node's links while a replica is, else beyond."""
    return link_rate_byte_s(t, t.tensor_count * t.data_count * t.pipeline_count)


def micro_batches_count(t: ShardTable, offered_req: Array) -> Array | float:
    """m: micro-batches that a rank with ``offered_req`` requests keeps in flight; 1 without stages."""
    if not np.any(t.pipeline_count > 1.0):
        return 1.0
    return np.minimum(t.pipeline_count, np.maximum(offered_req, 1.0))
