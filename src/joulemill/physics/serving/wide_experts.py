"""Wide expert parallelism: experts over tens of devices, rows sent to the ranks that hold their experts. Pure.

A rank sends each row to its k experts and takes k results back, in one of two ways, whichever is faster:

    directly     k(1 − D/R) copies beyond the node, k(D − 1)/R within          R ranks in nodes of D that share links
    by node      V(1 − 1/N) copies beyond, one a node, and k(1 − 1/D) within   N = R/D nodes, at one more hop
    V = M(1 − (1 − 1/M)ᵏ)           distinct nodes of a row. Under node-limited routing it chooses g of G groups of
                                    experts (DeepSeek-V3: 4 of 8), which lie on M = gN/G nodes, or, where a node holds
                                    G/N groups, on M = N(1 − C(G − G/N, g)/C(G, g)) of them

A copy there is in 8 bits where the experts are (DeepEP), in 16 bits on its way back. Links within and beyond the node
work at once. Expert load balancing (EPLB) keeps copies of loaded experts, so that ranks differ less; what is left of
their differences is assumed. Two micro-batches overlap: while the rows of one travel, the other is computed,

    T = max(2·C(m/2), 2·X(m/2)) + min(C(m/2), X(m/2))/layers       C computing, X exchanging; weights are read twice

and engines do so where it pays, so a step lasts the lesser of this and C(m) + X(m). Left out: processors that exchange
instead of compute (20 of 132 in DeepSeek's prefill), ranks whose contexts differ.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from joulemill.arrays import Array
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.blocks import ExpertFeedForward
from joulemill.physics.model.precision import Precision
from joulemill.physics.serving.counts import StepLoad
from joulemill.physics.serving.deployment import ExpertTraffic
from joulemill.physics.serving.shard import Shard, ShardTable

#: Experts kept twice over those there are (DeepSeek-V3: 32 of 256; arXiv:2412.19437, section 3.4).
REDUNDANT_RATIO = 0.125
#: What load balancing leaves of the uneven popularity of experts, which drifts between two arrangements (assumed).
UNBALANCED_RATIO = 0.2
#: Bytes of an element sent in 8 bits, with a scale of 4 bytes for each 128 of them.
NARROW_BYTE = 1.0 + 4.0 / 128.0


def spread_wide(s: Shard, architecture: Architecture, precision: Precision, traffic: ExpertTraffic | None) -> Shard:
    """The shard ``s`` of a device that sends rows to their experts alone, as ``traffic`` says; ``s`` for None."""
    if traffic is None or not s.exchange_byte_tok:
        return s
    back_byte = precision.activation.element_byte
    there_byte = NARROW_BYTE if precision.experts.element_byte <= NARROW_BYTE + 0.1 else back_byte
    feed = next(g.feed_forward for g in architecture.groups if isinstance(g.feed_forward, ExpertFeedForward))
    held = s.moe_layers_count and feed.experts / s.expert_ranks_count * s.expert_byte
    return replace(
        s,
        sent_to_experts=1.0,
        overlaps_batches=float(traffic.overlapped),
        balanced_experts=float(traffic.balanced),
        wide_byte_tok=s.exchange_byte_tok * (there_byte + back_byte) / (2.0 * back_byte),
        groups_count=float(feed.groups),
        groups_active_count=float(feed.groups_active),
        weight_byte=s.weight_byte + (REDUNDANT_RATIO * held if traffic.balanced else 0.0),
    )


@dataclass(frozen=True, slots=True)
class Copies:
    """Copies of a row that travel one way: beyond the node, and within it."""

    beyond_count: Array
    within_count: Array


def _ranks_and_nodes(t: ShardTable) -> tuple[Array, Array, Array]:
    ranks = t.tensor_count * t.data_count
    domain = np.minimum(t.domain_count, ranks)
    return ranks, domain, ranks / domain


def direct_copies(t: ShardTable) -> Copies:
    """A copy to each expert."""
    ranks, domain, _ = _ranks_and_nodes(t)
    k = t.active_count
    return Copies(np.asarray(k * (1.0 - domain / ranks)), np.asarray(k * (domain - 1.0) / ranks))


def copies_by_node(t: ShardTable) -> Copies:
    """A copy to each node, which hands it on within."""
    _, domain, nodes = _ranks_and_nodes(t)
    k = t.active_count
    reached = _reached_nodes(t, nodes)
    distinct = reached * -np.expm1(k * np.log1p(-1.0 / np.maximum(reached, 1.0 + 1e-12)))
    return Copies(np.asarray(distinct * (1.0 - 1.0 / nodes)), np.asarray(k * (1.0 - 1.0 / domain)))


def _reached_nodes(t: ShardTable, nodes: Array) -> Array:
    """M: nodes that hold the groups of experts that a row chooses."""
    groups, active = t.groups_count, t.groups_active_count
    missed = np.ones_like(nodes)
    for i in range(int(np.max(active))):
        drawn = np.maximum(groups - groups / nodes - i, 0.0) / np.maximum(groups - i, 1.0)
        missed = missed * np.where(i < active, drawn, 1.0)
    return np.asarray(np.where(nodes >= groups, active * nodes / groups, nodes * (1.0 - missed)))


def copies_s(t: ShardTable, copies: Copies, link_ratio: Array | float) -> Array:
    """Time of a row's copies there and back, all layers [s]: links within and beyond work at once."""
    beyond_s = copies.beyond_count / (link_ratio * t.scale_out_byte_s)
    within_s = copies.within_count / (link_ratio * t.link_byte_s)
    return np.asarray(t.wide_byte_tok * np.maximum(beyond_s, within_s))


def least_sent_ratio(t: ShardTable) -> Array:
    """Least bytes over the links that rows must cross, beyond the node where there are several, over those that
    ``counts`` says for a copy in 16 bits to each rank; 1 where rows are not sent to their experts alone."""
    _, _, nodes = _ranks_and_nodes(t)
    ways = (direct_copies(t), copies_by_node(t))
    beyond, within = (np.minimum(getattr(ways[0], n), getattr(ways[1], n)) for n in ("beyond_count", "within_count"))
    away = -np.expm1(t.active_count * np.log1p(-1.0 / np.maximum(t.data_count, 1.0 + 1e-12)))
    each = t.exchange_byte_tok * (t.data_count - 1.0) * away
    least = t.wide_byte_tok * np.where(nodes > 1.0, beyond, np.minimum(within, (t.data_count - 1.0) * away))
    return np.asarray(np.where(t.sent_to_experts > 0.0, least / np.where(each > 0.0, each, 1.0), 1.0))


def halved(load: StepLoad) -> StepLoad:
    """Half of a step's sequences and prompts: one of two micro-batches."""
    parts = ("decode_tok", "prefill_tok", "busiest_tok", "head_tok")
    return replace(load, **{f.name: 0.5 * getattr(load, f.name) for f in fields(load) if f.name in parts})


def overlapped_s(compute_s: Array, exchange_s: Array, layers_count: Array) -> Array:
    """T of two micro-batches that each compute for C and exchange for X [s]."""
    rest_s = np.minimum(compute_s, exchange_s) / np.maximum(layers_count, 1.0)
    return np.asarray(2.0 * np.maximum(compute_s, exchange_s) + rest_s)


def spread_left_ratio(t: ShardTable) -> Array:
    """What is left of the uneven popularity of experts, as a standard deviation: 1 without balancing."""
    return np.asarray(1.0 - t.balanced_experts * (1.0 - UNBALANCED_RATIO))
