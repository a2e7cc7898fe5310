"""Inline SVG pictures of a plan: from feed to tokens, the frontier, the hours of a day, the levers' order. Pure.

Drawn as the other pictures are: 420 units wide, colours as CSS classes, a title and a description.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from joulemill.arrays import Array
from joulemill.planning.abatement import AbatementStep
from joulemill.planning.frontier import FrontierPoint
from joulemill.reports.plan_wording import prefixed
from joulemill.wording import quantity

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 420.0, 8.0, 412.0, 30.0, 190.0
#: Colours of the parts of a bar, in their order.
PARTS = ("part", "part loss", "water", "track")


def flow(sites: Sequence[tuple[str, Sequence[tuple[str, float]], float]]) -> str:
    """Bars from the feed: (site, parts of its power [W], tokens per second): serving, unused devices, facility."""
    largest = max((sum(w for _, w in parts) for _, parts, _ in sites), default=0.0)
    if largest <= 0.0:
        return _svg(40, "From feed to tokens", "No site draws power.", [_text(0, 24, "no site draws power")])
    names = [name for name, _ in sites[0][1]]
    body = []
    x = 0.0
    for name, style in zip(names, PARTS, strict=False):
        body += [_box(x, 4, 9, 9, style), _text(x + 13, 12, name, "small")]
        x += 26 + 6.2 * len(name)
    pitch, top = 44.0, 26.0
    for row, (site, parts, rate) in enumerate(sites):
        y, at = top + pitch * row, 0.0
        total = sum(w for _, w in parts)
        body += [
            _text(0, y + 10, site, "strong small"),
            _text(WIDTH, y + 10, prefixed(rate, "tok/s"), "strong small", "end"),
        ]
        for (_, watts), style in zip(parts, PARTS, strict=False):
            width = watts / largest * (WIDTH - 74)
            body.append(_box(at, y + 15, width, 13, style))
            at += width
        body.append(_text(at + 5, y + 25, prefixed(total, "W"), "small"))
    words = "; ".join(
        f"{site}: " + ", ".join(f"{name} {prefixed(w, 'W')}" for name, w in parts) + f", {prefixed(rate, 'tok/s')}"
        for site, parts, rate in sites
    )
    return _svg(top + pitch * len(sites), "From feed to tokens", words, body)


def frontier(points: Sequence[FrontierPoint], here_w: float | None) -> str:
    """Tokens against the power that is there; ``here_w``: the plan's own limit. The slope is the price of a watt."""
    known = [(p.limit_w, p.rate_tok_s) for p in points if p.rate_tok_s is not None]
    if len(known) < 2:
        return _svg(40, "Tokens against power", "Fewer than two points.", [_text(0, 24, "no power limit is stated")])
    across = _scale(0.0, max(x for x, _ in known), LEFT, RIGHT)
    up = _scale(0.0, max(y for _, y in known), BOTTOM, TOP + 14)
    body = [_line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"), _text(LEFT, 14, "tokens a second", "strong small")]
    body.append(_path([(across(x), up(y)) for x, y in known]))
    if here_w is not None and here_w <= known[-1][0]:
        body += [_line(across(here_w), TOP, across(here_w), BOTTOM, "target")]
        end = across(here_w) > WIDTH / 2
        body.append(
            _text(across(here_w) + (-5 if end else 5), BOTTOM - 6, "this plan", "small", "end" if end else "start")
        )
    best = max(y for _, y in known)
    body += [_text(RIGHT, up(best) - 6, prefixed(best, "tok/s"), "strong small", "end")]
    body += [_text(LEFT, BOTTOM + 14, "0"), _text(RIGHT, BOTTOM + 14, prefixed(known[-1][0], "W"), "tiny", "end")]
    words = "; ".join(f"{prefixed(x, 'W')}: {prefixed(y, 'tok/s')}" for x, y in known)
    return _svg(BOTTOM + 20, "Tokens against power", words, body)


def hours(series: Sequence[tuple[str, Array]], unit: str, name: str, limit: float | None = None) -> str:
    """Lines over the hours of the plan, one a site or class; ``limit``: a level that they may not pass."""
    most = max([float(v.max()) for _, v in series] + ([limit] if limit else []) + [1e-9])
    count = max(len(series[0][1]), 2)
    across, up = _scale(0.0, count - 1.0, LEFT, RIGHT), _scale(0.0, most, BOTTOM, TOP + 14)
    body = [_line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"), _text(LEFT, 14, name, "strong small")]
    body.append(_text(RIGHT, 14, f"top {prefixed(most, unit)}", "tiny", "end"))
    if limit:
        body.append(_line(LEFT, up(limit), RIGHT, up(limit), "target"))
    for number, (label, values) in enumerate(series):
        spots = [(across(float(h)), up(float(v))) for h, v in enumerate(values)]
        body.append(_path(spots, dash=f"{6 + 3 * number} {2 * number}" if number else ""))
        x, y = spots[min(len(spots) - 1, (number * 5 + 3) % len(spots))]
        body.append(_text(x, y - 4, label, "small", "end" if x > WIDTH - 90 else "start"))
    body += [
        _text(across(float(h)), BOTTOM + 14, str(h), "tiny", "middle") for h in range(0, count, max(count // 8, 1))
    ]
    words = "; ".join(
        f"{label} {prefixed(float(v.min()), unit)} to {prefixed(float(v.max()), unit)}" for label, v in series
    )
    return _svg(BOTTOM + 20, name, words, body)


def abatement(steps: Sequence[AbatementStep]) -> str:
    """Joules per token after each lever, from the plan without any."""
    known = [(s.lever or "no lever", s.energy_j_tok) for s in steps if s.energy_j_tok is not None]
    if not known:
        return _svg(40, "Levers", "No plan without levers.", [_text(0, 24, "no plan")])
    across = _scale(0.0, max(v for _, v in known), 96.0, WIDTH - 74)
    body = []
    for row, (name, value) in enumerate(known):
        y = 8.0 + 24.0 * row
        body += [
            _text(90, y + 11, name, "small", "end"),
            _box(96, y, across(value) - 96.0, 14, "part good" if row else "part"),
        ]
        body.append(_text(across(value) + 5, y + 11, quantity(value, "J/tok"), "small"))
    words = "; ".join(f"{name}: {quantity(v, 'J/tok')}" for name, v in known)
    return _svg(14.0 + 24.0 * len(known), "Joules per token after each lever", words, body)


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = max(high - low, 1e-12)
    return lambda v: start + (end - start) * (v - low) / span


def _svg(height: float, name: str, description: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="{escape(name)}">'
        f"<title>{escape(name)}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, words: str, style: str = "tiny", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _box(x: float, y: float, width: float, height: float, style: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.0):.1f}" height="{height:.0f}" class="{style}"/>'


def _path(spots: Sequence[tuple[float, float]], dash: str = "") -> str:
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<path class="line" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in spots)}"{dashed}/>'
