"""How much each input of a deployment moves J/token and rate: one prediction a change, with its interval."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from joulemill.api.prediction import PredictedDeployment
from joulemill.errors import InputError
from joulemill.explorer.answering import predicted, widest_energy
from joulemill.explorer.asking import SITE, Asked
from joulemill.explorer.copying import of_changes
from joulemill.figure import Figure
from joulemill.jsonable import plain
from joulemill.physics.hardware.site import Site
from joulemill.prediction.levers import paired_change

#: Inputs that are halved and doubled: argument → what measured pairs its interval is from.
_DOUBLED = {"input_tokens": "modelled", "output_tokens": "modelled", "devices": "devices"}
#: Power caps tried, as shares of TDP.
_CAPS = (0.8, 0.6)
_PRECISIONS = ("bf16", "fp8")
_LESS_PUE = 1.1


@dataclass(frozen=True, kw_only=True)
class InputChange:
    """One changed input.

    name, to   what it is called, and what it is changed to
    changed    arguments of ``predict``;  texts  the same as the page's texts
    kind       of lever, whose measured pairs the interval is from
    """

    name: str
    to: str
    changed: Mapping[str, Any]
    texts: Mapping[str, str]
    kind: str


@dataclass(frozen=True)
class InputEffect:
    """What a changed input does: relative changes of J/token at the widest known scope, and of the rate.

    ``meets``: False where SLOs, limits or the offered load were met, and are not with it.
    """

    change: InputChange
    energy: Figure
    rate: Figure
    meets: bool

    def document(self) -> dict[str, Any]:
        """As the page has it."""
        c = self.change
        changes = {"energy_change": plain(self.energy), "rate_change": plain(self.rate)}
        return {"name": c.name, "to": c.to, "meets": self.meets, **changes}


def sensitivity(question: Asked, stated: Mapping[str, Any]) -> dict[str, Any]:
    """Every input's effect, the largest first."""
    base = predicted(stated)
    scope, joules = widest_energy(base)
    tried = [_effect(change, stated, base, scope) for change in changes(stated, base)]
    effects = sorted((e for e in tried if e is not None), key=lambda e: -abs(e.energy.value or 0.0))
    copied = of_changes(question, stated, scope, [(e.change.texts, e.change.changed) for e in effects])
    return {
        "scope": scope,
        "energy_j_tok": plain(joules),
        "rows": [e.document() for e in effects],
        "copy": vars(copied),
    }


def _effect(
    change: InputChange, stated: Mapping[str, Any], base: PredictedDeployment, scope: str
) -> InputEffect | None:
    """None where the change cannot be predicted, or nothing is known to compare."""
    try:
        changed = predicted({**stated, **change.changed})
    except InputError:
        return None
    architecture = base.answer.deployment.architecture
    before, after = getattr(base.energy, scope).value, getattr(changed.energy, scope).value
    energy = paired_change(before, after, change.kind, architecture)
    rate = paired_change(base.rate_tok_s.value, changed.rate_tok_s.value, change.kind, architecture)
    return (
        None if energy is None or rate is None else InputEffect(change, energy, rate, changed.meets or not base.meets)
    )


def changes(stated: Mapping[str, Any], base: PredictedDeployment) -> Iterator[InputChange]:
    """The changes tried on a deployment."""
    for factor in (0.5, 2.0):
        yield from _of_load(stated, base, factor)
    yield from _of_caps(stated, base.answer.deployment.device.tdp_w)
    used = base.answer.deployment.precision.name
    for precision in _PRECISIONS:
        if precision != used:
            yield _change("precision", precision, "precision", {"precision": precision})
    yield from _of_site(stated)


def _change(name: str, to: str, kind: str, changed: Mapping[str, Any], text: str = "") -> InputChange:
    """A change of one argument; ``text``: how the page states it, where that is not as it is called."""
    field = next(iter(changed)).replace("_", "-")
    return InputChange(name=name, to=to, changed=changed, texts={field: text or to}, kind=kind)


def _of_load(stated: Mapping[str, Any], base: PredictedDeployment, factor: float) -> Iterator[InputChange]:
    if stated.get("rate_req_s") is None:
        value = max(1.0, round(base.concurrency * factor))
        yield _change("concurrency", f"{value:g}", "batch", {"concurrency": value})
    for name, kind in _DOUBLED.items():
        value = stated[name] * factor
        if value >= 1:
            whole = int(value) if name == "devices" else value
            yield _change(name.replace("_", " "), f"{whole:,g}", kind, {name: whole}, f"{whole:.10g}")


def _of_caps(stated: Mapping[str, Any], tdp_w: float | None) -> Iterator[InputChange]:
    for share in _CAPS if tdp_w else ():
        cap_w = float(round(share * (tdp_w or 0.0)))
        if cap_w < (stated.get("power_cap_w") or tdp_w or 0.0):
            texts = {"power-cap": f"{cap_w:.0f}W"}
            changed = {"power_cap_w": cap_w}
            yield InputChange(name="power cap", to=f"{cap_w:.0f} W", changed=changed, texts=texts, kind="modelled")


def _of_site(stated: Mapping[str, Any]) -> Iterator[InputChange]:
    site = stated.get("site")
    if isinstance(site, Site) and site.pue_ratio is not None and site.pue_ratio > _LESS_PUE:
        changed = {"site": replace(site, pue_ratio=_LESS_PUE)}
        texts = {f"{SITE}pue": str(_LESS_PUE)}
        yield InputChange(name="PUE", to=str(_LESS_PUE), changed=changed, texts=texts, kind="declared")
