"""The model of a prediction as people and programs see it, and what an approximate reading of it widens."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.facts import architecture_facts
from joulemill.physics.model.precision import Precision

#: Half-width [ln, 80 %] that a model not understood adds: a factor of three either way. Read as plain decoders, four of
#: five catalogued models come out within 3 % and the worst 1.6 times off; but a model that is not understood is not
#: drawn from these, and the worst plain reading known (Mamba-2 taken for attention) has three times the parameters.
NOT_UNDERSTOOD_LN = math.log(3.0)


def widened_ratio(half_width_ratio: float, architecture: Architecture) -> float:
    """Half-width of an interval as a logarithm, wider where the architecture was not understood."""
    return math.hypot(half_width_ratio, NOT_UNDERSTOOD_LN) if architecture.doubts else half_width_ratio


def architecture_document(architecture: Architecture, precision: Precision) -> dict[str, Any]:
    """The architecture as JSON: counts, cache bytes, kinds of layer, fields not read."""
    return architecture_facts(architecture, precision)


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
