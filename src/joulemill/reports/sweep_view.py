"""A sweep for people: a table in the terminal, an offline HTML page with tok/s, J/tok and TTFT against the load."""

from __future__ import annotations

import math
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any

from joulemill.figure import Figure
from joulemill.reports.sweep import Point, SweepResult
from joulemill.reports.wording import digits, interval, quantity, title

if TYPE_CHECKING:
    from rich.console import Console

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 460, 200, 58, 24, 168
_PANELS: tuple[tuple[str, str, Callable[[Point], Figure]], ...] = (
    ("output rate", "tok/s", lambda p: p.rate_tok_s),
    ("energy per output token, node", "J/tok", lambda p: p.node_j_tok),
    ("time to first token, median", "s", lambda p: p.ttft_s),
    ("time per output token, median", "s", lambda p: p.tpot_s),
)
_HEADS = ("point", "runs", "tok/s", "node J/tok", "TTFT p50", "TPOT p50", "bound by")
_STYLE = """
:root { --paper:#fbfaf7; --ink:#1c1f23; --quiet:#5b636d; --line:#dcd9d1; --accent:#1f6fa8; --bind:#c2410c }
@media (prefers-color-scheme: dark) { :root { --paper:#14171a; --ink:#eceae5; --quiet:#a3abb4; --line:#343a41;
  --accent:#6db7ea; --bind:#f97b43 } }
body { margin:0; background:var(--paper); color:var(--ink); font:15px/1.5 system-ui,sans-serif }
main { max-width:1120px; margin:0 auto; padding:20px 16px } h1 { font-size:1.35rem; margin:0 }
.cards { display:grid; gap:12px; grid-template-columns:repeat(auto-fit,minmax(min(100%,430px),1fr)) }
svg { width:100%; height:auto } text { font:11px system-ui,sans-serif; fill:var(--ink) }
.quiet { fill:var(--quiet); color:var(--quiet) }
.axis { stroke:var(--line) } .line { fill:none; stroke:var(--accent); stroke-width:1.6 } .whisker { stroke:var(--ink) }
.dot { fill:var(--accent) } .knee { stroke:var(--bind); stroke-dasharray:4 2 } .scroll { overflow-x:auto }
table { border-collapse:collapse; font-size:.88rem }
th,td { text-align:left; padding:4px 12px 4px 0; border-bottom:1px solid var(--line) }
"""


def show(found: SweepResult, console: Console) -> None:
    """The points as a table, and the knee."""
    from rich.table import Table

    console.print(headline(found), style="bold", markup=False)
    table = Table(*heads(found), box=None, pad_edge=False)
    for point in found.points:
        table.add_row(*cells(found, point))
    console.print(table)
    for line in notes(found):
        console.print(line, markup=False)


def headline(found: SweepResult) -> str:
    """What it is, and whether it is whole."""
    done = sum(p.runs for p in found.points)
    what = "Probe, one setting at a time" if found.kind == "probe" else f"Sweep of {found.knob}"
    return f"{what}: {done} runs, {found.status}"


def heads(found: SweepResult) -> tuple[str, ...]:
    """Column heads of the table."""
    return (*_HEADS, "elasticity of the rate") if found.kind == "probe" else (found.knob, *_HEADS[1:])


def cells(found: SweepResult, point: Point) -> tuple[str, ...]:
    """One row of the table."""
    bound = title(point.binding) if point.valid else "client: not valid"
    name = point.label if found.kind == "probe" or point.x is None else f"{point.x:g}"
    row = (name, str(point.runs), *(_said(get(point)) for _, _, get in _PANELS), bound)
    return (*row, _proved(point.elasticity)) if found.kind == "probe" else row


def _proved(elasticity: Figure | None) -> str:
    """The elasticity and what its interval proves: more than half binds, less does not."""
    if elasticity is None:
        return ""
    if elasticity.low is None or elasticity.high is None:
        return _said(elasticity)
    word = "binds" if elasticity.low > 0.5 else "does not bind" if elasticity.high < 0.5 else "undecided"
    return f"{_said(elasticity)}: {word}"


def _said(figure: Figure) -> str:
    if figure.value is None:
        return f"unknown: {figure.reason}" if figure.reason else "unknown"
    return " ".join(t for t in (quantity(figure.value, figure.unit), interval(figure)) if t)


def notes(found: SweepResult) -> tuple[str, ...]:
    """The knee, and what the figures rest on."""
    lines = []
    if found.kind == "sweep" and found.knob in ("concurrency", "rate"):
        lines.append(f"Knee: {knee_text(found)}")
    if found.kind == "probe":
        lines.append("1: the rate follows what was changed, so it binds. 0: it does not. The interval says how sure.")
    basis = next((p.node_j_tok.basis for p in found.points if p.node_j_tok.basis), None)
    lines.append(f"Runs went there and back; intervals 95 %, from repeated runs. Energy: {basis or 'not metered'}.")
    return tuple(lines)


