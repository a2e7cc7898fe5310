"""What one output token of a measured run cost: FLOP, bytes, cache, from the architecture at the run's own load.

The counts are those that predictions are made of (``token_work``), at B, the mean number of sequences decoding
at once (Little's law over the window), and S, their mean context, both measured. A server that drafts tokens says by
its counters how many it drafted and how many held, and the steps that verify them are counted as in a prediction. Pure:
takes values, returns values. Unknown stays unknown with its reason.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from joulemill.arrays import Array
from joulemill.decisions.evidence import EVEN, Sharing
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.account import Account
from joulemill.ledger.caching import counted_between
from joulemill.ledger.manifest import GgufDescription, Manifest, ModelDescription
from joulemill.ledger.record import RunRecord, ServerSample
from joulemill.ledger.window import load_requests
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.gguf import architecture_from_gguf, precision_from_gguf
from joulemill.physics.model.precision import FORMATS, Format, Precision
from joulemill.physics.production.token_work import TokenLoad, TokenWork, decode_counts, token_work
from joulemill.physics.serving.continuous_batching import kv_request_byte
from joulemill.physics.serving.shard import WIDE_BYTE, ShardTable, drafting_model, shard_table, whole_model

#: Longer reasons are cut.
LONGEST_REASON = 400


@dataclass(frozen=True, slots=True)
class Drafts:
    """Speculative decoding as it was in the window: tokens drafted a sequence and step, and tokens that a step yielded
    a sequence, its own included."""

    draft_count: float
    accepted_tok: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLoad:
    """The load as it was in the window: means over it.

    sequences_count   sequences decoding at once;  in_flight_count  requests in flight, waiting ones included
    context_tok       mean context of a decoding sequence;  output_tok  per request
    prompt_tok        of a request's prompt, computed;  cached_tok  of it, served by a prefix cache
    drafts            what the server drafted; None where it drafts nothing, or does not say
    """

    sequences_count: float
    in_flight_count: float
    context_tok: float
    output_tok: float
    prompt_tok: float
    cached_tok: float = 0.0
    drafts: Drafts | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intensity:
    """Cost of one output token, prefill's share included.

    arithmetic                          the dtype that most of it is multiplied in, where the device has it
    parts                               FLOP of a token by the format that they multiply in
    work_flop_tok, traffic_byte_tok     at the run's own load
    lone_flop_tok, lone_byte_tok        of a sequence that has the machine to itself: nothing is shared
    twice_byte_tok                      with twice as many sequences at once
    sharing                             how the weights that a step touches grow with its sequences
    """

    work_flop_tok: Figure
    traffic_byte_tok: Figure
    lone_flop_tok: Figure
    lone_byte_tok: Figure
    twice_byte_tok: Figure
    sequence_byte: Figure
    weight_byte: Figure
    arithmetic: str | None
    load: MeasuredLoad | None
    sharing: Sharing = EVEN
    parts: tuple[tuple[Format, float], ...] = ()


def unknown_intensity(reason: str, load: MeasuredLoad | None = None) -> Intensity:
    """An intensity of which nothing is known, and why."""
    flop, byte, held = (unknown(u, reason) for u in ("FLOP/tok", "byte/tok", "byte"))
    return Intensity(
        work_flop_tok=flop,
        traffic_byte_tok=byte,
        lone_flop_tok=flop,
        lone_byte_tok=byte,
        twice_byte_tok=byte,
        sequence_byte=held,
        weight_byte=held,
        arithmetic=None,
        load=load,
    )


def measured_load(record: RunRecord, account: Account) -> MeasuredLoad | None:
    """Means over the window; None where no request delivered tokens in it."""
    if account.window is None or account.tokens is None or account.tokens.output_tok <= 0:
        return None
    start, end = account.window.start_s, account.window.end_s
    rows = [r for r in load_requests(record) if _inside_s(r.first_token_mono_s, r.last_token_mono_s, start, end) > 0]
    if not rows:
        return None
    decoding = [_inside_s(r.first_token_mono_s, r.last_token_mono_s, start, end) for r in rows]
    flying = [_inside_s(r.dispatched_mono_s, r.end_mono_s, start, end) for r in load_requests(record)]
    contexts = [(r.prompt_tok or 0) + (r.output_tok or 0) / 2 for r in rows]
    known = [r for r in rows if r.output_tok]
    return MeasuredLoad(
        sequences_count=sum(decoding) / (end - start),
        in_flight_count=sum(flying) / (end - start),
        context_tok=sum(c * d for c, d in zip(contexts, decoding, strict=True)) / max(sum(decoding), 1e-12),
        output_tok=sum(r.output_tok or 0 for r in known) / max(len(known), 1),
        prompt_tok=sum((r.prompt_tok or 0) - (r.cached_tok or 0) for r in known) / max(len(known), 1),
        cached_tok=sum(r.cached_tok or 0 for r in known) / max(len(known), 1),
        drafts=measured_drafts(record.server, (start, end)),
    )


def measured_drafts(samples: Sequence[ServerSample], window: tuple[float, float]) -> Drafts | None:
    """What the server's counters say that it drafted over ``window``; None for none, or where they do not say.

    A step yields a sequence one token of its own beside the accepted ones, so output − accepted tokens are the steps of
    sequences, first tokens (which the prompt's step yields) among them.
    """
    names = ("spec_draft_tok_total", "spec_accepted_tok_total", "output_tok_total")
    drafted, accepted, output = (counted_between(samples, n, window) for n in names)
    if not drafted or accepted is None or output is None or accepted > drafted or output <= accepted:
        return None
    steps = output - accepted
    return Drafts(drafted / steps, output / steps)


def _inside_s(first: float | None, last: float | None, start: float, end: float) -> float:
    return 0.0 if first is None or last is None else max(0.0, min(last, end) - max(first, start))


def intensity(model: Architecture, precision: Precision, load: MeasuredLoad, source: str) -> Intensity:
    """Work of an output token at ``load``, of one that has the machine to itself, and with twice as many at once."""
    table = shard_table([whole_model(model, precision)])
    batch = np.array([1.0, 2.0, 0.0]) * max(load.sequences_count, 1.0) + np.array([0.0, 0.0, 1.0])
    drafting = shard_table([drafting_model(model, precision)]) if load.drafts and model.mtp else None
    work = token_work(table, _token_load(load, batch), drafting)
    source = _with_drafts(source, load.drafts, own=drafting is not None)
    parts = _parts(model, precision, work)
    flop, byte = work.flop_tok.tolist(), work.byte_tok.tolist()
    held = kv_request_byte(table, np.array([load.cached_tok + load.prompt_tok + load.output_tok]))

    def figure(value: float, unit: str) -> Figure:
        return Figure(value, unit, Basis.MODELLED, source=source)

    return Intensity(
        work_flop_tok=figure(flop[0], "FLOP/tok"),
        traffic_byte_tok=figure(byte[0], "byte/tok"),
        lone_flop_tok=figure(flop[2], "FLOP/tok"),
        lone_byte_tok=figure(byte[2], "byte/tok"),
        twice_byte_tok=figure(byte[1], "byte/tok"),
        sequence_byte=figure(float(held[0]), "byte"),
        weight_byte=figure(float(_step_weights_byte(table, load, batch)[0]), "byte"),
        arithmetic=max(parts, key=lambda part: part[1])[0].arithmetic,
        parts=parts,
        load=load,
        sharing=_sharing(table, load),
    )


def _with_drafts(source: str, drafts: Drafts | None, *, own: bool) -> str:
    """``source``, and what is counted of drafting: a server does not say what drafts."""
    if drafts is None:
        return source
    by = "the model's own layers" if own else "a model that is not known: its work is left out"
    rates = f"{drafts.draft_count:.3g} tokens drafted and {drafts.accepted_tok:.3g} delivered per sequence and step"
    return f"{source}; {rates}, drafted by {by}"


def _token_load(load: MeasuredLoad, batch: Array) -> TokenLoad:
    drafts = load.drafts or Drafts(0.0, 1.0)
    return TokenLoad(
        sequences_count=batch,
        context_tok=np.full_like(batch, load.context_tok),
        prompt_tok=np.array(max(load.prompt_tok, 1.0)),
        cached_tok=np.array(load.cached_tok),
        output_tok=np.array(max(load.output_tok, 1.0)),
        draft_count=drafts.draft_count,
        accepted_tok=min(drafts.accepted_tok, max(load.output_tok, 1.0)),
    )


def _step_weights_byte(table: ShardTable, load: MeasuredLoad, batch: Array) -> Array:
    """Weights that a step which only decodes touches [byte]."""
    return decode_counts(table, _token_load(load, batch)).weight_byte


def _sharing(table: ShardTable, load: MeasuredLoad) -> Sharing:
    """Weights that a step of the run's sequences touches, over those of a lone one, and how they grow: experts."""
    count, step = max(load.sequences_count, 1.0), 1.05
    low, high, lone = _step_weights_byte(table, load, np.array([count / step, count * step, 1.0])).tolist()
    return Sharing((low * high) ** 0.5 / lone, (high - low) / lone / (2.0 * math.log(step)))


def _parts(model: Architecture, precision: Precision, work: TokenWork) -> tuple[tuple[Format, float], ...]:
    """FLOP of the first load by format: of what is kept wide, of quantized matrices, of routed experts."""
    formats = [precision.of(x.tensor) for g in model.groups for x in g.linears(model.hidden)]
    narrow = [f for f in formats if f.element_byte < WIDE_BYTE]
    wide = precision.dense if precision.dense.element_byte >= WIDE_BYTE else FORMATS["bf16"]
    flop = [float(x[0]) for x in (work.flop_0_tok, work.flop_1_tok, work.expert_flop_tok)]
    used = (wide, (narrow or [wide])[-1], precision.experts)
    return tuple((form, part) for form, part in zip(used, flop, strict=True) if part > 0.0)


def model_of(manifest: Manifest) -> tuple[Architecture, Precision, str]:
    """Architecture and precision of the run's model: from its own GGUF header, a config, or the catalog by name.

    Raises InputError where none of them tells.
    """
    described = manifest.model or ModelDescription()
    if described.gguf is not None:
        tensors: Sequence[Any] = [tuple(t) for t in _tensors(described.gguf)]
        kv = {"f16": "fp16", "f32": "fp32"}.get(described.kv_type or "f16", str(described.kv_type))
        metadata = described.gguf.metadata or {}
        return architecture_from_gguf(metadata, tensors), precision_from_gguf(tensors, kv), "GGUF header"
    name = described.architecture or described.name or ""
    architecture, native, source = _stated_architecture(manifest, name)
    stated = manifest.precision
    if not stated:
        return architecture, native, source
    return architecture, _served(name, architecture, native, stated), f"{source}, served as {stated}"


def _served(name: str, architecture: Architecture, native: Precision, stated: str) -> Precision:
    """What ``bench --precision`` stated: what the word means to a prediction, else a name's ending, or formats by class
    of tensors."""
    from joulemill.catalog.model_names import GGUF_BITS, QUANTIZATIONS, precision_of_spec, release_name, requantized
    from joulemill.prediction.precision import precision_named

    with suppress(InputError):
        return precision_named(name, architecture, native, stated)
    word = stated.strip().lower().replace("_", "-")
    if word in QUANTIZATIONS or word in GGUF_BITS:
        publisher = release_name(name).publisher if name else ""
        return requantized(architecture, native, QUANTIZATIONS.get(word, word), publisher)[0]
    return precision_of_spec(stated)


def _stated_architecture(manifest: Manifest, name: str) -> tuple[Architecture, Precision, str]:
    """By the config.json that the run keeps, else by the model's name."""
    config = manifest.architecture
    if config is not None:
        from joulemill.catalog.model_files import model_from_config

        return *model_from_config(config), "the config.json that was stated"
    if not name:
        raise InputError("the run does not name its model")
    from joulemill.catalog.models import find_named_model

    entry = find_named_model(name)
    return entry.architecture, entry.precision, f"catalog: {entry.name}"


def run_intensity(record: RunRecord, account: Account) -> Intensity:
    """The intensity of a recorded run, or why it is unknown."""
    load = measured_load(record, account)
    if load is None:
        return unknown_intensity("no tokens in the window")
    try:
        model, precision, source = model_of(record.manifest)
    except InputError as fault:
        return unknown_intensity(f"the model's architecture is unknown: {_cut(str(fault))}", load)
    token_cost = intensity(model, precision, load, f"architecture ({source}) at the measured load")
    if not _quantized(record.manifest):
        return token_cost
    return replace(token_cost, arithmetic="int8", parts=((FORMATS["int8"], token_cost.work_flop_tok.value or 0.0),))


def _cut(text: str) -> str:
    """A message may repeat the name that a server gave; it stands in many reasons."""
    return text if len(text) <= LONGEST_REASON else text[: LONGEST_REASON - 1] + "…"


def _tensors(header: GgufDescription) -> list[Sequence[Any]]:
    """Name, shape, type and bytes of each tensor."""
    return [t for t in header.tensors or () if isinstance(t, list | tuple)]


def _quantized(manifest: Manifest) -> bool:
    """Whether most of a GGUF's bytes are quantized: llama.cpp then multiplies blocks of int8, whatever they hold."""
    header = manifest.model.gguf if manifest.model else None
    tensors = _tensors(header) if header else []
    whole = sum(int(t[3]) for t in tensors)
    packed = sum(int(t[3]) for t in tensors if not str(t[2]).upper().startswith(("F", "BF")))
    return packed > whole / 2
