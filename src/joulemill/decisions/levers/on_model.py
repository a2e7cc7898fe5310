"""Levers on the model: weights and keys in fewer bits, other attention, experts. A case → changed, or why not. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from joulemill.decisions.levers.case import Case, Lever, Settings, Transform
from joulemill.physics.model.architecture import Architecture, LayerGroup
from joulemill.physics.model.blocks import DeltaNet, GroupedAttention, Indexer, LatentAttention, Mixer
from joulemill.physics.model.precision import Precision, format_named

#: Sizes of DeepSeek-V3's latent attention and V3.2's indexer (their config.json), taken for a model converted to it.
KV_RANK, NOPE_DIM, ROPE_DIM, VALUE_DIM = 512, 128, 64, 128
INDEXER = Indexer(heads=64, head_dim=128, top=2048)
#: One layer of so many keeps full attention in a hybrid (Qwen3-Next, Kimi Linear).
FULL_EVERY = 4


def _with_precision(case: Case, precision: Precision) -> Case:
    return replace(case, deployment=replace(case.deployment, precision=precision))


def _with_architecture(case: Case, architecture: Architecture) -> Case:
    return replace(case, deployment=replace(case.deployment, architecture=architecture))


def _narrowest_byte(architecture: Architecture, precision: Precision) -> float:
    """Bytes of an element in the tensors that most weights are in."""
    return precision.experts.element_byte if architecture.is_moe else precision.dense.element_byte


def weights(name: str, needs: str | None) -> Transform:
    """Weights in another number format; ``needs``: arithmetic that the device must have, None for weight-only."""

    def apply(case: Case, settings: Settings) -> Case | str:
        d = case.deployment
        form = format_named(name)
        if needs is not None and needs not in d.device.peak_flop_s:
            reason = f"{d.device.label} has no {needs.upper()} units"
            return f"{reason}; weights would be unpacked to 16 bits for every multiply: see the weight-only levers"
        if _narrowest_byte(d.architecture, d.precision) <= form.element_byte * 1.1:
            return f"the weights are in {d.precision.name} already"
        chosen = settings.weights.get(name)
        if chosen is None:
            return f"no {name} form of this model is known"
        return _with_precision(case, replace(chosen, kv=d.precision.kv))

    return apply


def kv(name: str) -> Transform:
    """Keys and values in another number format."""

    def apply(case: Case, settings: Settings) -> Case | str:
        d = case.deployment
        if not any(isinstance(m, GroupedAttention | LatentAttention) for m in _mixers(d.architecture)):
            return "the model has no KV cache that grows with the context"
        if d.precision.kv.element_byte <= format_named(name).element_byte * 1.1:
            return f"the KV cache is in {d.precision.kv.name} already"
        return _with_precision(case, d.precision.with_kv(name))

    return apply


def _mixers(architecture: Architecture) -> list[Mixer]:
    return [g.mixer for g in architecture.groups if g.mixer is not None]


def _remixed(architecture: Architecture, change: Callable[[Mixer | None], Mixer | None]) -> Architecture:
    groups = tuple(replace(g, mixer=change(g.mixer)) for g in architecture.groups)
    return replace(architecture, groups=groups, mtp=())


def _full(mixer: Mixer | None) -> bool:
    """Whether it is grouped attention to all of the context."""
    return isinstance(mixer, GroupedAttention) and mixer.window is None


def latent(case: Case, settings: Settings) -> Case | str:
    """Grouped keys and values → one latent vector a token (MLA)."""
    a = case.deployment.architecture
    if any(isinstance(m, LatentAttention) for m in _mixers(a)):
        return "the model has latent attention already"
    if not any(_full(m) for m in _mixers(a)):
        return "no layer has full grouped attention"

    def change(mixer: Mixer | None) -> Mixer | None:
        if not isinstance(mixer, GroupedAttention) or mixer.window is not None:
            return mixer
        return LatentAttention(
            heads=mixer.heads,
            query_rank=None,
            kv_rank=KV_RANK,
            nope_dim=NOPE_DIM,
            rope_dim=ROPE_DIM,
            value_dim=VALUE_DIM,
        )

    return _with_architecture(case, _remixed(a, change))


def grouped(case: Case, settings: Settings) -> Case | str:
    """One key–value head for every eight query heads (GQA) where there are more."""
    a = case.deployment.architecture
    dense = [m for m in _mixers(a) if isinstance(m, GroupedAttention) and m.heads > 8 * m.kv_heads - 1]
    some = [m for m in _mixers(a) if isinstance(m, GroupedAttention)]
    if not some:
        return "the model has no grouped attention"
    if len(dense) == len(some):
        return "eight or more query heads share a key–value head already"

    def change(mixer: Mixer | None) -> Mixer | None:
        if not isinstance(mixer, GroupedAttention):
            return mixer
        return replace(mixer, kv_heads=min(mixer.kv_heads, max(1, mixer.heads // 8)))

    return _with_architecture(case, _remixed(a, change))


def windowed(case: Case, settings: Settings) -> Case | str:
    """Layers of full attention see ``window_tok`` tokens, all but one in FULL_EVERY."""
    return _split(case, settings, "a sliding window", lambda m: replace(m, window=settings.window_tok))


def linear(case: Case, settings: Settings) -> Case | str:
    """Layers of full attention become a gated delta rule, all but one in FULL_EVERY."""

    def change(m: GroupedAttention) -> Mixer:
        return DeltaNet(key_heads=max(1, m.heads // 2), value_heads=m.heads, key_dim=m.head_dim, value_dim=m.head_dim)

    return _split(case, settings, "linear attention", change)


def _split(case: Case, settings: Settings, what: str, change: Callable[[GroupedAttention], Mixer]) -> Case | str:
    a = case.deployment.architecture
    full = [g for g in a.groups if _full(g.mixer)]
    if not full:
        return "no layer has full grouped attention"
    if sum(g.count for g in full) <= a.layers // 2:
        return f"most layers have no full attention already; {what} for the rest is not a served design"
    groups: list[LayerGroup] = []
    for g in a.groups:
        if not isinstance(g.mixer, GroupedAttention) or not _full(g.mixer):
            groups.append(g)
            continue
        kept = -(-g.count // FULL_EVERY)
        groups.append(replace(g, count=kept))
        if g.count > kept:
            groups.append(replace(g, mixer=change(g.mixer), count=g.count - kept))
    return _with_architecture(case, replace(a, groups=tuple(groups), mtp=()))


def sparse(case: Case, settings: Settings) -> Case | str:
    """An indexer chooses the keys that latent attention reads (DSA)."""
    a = case.deployment.architecture
    latent_mixers = [m for m in _mixers(a) if isinstance(m, LatentAttention)]
    if not latent_mixers:
        return "requires latent attention (MLA), which its indexer is trained on; apply latent-attention first"
    if all(m.indexer is not None for m in latent_mixers):
        return "the model has sparse attention already"
    return _with_architecture(
        case, _remixed(a, lambda m: replace(m, indexer=INDEXER) if isinstance(m, LatentAttention) else m)
    )


def evicted(case: Case, settings: Settings) -> Case | str:
    """Only ``keep_tok`` keys of each layer are kept. The prompt's own attention is counted under the same window."""
    d, w = case.deployment, case.workload
    if w.input_tok + w.output_tok <= settings.keep_tok:
        return f"a request has {w.input_tok + w.output_tok:.0f} tokens; nothing to evict above {settings.keep_tok} kept"
    if not any(_full(m) for m in _mixers(d.architecture)):
        return "no layer keeps all keys in grouped attention"

    def change(m: Mixer | None) -> Mixer | None:
        return replace(m, window=settings.keep_tok) if isinstance(m, GroupedAttention) and m.window is None else m

    return _with_architecture(case, _remixed(d.architecture, change))


