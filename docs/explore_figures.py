"""Writes the figures of docs/explore.md, three questions answered by ``joulemill.predict``, between the page's marks.

``python docs/explore_figures.py`` writes them anew: they follow the fitted coefficients. A test holds the page to them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

PAGE = Path(__file__).resolve().parent / "explore.md"
MODEL = "meta-llama/Llama-3.3-70B-Instruct"
#: The same in all three: what is served, by which release, in which format, of which lengths.
SAME: dict[str, Any] = {"engine": "vllm-0.11", "precision": "fp8", "input_tokens": 1024, "output_tokens": 512}
SLOS_MS = (15, 20, 30, 50, 80)
BOARDS = (8_000, 16_000, 32_000)


def figure(f: Any, factor: float = 1.0) -> str:
    """A figure with its interval: 1.17 (0.96–1.42)."""
    low, value, high = (_digits(x * factor) for x in (f.low, f.value, f.high))
    return f"{value} ({low}–{high})"


def _digits(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.10g}"


def worth() -> str:
    """Is B200 worth it: the two side by side, and whether their intervals overlap."""
    import joulemill as jm

    plain = {"h100": 2, "b200": 1}
    answers = {d: jm.predict(MODEL, d, devices=n, slo_tpot_s=0.03, **SAME) for d, n in plain.items()}
    lines = ["| | concurrency | J/token, nodes (80 % interval, modelled) | tok/s | TPOT |", "|---|--:|--:|--:|--:|"]
    for device, n in plain.items():
        p = answers[device]
        cells = (figure(p.energy.node), figure(p.rate_tok_s), f"{figure(p.tpot_s, 1e3)} ms")
        lines.append(f"| {n} × {device.upper()} | {p.concurrency:.0f} | {' | '.join(cells)} |")
    a, b = answers["h100"].energy.node, answers["b200"].energy.node
    less = 1.0 - b.value / a.value
    sure = (
        "The intervals do not touch, so the answer does not hang on the model's error."
        if b.high < a.low
        else "The intervals overlap: part of the answer hangs on the model's error, and a run of each would settle it. "
        "What both predictions err in alike cancels between them: the card “Levers” has the interval of the change."
    )
    return "\n".join([*lines, "", f"B200 takes {100 * less:.0f} % less. {sure}"])


def costs() -> str:
    """What an SLO costs: the highest concurrency that meets it, and its joules."""
    import joulemill as jm

    answers = {ms: jm.predict(MODEL, "b200", devices=2, slo_tpot_s=ms / 1e3, **SAME) for ms in SLOS_MS}
    lines = ["| TPOT SLO | highest concurrency | J/token, nodes (80 % interval, modelled) |", "|--:|--:|--:|"]
    lines += [f"| {ms} ms | {p.concurrency:.0f} | {figure(p.energy.node)} |" for ms, p in answers.items()]
    joules = {ms: p.energy.node.value for ms, p in answers.items()}
    first, second = joules[30] / joules[80] - 1.0, joules[15] / joules[30]
    return "\n".join(
        [*lines, "", f"From 80 to 30 ms costs {100 * first:.0f} % more; from 30 to 15 ms {second:.1f} times as much."]
    )


def binds() -> str:
    """When 30 MW bind: power and rate over the boards, and the count at which the limit is reached."""
    import joulemill as jm

    site = jm.Site(pue_ratio=1.2, it_power_limit_w=30e6)
    lines = ["| boards | power, nodes (MW) | output (Mtok/s) | active constraint |", "|--:|--:|--:|---|"]
    for n in BOARDS:
        p = jm.predict(MODEL, "b200", devices=n, tp=2, concurrency=64, site=site, **SAME)
        power, rate = figure(p.power.node, 1e-6), figure(p.rate_tok_s, 1e-6)
        lines.append(f"| {n:,} | {power} | {rate} | {p.bottleneck.replace('_', ' ')} |")
    one = jm.predict(MODEL, "b200", devices=BOARDS[0], tp=2, concurrency=64, **SAME).power.node
    at = [30e6 / w * BOARDS[0] for w in (one.high, one.value, one.low)]
    low, value, high = (f"{round(x, -2):,.0f}" for x in at)
    return "\n".join(
        [
            *lines,
            "",
            f"The limit is reached at about {value} boards ({low}–{high}); whatever is added draws on it alone.",
        ]
    )


PARTS = {"worth": worth, "costs": costs, "binds": binds}


def written(page: str) -> str:
    """``page`` with the figures of today."""
    for name, part in PARTS.items():
        start, end = f"<!-- {name}: written by docs/explore_figures.py -->\n", f"<!-- end of {name} -->"
        before, rest = page.split(start, 1)
        page = f"{before}{start}{part()}\n{end}{rest.split(end, 1)[1]}"
    return page


def main() -> int:
    """Write the page's figures."""
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
