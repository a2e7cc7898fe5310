"""Inline SVG pictures of levers: the tornado of ΔJ/token, and combinations in the plane of tok/s and J/token. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from joulemill.decisions.levers.case import LeverOutcome
from joulemill.decisions.levers.study import Combination, Effect, headline
from joulemill.reports.svg.draw import WIDTH, bar, dot, empty, line, linear, log_change, svg, text
from joulemill.wording import digits, signed

LABEL, RIGHT = 112, 352
#: The plane of combinations.
LEFT, RIGHT_END, TOP, BOTTOM = 44.0, 408.0, 24.0, 216.0
#: Largest ÷ smallest value below which an axis tells nothing apart. Assumed.
LEAST_APART = 1.01


def tornado(effects: Sequence[Effect]) -> str:
    """Bars of ΔJ/token from the line of no change, ranked, with intervals; log scale: half is as long as double.

    Levers that make answers shorter have ΔJ/request, and say so.
    """
    changes = [(e, headline(e)) for e in effects]
    shown = [(e, change) for e, change in changes if change is not None and change.value]
    if not shown:
        return empty(50, "Levers", "no lever changes J/token")
    spans = [log_change(change, -0.99, math.inf) for _, change in shown]
    low, high = min(0.0, *(s[0] for s in spans)), max(0.0, *(s[2] for s in spans))

    across = linear(low, high, LABEL, RIGHT)
    top, pitch = 18.0, 16.0
    bottom = top + pitch * len(shown)
    body: list[str] = []
    for row, ((e, change), (a, mid, b)) in enumerate(zip(shown, spans, strict=True)):
        y = top + pitch * row
        style = "part good" if mid < 0 else "ceiling binding"
        left, right = sorted((across(0.0), across(mid)))
        body += [
            text(LABEL - 5, y + 11, e.lever.name, anchor="end"),
            bar(left, y + 3, right - left, 10, style),
            line(across(a), y + 8, across(b), y + 8, "whisker"),
            text(WIDTH, y + 11, f"{signed(change)}{_each(e)}", "small", "end"),
        ]
    zero = across(0.0)
    body += [line(zero, top - 2, zero, bottom + 2, "level")]
    body += [text(zero, 11, "no change", anchor="middle"), text(WIDTH, 11, "ΔJ/token", anchor="end")]
    description = "; ".join(f"{e.lever.name} {signed(change, bounds=True)}{_each(e)}" for e, change in shown)
    return svg(bottom + 6, "Tornado: change of J/token by lever, with 80 % intervals", description, body)


def _each(e: Effect) -> str:
    return " J/req" if e.lever.family == "length" else ""


@dataclass(frozen=True)
class _Across:
    """What runs across the plane of combinations, and what the size of a dot says."""

    name: str
    of: Callable[[LeverOutcome], float]
    how: str
    size: Callable[[LeverOutcome], float] | None = None


def _tpot_s(o: LeverOutcome) -> float:
    return o.tpot_s or 0.0  # of no size where requests have one output token


_RATE = _Across(
    "tok/s",
    lambda o: o.rate_tok_s,
    "Right and down is better; a larger dot waits longer for a token.",
    _tpot_s,
)
_WAIT = _Across(
    "TPOT [ms]",
    lambda o: 1000.0 * _tpot_s(o),
    "All serve the same tok/s, so the horizontal axis is TPOT. Left and down is better.",
)


def _across(combinations: Sequence[Combination]) -> _Across | None:
    """The rate, or, where all serve what is offered, TPOT; None where neither tells them apart."""
    return next((x for x in (_RATE, _WAIT) if _differ([x.of(c.after) for c in combinations])), None)


def _differ(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0.0 and max(values) / min(values) > LEAST_APART


def front_plane(combinations: Sequence[Combination], front: Sequence[Combination]) -> tuple[str, str]:
    """Every combination by J/token and what tells them apart (tok/s, else time per token), the front numbered; and how
    to read it."""
    across = _across(combinations)
    if across is None:
        why = "All have the same tok/s and the same TPOT: only J/token differs, see the table."
        words = "no picture: tok/s and TPOT are the same in all" if combinations else "no combination"
        return empty(50, "Combinations", words), why
    place = _places(combinations, across)
    slow = max(_tpot_s(c.after) for c in combinations) or 1.0

    def radius(c: Combination, least: float) -> float:
        return least + (1.5 if across.size is None else 4.0 * across.size(c.after) / slow)

    body = [line(LEFT, BOTTOM, RIGHT_END, BOTTOM, "axis"), line(LEFT, TOP, LEFT, BOTTOM, "axis")]
    body += [dot(*place(c), radius(c, 1.5), "ceiling") for c in combinations]
    taken: list[tuple[float, float]] = []
    for number, c in enumerate(front, start=1):
        spot = place(c)
        taken.append(_free(spot, taken))
        body += [dot(*spot, radius(c, 2.0), "part"), text(*taken[-1], str(number), "strong small", "middle")]
    body += [*_as_it_is(combinations, place), *_labels(combinations, across)]
    description = "; ".join(f"{' + '.join(c.names) or 'as it is'}: {digits(c.after.energy_j_tok)} J/tok" for c in front)
    return svg(246, f"Combinations of levers: J/token against {across.name}", description, body), across.how


def _places(combinations: Sequence[Combination], across: _Across) -> Callable[[Combination], tuple[float, float]]:
    xs = [math.log(across.of(c.after)) for c in combinations]
    ys = [math.log(c.after.energy_j_tok) for c in combinations]

    def place(c: Combination) -> tuple[float, float]:
        x = (math.log(across.of(c.after)) - min(xs)) / max(max(xs) - min(xs), 1e-9)
        y = (math.log(c.after.energy_j_tok) - min(ys)) / max(max(ys) - min(ys), 1e-9)
        return LEFT + 10 + (RIGHT_END - LEFT - 20) * x, BOTTOM - 10 - (BOTTOM - TOP - 20) * y

    return place


def _as_it_is(
    combinations: Sequence[Combination], place: Callable[[Combination], tuple[float, float]]
) -> Sequence[str]:
    before = next((c for c in combinations if not c.names), None)
    if before is None:
        return ()
    x, y = place(before)
    beside = x - 8 if x < RIGHT_END - 40 else x - 40
    return dot(x, y, 8, "ring"), text(beside, y - 12, "as it is", "strong small", "start")


def _labels(combinations: Sequence[Combination], across: _Across) -> Sequence[str]:
    xs = [across.of(c.after) for c in combinations]
    ys = [c.after.energy_j_tok for c in combinations]
    places = (
        (LEFT, 12, "J/token, log", "start"),
        (RIGHT_END, BOTTOM + 24, f"{across.name}, log", "end"),
        (LEFT + 8, BOTTOM + 12, digits(min(xs)), "start"),
        (RIGHT_END, BOTTOM + 12, digits(max(xs)), "end"),
        (LEFT - 4, BOTTOM - 8, digits(min(ys)), "end"),
        (LEFT - 4, TOP + 14, digits(max(ys)), "end"),
    )
    return [text(x, y, words, anchor=anchor) for x, y, words, anchor in places]


def _free(spot: tuple[float, float], taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """A place for a number beside a dot where none stands yet."""
    around = [(0, -8), (11, 3), (-11, 3), (0, 17), (0, -20), (23, 3), (-23, 3), (0, 29)]
    places = [(spot[0] + dx, spot[1] + dy) for dx, dy in around]
    return next((p for p in places if all(abs(p[0] - x) > 12 or abs(p[1] - y) > 10 for x, y in taken)), places[0])
