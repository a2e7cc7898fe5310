"""A whole report made by hand: the views are tested on it, hostile names included."""

from __future__ import annotations

import dataclasses

from joulemill.analysis.conditions import Conditions
from joulemill.analysis.report import (
    SCHEMA_VERSION,
    AttributionReport,
    Binding,
    Ceiling,
    Client,
    Energy,
    Histograms,
    Latency,
    MeterReport,
    Output,
    Percentiles,
    Power,
    Production,
    Quality,
    Report,
    Requests,
    Series,
    SiteReport,
    Slo,
    Tokens,
    Waterfall,
    WaterfallPart,
    WindowReport,
)
from joulemill.figure import Basis, Figure, unknown

HOSTILE = '<script>alert("x")</script> & co | 50%'


def fig(value: float, unit: str, basis: Basis = Basis.MODELLED, spread: float = 0.1) -> Figure:
    return Figure(value, unit, basis, low=value * (1 - spread), high=value * (1 + spread), level=0.95)


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
        attribution=AttributionReport(rule="output_token_share", closure_error=0.0),
        reasons=("power is a stated model, no sensor",),
    )


def ceilings() -> tuple[Ceiling, ...]:
    return (
        Ceiling(
            name="compute",
            rate_tok_s=fig(950.0, "tok/s"),
            capacity=fig(3e11, "FLOP/s"),
            intensity=measured(2.7e8, "FLOP/tok"),
            slack_ratio=measured(4.6, "1"),
        ),
        Ceiling(name="memory_bandwidth", rate_tok_s=fig(170.0, "tok/s"), evidence=f"achieved 98 % {HOSTILE}"),
        Ceiling(name="kv_capacity", rate_tok_s=fig(700.0, "tok/s")),
        Ceiling(name="latency", rate_tok_s=unknown("tok/s", "no target stated")),
        Ceiling(name="demand", rate_tok_s=fig(400.0, "tok/s", Basis.MEASURED)),
        Ceiling(name="interconnect", rate_tok_s=unknown("tok/s", "one device")),
    )


def waterfall() -> Waterfall:
    rows = [
        ("site", 6500.0, "whole"),
        ("PUE overhead", 2300.0, "loss"),
        ("node", 4200.0, "whole"),
        ("idle", 1200.0, "loss"),
    ]
    parts = [WaterfallPart(n, fig(v, "J"), k) for n, v, k in rows]
    return Waterfall((*parts, WaterfallPart("prefill", unknown("J", "not separable"), "part", "node")))


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
            name="memory_bandwidth",
            rate_tok_s=fig(170.0, "tok/s"),
            margin_ratio=fig(1.35, "1"),
            next_name="demand",
            explanation="It is the least ceiling.",
            unknown=("interconnect",),
        ),
        ceilings=ceilings(),
        phi=fig(0.97, "1"),
        utilization=fig(1.0, "1", Basis.MEASURED),
        production=Production(theta=0.65),
        output=Output(
            *(fig(166.0, "tok/s", Basis.MEASURED) for _ in range(3)),
            fig(160.0, "tok/s", Basis.MEASURED),
            measured(2.6, "req/s"),
        ),
        tokens=Tokens(
            output=10_000,
            prompt=20_000,
            prompt_cached=0,
            prompt_computed=20_000,
            reasoning=None,
            by_metrics={"output": 10_003.0},
            mismatch_ratio=0.0003,
        ),
        latency=Latency(
            *(percentiles(p) for p in (0.1, 0.11, 0.02, 0.02, 1.4)), slo=Slo(ttft_s=0.2, attained_ratio=0.98)
        ),
        quality=Quality(accuracy=fig(0.55, "1", Basis.MEASURED), task="small", questions=36, correct=20.0),
        client=Client(
            valid=True,
            reasons=(),
            dispatch_lag_p99_s=0.002,
            loop_lag_p99_s=0.003,
            cpu_ratio_max=0.2,
            machine_quiet=True,
        ),
        requests=Requests(210, 208, 190, 1, {"ok": 208, "timeout": 2}),
        window=WindowReport(5.0, 35.0, 30.0, "all slots busy", True),
        site=SiteReport(
            name="mill",
            pue=measured(1.54, "1"),
            carbon_gco2e_kwh=unknown("g/kWh", "none"),
            price_currency_kwh=unknown("EUR/kWh", "none"),
            currency="EUR",
            water_l_kwh=unknown("L/kWh", "none"),
            it_power_limit_w=unknown("W", "none"),
            cooling_limit_w=unknown("W", "none"),
        ),
        waterfall=waterfall(),
        series=Series(
            times,
            tuple(60.0 + (t % 7) for t in times),
            tuple(None if t in (10.0, 11.0) else 150 + t for t in times),
            "modelled",
            (),
            Histograms(tuple(0.09 + 0.001 * (i % 50) for i in range(200)), (0.02,) * 50 + (0.03,)),
        ),
        conditions=Conditions(
            model={"name": HOSTILE},
            hardware={"device": "two cores"},
            server={"kind": "llama.cpp"},
            started="2026-11-23",
        ),
        meters=(MeterReport(meter="declared", scope="node", quantity="power_w", device="host", basis="declared"),),
        warnings=("Power is modelled, not measured.",),
    )


def altered(**changes: object) -> Report:
    return dataclasses.replace(example(), **changes)  # type: ignore[arg-type]
