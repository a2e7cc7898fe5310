"""A prediction as a JSON document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from joulemill.figure import unknown
from joulemill.jsonable import plain
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.facts import architecture_facts
from joulemill.physics.model.precision import Precision
from joulemill.physics.serving.batch import MemoryShort
from joulemill.prediction.predict import resolved
from joulemill.prediction.question import PredictionRequest, PredictionResult
from joulemill.prediction.shortfall import (
    short_document,
)


def document(result: PredictionResult) -> dict[str, Any]:
    """The JSON document. Figures as {value, unit, basis, low, high, level, reason, source}; unknown is null."""
    q, p = result.question, result.prediction
    figures = plain(p)
    terms = figures.pop("terms")
    pool, node = result.deployment.prefill, result.deployment.node
    return {
        "schema_version": "1.0",
        "meets": result.meets,
        "short_by": [missed.document() for missed in result.short_by],
        "deployment": q.document()
        | {"profile": result.profile, "precision_used": result.deployment.precision.name}
        | {"parallelism": asdict(result.deployment.parallelism), "parallelism_stated": q.tp is not None}
        | {"prefill_parallelism": None if pool is None else asdict(pool)}
        | {"node_used": None if node is None else {"name": node.name, "label": node.label, "cooling": node.cooling}}
        | {"best_parallelism": None if result.best_parallelism is None else asdict(result.best_parallelism)},
        "architecture": architecture_document(result.deployment.architecture, result.deployment.precision),
        **figures,
        "terms": terms,
        "notes": list(result.every_note),
    }


def short_document_of(question: PredictionRequest, fault: MemoryShort) -> dict[str, Any]:
    """The JSON document of a deployment that does not fit: no rate, no joules, and by how much it is short."""
    asked = resolved(question)[0]
    return {
        "schema_version": "1.0",
        "meets": False,
        "short_by": short_document(fault),
        "deployment": question.document(),
        "architecture": architecture_document(asked.architecture, asked.precision),
        "rate_tok_s": plain(unknown("tok/s", str(fault))),
    }


def architecture_document(architecture: Architecture, precision: Precision) -> dict[str, Any]:
    """The architecture as JSON: counts, cache bytes, kinds of layer, fields not read."""
    return architecture_facts(architecture, precision)
