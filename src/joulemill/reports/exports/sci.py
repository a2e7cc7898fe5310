"""Software Carbon Intensity per output token: SCI = (E × I + M) per R (ISO/IEC 21031:2024; SCI for AI). Pure.

Boundary: the consumer's (operation and monitoring); functional unit R: one output token. M, the embodied share,
is what the site file states: without it there is no SCI score, so ``sci`` is null and O = E × I stands alone.
"""

from __future__ import annotations

import json
from typing import Any

from joulemill.analysis.report import Report
from joulemill.figure import Figure, unknown
from joulemill.reports.exports.facts import model_name, widest_energy
from joulemill.units import JOULE_PER_KWH

#: The impact that holds M, and what is said where a report has none.
EMBODIED = "embodied carbon"
NO_EMBODIED = "the embodied share is not known to a run"


def sci(report: Report) -> str:
    """The terms of the equation per output token, with units. Raises InputError where the run has no joules."""
    energy = widest_energy(report)
    intensity = report.site.carbon_gco2e_kwh
    energy_kwh = energy.energy_j_tok / JOULE_PER_KWH
    operational = None if intensity.value is None else energy_kwh * intensity.value
    embodied = next((i.per_token for i in report.impacts if i.name == EMBODIED), unknown("gCO2e/tok", NO_EMBODIED))
    document: dict[str, Any] = {
        "specification": "ISO/IEC 21031:2024, (E * I + M) per R; SCI for AI, consumer boundary",
        "functional_unit": "output token",
        "software": model_name(report),
        "E": {"value": energy_kwh, "unit": "kWh/token", "scope": energy.scope, "basis": str(energy.figure.basis)},
        "I": {"value": intensity.value, "unit": "gCO2e/kWh", "reason": intensity.reason, "source": intensity.source},
        "M": {"value": embodied.value, "unit": "gCO2e/token", "reason": embodied.reason, "source": embodied.source},
        "O": {"value": operational, "unit": "gCO2e/token", "low": None, "high": None},
        "sci": _score(operational, embodied),
        "gross_or_effective": "gross: every output token of the window counts",
        "offsets": "none are subtracted",
        "run": report.run_id,
    }
    figure = energy.figure
    if intensity.value is not None and figure.low is not None and figure.high is not None:
        for end, joules in (("low", figure.low), ("high", figure.high)):
            document["O"][end] = joules / JOULE_PER_KWH * intensity.value
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _score(operational: float | None, embodied: Figure) -> dict[str, Any]:
    """O + M, or why there is none."""
    unit = "gCO2e/token"
    if operational is None:
        return {"value": None, "unit": unit, "reason": "O is unknown: the grid's carbon is not stated"}
    if embodied.value is None:
        return {"value": None, "unit": unit, "reason": "M is unknown: O is its operational part"}
    return {"value": operational + embodied.value, "unit": unit, "reason": None}
