"""Draws docs/img/prediction.svg, the picture of the README: joules per token and token rate over concurrency.

``python docs/readme_figure.py`` writes it. Qwen3-32B on two H100, 512 prompt and 512 output tokens, as the README's
Python block; everything drawn is what ``predict`` reports, with its 80 % intervals.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FIGURE = Path(__file__).resolve().parent / "img" / "prediction.svg"
CONCURRENCIES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
BLUE, TEAL, SAND, RUST, GREY = "#2f6f9f", "#2a8c82", "#b08b4f", "#b3543a", "#7d8791"
Point = tuple[float, float]


def document(concurrency: int) -> dict[str, Any]:
    """The JSON of ``predict`` at one concurrency."""
    from joulemill.cli import main as joulemill

    words = f"predict --model Qwen/Qwen3-32B --device h100 --devices 2 --concurrency {concurrency} --json"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        joulemill(words.split())
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A plot with logarithmic axes, ``left`` and ``top`` in pixels."""

    left: float
    title: str
    low: float
    high: float
    top: float = 46.0
    width: float = 300.0
    height: float = 190.0

    def x(self, concurrency: float) -> float:
        """Pixel of a concurrency."""
        return self.left + math.log2(concurrency) / math.log2(CONCURRENCIES[-1]) * self.width

    def y(self, value: float) -> float:
        """Pixel of a value."""
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.top + (1 - share) * self.height

    def frame(self, ticks: Sequence[float]) -> list[str]:
        """Title, grid and labels."""
        bottom, right = self.top + self.height, self.left + self.width
        lines = [f'<text x="{self.left}" y="24" class="title">{self.title}</text>']
        for tick in ticks:
            y = self.y(tick)
            lines.append(f'<line x1="{self.left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#e3e6e8"/>')
            lines.append(f'<text x="{self.left - 6}" y="{y + 4:.1f}" class="tick" text-anchor="end">{tick:,g}</text>')
        for c in CONCURRENCIES[::2]:
            lines.append(f'<text x="{self.x(c):.1f}" y="{bottom + 16}" class="tick" text-anchor="middle">{c}</text>')
        middle = self.left + self.width / 2
        lines.append(
            f'<text x="{middle}" y="{bottom + 34}" class="tick" text-anchor="middle">requests in flight</text>'
        )
        lines.append(f'<line x1="{self.left}" x2="{right}" y1="{bottom}" y2="{bottom}" stroke="#666"/>')
        return lines

    def line(self, points: Sequence[Point], color: str, *, dashed: bool = False, dots: bool = True) -> list[str]:
        """A line through ``points`` of (concurrency, value)."""
        path = " ".join(f"{self.x(c):.1f},{self.y(v):.1f}" for c, v in points)
        dash = ' stroke-dasharray="5 4"' if dashed else ""
        lines = [f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>']
        if dots:
            lines += [f'<circle cx="{self.x(c):.1f}" cy="{self.y(v):.1f}" r="3" fill="{color}"/>' for c, v in points]
        return lines

    def band(self, low: Sequence[Point], high: Sequence[Point], color: str) -> str:
        """The area between two lines."""
        path = " ".join(f"{self.x(c):.1f},{self.y(v):.1f}" for c, v in [*low, *reversed(high)])
        return f'<polygon points="{path}" fill="{color}" opacity="0.16"/>'

    def label(self, at: Point, text: str, color: str, dy: float, *, end: bool = False) -> str:
        """``text`` to the right of a point, or to its left where it ends there."""
        x, anchor = (self.x(at[0]) - 6, "end") if end else (self.x(at[0]) + 4, "start")
        return f'<text x="{x:.1f}" y="{self.y(at[1]) + dy:.1f}" fill="{color}" text-anchor="{anchor}">{text}</text>'


def series(documents: Sequence[dict[str, Any]], key: str, part: str = "value") -> list[Point]:
    """(concurrency, figure) of one field."""
    return [(float(c), float(d[key][part])) for c, d in zip(CONCURRENCIES, documents, strict=True)]


def ceiling(documents: Sequence[dict[str, Any]], name: str) -> list[Point]:
    """(concurrency, ceiling)."""
    rates = [next(c["rate_tok_s"]["value"] for c in d["ceilings"] if c["name"] == name) for d in documents]
    return [(float(c), float(r)) for c, r in zip(CONCURRENCIES, rates, strict=True)]


def figure() -> str:
    """The SVG."""
    documents = [document(c) for c in CONCURRENCIES]
    energy = Panel(left=58, title="energy per output token [J]", low=0.1, high=30)
    rate = Panel(left=450, title="token rate and its ceilings [tok/s]", low=20, high=60000)
    node, device = series(documents, "node_j_tok"), series(documents, "device_j_tok")
    rates, memory = series(documents, "rate_tok_s"), ceiling(documents, "memory_bandwidth")
    compute, kv = ceiling(documents, "compute"), ceiling(documents, "kv_capacity")
    out = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 780 290" font-family="system-ui, sans-serif" '
        'font-size="12" role="img" aria-label="Qwen3-32B on two H100: joules per token fall with concurrency; '
        'the token rate stays below its ceilings">',
        "<style>.title{font-weight:600;fill:#222}.tick{font-size:11px;fill:#666}</style>",
        '<rect width="780" height="290" fill="#fff"/>',
        *energy.frame((0.1, 0.3, 1, 3, 10, 30)),
        energy.band(series(documents, "node_j_tok", "low"), series(documents, "node_j_tok", "high"), BLUE),
        energy.band(series(documents, "device_j_tok", "low"), series(documents, "device_j_tok", "high"), TEAL),
        *energy.line(node, BLUE),
        *energy.line(device, TEAL),
        energy.label(node[4], "node, at the plug", BLUE, -12),
        energy.label(device[2], "devices", TEAL, 16, end=True),
        *rate.frame((30, 100, 300, 1000, 3000, 10000, 30000)),
        rate.band(series(documents, "rate_tok_s", "low"), series(documents, "rate_tok_s", "high"), RUST),
        *rate.line(compute, GREY, dashed=True, dots=False),
        *rate.line(kv, SAND, dashed=True, dots=False),
        *rate.line(memory, BLUE, dashed=True, dots=False),
        *rate.line(rates, RUST),
        rate.label(compute[0], "compute", GREY, 15),
        rate.label(kv[2], "KV capacity", SAND, -7),
        rate.label(memory[4], "memory bandwidth", BLUE, -6, end=True),
        rate.label(rates[4], "token rate", RUST, 24),
        "</svg>",
    ]
    return "\n".join(out) + "\n"


def main() -> int:
    """Write the picture."""
    FIGURE.write_text(figure(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
