"""What the page shows of one deployment: the document of ``predict --json`` and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from joulemill.api.many import predict_many
from joulemill.api.prediction import PredictedDeployment, predict
from joulemill.errors import InputError
from joulemill.explorer.asking import FIELDS, Asked, FieldError
from joulemill.explorer.copying import of_curve, of_prediction
from joulemill.figure import Figure, unknown
from joulemill.jsonable import plain
from joulemill.physics.production.prediction import Prediction
from joulemill.physics.serving.batch import MemoryShort
from joulemill.prediction.question import PredictionRequest
from joulemill.units import say_quantity
from joulemill.wording import percent, title

#: Concurrencies on a curve at most.
CURVE_POINTS = 40
#: Requests in flight that a curve goes up to at most: the default of ``max_num_seqs``.
MOST_CONCURRENCY = 1024.0
JOULE_PER_WH = 3600.0
#: Arguments that a curve over concurrency does without: they set the concurrency, or need a search for each point.
_NOT_ON_A_CURVE = ("concurrency", "rate_req_s", "slo_ttft_s", "slo_tpot_s", "site", "calibration", "max_num_seqs")
_CURVE_COLUMNS = ("rate_tok_s", "device_j_tok", "node_j_tok", "ttft_s", "tpot_s", "node_power_w", "device_power_w")


def predicted(stated: Mapping[str, Any]) -> PredictedDeployment:
    """The prediction. FieldError names the field that is wrong."""
    try:
        return predict(**stated)
    except MemoryShort as fault:
        raise FieldError(str(fault), "devices") from None
    except InputError as fault:
        raise FieldError(str(fault), _field_at_fault(stated, str(fault))) from None


def _field_at_fault(stated: Mapping[str, Any], message: str) -> str:
    """The field without which there is a prediction; else the first without which something else is wrong.

    A prediction refuses what does not fit together, in words of its arguments; the page has to know beside which field.
    """
    usual = {f.name: f.default for f in fields(PredictionRequest)}
    otherwise = ""
    for key, value in stated.items():
        field = max((f for f in FIELDS if key.startswith(f.replace("-", "_"))), key=len, default="")
        if field in ("", "model", "device") or value == usual.get(key):
            continue
        try:
            predict(**{k: v for k, v in stated.items() if k != key})
        except InputError as other:
            otherwise = otherwise or (field if str(other) != message else "")
        else:
            return field
    return otherwise


def answer(question: Asked, stated: Mapping[str, Any]) -> dict[str, Any]:
    """All that a deployment's column shows."""
    p = predicted(stated)
    return {
        "line": repr(p)[1:-1],
        "prediction": p.to_dict(),
        "totals": totals(p),
        "unbind": to_unbind(p),
        "copy": vars(of_prediction(question, stated)),
    }


def widest_energy(p: PredictedDeployment) -> tuple[str, Figure]:
    """The widest scope whose joules per token are known, and the figure."""
    for scope in ("site", "node", "device"):
        figure: Figure = getattr(p.energy, scope)
        if figure.known:
            return scope, figure
    return "device", p.energy.device


def totals(p: PredictedDeployment) -> dict[str, Any]:
    """Energy, carbon and money per thousand requests and per million output tokens, at the widest known scope."""
    scope, joules = widest_energy(p)
    per = {"thousand_requests": 1e3 * p.answer.workload.output_tok, "million_tokens": 1e6}
    document: dict[str, Any] = {"scope": scope}
    for name, tokens in per.items():
        document[name] = {
            "energy_wh": plain(joules.scaled(tokens / JOULE_PER_WH, "Wh")),
            "carbon_gco2e": plain(p.carbon_gco2e_tok.scaled(tokens, "gCO2e")),
            "cost": plain(_cost(p, tokens)),
        }
    document["tok_s_mw"] = plain(_per_megawatt(joules))
    return document


def _cost(p: PredictedDeployment, tokens: float) -> Figure:
    cost = p.cost_currency_tok
    return cost.scaled(tokens, cost.unit.removesuffix("/tok"))


def _per_megawatt(joules: Figure) -> Figure:
    """Output tokens per second and megawatt: the inverse of J/token, so the interval's ends change places."""
    if not joules.value:
        return unknown("tok/s/MW", joules.reason or "energy per token is not known")
    low = None if not joules.high else 1e6 / joules.high
    high = None if not joules.low else 1e6 / joules.low
    return Figure(
        1e6 / joules.value, "tok/s/MW", joules.basis, low=low, high=high, level=joules.level, reason=joules.reason
    )


def curve(stated: Mapping[str, Any], question: Asked | None = None) -> dict[str, Any]:
    """Rate, joules and latency over concurrency, with intervals, up to what memory and the engine allow.

    ``question``: the page's texts of it, where it can be copied.
    """
    p = predicted(stated)
    batch = p.answer.prediction.batch
    most = min(batch.most_req, stated.get("max_num_seqs") or MOST_CONCURRENCY)
    grid = concurrencies(most, batch.concurrency)
    same = {k: v for k, v in stated.items() if k not in _NOT_ON_A_CURVE}
    table = predict_many({"concurrency": grid, **same}, errors="null")
    columns: dict[str, list[float | None]] = {"concurrency": [*grid]}
    for name in _CURVE_COLUMNS:
        for end in ("", "_low", "_high"):
            columns[name + end] = plain(table[name + end])
    copied = {} if question is None else {"copy": vars(of_curve(question, same, grid))}
    return {"points": columns, "chosen": batch.concurrency, "most": batch.most_req, "pue": _pue(p), **copied}


def _pue(p: PredictedDeployment) -> float | None:
    site = p.answer.question.place()
    return None if site is None else site.pue_ratio


def concurrencies(most: float, chosen: float) -> list[float]:
    """1 to ``most`` in equal ratios, whole, with the ``chosen`` one among them."""
    top = max(float(int(most)), 1.0)
    steps = {round(top ** (i / (CURVE_POINTS - 2))) for i in range(CURVE_POINTS - 1)}
    return sorted({float(s) for s in steps} | {chosen})


def to_unbind(p: PredictedDeployment) -> list[str]:
    """What would have to change for the active constraint to stop binding, where it is a limit of the site."""
    short = [missed.text for missed in p.short_by]
    q, bound = p.answer.prediction, p.bottleneck
    limit = next((c for c in q.ceilings if c.name == bound), None)
    rates = [(c.rate_tok_s.value, c.name) for c in q.ceilings if c.name != bound]
    others = [(value, name) for value, name in rates if value]
    if limit is None or not others or not limit.rate_tok_s.value:
        return short
    if bound not in ("power", "cooling"):
        second_tok_s, second = min(others)
        ratio = second_tok_s / limit.rate_tok_s.value
        return [*short, f"{title(bound)} binds until it allows {ratio:.2f} × as much; then {title(second)} does"]
    return [*short, *_of_power(q, bound)]


def _of_power(q: Prediction, bound: str) -> list[str]:
    """What would unbind power or cooling. Where the devices do not draw it all, nothing has to; a note says so."""
    if q.held_ratio == 1.0:
        return []
    full_w = q.full_node_power_w.value or 0.0
    return [
        f"{title(bound)} limits the rate to {percent(q.held_ratio)} of what the devices would do: at full load they "
        f"draw {say_quantity(full_w, 'W')} at the nodes",
        f"It stops binding at {1.0 / q.held_ratio:.2f} × the limit, or at {percent(1.0 - q.held_ratio)} less J/token",
    ]
