"""What an architecture comes to: parameters, cache bytes per token, how many layers are of which kind. Pure."""

from __future__ import annotations

from typing import Any

from joulemill.physics.model.architecture import Architecture, LayerGroup, parameters_count
from joulemill.physics.model.blocks import (
    CompressedAttention,
    DeltaNet,
    ExpertFeedForward,
    GroupedAttention,
    LatentAttention,
    Mixer,
    SelectiveScan,
    StateSpace,
)
from joulemill.physics.model.cache import kv_token_byte, state_held_byte
from joulemill.physics.model.precision import Precision


def mixer_kind(mixer: Mixer) -> str:
    """The name of a mixer's kind, as counts of layers are listed by."""
    if isinstance(mixer, GroupedAttention):
        if mixer.window is None:
            return "full_attention"
        return "chunked_attention" if mixer.chunked else "sliding_attention"
    if isinstance(mixer, LatentAttention):
        return "sparse_latent_attention" if mixer.indexer else "latent_attention"
    if isinstance(mixer, CompressedAttention):
        return _compressed_kind(mixer)
    if isinstance(mixer, StateSpace):
        return "mamba2"
    if isinstance(mixer, SelectiveScan):
        return "mamba1"
    return "linear_attention" if isinstance(mixer, DeltaNet) else "short_convolution"


def _compressed_kind(mixer: CompressedAttention) -> str:
    if mixer.stride is None:
        return "sliding_attention"
    return "sparse_compressed_attention" if mixer.indexer else "compressed_attention"


def layer_counts(architecture: Architecture) -> dict[str, int]:
    """How many layers have which mixer, and which feed-forward block: ``{"full_attention": 12, "experts": 48, …}``."""
    counts: dict[str, int] = {}
    for group in architecture.groups:
        for kind in _kinds(group):
            counts[kind] = counts.get(kind, 0) + group.count
    return counts


def _kinds(group: LayerGroup) -> list[str]:
    kinds = [mixer_kind(group.mixer)] if group.mixer is not None else []
    if group.feed_forward is not None:
        kinds.append("experts" if isinstance(group.feed_forward, ExpertFeedForward) else "dense")
    return kinds


def cache_byte_tok(architecture: Architecture, precision: Precision) -> float:
    """Cache bytes that one token adds in all layers, windows not yet full [byte/tok]."""
    return float(sum(g.count * kv_token_byte(g.mixer, precision) for g in architecture.groups if g.mixer is not None))


def state_sequence_byte(architecture: Architecture, precision: Precision) -> float:
    """Running state that one sequence holds in all layers, whatever its length [byte]."""
    return float(sum(g.count * state_held_byte(g.mixer, precision) for g in architecture.groups if g.mixer is not None))


def architecture_facts(architecture: Architecture, precision: Precision) -> dict[str, Any]:
    """The architecture as a JSON object; ``approximate`` where not all of its config was understood."""
    count = parameters_count(architecture)
    return {
        "name": architecture.name,
        "parameters_count": count.total,
        "active_parameters_count": count.active,
        "multiplied_parameters_count": count.multiplied,
        "mtp_parameters_count": count.mtp,
        "kv_byte_tok": cache_byte_tok(architecture, precision),
        "state_byte_req": state_sequence_byte(architecture, precision),
        "layers_count": architecture.layers,
        "layer_kinds": layer_counts(architecture),
        "max_context_tok": architecture.max_context,
        "fields_not_read": list(architecture.unread),
        "approximate": bool(architecture.doubts),
        "doubts": list(architecture.doubts),
    }
