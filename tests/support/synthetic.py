"""Fleets that were made up, for what shows and keeps them: stated values that move as they are asked to."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator

from joulemill.figure import Basis, Figure, unknown
from joulemill.monitor.snapshot import (
    CeilingState,
    HistogramPercentiles,
    Interval,
    MeterFinding,
    MeterHealth,
    ScopeEnergy,
    SiteFacts,
    SiteState,
    SiteStretch,
    Snapshot,
    TargetFacts,
    TargetState,
    TokenKind,
)

T0 = 1.76e9
MODELS = ("qwen3-8b", "llama-3.1-70b", "gpt-oss-120b", "gemma3-27b")
BINDING = ("memory bandwidth", "KV capacity", "compute", "demand")


def fleet(count: int = 12, tick: int = 0, hostile: str | None = None) -> Snapshot:
    """``count`` targets at moment ``tick``: every seventh is idle, every eleventh down, every fifth unmetered."""
    states = tuple(_state(i, tick, hostile if i == 1 else None) for i in range(count))
    meters = tuple(
        MeterHealth(
            meter=f"nvml:{i}",
            target=s.facts.target,
            site=s.facts.site,
            scope="node",
            state="stale_counter" if i % 25 == 3 else "ok",
            age_s=0.4,
        )
        for i, s in enumerate(states)
        if i % 5
    )
    sites = (
        SiteFacts(
            site="hall-1",
            pue_ratio=1.3,
            pue_basis="declared",
            carbon_g_kwh=320.0,
            price_kwh=0.11,
            currency="EUR",
            power_limit_w=1.5e6,
        ),
        SiteFacts(site="hall-2", pue_ratio=1.4, pue_basis="declared"),
        SiteFacts(site="lab"),
    )
    since_s = {("down", "chat-10"): T0 - 300.0}
    return Snapshot(
        at_s=T0 + 10.0 * tick, targets=states, meters=meters, sites=sites, metered=metered(tick), alert_since_s=since_s
    )


def metered(tick: int) -> tuple[SiteState, ...]:
    """hall-1 has a meter of all of it and a PUE of 1.21; hall-2's meter has a hole."""
    end = T0 + 10.0 * tick
    it = ScopeEnergy("node", 6.0e5, 6.0e3, "measured", 1.0)
    whole = ScopeEnergy("site", 7.26e5, 7.26e3, "measured", 1.0)
    half = ScopeEnergy("site", 3.0e5, 3.0e3, "measured", 0.5)
    pue = Figure(1.21, "1", Basis.MEASURED, low=1.186, high=1.234)
    first = SiteStretch(
        site="hall-1", start_s=end - 60, end_s=end, energy={"site": whole}, it=it, pue=pue, targets_count=4
    )
    second = SiteStretch(
        site="hall-2",
        start_s=end - 60,
        end_s=end,
        energy={"site": half},
        it=None,
        pue=unknown("1", "the site's meter covers 50 %"),
        targets_count=4,
    )
    return (
        SiteState("hall-1", T0, first, {("site", "measured"): 7.26e5 * (tick + 1)}),
        SiteState("hall-2", T0, second, {("site", "measured"): 3.0e5 * (tick + 1)}),
    )


def _state(i: int, tick: int, hostile: str | None) -> TargetState:
    model, busy = MODELS[i % 4], i % 7 != 6
    site = ("hall-1", "hall-2", "lab")[i % 3]
    labels = {"tenant": hostile or ("research" if i % 2 else "shop")}
    facts = TargetFacts(hostile or f"chat-{i}", model, site, "h100", 1 + i % 8, labels)
    rate = (400.0 + 37.0 * (i % 13)) * (1.0 + 0.2 * math.sin(0.3 * tick + i)) if busy else 0.0
    watts = 650.0 + 0.4 * rate if busy else 260.0
    energy = {"node": ScopeEnergy("node", 10 * watts, 300.0, "modelled" if i % 3 else "measured", 1.0)} if i % 5 else {}
    end = T0 + 10.0 * tick
    names = (("memory bandwidth", 3.1), ("KV capacity", 2.2), ("compute", 7.5), ("power", 5.0))
    ceilings = tuple(CeilingState(n, (900.0 + 20 * i % 300) * f, "modelled") for n, f in names)
    latest = Interval(
        target=facts.target,
        start_s=end - 10.0,
        end_s=end,
        observed=True,
        reason=None,
        tokens={TokenKind.OUTPUT: 10 * rate, TokenKind.PROMPT: 30 * rate},
        energy=energy,
        running_count=8.0 if busy else 0.0,
        waiting_count=float(i % 3),
        kv_use_ratio=0.3 + 0.05 * (i % 10),
        ttft_s=0.21,
        tpot_s=0.018,
        idle_ratio=0.0 if busy else 1.0,
        ceilings=(*ceilings, CeilingState("interconnect", None, "datasheet")),
        binding=BINDING[i % 4] if busy else "demand",
        binding_probability_ratio=0.83,
        phi_ratio=0.41,
        utilization_ratio=0.62 if busy else 0.0,
        route_tokens={"gold": 6 * rate, "free": 4 * rate},
        latency={
            "ttft": HistogramPercentiles(0.18, 0.42, None, 40.0),
            "tpot": HistogramPercentiles(0.017, 0.021, 0.03, 40.0),
        }
        if busy
        else {},
        phi_low_ratio=0.35,
        phi_high_ratio=0.5,
        findings=(MeterFinding("device", "missing_device", "device: 7 of 8 expected are metered: GPU-1, GPU-2", True),)
        if i % 9 == 4
        else (),
    )
    done = 10.0 * rate * (tick + 1)
    joules = {("node", "", e.basis): e.energy_j * (tick + 1) for e in energy.values()}
    up = i % 11 != 10
    return TargetState(
        facts=facts,
        up=up,
        reason=None if up else "connection refused",
        latest=latest
        if up
        else Interval(target=facts.target, start_s=end - 10, end_s=end, observed=False, reason="connection refused"),
        since_s=T0,
        unobserved_s=0.0 if up else 10.0 * tick,
        tokens={TokenKind.OUTPUT: done, TokenKind.PROMPT: 3 * done},
        energy_j=joules,
        carbon_g=12.5 * tick if joules else None,
        cost=0.01 * tick if joules else None,
        currency="EUR",
        scrape_s=0.012,
        lag_s=0.003,
        metered_tok=dict.fromkeys(joules, done),
        node=f"n{i // 4}" if i < 12 else None,
    )


class Moving:
    """A source that moves on by one tick every ``every_s``."""

    def __init__(self, count: int = 12, every_s: float = 0.2, hostile: str | None = None) -> None:
        self.count, self.every_s, self.hostile, self.tick = count, every_s, hostile, 0

    def snapshot(self) -> Snapshot:
        """The fleet at this tick."""
        return fleet(self.count, self.tick, self.hostile)

    async def subscribe(self) -> AsyncIterator[Snapshot]:
        """One snapshot a tick."""
        while True:
            await asyncio.sleep(self.every_s)
            self.tick += 1
            yield self.snapshot()
