"""Inline SVG pictures of a sweep: one quantity against the load, with intervals and the knee; elasticities of a probe.

Every dot carries its value, and the knee its name, so that nothing has to be looked up elsewhere. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from joulemill.analysis.sweep import Point, SweepResult
from joulemill.figure import Figure
from joulemill.reports.svg.draw import WIDTH, bar, dot, line, logarithmic, path, svg, text
from joulemill.wording import digits, interval, quantity

LEFT, TOP, BOTTOM = 16, 44, 176
PANELS: tuple[tuple[str, Callable[[Point], Figure]], ...] = (
    ("output rate", lambda p: p.rate_tok_s),
    ("energy per output token, node", lambda p: p.node_j_tok),
    ("time to first token, median", lambda p: p.ttft_s),
    ("time per output token, median", lambda p: p.tpot_s),
)


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
        return svg(70, name, why, [text(0, 12, name, "strong small", "start"), text(0, 40, why, anchor="start")])
    factor, unit = _unit([f for _, f in rows])
    xs = [p.x or 1.0 for p, _ in rows]
    ys = [v for _, f in rows for v in (f.value, f.low, f.high) if v is not None and v > 0]
    across = logarithmic(min(xs), max(xs), LEFT + 18, WIDTH - 30)
    up = logarithmic(min(ys), max(ys), BOTTOM - 8, TOP + 18)
    body = [
        text(0, 12, f"{name} [{unit}]", "strong small", "start"),
        line(LEFT, BOTTOM, WIDTH, BOTTOM, "axis"),
        text(WIDTH, BOTTOM + 30, f"{_NAMES.get(sweep.knob, sweep.knob)}, both axes logarithmic", anchor="end"),
        *_knee(sweep, across, min(xs), max(xs)),
        *_dots(rows, across, up, factor, here),
    ]
    description = "; ".join(f"{p.label}: {quantity(f.value, f.unit)} {interval(f)}" for p, f in rows)
    return svg(BOTTOM + 36, f"{name} against {sweep.knob}", description, body)


_NAMES = {
    "concurrency": "requests at once",
    "rate": "requests per second offered",
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
        body.append(bar(left, TOP, max(right - left, 1.0), BOTTOM - TOP, "window"))
    x = across(at.value)
    anchor = "end" if x > WIDTH - 90 else "start"
    body.append(line(x, TOP - 6, x, BOTTOM, "target"))
    body.append(text(x, TOP - 9, f"knee {digits(at.value)} {_span(at)}", "small", anchor))
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
    body = [path(spots)]
    for (point, figure), (x, y) in zip(rows, spots, strict=True):
        above = y
        if figure.low and figure.high and figure.low > 0:
            above = up(figure.high)
            body.append(line(x, up(figure.low), x, above, "whisker"))
        body.append(dot(x, y, 3.5, "part" if point.valid else "disc unknown"))
        if point.label == here:
            body.append(dot(x, y, 8, "ring"))
        body.append(text(x, min(above, y - 4) - 5, digits((figure.value or 0.0) * factor), "strong small"))
        body.append(text(x, BOTTOM + 14, f"{point.x:g}", "small"))
    return body


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
    body = [line(across(v), top - 4, across(v), bottom, "axis" if v != 0.5 else "target") for v in (0.0, 0.5, 1.0)]
    body += [text(across(0.0), 12, "0: no answer"), text(across(1.0), 24, "1: follows", anchor="middle")]
    for row, point in enumerate(rows):
        y = top + pitch * row + 13
        figure = point.elasticity
        if figure is None or figure.value is None:
            continue
        body.append(text(label - 8, y + 4, point.label, "small", "end"))
        if figure.low is not None and figure.high is not None:
            body.append(line(across(figure.low), y, across(figure.high), y, "whisker"))
        body.append(dot(across(figure.value), y, 4, "part"))
        body.append(text(across(figure.value), y - 6, f"{figure.value:.2f}".replace("-0.00", "0.00"), "tiny"))
    description = "; ".join(f"{p.label}: {p.elasticity.value:.2f}" for p in rows if p.elasticity and p.elasticity.known)
    return svg(bottom + 4, "Probe: answer of the rate to each setting", description, body)
