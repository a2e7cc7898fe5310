"""A whole report made by hand: the views are tested on it, hostile names included."""

from __future__ import annotations

import dataclasses

from joulemill.analysis.report import (
    SCHEMA_VERSION,
    Binding,
    Ceiling,
    Client,
    Energy,
    Latency,
    Output,
    Percentiles,
    Power,
    Quality,
    Report,
    Requests,
    Series,
    SiteReport,
    Tokens,
    Waterfall,
    WindowReport,
)
from joulemill.figure import Basis, Figure, unknown

HOSTILE = '<script>alert("x")</script> & co | 50%'


def fig(value: float, unit: str, basis: Basis = Basis.MODELLED, spread: float = 0.1) -> Figure:
    return Figure(value, unit, basis, value * (1 - spread), value * (1 + spread), 0.95)


def measured(value: float, unit: str) -> Figure:
    return Figure(value, unit, Basis.MEASURED)


def percentiles(p50: float) -> Percentiles:
    return Percentiles(p50=p50, p90=p50 * 1.3, p99=p50 * 1.7, mean=p50 * 1.05, n=200)


def energy() -> Energy:
    return Energy(
        device_j_tok=unknown("J/tok", "no device meter"),
        node_j_tok=fig(0.42, "J/tok"),
        site_j_tok=fig(0.65, "J/tok"),
        above_idle_j_tok=fig(0.3, "J/tok"),
        node_j=fig(4200.0, "J"),
        node_idle_j=fig(1200.0, "J"),
        prefill_j_tok=unknown("J/tok", "collinear with decode in this run"),
        decode_j_tok=fig(0.31, "J/tok"),
        request_j=fig(26.0, "J"),
        good_j_tok=fig(0.43, "J/tok"),
        correct_answer_j=fig(35.0, "J"),
        carbon_gco2e_tok=fig(4.4e-5, "gCO2e/tok"),
        cost_currency_tok=fig(2.1e-8, "EUR/tok"),
        water_l_tok=unknown("L/tok", "the site states no water use"),
        attribution={"rule": "output_token_share", "closure_error": 0.0},
        reasons=("power is a stated model, no sensor",),
    )


def ceilings() -> tuple[Ceiling, ...]:
    return (
        Ceiling("compute", fig(950.0, "tok/s"), fig(3e11, "FLOP/s"), measured(2.7e8, "FLOP/tok"), measured(4.6, "1")),
        Ceiling("memory_bandwidth", fig(170.0, "tok/s"), evidence=f"achieved 98 % {HOSTILE}"),
        Ceiling("kv_capacity", fig(700.0, "tok/s")),
        Ceiling("latency", unknown("tok/s", "no target stated")),
        Ceiling("demand", fig(400.0, "tok/s", Basis.MEASURED)),
        Ceiling("interconnect", unknown("tok/s", "one device")),
    )


def waterfall() -> Waterfall:
    rows = [
        ("site", 6500.0, "whole"),
        ("PUE overhead", 2300.0, "loss"),
        ("node", 4200.0, "whole"),
        ("idle", 1200.0, "loss"),
    ]
    parts = [{"name": n, "energy_j": fig(v, "J"), "kind": k, "of": None} for n, v, k in rows]
    return Waterfall(
        (*parts, {"name": "prefill", "energy_j": unknown("J", "not separable"), "kind": "part", "of": "node"})
    )


def example() -> Report:
    times = tuple(float(t) for t in range(40))
    return Report(
        schema_version=SCHEMA_VERSION,
        run_id="0123456789abcdef",
        status="complete",
        status_reason=None,
        energy=energy(),
        power=Power(
            unknown("W", "no device meter"),
            fig(70.0, "W"),
            fig(108.0, "W"),
            fig(20.0, "W"),
            unknown("W", "none"),
            unknown("1", "none"),
        ),
        binding=Binding(
            "memory_bandwidth",
            fig(170.0, "tok/s"),
            fig(1.35, "1"),
            "demand",
            "It is the least ceiling.",
            ("interconnect",),
        ),
        ceilings=ceilings(),
        phi=fig(0.97, "1"),
        utilization=fig(1.0, "1", Basis.MEASURED),
        production={"theta": 0.65},
        output=Output(
            *(fig(166.0, "tok/s", Basis.MEASURED) for _ in range(3)),
            fig(160.0, "tok/s", Basis.MEASURED),
            measured(2.6, "req/s"),
        ),
        tokens=Tokens(10_000, 20_000, 0, 20_000, None, {"output": 10_003.0}, 0.0003),
        latency=Latency(
            *(percentiles(p) for p in (0.1, 0.11, 0.02, 0.02, 1.4)), slo={"ttft_s": 0.2, "attained_ratio": 0.98}
        ),
        quality=Quality(fig(0.55, "1", Basis.MEASURED), "small", 36, 20.0),
        client=Client(True, (), 0.002, 0.003, 0.2, True),
        requests=Requests(210, 208, 190, 1, {"ok": 208, "timeout": 2}),
        window=WindowReport(5.0, 35.0, 30.0, "all slots busy", True),
        site=SiteReport(
            "mill",
            measured(1.54, "1"),
            unknown("g/kWh", "none"),
            unknown("EUR/kWh", "none"),
            "EUR",
            unknown("L/kWh", "none"),
            unknown("W", "none"),
            unknown("W", "none"),
        ),
        waterfall=waterfall(),
        series=Series(
            times,
            tuple(60.0 + (t % 7) for t in times),
            tuple(None if t in (10.0, 11.0) else 150 + t for t in times),
            "modelled",
            (),
            {"ttft_s": tuple(0.09 + 0.001 * (i % 50) for i in range(200)), "tpot_s": (0.02,) * 50 + (0.03,)},
        ),
        conditions={
            "model": {"name": HOSTILE},
            "hardware": {"device": "two cores"},
            "server": {"kind": "llama.cpp"},
            "started": "2026-11-23",
        },
        meters=({"meter": "declared", "scope": "node", "quantity": "power_w", "device": "host", "basis": "declared"},),
        warnings=("Power is modelled, not measured.",),
    )


def altered(**changes: object) -> Report:
    return dataclasses.replace(example(), **changes)  # type: ignore[arg-type]
