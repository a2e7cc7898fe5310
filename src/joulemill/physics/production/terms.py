"""The arithmetic of a prediction, term by term, for people to follow. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from joulemill.physics.serving.continuous_batching import Steady
from joulemill.physics.serving.shard import CLASSES, Shard


@dataclass(frozen=True)
class Term:
    """One number of the arithmetic: which part of the model it belongs to, its name, value, unit and what it says."""

    part: str
    name: str
    value: float
    unit: str
    note: str = ""


def terms_of(share: Shard, steady_state: Steady) -> tuple[Term, ...]:
    """Terms of the first row of ``found``: the share of a device, a pure decode step, a step with prefill,
    the mean."""
    return (*_share_terms(share), *_step_terms(steady_state), *_mean_terms(steady_state))


def _share_terms(s: Shard) -> list[Term]:
    kind = CLASSES[int(s.matrix_class)] if s.matrix_byte_1 else "none"
    return [
        Term("device", "weights", s.weight_byte, "byte", "of one device, embedding included"),
        Term("device", "matrices in 16 bits", s.matrix_byte_0, "byte", "read every step"),
        Term("device", "quantized matrices", s.matrix_byte_1, "byte", f"class {kind}"),
        Term("device", "experts", s.expert_byte * s.experts_count / s.expert_ranks_count, "byte", "if all are touched"),
        Term("device", "key and value", s.kv_store_byte_0 + s.kv_store_byte_1, "byte/tok", "kept a token of context"),
        Term("device", "kernels", s.kernels_count, "count", "launched a step"),
        Term("device", "all-reduces", s.reduce_count, "count", "per step"),
    ]


def _step_terms(steady_state: Steady) -> list[Term]:
    terms = []
    for name, work in (("decode step", steady_state.decode), ("step with prefill", steady_state.mixed)):
        parts = {
            "matrices": work.matrix_s,
            "experts": work.expert_s,
            "decode attention": work.attention_s,
            "prefill attention": work.prefill_attention_s,
            "launches": work.launch_s,
            "collectives": work.collective_s,
            "sampling": work.sampling_s,
            "host": steady_state.host_s,
        }
        if work is steady_state.mixed:
            parts["waiting for launches"] = steady_state.launch_wait_s
        terms += [Term(name, part, float(value.flat[0]), "s") for part, value in parts.items()]
    return terms


def _mean_terms(steady_state: Steady) -> list[Term]:
    def first_count(values: object) -> float:
        return float(values.flat[0])  # type: ignore[attr-defined]

    return [
        Term("mean", "steps with prefill", first_count(steady_state.prefill_ratio), "1", "share of all steps"),
        Term("mean", "context of a decoding request", first_count(steady_state.context_tok), "tok"),
        Term("mean", "requests decoding", first_count(steady_state.decode_req), "req", "a replica"),
        Term("mean", "requests that fit", first_count(steady_state.capacity_req), "req", "a replica"),
        Term("mean", "step", first_count(steady_state.step_s), "s", "after the power limit"),
        Term("mean", "slowdown by the power limit", first_count(steady_state.slowdown_ratio), "1"),
        Term("mean", "board power", first_count(steady_state.power_w), "W", "of one device"),
    ]
