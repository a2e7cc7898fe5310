"""CycloneDX 1.6 ML-BOM: the energy of inference of one run as ``energyConsumptions`` of a model. Pure.

The specification knows totals in kWh and tCO2eq only, so the total of the run's window is given, and tokens, scope,
basis and interval stand in ``properties``. An unknown is left out: the schema has no null.
"""

from __future__ import annotations

import json
import uuid
from typing import Any

from joulemill.analysis.report import Report
from joulemill.reports.exports.facts import model_name, widest_energy
from joulemill.units import JOULE_PER_KWH

_GRAM_PER_TONNE = 1e6


def cyclonedx(report: Report) -> str:
    """A whole BOM with one model. Raises InputError where the run has no joules."""
    energy = widest_energy(report)
    tokens = report.tokens.output
    total_kwh = energy.energy_j_tok * tokens / JOULE_PER_KWH
    consumption: dict[str, Any] = {
        "activity": "inference",
        "energyProviders": [
            {
                "organization": {"name": report.site.name or "unknown"},
                "energySource": "unknown",
                "energyProvided": {"value": total_kwh, "unit": "kWh"},
            }
        ],
        "activityEnergyCost": {"value": total_kwh, "unit": "kWh"},
        "properties": _properties(report),
    }
    carbon = report.energy.carbon_gco2e_tok.value
    if carbon is not None:
        consumption["co2CostEquivalent"] = {"value": carbon * tokens / _GRAM_PER_TONNE, "unit": "tCO2eq"}
    card = {"considerations": {"environmentalConsiderations": {"energyConsumptions": [consumption]}}}
    component: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model-{report.run_id}",
        "name": model_name(report),
        "modelCard": card,
    }
    revision = report.conditions.text("model", "revision")
    if revision:
        component["version"] = revision
    document = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'joulemill:{report.run_id}')}",
        "version": 1,
        "components": [component],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _properties(report: Report) -> list[dict[str, str]]:
    energy = widest_energy(report)
    figure = energy.figure
    properties = {
        "joulemill:run": report.run_id,
        "joulemill:schema": report.schema_version,
        "joulemill:scope": energy.scope,
        "joulemill:basis": figure.basis,
        "joulemill:joules_per_output_token": figure.value,
        "joulemill:joules_per_output_token_low": figure.low,
        "joulemill:joules_per_output_token_high": figure.high,
        "joulemill:output_tokens": report.tokens.output,
        "joulemill:prompt_tokens": report.tokens.prompt,
        "joulemill:window_seconds": report.window.duration_s,
        "joulemill:hardware": report.conditions.device,
        "joulemill:load": report.conditions.text("load", "text"),
        "joulemill:pue": report.site.pue.value,
    }
    return [{"name": k, "value": str(v)} for k, v in properties.items() if v is not None]
