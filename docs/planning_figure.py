"""Draws docs/img/two_ceilings.svg, the picture of docs/planning.md: tokens and the price of a watt over a site's power.

``python docs/planning_figure.py`` writes it. Eight H100 in replicas of two run Qwen3-32B at 32 requests in flight; the
dots are plans of ``jm.plan``, the lines are min(K/c, P/e) of ``jm.predict``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

FIGURE = Path(__file__).resolve().parent / "img" / "two_ceilings.svg"
BLUE, RUST, GREY = "#2f6f9f", "#b3543a", "#7d8791"
Spot = tuple[float, float]
MIDDLE = 'class="tick" text-anchor="middle"'
TICKS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
SHARES = (0.1, 0.25, 0.4, 0.55, 0.7, 0.85, 0.95, 1.05, 1.15, 1.3, 1.5)
WORK = {"devices": 2, "tp": 2, "concurrency": 32, "input_tokens": 800, "output_tokens": 250}
FLEET = {
    "site": [{"name": "lab", "it_power_limit": "1 kW"}],
    "pool": [{"name": "h100", "site": "lab", "device": "h100", "owned_count": 8, "unused": "off"}],
    "model": [{"name": "Qwen/Qwen3-32B", "tp": [2], "concurrency": [32]}],
    "demand": [
        {"name": "chat", "model": "Qwen/Qwen3-32B", "rate": "unlimited", "input_tokens": 800, "output_tokens": 250}
    ],
}


def plans() -> tuple[float, float, list[tuple[float, float, float]]]:
    """The crossing [W], the tokens there, and of each plan (power [W], tokens a second, tokens a second for a watt)."""
    import joulemill as jm

    one = jm.predict("Qwen/Qwen3-32B", "h100", **WORK)
    rate, joules = one.rate_tok_s.value, one.power.node.value / one.rate_tok_s.value
    crossing = 4 * rate * joules
    base = jm.plan(FLEET, extras=False)
    rows = []
    for share in SHARES:
        plan = base.what_if(f"site.lab.it_power_limit={share * crossing:.3f} W")
        price = next(p.shadow_price for p in plan.constraints if p.name == "it_power")
        rows.append((share * crossing, plan.value, price))
    return crossing, 4 * rate, rows


def figure() -> str:
    """The SVG."""
    crossing, most, rows = plans()

    def x(watts: float) -> float:
        return 60.0 + 600.0 * watts / (1.55 * crossing)

    def y(share: float) -> float:
        return 210.0 - 150.0 * share

    worth, last = rows[0][2], 1.55 * crossing
    rate = [(x(0), y(0)), (x(crossing), y(1)), (x(last), y(1))]
    price = [(x(0), y(0.8)), (x(crossing), y(0.8)), (x(crossing), y(0)), (x(last), y(0))]
    out = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 720 270" font-family="system-ui, sans-serif" '
        'font-size="12" role="img" aria-label="Tokens rise with power up to the crossing of the two ceilings, then '
        'stay; the price of a watt is constant before it and zero after">',
        "<style>.title{font-weight:600;fill:#222}.tick{font-size:11px;fill:#666}</style>",
        '<rect width="720" height="270" fill="#fff"/>',
        _text((60, 24), "tokens per second, and what one more watt brings", 'class="title"'),
        _line([(60, y(0)), (660, y(0))], "#666"),
        _line([(x(crossing), 50), (x(crossing), y(0))], GREY, "4 4"),
        _text((x(crossing), 44), f"P = K · e/c = {crossing / 1e3:.2f} kW", MIDDLE),
        _line(rate, BLUE),
        _line(price, RUST, "6 4"),
        *_dots([(x(w), y(r / most)) for w, r, _ in rows], BLUE),
        *_dots([(x(w), y(0.8 * p / worth)) for w, _, p in rows], RUST),
        _text((x(1.2 * crossing), y(1) - 8), f"{most:,.0f} tok/s: device-bound", f'fill="{BLUE}"'),
        _text((70, y(0.8) - 8), f"{worth:.3f} tok/s for one more watt: power-bound", f'fill="{RUST}"'),
        _text((x(1.2 * crossing), y(0) - 8), "one more watt brings nothing", f'fill="{RUST}"'),
        *(_text((x(s * crossing), y(0) + 16), f"{s * crossing / 1e3:.1f}", MIDDLE) for s in TICKS),
        _text((360, 250), "IT power of the site [kW]", MIDDLE),
        "</svg>",
    ]
    return "\n".join(out) + "\n"


def _text(at: Spot, words: str, more: str) -> str:
    return f'<text x="{at[0]:.1f}" y="{at[1]:.1f}" {more}>{words}</text>'


def _line(spots: Sequence[Spot], color: str, dash: str = "") -> str:
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in spots)
    dashed = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dashed}/>'


def _dots(spots: Sequence[Spot], color: str) -> list[str]:
    return [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{color}"/>' for a, b in spots]


def main() -> int:
    """Write the picture."""
    FIGURE.write_text(figure(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
