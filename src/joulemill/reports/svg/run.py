"""Inline SVG pictures of the report: the barrel of ceilings, where the joules went, time series, latencies. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from joulemill.analysis.report import Ceiling, Report, Waterfall, WindowReport
from joulemill.reports.svg.draw import WIDTH, bar, empty, line, path, svg, text
from joulemill.wording import digits, quantity, title

#: What a label of a few letters takes of the width.
LABEL_ROOM = 24.0


def barrel(ceilings: Sequence[Ceiling], binding: str, achieved_tok_s: float | None) -> str:
    """The barrel: one stave a ceiling, on a log scale of tok/s; the shortest marked; the water is what was achieved."""
    known = sorted((c for c in ceilings if c.rate_tok_s.value), key=lambda c: c.rate_tok_s.value or 0.0)
    missing = [c for c in ceilings if not c.rate_tok_s.value]
    if not known:
        return empty(60, "Ceilings", "no ceiling is known")
    # Where joules per token may be 0 a ceiling of watts has no upper bound: its whisker ends at the top.
    levels = [v for c in known for v in (c.rate_tok_s.value, c.rate_tok_s.high) if v and math.isfinite(v)]
    levels += [achieved_tok_s] if achieved_tok_s else []
    low, high = math.log10(min(levels)) - 0.35, math.log10(max(levels)) + 0.1
    top, bottom = 40, 210

    def height(rate: float) -> float:
        return (bottom - top) * min(max((math.log10(rate) - low) / max(high - low, 1e-9), 0.0), 1.0)

    staves = known + missing
    pitch = WIDTH / len(staves)
    body: list[str] = []
    if achieved_tok_s:
        level = bottom - height(achieved_tok_s)
        body.append(bar(0, level, WIDTH, bottom - level, "water"))
    for index, ceiling in enumerate(staves):
        body += _stave(ceiling, (index * pitch, pitch), bottom, height, ceiling.name == binding)
    if achieved_tok_s:
        body.append(line(0, level, WIDTH, level, "level"))
        body.append(
            text(WIDTH, 10, f"water level: achieved {quantity(achieved_tok_s, 'tok/s')}", "strong small", "end")
        )
    body.append(line(0, bottom, WIDTH, bottom, "axis"))
    body.append(text(0, 10, "tok/s, log scale", "tiny", "start"))
    description = "; ".join(f"{title(c.name)} {quantity(c.rate_tok_s.value, 'tok/s')}" for c in known)
    return svg(
        258, "Barrel picture: ceilings on a log scale", f"Active constraint: {title(binding)}. {description}.", body
    )


def _stave(
    ceiling: Ceiling, place: tuple[float, float], bottom: float, height: Callable[[float], float], binding: bool
) -> list[str]:
    left, pitch = place
    width = pitch * 0.72
    x, middle = left + (pitch - width) / 2, left + pitch / 2
    rate = ceiling.rate_tok_s.value
    body: list[str] = []
    if rate:
        tall: float = height(rate)
        style = "ceiling binding" if binding else "ceiling"
        body.append(bar(x, bottom - tall, width, tall, style))
        highest = height(ceiling.rate_tok_s.high) if ceiling.rate_tok_s.high else tall
        label = max(bottom - max(tall, highest) - 5, 24.0)
        body.append(text(middle, label, digits(rate), "strong small" if binding else "small"))
        if ceiling.rate_tok_s.low and ceiling.rate_tok_s.high:
            y1, y2 = (bottom - height(v) for v in (ceiling.rate_tok_s.low, ceiling.rate_tok_s.high))
            body.append(line(middle, y1, middle, y2, "whisker"))
    else:
        body.append(bar(x, bottom - 40, width, 40, "ceiling unknown"))
        body.append(text(middle, bottom - 16, "?", "small"))
    words = title(ceiling.name).split()
    for row, word in enumerate(words[:3]):
        style = "strong tiny" if binding else "tiny"
        body.append(text(middle, bottom + 14 + 12 * row, word, style, room=pitch - 4))
    return body


def joules(waterfall: Waterfall) -> str:
    """Where the joules of the window went: nested bars, each part below and inside the one it belongs to."""
    known = [(p, p.energy_j.value) for p in waterfall.parts if p.energy_j.value is not None]
    if not known:
        return empty(60, "Where the joules went", "no joules are known")
    most = max(value for _, value in known)
    body: list[str] = []
    y = 4.0
    for part in waterfall.parts:
        figure = part.energy_j
        body.append(text(0, y + 11, part.name, "tiny", "start"))
        label = quantity(figure.value, "J") + (f" · {figure.basis}" if figure.basis else "")
        body.append(text(WIDTH, y + 11, label, "tiny", "end"))
        share = 0.0 if figure.value is None else figure.value / most
        body.append(bar(0, y + 15, WIDTH, 9, "track"))
        body.append(bar(0, y + 15, WIDTH * share, 9, f"part {part.kind}"))
        y += 31
    description = "; ".join(f"{p.name} {quantity(value, 'J')}" for p, value in known)
    return svg(int(y), "Where the joules went", description, body)


def timeline(report: Report) -> str:
    """Power and tokens over time, one above the other on the same time axis, the window shaded."""
    series = report.series
    if len(series.t_s) < 2:
        return empty(60, "Power and tokens over time", "no time series")
    body = [
        *_panel(
            series.t_s, series.power_w, (14, 96), f"node power [W], {series.power_basis or 'unknown'}", report.window
        ),
        *_panel(series.t_s, series.rate_tok_s, (134, 216), "output tokens [tok/s], measured", report.window),
    ]
    first, last = series.t_s[0], series.t_s[-1]
    for share in (0.0, 0.5, 1.0):
        anchor = ("start", "middle", "end")[int(share * 2)]
        body.append(text(share * WIDTH, 232, f"{first + share * (last - first):.0f} s", "tiny", anchor))
    description = f"Window from {report.window.start_s:.0f} s to {report.window.end_s:.0f} s, shaded."
    return svg(238, "Power and tokens over time", description, body)


def _panel(
    times: Sequence[float], values: Sequence[float | None], span: tuple[float, float], name: str, window: WindowReport
) -> list[str]:
    top, bottom = span
    start, stop = times[0], times[-1]
    known = [v for v in values if v is not None]
    most = max(known, default=0.0) * 1.08 or 1.0

    def across(t: float) -> float:
        return WIDTH * min(max((t - start) / max(stop - start, 1e-9), 0.0), 1.0)

    body = [bar(across(window.start_s), top, across(window.end_s) - across(window.start_s), bottom - top, "window")]
    points = [
        (across(t), None if v is None else bottom - (bottom - top) * v / most)
        for t, v in zip(times, values, strict=True)
    ]
    body.append(path(points))
    body.append(line(0, bottom, WIDTH, bottom, "axis"))
    body.append(text(2, top - 3, name, "tiny", "start"))
    body.append(text(WIDTH, top - 3, f"max {digits(max(known))}" if known else "unknown", "tiny", "end"))
    return body


def _marks(places: Sequence[tuple[str, float]], span: tuple[float, float]) -> list[str]:
    """Marks from left to right; one whose label would cover the label before it shares that label."""
    (first, left), (second, right) = places
    if right - left >= LABEL_ROOM:
        return [*_mark(first, left, span), *_mark(second, right, span)]
    return [*_mark("", left, span), *_mark(f"{first}, {second}", right, span)]


def _mark(label: str, x: float, span: tuple[float, float]) -> list[str]:
    top, bottom = span
    style = "level" if label != "target" else "target"
    mark = line(x, top, x, bottom, style)
    # The median's label leans left and the others' right, so that close marks do not cover each other.
    anchor = "start" if x < 2 * LABEL_ROOM or (label != "p50" and x < WIDTH * 0.85) else "end"
    return [mark, text(x, top - (2 if label != "target" else 12), label, "tiny", anchor)] if label else [mark]


def histogram(name: str, values_s: Sequence[float], target_s: float | None = None) -> str:
    """A distribution of latencies in ms with its median and 99th percentile, and the target where there is one."""
    values = sorted(v for v in values_s if v is not None)
    if len(values) < 2:
        return empty(50, name, f"{name}: too few values")
    top, bottom, bins = 30.0, 92.0, 42
    low, high = values[0], max(values[-1], target_s or 0.0)
    step = max(high - low, 1e-9) / bins
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / step), bins - 1)] += 1
    pitch = WIDTH / bins
    tallest = max(counts)
    body = [
        bar(i * pitch + 0.5, bottom - (bottom - top) * c / tallest, pitch - 1, (bottom - top) * c / tallest, "part")
        for i, c in enumerate(counts)
        if c
    ]
    marks = [("p50", values[len(values) // 2]), ("p99", values[min(int(len(values) * 0.99), len(values) - 1)])]
    places = [(label, WIDTH * (v - low) / max(high - low, 1e-9)) for label, v in marks]
    body += _marks(places, (top, bottom))
    if target_s:
        body += _mark("target", WIDTH * (target_s - low) / max(high - low, 1e-9), (top, bottom))
    body.append(line(0, bottom, WIDTH, bottom, "axis"))
    body.append(text(0, 10, f"{name} of {len(values)} requests of the load", "tiny", "start"))
    for anchor, x, value in (("start", 0.0, low), ("end", float(WIDTH), high)):
        body.append(text(x, bottom + 13, f"{digits(value * 1000)} ms", "tiny", anchor))
    return svg(110, name, f"From {low * 1000:.1f} to {high * 1000:.1f} ms.", body)
