"""Inline SVG pictures of the report: the barrel of ceilings, where the joules went, time series, latencies.

Pure: values in, SVG text out. Every text from outside is escaped. Colours are CSS classes, so that the page's light,
dark and print styles hold; each picture carries a title and a description for screen readers. Drawn 420 units wide, so
that letters stay readable when a phone shows it at full width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from html import escape

from joulemill.analysis.report import Ceiling, Report, Waterfall, WindowReport
from joulemill.wording import digits, quantity, title

WIDTH = 420
#: What a label of a few letters takes of the width.
LABEL_ROOM = 24.0


def _svg(height: int, name: str, description: str, body: list[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(name)}">'
        f"<title>{escape(name)}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, words: str, style: str = "", anchor: str = "middle", room: float | None = None) -> str:
    """Words at a place, pressed together where they would take more than ``room``."""
    wide = len(words) * (6.4 if "strong" in style else 5.5)  # of a character in the smallest size, about
    fit = f' textLength="{room:.1f}" lengthAdjust="spacingAndGlyphs"' if room and wide > room else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}"{fit}>{escape(words)}</text>'


def _bar(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{max(height, 0):.1f}" class="{style}"/>'


def barrel(ceilings: Sequence[Ceiling], binding: str, achieved_tok_s: float | None) -> str:
    """The barrel: one stave a ceiling, on a log scale of tok/s; the shortest marked; the water is what was achieved."""
    known = sorted((c for c in ceilings if c.rate_tok_s.value), key=lambda c: c.rate_tok_s.value or 0.0)
    missing = [c for c in ceilings if not c.rate_tok_s.value]
    if not known:
        return _svg(60, "Ceilings", "No ceiling is known.", [_text(WIDTH / 2, 35, "no ceiling is known")])
    levels = [v for c in known for v in (c.rate_tok_s.value, c.rate_tok_s.high) if v]
    levels += [achieved_tok_s] if achieved_tok_s else []
    low, high = math.log10(min(levels)) - 0.35, math.log10(max(levels)) + 0.1
    top, bottom = 40, 210

    def height(rate: float) -> float:
        return (bottom - top) * (math.log10(rate) - low) / max(high - low, 1e-9)

    staves = known + missing
    pitch = WIDTH / len(staves)
    body: list[str] = []
    if achieved_tok_s:
        level = bottom - height(achieved_tok_s)
        body.append(_bar(0, level, WIDTH, bottom - level, "water"))
    for index, ceiling in enumerate(staves):
        body += _stave(ceiling, (index * pitch, pitch), bottom, height, ceiling.name == binding)
    if achieved_tok_s:
        body.append(f'<line x1="0" x2="{WIDTH}" y1="{level:.1f}" y2="{level:.1f}" class="level"/>')
        body.append(
            _text(WIDTH, 10, f"water level: achieved {quantity(achieved_tok_s, 'tok/s')}", "strong small", "end")
        )
    body.append(f'<line x1="0" x2="{WIDTH}" y1="{bottom}" y2="{bottom}" class="axis"/>')
    body.append(_text(0, 10, "tok/s, log scale", "tiny", "start"))
    description = "; ".join(f"{title(c.name)} {quantity(c.rate_tok_s.value, 'tok/s')}" for c in known)
    return _svg(
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
        body.append(_bar(x, bottom - tall, width, tall, style))
        highest = height(ceiling.rate_tok_s.high) if ceiling.rate_tok_s.high else tall
        label = max(bottom - max(tall, highest) - 5, 24.0)
        body.append(_text(middle, label, digits(rate), "strong small" if binding else "small"))
        if ceiling.rate_tok_s.low and ceiling.rate_tok_s.high:
            y1, y2 = (bottom - height(v) for v in (ceiling.rate_tok_s.low, ceiling.rate_tok_s.high))
            body.append(f'<line x1="{middle:.1f}" x2="{middle:.1f}" y1="{y1:.1f}" y2="{y2:.1f}" class="whisker"/>')
    else:
        body.append(_bar(x, bottom - 40, width, 40, "ceiling unknown"))
        body.append(_text(middle, bottom - 16, "?", "small"))
    words = title(ceiling.name).split()
    for line, word in enumerate(words[:3]):
        style = "strong tiny" if binding else "tiny"
        body.append(_text(middle, bottom + 14 + 12 * line, word, style, room=pitch - 4))
    return body


def joules(waterfall: Waterfall) -> str:
    """Where the joules of the window went: nested bars, each part below and inside the one it belongs to."""
    known = [(p, p.energy_j.value) for p in waterfall.parts if p.energy_j.value is not None]
    if not known:
        return _svg(60, "Where the joules went", "Unknown.", [_text(WIDTH / 2, 35, "no joules are known")])
    most = max(value for _, value in known)
    body: list[str] = []
    y = 4.0
    for part in waterfall.parts:
        figure = part.energy_j
        body.append(_text(0, y + 11, part.name, "tiny", "start"))
        label = quantity(figure.value, "J") + (f" · {figure.basis}" if figure.basis else "")
        body.append(_text(WIDTH, y + 11, label, "tiny", "end"))
        share = 0.0 if figure.value is None else figure.value / most
        body.append(_bar(0, y + 15, WIDTH, 9, "track"))
        body.append(_bar(0, y + 15, WIDTH * share, 9, f"part {part.kind}"))
        y += 31
    description = "; ".join(f"{p.name} {quantity(value, 'J')}" for p, value in known)
    return _svg(int(y), "Where the joules went", description, body)


def _path(points: Sequence[tuple[float, float | None]]) -> str:
    """An SVG path through the points; a None breaks the line, so that a gap is seen as a gap."""
    parts: list[str] = []
    pen_up = True
    for x, y in points:
        if y is None:
            pen_up = True
            continue
        parts.append(f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}")
        pen_up = False
    return "".join(parts)


def timeline(report: Report) -> str:
    """Power and tokens over time, one above the other on the same time axis, the window shaded."""
    series = report.series
    if len(series.t_s) < 2:
        return _svg(60, "Power and tokens over time", "No series.", [_text(WIDTH / 2, 35, "no time series")])
    body = [
        *_panel(
            series.t_s, series.power_w, (14, 96), f"node power [W], {series.power_basis or 'unknown'}", report.window
        ),
        *_panel(series.t_s, series.rate_tok_s, (134, 216), "output tokens [tok/s], measured", report.window),
    ]
    first, last = series.t_s[0], series.t_s[-1]
    for share in (0.0, 0.5, 1.0):
        anchor = ("start", "middle", "end")[int(share * 2)]
        body.append(_text(share * WIDTH, 232, f"{first + share * (last - first):.0f} s", "tiny", anchor))
    description = f"Window from {report.window.start_s:.0f} s to {report.window.end_s:.0f} s, shaded."
    return _svg(238, "Power and tokens over time", description, body)


def _panel(
    times: Sequence[float], values: Sequence[float | None], span: tuple[float, float], name: str, window: WindowReport
) -> list[str]:
    top, bottom = span
    start, stop = times[0], times[-1]
    known = [v for v in values if v is not None]
    most = max(known, default=0.0) * 1.08 or 1.0

    def across(t: float) -> float:
        return WIDTH * min(max((t - start) / max(stop - start, 1e-9), 0.0), 1.0)

    body = [_bar(across(window.start_s), top, across(window.end_s) - across(window.start_s), bottom - top, "window")]
    points = [
        (across(t), None if v is None else bottom - (bottom - top) * v / most)
        for t, v in zip(times, values, strict=True)
    ]
    body.append(f'<path d="{_path(points)}" class="line"/>')
    body.append(f'<line x1="0" x2="{WIDTH}" y1="{bottom}" y2="{bottom}" class="axis"/>')
    body.append(_text(2, top - 3, name, "tiny", "start"))
    body.append(_text(WIDTH, top - 3, f"max {digits(max(known))}" if known else "unknown", "tiny", "end"))
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
    line = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{bottom}" class="{style}"/>'
    # The median's label leans left and the others' right, so that close marks do not cover each other.
    anchor = "start" if x < 2 * LABEL_ROOM or (label != "p50" and x < WIDTH * 0.85) else "end"
    return [line, _text(x, top - (2 if label != "target" else 12), label, "tiny", anchor)] if label else [line]


def histogram(name: str, values_s: Sequence[float], target_s: float | None = None) -> str:
    """A distribution of latencies in ms with its median and 99th percentile, and the target where there is one."""
    values = sorted(v for v in values_s if v is not None)
    if len(values) < 2:
        return _svg(50, name, "Too few values.", [_text(WIDTH / 2, 30, f"{name}: too few values")])
    top, bottom, bins = 30.0, 92.0, 42
    low, high = values[0], max(values[-1], target_s or 0.0)
    step = max(high - low, 1e-9) / bins
    counts = [0] * bins
    for value in values:
        counts[min(int((value - low) / step), bins - 1)] += 1
    pitch = WIDTH / bins
    tallest = max(counts)
    body = [
        _bar(i * pitch + 0.5, bottom - (bottom - top) * c / tallest, pitch - 1, (bottom - top) * c / tallest, "part")
        for i, c in enumerate(counts)
        if c
    ]
    marks = [("p50", values[len(values) // 2]), ("p99", values[min(int(len(values) * 0.99), len(values) - 1)])]
    places = [(label, WIDTH * (v - low) / max(high - low, 1e-9)) for label, v in marks]
    body += _marks(places, (top, bottom))
    if target_s:
        body += _mark("target", WIDTH * (target_s - low) / max(high - low, 1e-9), (top, bottom))
    body.append(f'<line x1="0" x2="{WIDTH}" y1="{bottom}" y2="{bottom}" class="axis"/>')
    body.append(_text(0, 10, f"{name} of {len(values)} requests of the load", "tiny", "start"))
    for anchor, x, value in (("start", 0.0, low), ("end", float(WIDTH), high)):
        body.append(_text(x, bottom + 13, f"{digits(value * 1000)} ms", "tiny", anchor))
    return _svg(110, name, f"From {low * 1000:.1f} to {high * 1000:.1f} ms.", body)
