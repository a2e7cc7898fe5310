"""A day of one deployment on the page: generated traffic played through it, with and without a cut of its power."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from joulemill.api.simulation import DEPLOYMENT, SimulatedDeployment, simulate
from joulemill.errors import InputError
from joulemill.explorer.asking import FieldError
from joulemill.simulation.events import SiteEvent, SiteEvents
from joulemill.units import parse_quantity, parse_ratio

#: Requests of a day on the page at most: some seconds of work.
MOST_REQUESTS = 30_000
#: Share of the day at which a cut begins, and how much of the day it lasts: from noon for three hours of 24.
CUT_AT, CUT_SHARE = 0.5, 0.125
#: How a cut is met where nothing else is asked for.
POLICY = "cap"
SHAPES = {"flat": "poisson", "diurnal": "poisson+diurnal:50%", "spike": "poisson+spike:4:10h:1h"}
_COLUMNS = ("t_s", "device_w", "node_w", "site_w", "output_tok_s", "decode_req", "waiting_req", "utilization")
#: Digits that a series keeps.
_DIGITS = 5


def day(stated: Mapping[str, Any], texts: Mapping[str, str]) -> dict[str, Any]:
    """What the page shows of a day. ``texts``: rate, duration, shape, cut, policy. Raises FieldError."""
    played = _played(stated, texts)
    document = played.to_dict()
    return {
        "line": repr(played)[1:-1],
        "series": {name: _series(columns) for name, columns in played.all_series().items()},
        "shown": played.shown.policy,
        "scope": played.run.widest_scope,
        **{k: document[k] for k in ("latency", "power", "energy", "requests", "policies", "events", "notes", "doubts")},
    }


def _played(stated: Mapping[str, Any], texts: Mapping[str, str]) -> SimulatedDeployment:
    rate_req_s = _read(
        "rate", lambda: parse_quantity(texts.get("rate") or "0.1req/s", "req/s", name="rate", least=1e-6)
    )
    duration_s = _read(
        "duration", lambda: parse_quantity(texts.get("duration") or "24h", "s", name="duration", least=60)
    )
    if rate_req_s * duration_s > MOST_REQUESTS:
        wanted = f"{rate_req_s * duration_s:,.0f} requests; the page plays {MOST_REQUESTS:,}"
        raise FieldError(f"{wanted}: lower the rate or the duration, or use joulemill simulate", "day.rate")
    arrivals = _arrivals(texts.get("shape") or "diurnal", duration_s)
    events = _events(texts, duration_s)
    same = {k: v for k, v in stated.items() if k in DEPLOYMENT}
    try:
        return simulate(
            **same,
            **{k: stated[k] for k in ("input_tokens", "output_tokens", "slo_ttft_s", "slo_tpot_s", "site")},
            rate_req_s=rate_req_s,
            duration_s=duration_s,
            arrivals=arrivals,
            events=events,
            scenarios=0,
        )
    except InputError as fault:
        raise FieldError(str(fault)) from None


def _arrivals(shape: str, duration_s: float) -> str:
    if shape not in SHAPES:
        raise FieldError(f"shape {shape!r}; use {', '.join(SHAPES)}", "day.shape")
    if shape == "spike":  # an hour of 24, whatever the duration
        return f"poisson+spike:4:{duration_s * 10 / 24:.0f}s:{duration_s / 24:.0f}s"
    return SHAPES[shape]


def _events(texts: Mapping[str, str], duration_s: float) -> SiteEvents:
    if not texts.get("cut"):
        return SiteEvents()
    ratio = _read("cut", lambda: parse_ratio(texts["cut"], name="cut", least=0.01, most=0.95))
    start_s = CUT_AT * duration_s
    end_s = start_s + CUT_SHARE * duration_s
    cut = SiteEvent(name=f"{ratio:.0%} less power", start_s=start_s, end_s=end_s, cut_ratio=ratio)
    return SiteEvents(events=(cut,), policies=(texts.get("policy") or POLICY,), deferrable_ratio=0.4)


def _read(name: str, parse: Any) -> float:
    try:
        value: float = parse()
    except InputError as fault:
        raise FieldError(str(fault), f"day.{name}") from None
    return value


def _series(columns: Mapping[str, Any]) -> dict[str, list[float | None]]:
    return {name: [_short(x) for x in columns[name]] for name in _COLUMNS}


def _short(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