def knee_text(found: SweepResult) -> str:
    """Where more load begins to give less than half as many more tokens, or what the server keeps up with."""
    if found.knee.value is None:
        return found.knee.reason or "unknown"
    text = f"{found.knob} {digits(found.knee.value)} {interval(found.knee)}"
    if found.knob == "rate":
        return f"{text}; up to there the server keeps up with what is asked"
    text += "; beyond it 1 % more requests at once give less than half a per cent more tokens"
    return f"{text} ({found.knee.reason})" if found.knee.reason else text


def render(found: SweepResult) -> str:
    """The whole page: nothing is fetched, every text is escaped."""
    head = "".join(f"<th>{escape(h)}</th>" for h in heads(found))
    rows = "".join("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells(found, p)) + "</tr>" for p in found.points)
    pictures = "".join(panel(found, name, unit, get) for name, unit, get in _PANELS) if found.kind == "sweep" else ""
    told = "".join(f"<p>{escape(line)}</p>" for line in notes(found))
    where = "; ".join(f"{k}: {_flat(v)}" for k, v in found.conditions.items() if v)
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(headline(found))}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(headline(found))}</h1>{told}"
        f'<div class="cards">{pictures}</div><div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'
        f'<p class="quiet">{escape(where)}</p></main></body></html>\n'
    )


def _flat(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items() if v is not None and not isinstance(v, (dict, list)))
    return str(value)


def panel(found: SweepResult, name: str, unit: str, get: Callable[[Point], Figure]) -> str:
    """One quantity against the load, both axes logarithmic, with intervals and the knee."""
    rows = sorted(((p.x, get(p)) for p in found.points if p.x and get(p).value), key=lambda r: r[0])
    body = [f'<text x="0" y="12">{escape(f"{name} [{unit}]")}</text>']
    if not rows:
        body.append(f'<text x="{LEFT}" y="{TOP + 40}" class="quiet">unknown at every point</text>')
        return _svg(name, body)
    xs = [x for x, _ in rows]
    ys = [v for _, f in rows for v in (f.value, f.low, f.high) if v is not None and v > 0]
    across = _scale(min(xs), max(xs), LEFT + 14, WIDTH - 14)
    up = _scale(min(ys) * 0.9, max(ys) * 1.1, BOTTOM - 6, TOP + 6)
    body += [f'<line x1="{LEFT}" x2="{WIDTH}" y1="{BOTTOM}" y2="{BOTTOM}" class="axis"/>']
    body += [f'<line x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{BOTTOM}" class="axis"/>']
    body += _marks(rows, across, up)
    for value in (min(ys), max(ys)):
        body.append(
            f'<text x="{LEFT - 4}" y="{up(value) + 4:.1f}" text-anchor="end" class="quiet">{digits(value)}</text>'
        )
    body.append(f'<text x="{WIDTH}" y="{BOTTOM + 28}" text-anchor="end" class="quiet">{escape(found.knob)}</text>')
    at = found.knee.value
    if at is not None and min(xs) <= at <= max(xs):
        body.append(f'<line x1="{across(at):.1f}" x2="{across(at):.1f}" y1="{TOP}" y2="{BOTTOM}" class="knee"/>')
        body.append(f'<text x="{across(at) + 4:.1f}" y="{TOP + 8}" class="quiet">knee {digits(at)}</text>')
    return _svg(name, body)


def _marks(
    rows: list[tuple[float, Figure]], across: Callable[[float], float], up: Callable[[float], float]
) -> list[str]:
    points = [(across(x), up(f.value or 0.0)) for x, f in rows]
    body = [f'<path class="line" d="M{" L".join(f"{x:.1f} {y:.1f}" for x, y in points)}"/>']
    for (load, figure), (x, y) in zip(rows, points, strict=True):
        if figure.low and figure.high and figure.low > 0:
            ends = f'y1="{up(figure.low):.1f}" y2="{up(figure.high):.1f}"'
            body.append(f'<line x1="{x:.1f}" x2="{x:.1f}" {ends} class="whisker"/>')
        body.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" class="dot"><title>{escape(_said(figure))}</title></circle>'
        )
        body.append(f'<text x="{x:.1f}" y="{BOTTOM + 14}" text-anchor="middle" class="quiet">{load:g}</text>')
    return body


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    """Logarithmic from ``low`` at ``start`` to ``high`` at ``end``."""
    span = math.log(high / low) or 1.0
    return lambda v: start + (end - start) * math.log(v / low) / span


def _svg(name: str, body: list[str]) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(name)}">{"".join(body)}</svg>'
