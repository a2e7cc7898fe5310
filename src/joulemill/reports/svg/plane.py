"""The energy–latency–quality plane: a run is a disc, its energy across, its latency up, its quality the fill. Pure.

Best is the lower left corner with a full disc. Whiskers are the interval of the energy and the way from p50 to p99 of
the latency. A run without energy or latency is named below, not drawn at zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulemill.analysis.comparison import ComparedRun
from joulemill.analysis.report import Percentiles
from joulemill.figure import Figure
from joulemill.reports.svg.draw import WIDTH, dot, empty, line, pie, svg, text
from joulemill.wording import digits, percent, quantity

LEFT, RIGHT, TOP, BOTTOM = 44.0, 400.0, 18.0, 206.0
RADIUS = 10.0


@dataclass(frozen=True)
class _Axis:
    """A linear axis from 0-or-near to a round end; ``place`` puts a value on the page."""

    most: float
    least: float
    start: float
    end: float

    def place(self, value: float) -> float:
        share = (value - self.least) / max(self.most - self.least, 1e-300)
        return self.start + (self.end - self.start) * min(max(share, -0.02), 1.02)

    def ticks(self) -> list[float]:
        step = _round_step((self.most - self.least) / 4)
        first = math.ceil(self.least / step - 1e-9)
        return [k * step for k in range(first, first + 12) if k * step <= self.most * (1 + 1e-9)]


def planes(runs: Sequence[ComparedRun]) -> list[str]:
    """Two pictures: against the time to first token and against the time per output token."""
    return [
        plane(runs, "TTFT", lambda r: r.report.latency.ttft_s),
        plane(runs, "TPOT", lambda r: r.report.latency.tpot_s),
    ]


def plane(runs: Sequence[ComparedRun], name: str, latency_of: Callable[[ComparedRun], Percentiles]) -> str:
    """One picture of node J/token against a latency."""
    heading = f"Energy, {name} and quality"
    points = [(r, r.report.energy.node_j_tok, latency_of(r)) for r in runs]
    drawn = [(r, e, p) for r, e, p in points if e.value is not None and p.p50 is not None]
    missing = [r.label for r, e, p in points if e.value is None or p.p50 is None]
    if not drawn:
        return empty(60, heading, f"no run has both energy and {name}")
    across = _axis([v for _, e, _ in drawn for v in (e.value, e.low, e.high)], LEFT, RIGHT)
    upward = _axis([1000 * v for _, _, p in drawn for v in (p.p50, p.p99) if v is not None], BOTTOM, TOP)
    body = _frame(across, upward, name)
    centers = [(across.place(e.value or 0.0), upward.place(1000 * (p.p50 or 0.0))) for _, e, p in drawn]
    taken = [(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in centers]
    for (run, energy, percentiles), center in zip(drawn, centers, strict=True):
        body += _disc(run, (energy, percentiles), (across, upward), center)
        label = f"{run.label} {percent(run.report.quality.accuracy.value)}"
        place, box = _free(center, label, taken)
        taken.append(box)
        body.append(text(*place, label, "strong", "start"))
    if missing:
        body.append(text(WIDTH, 252, f"not drawn, unknown: {', '.join(missing)}", "tiny", "end"))
    description = "; ".join(
        f"{r.label}: {quantity(e.value, 'J/tok')}, {name} {digits(1000 * (p.p50 or 0))} ms, "
        f"accuracy {percent(r.report.quality.accuracy.value)}"
        for r, e, p in drawn
    )
    return svg(258, heading, description, body)


def _axis(values: Sequence[float | None], start: float, end: float) -> _Axis:
    known = [v for v in values if v is not None]
    least, most = min(known), max(known)
    span = max(most - least, 0.2 * abs(most), 1e-12)
    # An axis from zero shows differences in proportion; where all are far from it, it would show none.
    low = 0.0 if least < 2.5 * span else least - 0.35 * span
    return _Axis(most + 0.18 * span, max(low, 0.0), start, end)


def _round_step(rough: float) -> float:
    power = 10.0 ** math.floor(math.log10(max(rough, 1e-300)))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)


def _frame(across: _Axis, upward: _Axis, name: str) -> list[str]:
    body = [
        line(LEFT, BOTTOM, RIGHT, BOTTOM, "axis"),
        line(LEFT, BOTTOM, LEFT, TOP, "axis"),
        text(0, 9, f"{name} [ms], disc at p50, line to p99", "tiny", "start"),
        text(RIGHT, 236, "energy per output token, node", "tiny", "end"),
        text(LEFT, 252, "fill: accuracy", "tiny", "start"),
    ]
    for tick in across.ticks():
        body.append(text(across.place(tick), BOTTOM + 15, quantity(tick, "J/tok", 2) if tick else "0", "tiny"))
    for tick in upward.ticks():
        y = upward.place(tick)
        body.append(line(LEFT, y, RIGHT, y, "axis"))
        body.append(text(LEFT - 4, y + 3, digits(tick, 2) if tick else "0", "tiny", "end"))
    return body


_Box = tuple[float, float, float, float]


def _free(center: tuple[float, float], label: str, taken: Sequence[_Box]) -> tuple[tuple[float, float], _Box]:
    """Where a label beside ``center`` covers neither a disc nor another label: its place, and the box it takes."""
    x, y = center
    wide, gap = 6.4 * len(label), RADIUS + 4
    places = [
        (x + side * gap - (wide if side < 0 else 0.0), y + drop)
        for drop in (-RADIUS, RADIUS + 8, -2 * RADIUS - 4, 2 * RADIUS + 12)
        for side in (1, -1)
    ]
    inside = [p for p in places if p[0] >= LEFT and p[0] + wide <= WIDTH and TOP + 8 <= p[1] <= BOTTOM - 2] or places[
        :1
    ]
    boxes = [(px, py - 9, px + wide, py + 2) for px, py in inside]
    free = next((i for i, b in enumerate(boxes) if not any(_overlap(b, t) for t in taken)), 0)
    return inside[free], boxes[free]


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _disc(
    run: ComparedRun, at: tuple[Figure, Percentiles], axes: tuple[_Axis, _Axis], center: tuple[float, float]
) -> list[str]:
    energy, percentiles = at
    x, y = center
    body = []
    if energy.low is not None and energy.high is not None:
        x1, x2 = axes[0].place(energy.low), axes[0].place(energy.high)
        body.append(line(x1, y, x2, y, "whisker"))
    if percentiles.p99 is not None:
        top = axes[1].place(1000 * percentiles.p99)
        body.append(line(x, y, x, top, "whisker"))
    return [*body, *_pie(x, y, run.report.quality.accuracy.value)]


def _pie(x: float, y: float, share: float | None) -> list[str]:
    """A disc filled to ``share`` of its area, from the bottom; dashed and empty where the quality is unknown."""
    if share is None:
        return [dot(x, y, RADIUS, "disc unknown")]
    body = [dot(x, y, RADIUS, "disc")]
    if share >= 1.0:
        return [*body, dot(x, y, RADIUS, "part")]
    return [*body, pie(x, y, RADIUS, share, "part")] if share > 0.0 else body
