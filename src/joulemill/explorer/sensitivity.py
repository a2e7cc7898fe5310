"""How much each input of a deployment moves J/token and rate: one prediction per change."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from joulemill.api.prediction import PredictedDeployment
from joulemill.errors import InputError
from joulemill.explorer.answering import predicted, widest_energy
from joulemill.physics.hardware.site import Site

#: Inputs that are halved and doubled.
_DOUBLED = ("input_tokens", "output_tokens", "devices")
#: Power caps tried, as shares of TDP.
_CAPS = (0.8, 0.6)
_PRECISIONS = ("bf16", "fp8")


@dataclass(frozen=True)
class InputChange:
    """One changed input: what it is called, and the arguments with it."""

    name: str
    to: str
    stated: Mapping[str, Any]


def sensitivity(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Relative changes of J/token at the widest known scope, and of the rate, by changed input."""
    base = predicted(stated)
    scope, joules = widest_energy(base)
    rows = [row for change in changes(stated, base) if (row := _row(change, base, scope)) is not None]
    rows.sort(key=lambda r: -abs(r["energy_change"]))
    return {"scope": scope, "energy_j_tok": joules.value, "rows": rows}


def _row(change: InputChange, base: PredictedDeployment, scope: str) -> dict[str, Any] | None:
    """None where the change cannot be predicted, or nothing is known to compare."""
    try:
        changed = predicted(change.stated)
    except InputError:
        return None
    before, after = getattr(base.energy, scope).value, getattr(changed.energy, scope).value
    if not before or not after or not base.rate_tok_s.value or not changed.rate_tok_s.value:
        return None
    return {
        "name": change.name,
        "to": change.to,
        "energy_change": after / before - 1.0,
        "rate_change": changed.rate_tok_s.value / base.rate_tok_s.value - 1.0,
    }


def changes(stated: Mapping[str, Any], base: PredictedDeployment) -> Iterator[InputChange]:
    """The changes tried on a deployment."""
    for factor in (0.5, 2.0):
        yield from _of_load(stated, base, factor)
    yield from _of_caps(stated, base.answer.deployment.device.tdp_w)
    used = base.answer.deployment.precision.name
    for precision in _PRECISIONS:
        if precision != used:
            yield InputChange("precision", precision, {**stated, "precision": precision})
    yield from _of_site(stated)


def _of_load(stated: Mapping[str, Any], base: PredictedDeployment, factor: float) -> Iterator[InputChange]:
    if stated.get("rate_req_s") is None:
        value = max(1.0, round(base.concurrency * factor))
        yield InputChange("concurrency", f"{value:g}", {**stated, "concurrency": value})
    for name in _DOUBLED:
        value = stated[name] * factor
        if value >= 1:
            whole = int(value) if name == "devices" else value
            yield InputChange(name.replace("_", " "), f"{whole:,g}", {**stated, name: whole})


def _of_caps(stated: Mapping[str, Any], tdp_w: float | None) -> Iterator[InputChange]:
    for share in _CAPS if tdp_w else ():
        cap_w = share * (tdp_w or 0.0)
        if cap_w < (stated.get("power_cap_w") or tdp_w or 0.0):
            yield InputChange("power cap", f"{cap_w:.0f} W", {**stated, "power_cap_w": cap_w})


def _of_site(stated: Mapping[str, Any]) -> Iterator[InputChange]:
    site = stated.get("site")
    if isinstance(site, Site) and site.pue_ratio is not None and site.pue_ratio > 1.1:
        yield InputChange("PUE", "1.1", {**stated, "site": replace(site, pue_ratio=1.1)})