def alternative(case: Case, settings: Settings) -> Case | str:
    """Another model, as a mixture of experts of like size."""
    other = settings.alternative
    if other is None:
        return "no other model is named: --alternative MODEL, e.g. a mixture of experts of like size"
    if other.architecture == case.deployment.architecture:
        return f"{other.name} is the model that is deployed"
    changed = replace(case.deployment, architecture=other.architecture, precision=other.precision)
    return replace(case, deployment=changed)


WEIGHTS = (
    "bytes per weight: memory traffic of decode, room for KV cache, and arithmetic if the device supports the format"
)
KEYS = "bytes of KV cache: decode traffic, and how many requests fit"
MODEL_LEVERS = (
    Lever(
        name="fp8-weights",
        label="weights and activations in FP8",
        family="weights",
        moves=WEIGHTS,
        kind="precision",
        cost="requantize",
        apply=weights("fp8", "fp8"),
    ),
    Lever(
        name="int8-weights",
        label="weights and activations in INT8",
        family="weights",
        moves=WEIGHTS,
        kind="modelled",
        cost="requantize",
        apply=weights("int8", "int8"),
    ),
    Lever(
        name="fp4-weights",
        label="weights in NVFP4",
        family="weights",
        moves=WEIGHTS,
        kind="modelled",
        cost="requantize",
        apply=weights("nvfp4", "fp4"),
    ),
    Lever(
        name="int4-weights",
        label="weights in INT4, multiplied in 16 bits",
        family="weights",
        moves=WEIGHTS,
        kind="modelled",
        cost="requantize",
        apply=weights("int4", None),
    ),
    Lever(
        name="fp8-kv",
        label="KV cache in FP8",
        family="keys",
        moves=KEYS,
        kind="modelled",
        cost="restart",
        apply=kv("fp8"),
    ),
    Lever(
        name="int4-kv",
        label="KV cache in INT4",
        family="keys",
        moves=KEYS,
        kind="modelled",
        cost="restart",
        apply=kv("int4"),
    ),
    Lever(
        name="latent-attention",
        label="latent KV cache (MLA)",
        family="attention",
        moves=KEYS,
        kind="modelled",
        cost="retrain",
        apply=latent,
    ),
    Lever(
        name="grouped-attention",
        label="eight query heads per KV head (GQA)",
        family="attention",
        moves=KEYS,
        kind="modelled",
        cost="retrain",
        apply=grouped,
    ),
    Lever(
        name="eviction",
        label="evict KV cache above a budget",
        family="attention",
        moves=KEYS,
        kind="modelled",
        cost="tuning",
        apply=evicted,
    ),
    Lever(
        name="sliding-window",
        label="sliding window in 3 of 4 layers",
        family="attention",
        moves=KEYS,
        kind="modelled",
        cost="retrain",
        apply=windowed,
    ),
    Lever(
        name="sparse-attention",
        label="sparse top-2048 attention (DSA)",
        family="sparse",
        moves="KV cache read per token, not its size",
        kind="modelled",
        cost="retrain",
        apply=sparse,
    ),
    Lever(
        name="linear-attention",
        label="gated delta rule in 3 of 4 layers",
        family="attention",
        moves="the KV cache becomes a state of fixed size",
        kind="modelled",
        cost="retrain",
        apply=linear,
    ),
    Lever(
        name="alternative-model",
        label="another model of similar size",
        family="model",
        moves="weights read and multiplied per token",
        kind="model",
        cost="other model",
        apply=alternative,
    ),
)
