"""Inline SVG pictures of levers: the tornado of ΔJ/token, and combinations in the plane of tok/s and J/token. Pure.

Drawn as the other pictures of the report are: 420 units wide, colours as CSS classes, a title and a description.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from joulemill.decisions.levers import Combination, Effect
from joulemill.figure import Figure
from joulemill.reports.levers_view import signed
from joulemill.reports.wording import digits

WIDTH = 420
LABEL, RIGHT = 112, 352


def _svg(height: float, name: str, description: str, body: Sequence[str]) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(name)}">'
        f"<title>{escape(name)}</title><desc>{escape(description)}</desc>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, words: str, style: str = "tiny", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{style}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{style}"/>'


def _bounds(change: Figure) -> tuple[float, float, float]:
    """Logarithms of 1 + change: low, value, high."""
    value = change.value or 0.0
    parts = (change.low, value, change.high)
    low, mid, high = (math.log1p(max(value if p is None else p, -0.99)) for p in parts)
    return low, mid, high


def tornado(effects: Sequence[Effect]) -> str:
    """Bars of ΔJ/token from the line of no change, ranked, with intervals; log scale: half is as long as double."""
    shown = [(e, e.energy_change) for e in effects if e.energy_change is not None and e.energy_change.value]
    if not shown:
        return _svg(
            50,
            "Levers",
            "No lever changes J/token.",
            [_text(WIDTH / 2, 30, "no lever changes J/token", anchor="middle")],
        )
    spans = [_bounds(change) for _, change in shown]
    low, high = min(0.0, *(s[0] for s in spans)), max(0.0, *(s[2] for s in spans))

    def across(log: float) -> float:
        return LABEL + (RIGHT - LABEL) * (log - low) / max(high - low, 1e-9)

    top, pitch = 18.0, 16.0
    bottom = top + pitch * len(shown)
    body: list[str] = []
    for row, ((e, change), (a, mid, b)) in enumerate(zip(shown, spans, strict=True)):
        y = top + pitch * row
        style = "part good" if mid < 0 else "stave binding"
        left, right = sorted((across(0.0), across(mid)))
        body += [
            _text(LABEL - 5, y + 11, e.lever.name, anchor="end"),
            f'<rect x="{left:.1f}" y="{y + 3:.1f}" width="{right - left:.1f}" height="10" class="{style}"/>',
            _line(across(a), y + 8, across(b), y + 8, "whisker"),
            _text(WIDTH, y + 11, signed(change), "small", "end"),
        ]
    zero = across(0.0)
    body += [_line(zero, top - 2, zero, bottom + 2, "level")]
    body += [_text(zero, 11, "no change", anchor="middle"), _text(WIDTH, 11, "ΔJ/token", anchor="end")]
    told = "; ".join(f"{e.lever.name} {signed(change, bounds=True)}" for e, change in shown)
    return _svg(bottom + 6, "Tornado: change of J/token by lever, with 80 % intervals", told, body)


def front_plane(combinations: Sequence[Combination], front: Sequence[Combination]) -> str:
    """Every combination by rate and J/token, the front numbered: right and down is better, larger dots wait longer."""
    if not combinations:
        return _svg(50, "Combinations", "None.", [_text(WIDTH / 2, 30, "no combination", anchor="middle")])
    xs = [math.log(c.after.rate_tok_s) for c in combinations]
    ys = [math.log(c.after.energy_j_tok) for c in combinations]
    slow = max(c.after.tpot_s for c in combinations)
    left, right, top, bottom = 44.0, 408.0, 24.0, 216.0

    def place(c: Combination) -> tuple[float, float]:
        x = (math.log(c.after.rate_tok_s) - min(xs)) / max(max(xs) - min(xs), 1e-9)
        y = (math.log(c.after.energy_j_tok) - min(ys)) / max(max(ys) - min(ys), 1e-9)
        return left + 10 + (right - left - 20) * x, bottom - 10 - (bottom - top - 20) * y

    body = [_line(left, bottom, right, bottom, "axis"), _line(left, top, left, bottom, "axis")]
    body += [_dot(place(c), 1.5 + 4.0 * c.after.tpot_s / slow, "stave") for c in combinations]
    taken: list[tuple[float, float]] = []
    for number, c in enumerate(front, start=1):
        spot = place(c)
        taken.append(_free(spot, taken))
        body.append(_dot(spot, 2.0 + 4.0 * c.after.tpot_s / slow, "part"))
        body.append(_text(*taken[-1], str(number), "strong small", "middle"))
    before = next((c for c in combinations if not c.names), None)
    if before is not None:
        x, y = place(before)
        body += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="8" class="ring"/>',
            _text(x - 8, y - 12, "as it is", "strong small"),
        ]
    body += [
        _text(left, 12, "J/token, log"), _text(right, bottom + 24, "tok/s, log", anchor="end"),
        _text(left + 8, bottom + 12, digits(math.exp(min(xs)))),
        _text(right, bottom + 12, digits(math.exp(max(xs))), anchor="end"),
        _text(left - 4, bottom - 8, digits(math.exp(min(ys))), anchor="end"),
        _text(left - 4, top + 14, digits(math.exp(max(ys))), anchor="end"),
    ]  # fmt: skip
    told = "; ".join(f"{' + '.join(c.names) or 'as it is'}: {digits(c.after.energy_j_tok)} J/tok" for c in front)
    return _svg(246, "Combinations of levers: J/token against tok/s", told, body)


def _dot(place: tuple[float, float], radius: float, style: str) -> str:
    return f'<circle cx="{place[0]:.1f}" cy="{place[1]:.1f}" r="{radius:.1f}" class="{style}"/>'


def _free(spot: tuple[float, float], taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """A place for a number beside a dot where none stands yet."""
    around = [(0, -8), (11, 3), (-11, 3), (0, 17), (0, -20), (23, 3), (-23, 3), (0, 29)]
    places = [(spot[0] + dx, spot[1] + dy) for dx, dy in around]
    return next((p for p in places if all(abs(p[0] - x) > 12 or abs(p[1] - y) > 10 for x, y in taken)), places[0])
