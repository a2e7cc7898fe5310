"""The model of a prediction as people and programs see it, and what an approximate reading of it widens."""

from __future__ import annotations

from collections.abc import Iterator

from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.facts import architecture_facts
from joulemill.physics.model.precision import Precision


def doubt(architecture: Architecture) -> str | None:
    """One line that says what is not understood and what that does to the figures; None where all is."""
    if not architecture.doubts:
        return None
    return (
        f"APPROXIMATE: the model is not understood ({'; '.join(architecture.doubts)}): read as a plain decoder; "
        "intervals are three times wider either way"
    )


def architecture_lines(architecture: Architecture, precision: Precision) -> Iterator[str]:
    """Doubts first, then parameters, cache and layers in a line."""
    line = doubt(architecture)
    if line is not None:
        yield line
    facts = architecture_facts(architecture, precision)
    active, total = facts["active_parameters_count"], facts["parameters_count"]
    some = f" ({_count(active)} active a token)" if active != total else ""
    kinds = ", ".join(f"{n} {k.replace('_', ' ')}" for k, n in facts["layer_kinds"].items())
    yield f"{_count(total)} parameters{some}; KV cache {facts['kv_byte_tok']:,.0f} B/token; layers: {kinds}"


def _count(count: int) -> str:
    return f"{count / 1e9:.4g} B" if count >= 1e9 else f"{count / 1e6:.4g} M"
