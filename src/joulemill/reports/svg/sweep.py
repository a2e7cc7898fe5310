"""Inline SVG pictures of a sweep: one quantity against the load, with intervals and the knee; elasticities of a probe.

Drawn as the other pictures of the report are: 420 units wide, colours as CSS classes, a title and a description.
Every dot carries its value, and the knee its name, so that nothing has to be looked up elsewhere. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from joulemill.analysis.sweep import Point, SweepResult
from joulemill.figure import Figure
from joulemill.wording import digits, interval, quantity

WIDTH, LEFT, TOP, BOTTOM = 420, 16, 44, 176
PANELS: tuple[tuple[str, Callable[[Point], Figure]], ...] = (
    ("output rate", lambda p: p.rate_tok_s),
    ("energy per output token, node", lambda p: p.node_j_tok),
    ("time to first token, median", lambda p: p.ttft_s),
    ("time per output token, median", lambda p: p.tpot_s),
)


def _svg(height: float, name: str, description: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(name)}">'
        f"<title>{escape(name)}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, words: str, style: str = "tiny", anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _unit(figures: Sequence[Figure]) -> tuple[float, str]:
    """A factor and a prefixed unit that make the largest value readable."""
    unit = figures[0].unit
    largest = max(f.value or 0.0 for f in figures)
    if unit in ("s", "J/tok") and 0 < largest < 1:
        return 1e3, f"m{unit}"
    return 1.0, unit


def panel(sweep: SweepResult, name: str, get: Callable[[Point], Figure], here: str | None = None) -> str:
    """One quantity against the load, both axes logarithmic. ``here``: label of the point to ring, this run's own."""
    rows = sorted(((p, get(p)) for p in sweep.points if p.x and get(p).value), key=lambda row: row[0].x or 0.0)
    if not rows:
        why = next((get(p).reason for p in sweep.points if get(p).reason), None) or "unknown at every point"
        return _svg(70, name, why, [_text(0, 12, name, "strong small", "start"), _text(0, 40, why, anchor="start")])
    factor, unit = _unit([f for _, f in rows])
    xs = [p.x or 1.0 for p, _ in rows]
    ys = [v for _, f in rows for v in (f.value, f.low, f.high) if v is not None and v > 0]
    across = _scale(min(xs), max(xs), LEFT + 18, WIDTH - 30)
    up = _scale(min(ys), max(ys), BOTTOM - 8, TOP + 18)
    body = [
        _text(0, 12, f"{name} [{unit}]", "strong small", "start"),
        _line(LEFT, BOTTOM, WIDTH, BOTTOM, "axis"),
        _text(WIDTH, BOTTOM + 30, f"{_NAMES.get(sweep.knob, sweep.knob)}, both axes logarithmic", anchor="end"),
        *_knee(sweep, across, min(xs), max(xs)),
        *_dots(rows, across, up, factor, here),
    ]
    description = "; ".join(f"{p.label}: {quantity(f.value, f.unit)} {interval(f)}" for p, f in rows)
    return _svg(BOTTOM + 36, f"{name} against {sweep.knob}", description, body)


_NAMES = {
    "concurrency": "requests at once",
    "rate": "requests a second offered",
    "input": "input tokens",
    "output": "output tokens",
}


def _knee(sweep: SweepResult, across: Callable[[float], float], least: float, most: float) -> list[str]:
    """The knee as a line with its name, its interval as a band behind."""
    at = sweep.knee
    if at.value is None or not least <= at.value <= most:
        return []
    body = []
    if at.low is not None and at.high is not None:
        left, right = across(max(at.low, least)), across(min(at.high, most))
        body.append(
            f'<rect x="{left:.1f}" y="{TOP}" width="{max(right - left, 1.0):.1f}" height="{BOTTOM - TOP}" '
            'class="window"/>'
        )
    x = across(at.value)
    anchor = "end" if x > WIDTH - 90 else "start"
    body.append(_line(x, TOP - 6, x, BOTTOM, "target"))
    body.append(_text(x, TOP - 9, f"knee {digits(at.value)} {_span(at)}", "small", anchor))
    return body


def _span(figure: Figure) -> str:
    return f"({interval(figure)})" if interval(figure) else ""


def _dots(
    rows: Sequence[tuple[Point, Figure]],
    across: Callable[[float], float],
    up: Callable[[float], float],
    factor: float,
    here: str | None,
) -> list[str]:
    spots = [(across(p.x or 1.0), up(f.value or 1.0)) for p, f in rows]
    body = [f'<path class="line" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in spots)}"/>']
    for (point, figure), (x, y) in zip(rows, spots, strict=True):
        above = y
        if figure.low and figure.high and figure.low > 0:
            above = up(figure.high)
            body.append(_line(x, up(figure.low), x, above, "whisker"))
        body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="{"part" if point.valid else "disc unknown"}"/>')
        if point.label == here:
            body.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" class="disc" fill-opacity="0"/>')
        body.append(_text(x, min(above, y - 4) - 5, digits((figure.value or 0.0) * factor), "strong small"))
        body.append(_text(x, BOTTOM + 14, f"{point.x:g}", "small"))
    return body


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Logarithmic from ``low`` at ``start`` to ``high`` at ``end``; the middle where both are the same."""
    if high <= low:
        return lambda v: (start + end) / 2
    span = math.log(high / low)
    return lambda v: start + (end - start) * math.log(v / low) / span


def elasticities(sweep: SweepResult) -> str:
    """What the rate did for each setting that a probe changed: from 0, no answer, to 1, in proportion."""
    rows = [p for p in sweep.points if p.elasticity is not None and p.elasticity.value is not None]
    if not rows:
        return ""
    label, right, pitch, top = 150.0, 392.0, 26.0, 30.0
    ends = [v for p in rows for f in [p.elasticity] if f for v in (f.low, f.value, f.high) if v is not None]
    low, high = max(min(-0.25, *ends), -1.5), min(max(1.25, *ends), 2.5)

    def across(value: float) -> float:
        return label + (right - label) * (min(max(value, low), high) - low) / (high - low)

    bottom = top + pitch * len(rows)
    body = [_line(across(v), top - 4, across(v), bottom, "axis" if v != 0.5 else "target") for v in (0.0, 0.5, 1.0)]
    body += [_text(across(0.0), 12, "0: no answer"), _text(across(1.0), 24, "1: follows", anchor="middle")]
    for row, point in enumerate(rows):
        y = top + pitch * row + 13
        figure = point.elasticity
        if figure is None or figure.value is None:
            continue
        body.append(_text(label - 8, y + 4, point.label, "small", "end"))
        if figure.low is not None and figure.high is not None:
            body.append(_line(across(figure.low), y, across(figure.high), y, "whisker"))
        body.append(f'<circle cx="{across(figure.value):.1f}" cy="{y:.1f}" r="4" class="part"/>')
        body.append(_text(across(figure.value), y - 6, f"{figure.value:.2f}".replace("-0.00", "0.00"), "tiny"))
    description = "; ".join(f"{p.label}: {p.elasticity.value:.2f}" for p in rows if p.elasticity and p.elasticity.known)
    return _svg(bottom + 4, "Probe: answer of the rate to each setting", description, body)
