"""Intervals of three targets, as a monitor writes them to its history."""

from __future__ import annotations

from joulemill.monitor.snapshot import Interval, ScopeEnergy, TargetFacts, TokenKind

T0 = 1.7e9 - 1.7e9 % 3600


FACTS = {n: TargetFacts(n, m, "hall", labels={"tenant": "a"}) for n, m in (("one", "m"), ("two", "m"), ("other", "x"))}


def interval(target: str, n: int, *, every_s: float = 10.0, joules: float | None = 50.0, gap: bool = False) -> Interval:
    start = T0 + n * every_s
    if gap:
        return Interval(target=target, start_s=start, end_s=start + every_s, observed=False, reason="timed out")
    energy = {} if joules is None else {"node": ScopeEnergy("node", joules, 2.0, "measured", 1.0)}
    tokens = {TokenKind.OUTPUT: 100.0, TokenKind.PROMPT: 400.0}
    return Interval(
        target=target,
        start_s=start,
        end_s=start + every_s,
        observed=True,
        reason=None,
        tokens=tokens,
        energy=energy,
        ttft_s=0.2,
        binding="compute",
        route_tokens={"gold": 60.0, "free": 40.0},
    )
