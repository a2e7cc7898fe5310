"""Arithmetic of figures whose errors are independent: products and quotients with their intervals. Pure.

Each interval is read as that of a lognormal, upper and lower half apart: in logarithms half-widths add in squares,

    ln(high/value)² of a·b = ln(a_high/a)² + ln(b_high/b)²;   of a/b the upper half takes b's lower one.

A figure without interval counts as exact. Intervals are taken to be of the same level.
"""

from __future__ import annotations

import math

from joulemill.figure import Figure, weakest
from joulemill.statistics.normal import Z_95


def log_half_widths(figure: Figure) -> tuple[float, float]:
    """ln(value/low) and ln(high/value) of a positive figure; 0 where no bound is claimed, inf where low ≤ 0."""
    if figure.value is None or figure.value <= 0:
        raise ValueError("logarithmic half-widths need a positive value")
    low = figure.value if figure.low is None else figure.low
    high = figure.value if figure.high is None else figure.high
    down = math.inf if low <= 0 else max(0.0, math.log(figure.value / low))
    return down, max(0.0, math.log(high / figure.value))


def product(a: Figure, b: Figure, unit: str, source: str | None = None) -> Figure:
    """a · b with its interval; unknown, with the reason, where either is unknown. Values must not be negative."""
    if a.value is None or b.value is None:
        return _missing(a, b, unit, source)
    if a.value == 0 or b.value == 0:
        return Figure(0.0, unit, weakest(a.basis, b.basis), source=source)
    (a_down, a_up), (b_down, b_up) = log_half_widths(a), log_half_widths(b)
    return _spread(a.value * b.value, math.hypot(a_down, b_down), math.hypot(a_up, b_up), (a, b, unit, source))


def quotient(a: Figure, b: Figure, unit: str, source: str | None = None) -> Figure:
    """a ÷ b with its interval; unknown, with the reason, where either is unknown or b is 0."""
    if a.value is None or b.value is None:
        return _missing(a, b, unit, source)
    if b.value == 0:
        return Figure(None, unit, reason="division by a quantity that is 0", source=source)
    if a.value == 0:
        return Figure(0.0, unit, weakest(a.basis, b.basis), source=source)
    (a_down, a_up), (b_down, b_up) = log_half_widths(a), log_half_widths(b)
    return _spread(a.value / b.value, math.hypot(a_down, b_up), math.hypot(a_up, b_down), (a, b, unit, source))


def probability_less_ratio(a: Figure, b: Figure) -> float:
    """Probability that the quantity behind ``a`` is less than that behind ``b``, from independent lognormals.

    P = Φ( ln(b/a) / √(σ_a² + σ_b²) ), σ from the halves of the intervals that face each other. Without intervals
    0, ½ or 1.
    """
    if a.value is None or b.value is None:
        raise ValueError("both figures must be known")
    if a.value <= 0 or b.value <= 0:
        return 0.5 if a.value == b.value else float(a.value < b.value)
    gap = math.log(b.value / a.value)
    lower, upper = (a, b) if gap >= 0 else (b, a)
    sigma = math.hypot(log_half_widths(lower)[1], log_half_widths(upper)[0]) / Z_95
    if sigma == 0:
        return 0.5 if gap == 0 else float(gap > 0)
    return 0.5 * (1 + math.erf(gap / sigma / math.sqrt(2)))


def _spread(value: float, down: float, up: float, about: tuple[Figure, Figure, str, str | None]) -> Figure:
    a, b, unit, source = about
    exact = down == 0 and up == 0
    return Figure(
        value,
        unit,
        weakest(a.basis, b.basis),
        low=None if exact else value * math.exp(-down),
        high=None if exact else value * math.exp(up),
        level=a.level if a.level is not None else b.level,
        reason=a.reason or b.reason,
        source=source,
    )


def _missing(a: Figure, b: Figure, unit: str, source: str | None) -> Figure:
    reasons = [f.reason or "unknown" for f in (a, b) if f.value is None]
    return Figure(None, unit, reason="; ".join(dict.fromkeys(reasons)), source=source)
