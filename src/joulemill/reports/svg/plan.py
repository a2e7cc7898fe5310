"""Inline SVG pictures of a plan: from feed to tokens, the frontier, the hours of a day, the levers' order. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from joulemill.arrays import Array
from joulemill.planning.abatement import AbatementStep
from joulemill.planning.frontier import FrontierPoint
from joulemill.reports.plan_wording import prefixed
from joulemill.reports.svg.draw import WIDTH, bar, line, linear, path, svg, text
from joulemill.wording import quantity

LEFT, RIGHT, TOP, BOTTOM = 8.0, 412.0, 30.0, 190.0
#: Room above a line that its label needs.
LABEL = 16.0
#: Colors of the parts of a bar, in their order.
PARTS = ("part", "part loss", "water", "track")


def flow(sites: Sequence[tuple[str, Sequence[tuple[str, float]], float]]) -> str:
    """Bars from the feed: (site, parts of its power [W], tokens per second): serving, unused devices, facility."""
    largest = max((sum(w for _, w in parts) for _, parts, _ in sites), default=0.0)
    if largest <= 0.0:
        return svg(
            40, "From feed to tokens", "No site draws power.", [text(0, 24, "no site draws power", anchor="start")]
        )
    names = [name for name, _ in sites[0][1]]
    body = []
    x = 0.0
    for name, style in zip(names, PARTS, strict=False):
        body += [bar(x, 4, 9, 9, style), text(x + 13, 12, name, "small", anchor="start")]
        x += 26 + 6.2 * len(name)
    pitch, top = 44.0, 26.0
    for row, (site, parts, rate) in enumerate(sites):
        y, at = top + pitch * row, 0.0
        total = sum(w for _, w in parts)
        body += [
            text(0, y + 10, site, "strong small", anchor="start"),
            text(WIDTH, y + 10, prefixed(rate, "tok/s"), "strong small", "end"),
        ]
        for (_, watts), style in zip(parts, PARTS, strict=False):
            width = watts / largest * (WIDTH - 74)
            body.append(bar(at, y + 15, width, 13, style))
            at += width
        body.append(text(at + 5, y + 25, prefixed(total, "W"), "small", anchor="start"))
    words = "; ".join(
        f"{site}: " + ", ".join(f"{name} {prefixed(w, 'W')}" for name, w in parts) + f", {prefixed(rate, 'tok/s')}"
        for site, parts, rate in sites
    )
    return svg(top + pitch * len(sites), "From feed to tokens", words, body)


def frontier(points: Sequence[FrontierPoint], here_w: float | None) -> str:
    """Tokens against the power that is there; ``here_w``: the stated limit. The slope is the price of a watt."""
    known = [(p.limit_w, p.worth_tok_s) for p in points if p.worth_tok_s is not None]
    alike = all(abs(p.worth_tok_s - p.rate_tok_s) < 1.0 for p in points if p.worth_tok_s and p.rate_tok_s)
    name = "tokens per second" if alike else "tokens per second, weighted by value"
    if len(known) < 2:
        return svg(
            40,
            "Tokens against power",
            "Fewer than two points.",
            [text(0, 24, "no power limit is stated", anchor="start")],
        )
    across = linear(0.0, max(x for x, _ in known), LEFT, RIGHT)
    up = linear(0.0, max(y for _, y in known), BOTTOM, TOP + 14)
    body = [
        line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"),
        text(LEFT, 14, name, "strong small", anchor="start"),
    ]
    body.append(path([(across(x), up(y)) for x, y in known]))
    if here_w is not None and here_w <= known[-1][0]:
        body += [line(across(here_w), TOP, across(here_w), BOTTOM, "target")]
        end = across(here_w) > WIDTH / 2
        body.append(text(across(here_w) + (-5 if end else 5), BOTTOM - 6, "limit", "small", "end" if end else "start"))
    best = max(y for _, y in known)
    body += [text(RIGHT, up(best) - 6, prefixed(best, "tok/s"), "strong small", "end")]
    body += [
        text(LEFT, BOTTOM + 14, "0", anchor="start"),
        text(RIGHT, BOTTOM + 14, prefixed(known[-1][0], "W"), "tiny", "end"),
    ]
    words = "; ".join(f"{prefixed(x, 'W')}: {prefixed(y, 'tok/s')}" for x, y in known)
    return svg(BOTTOM + 20, "Tokens against power", words, body)


def hours(series: Sequence[tuple[str, Array]], unit: str, name: str, limit: float | None = None) -> str:
    """Lines over the hours of the plan, one a site or class; ``limit``: a level that they may not pass."""
    most = max([float(v.max()) for _, v in series] + ([limit] if limit else []) + [1e-9])
    count = max(len(series[0][1]), 2)
    across, up = linear(0.0, count - 1.0, LEFT, RIGHT), linear(0.0, most, BOTTOM, TOP + 14)
    body = [line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"), text(LEFT, 14, name, "strong small", anchor="start")]
    body.append(text(RIGHT, 14, f"top {prefixed(most, unit)}", "tiny", "end"))
    if limit:
        body.append(line(LEFT, up(limit), RIGHT, up(limit), "target"))
    for number, (label, values) in enumerate(series):
        spots = [(across(float(h)), up(float(v))) for h, v in enumerate(values)]
        body.append(path(spots, dash=f"{6 + 3 * number} {2 * number}" if number else ""))
        hour = min(len(spots) - 1, (number * 5 + 3) % len(spots))
        x, y = spots[hour]
        above = any(0.0 < y - up(float(other[hour])) < LABEL for _, other in series)
        body.append(text(x, y + 12 if above else y - 4, label, "small", "end" if x > WIDTH - 90 else "start"))
    body += [text(across(float(h)), BOTTOM + 14, str(h), "tiny", "middle") for h in range(0, count, max(count // 8, 1))]
    words = "; ".join(
        f"{label} {prefixed(float(v.min()), unit)} to {prefixed(float(v.max()), unit)}" for label, v in series
    )
    return svg(BOTTOM + 20, name, words, body)


def abatement(steps: Sequence[AbatementStep]) -> str:
    """Joules per token after each lever, from the plan without any."""
    known = [(s.lever or "no lever", s.energy_j_tok) for s in steps if s.energy_j_tok is not None]
    if not known:
        return svg(40, "Levers", "No plan without levers.", [text(0, 24, "no plan", anchor="start")])
    across = linear(0.0, max(v for _, v in known), 96.0, WIDTH - 74)
    body = []
    for row, (name, value) in enumerate(known):
        y = 8.0 + 24.0 * row
        body += [
            text(90, y + 11, name, "small", "end"),
            bar(96, y, across(value) - 96.0, 14, "part good" if row else "part"),
        ]
        body.append(text(across(value) + 5, y + 11, quantity(value, "J/tok"), "small", anchor="start"))
    words = "; ".join(f"{name}: {quantity(v, 'J/tok')}" for name, v in known)
    return svg(14.0 + 24.0 * len(known), "Joules per token after each lever", words, body)
