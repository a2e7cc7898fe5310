"""What a decoder-only model computes: groups of like layers, embeddings, head; and how many parameters that is.

Layers are grouped by kind with a count, so that the work of a whole model is a few array operations per kind, not per
layer. Read from a Hugging Face config by ``architecture_config`` and from GGUF metadata by ``architecture_gguf``. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from joulemill.physics.model.blocks import (
    CompressedAttention,
    DeltaNet,
    DenseFeedForward,
    ExpertFeedForward,
    FeedForward,
    GroupedAttention,
    Indexer,
    LatentAttention,
    Linear,
    Mixer,
    Recurrent,
    SelectiveScan,
    ShortConvolution,
    SoftmaxAttention,
    StateSpace,
)
from joulemill.physics.model.precision import TENSORS, Format, Precision, Tensor

__all__ = [
    "Architecture",
    "CompressedAttention",
    "DeltaNet",
    "DenseFeedForward",
    "ExpertFeedForward",
    "FeedForward",
    "Format",
    "GroupedAttention",
    "Indexer",
    "LatentAttention",
    "LayerGroup",
    "Linear",
    "Mixer",
    "ParameterCount",
    "Precision",
    "Recurrent",
    "SelectiveScan",
    "ShortConvolution",
    "StateSpace",
    "parameters_by_tensor",
    "parameters_count",
]


#: Fields not read that a message names; the document lists all.
_NAMED = 20


@dataclass(frozen=True, slots=True)
class LayerGroup:
    """``count`` layers alike: a mixer (attention or a recurrent block), a feed-forward block, or one of them alone.

    norms   vectors of the hidden size in each layer's norms (2 for pre-norm decoders; biases count as vectors)
    copies  sets of weights that the layers take turns with (Zamba 2), None where each layer has its own
    beside  whether it runs inside layers that are counted already (Falcon-H1's state space beside its attention)
    """

    mixer: Mixer | None
    feed_forward: FeedForward | None
    count: int
    norms: int = 2
    copies: int | None = None
    beside: bool = False

    @property
    def stored_count(self) -> int:
        """Layers' worth of weights that are stored."""
        return self.count if self.copies is None else min(self.copies, self.count)

    def linears(self, hidden: int) -> tuple[Linear, ...]:
        """The matrices of one such layer, routed experts aside."""
        mixer = self.mixer.linears(hidden) if self.mixer else ()
        return mixer + (self.feed_forward.linears(hidden) if self.feed_forward else ())

    def loose_parameters(self, hidden: int) -> int:
        """Parameters of one such layer that are in no matrix."""
        loose = self.norms * hidden
        loose += self.mixer.loose_parameters(hidden) if self.mixer else 0
        return loose + (self.feed_forward.loose_parameters(hidden) if self.feed_forward else 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder-only language model.

    name            model type or name, for messages
    hidden          width of the residual stream
    vocabulary      rows of the embedding
    groups          layers by kind; their order in the stack is not kept
    tied            the head is the embedding transposed: stored once, multiplied all the same
    mtp             extra layers that draft tokens (multi-token prediction); not run unless drafting, not in totals
    skipped         layers that are stored and that text skips: they attend to images
    lookup_parameters   tables read by row only (per-layer embeddings, learned positions)
    max_context     longest context that the config states [tok], None where it states none
    approximations  what was read but is not modelled exactly, in words
    unread          fields of the config that may matter and that nothing has read
    unknown_type    the model type, where it is not known
    """

    name: str
    hidden: int
    vocabulary: int
    groups: tuple[LayerGroup, ...]
    tied: bool = False
    mtp: tuple[LayerGroup, ...] = ()
    skipped: tuple[LayerGroup, ...] = ()
    lookup_parameters: int = 0
    loose_parameters: int = 0
    final_norms: int = 1
    max_context: int | None = None
    approximations: tuple[str, ...] = field(default=())
    unread: tuple[str, ...] = ()
    unknown_type: str | None = None

    @property
    def layers(self) -> int:
        """Layers in the stack."""
        return sum(g.count for g in self.groups if not g.beside)

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the architecture may not be the model's; empty where all of its config is understood."""
        more = f" and {len(self.unread) - _NAMED} more" if len(self.unread) > _NAMED else ""
        fields = f"fields that change the model and were not read: {', '.join(self.unread[:_NAMED])}{more}"
        kind = f"model type {self.unknown_type!r} is not known"
        return (*((kind,) if self.unknown_type is not None else ()), *((fields,) if self.unread else ()))

    @property
    def is_moe(self) -> bool:
        """Whether any layer routes tokens to experts."""
        return any(isinstance(g.feed_forward, ExpertFeedForward) for g in self.groups)

    def divides_over(self, tensor: int) -> bool:
        """Whether the query heads of all layers can be split over ``tensor`` devices, as engines ask for."""
        mixers = [g.mixer for g in self.groups]
        return all(m.heads % tensor == 0 for m in mixers if isinstance(m, SoftmaxAttention))

    def unread_byte(self, precision: Precision) -> float:
        """Weights that are held and that no step of text reads: tables read by row, layers that text skips [byte]."""
        byte = self.lookup_parameters * precision.embedding.element_byte
        for group in self.skipped:
            matrices = sum(x.parameters * precision.of(x.tensor).element_byte for x in group.linears(self.hidden))
            byte += group.count * (matrices + 2.0 * group.loose_parameters(self.hidden))
        return byte

    @property
    def head(self) -> Linear:
        """The matrix from hidden state to vocabulary."""
        return Linear(name="head", tensor="head", inputs=self.hidden, split=self.vocabulary)


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters: all of them; those that one token passes; the drafting layers' (in neither).

    ``active`` counts the embedding and the head as published counts do: both where untied, once where tied.
    ``multiplied`` counts what one token is multiplied by: no input embedding, the head always: N_lin in 2 N_lin FLOP
    a token.
    """

    total: int
    active: int
    multiplied: int
    mtp: int


def parameters_count(architecture: Architecture) -> ParameterCount:
    """Count parameters: total, active per token, multiplied per token, and those of drafting layers."""
    a = architecture
    embedding = a.vocabulary * a.hidden
    ends = embedding * (1 if a.tied else 2) + a.final_norms * a.hidden + a.loose_parameters
    total = active = multiplied = 0
    for group in a.groups:
        each, idle, loose = _layer(group, a.hidden)
        total += group.stored_count * each
        active += group.stored_count * (each - idle)
        multiplied += group.count * (each - idle - loose)
    mtp = sum(g.count * (_layer(g, a.hidden)[0] + 2 * a.hidden * a.hidden) for g in a.mtp)
    total += ends + a.lookup_parameters + sum(g.count * _layer(g, a.hidden)[0] for g in a.skipped)
    return ParameterCount(total, active + ends, multiplied + embedding, mtp)


def _layer(group: LayerGroup, hidden: int) -> tuple[int, int, int]:
    """Parameters of one layer: all, those of experts that one token does not pass, those in no matrix."""
    loose = group.loose_parameters(hidden)
    each = sum(x.parameters for x in group.linears(hidden)) + loose
    ff = group.feed_forward
    if not isinstance(ff, ExpertFeedForward):
        return each, 0, loose
    expert = ff.expert_parameters(hidden)
    return each + ff.experts * expert, (ff.experts - ff.active) * expert, loose


def parameters_by_tensor(architecture: Architecture) -> dict[Tensor, int]:
    """Parameters in matrices, by class of tensor; norms and convolutions go with the class of their block's matrices.

    Sums to ``parameters_count(...).total``. A tied head counts as embedding.
    """
    a = architecture
    counts: dict[Tensor, int] = dict.fromkeys(TENSORS, 0)
    for group, linear in _all_linears(a):
        counts[linear.tensor] += group.stored_count * linear.parameters
    for group in (*a.groups, *a.skipped):
        ff = group.feed_forward
        if isinstance(ff, ExpertFeedForward):
            counts["experts"] += group.stored_count * ff.experts * ff.expert_parameters(a.hidden)
        counts["router"] += group.stored_count * group.loose_parameters(a.hidden)
    counts["embedding"] += a.vocabulary * a.hidden + a.lookup_parameters
    counts["head"] += 0 if a.tied else a.vocabulary * a.hidden
    counts["router"] += a.final_norms * a.hidden + a.loose_parameters
    return counts


def _all_linears(a: Architecture) -> Iterator[tuple[LayerGroup, Linear]]:
    for group in (*a.groups, *a.skipped):
        for linear in group.linears(a.hidden):
            yield group, linear
