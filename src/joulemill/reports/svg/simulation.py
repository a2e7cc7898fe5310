"""Inline SVG pictures of a simulated run: power by share of the time. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from joulemill.reports.svg.draw import line, linear, path, svg, text
from joulemill.wording import percent, quantity

LEFT, RIGHT, TOP, BOTTOM = 40.0, 410.0, 14.0, 140.0


def duration_curve(power_w: Sequence[float]) -> str:
    """The load-duration curve: power that is drawn or exceeded for equal steps of the time's share."""
    top = max(power_w, default=0.0) or 1.0
    across, up = linear(0.0, len(power_w) - 1.0, LEFT, RIGHT), linear(0.0, top, BOTTOM, TOP)
    body = [line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"), line(LEFT, TOP, LEFT, BOTTOM, "axis")]
    body += [path([(across(i), up(w)) for i, w in enumerate(power_w)])]
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        body += [text(LEFT + share * (RIGHT - LEFT), BOTTOM + 15, percent(share))]
    body += [
        text(LEFT - 4, TOP + 4, quantity(top, "W", 2), anchor="end"),
        text(LEFT - 4, BOTTOM + 3, "0", anchor="end"),
    ]
    return svg(162, "Power by share of the time", f"from {quantity(top, 'W')} down", body)
