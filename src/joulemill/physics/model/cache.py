"""Bytes that a layer's mixer keeps for a sequence: KV cache a token of context, recurrent state. Pure.

grouped       (d_k + d_v)·G·b a token, none where an earlier layer's cache is used again
latent        (r + d_rope)·b a token, and the indexer's key
compressed    d·b a token in its window, and 1/m of an entry and of the indexer's key
recurrent     its state and the last columns of its convolution, whatever the length
"""

from __future__ import annotations

from joulemill.physics.model.blocks import (
    CompressedAttention,
    GroupedAttention,
    LatentAttention,
    Mixer,
    SoftmaxAttention,
)
from joulemill.physics.model.precision import Precision

#: One fp32 scale beside the FP8 key of an indexer [byte].
INDEX_SCALE_BYTE = 4.0


def kv_token_byte(mixer: Mixer, precision: Precision) -> float:
    """Cache bytes that one token adds to one layer, windows not yet full [byte/tok]."""
    b = precision.kv.element_byte
    if isinstance(mixer, GroupedAttention):
        return (mixer.head_dim + mixer.value_dim) * mixer.kv_heads * b if mixer.owns_cache else 0.0
    if isinstance(mixer, LatentAttention):
        return (mixer.kv_rank + mixer.rope_dim) * b + index_key_byte(mixer)
    if isinstance(mixer, CompressedAttention):
        return mixer.head_dim * b + entry_token_byte(mixer, precision)
    return 0.0


def index_key_byte(mixer: LatentAttention | CompressedAttention) -> float:
    """One key of the indexer, 0 where there is none [byte]."""
    return mixer.indexer.head_dim + INDEX_SCALE_BYTE if mixer.indexer else 0.0


def entry_token_byte(mixer: CompressedAttention, precision: Precision) -> float:
    """Bytes of entries, the indexer's among them, that one token makes [byte/tok]."""
    if mixer.stride is None:
        return 0.0
    return (mixer.head_dim * precision.kv.element_byte + index_key_byte(mixer)) / mixer.stride


def state_held_byte(mixer: Mixer, precision: Precision) -> float:
    """Recurrent state that one sequence holds in one layer, whatever its length [byte]."""
    if isinstance(mixer, SoftmaxAttention):
        return 0.0
    conv = mixer.conv_channels * max(mixer.kernel - 1, 0) * precision.activation.element_byte
    return mixer.state_elements * precision.recurrent.element_byte + conv
