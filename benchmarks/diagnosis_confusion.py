"""Writes the confusion tables of docs/diagnosis.md: what the diagnosis says of cases whose truth is known.

    python -m benchmarks.diagnosis_confusion            prints them
    python -m benchmarks.diagnosis_confusion --write    puts them between the markers of docs/diagnosis.md

The cases stand in simulated/constraints.py: a list made by hand, and devices drawn at random whose truth is the
derivative of their own rate; and in simulated/deployments.py: whole records as the production function would make
them, whose truth is the prediction's own derivatives. None asks the code under test. The seed is fixed.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from simulated.constraints import CASES, drawn_cases, made
from simulated.deployments import answered, drawn_runs

from joulemill.decisions.diagnosis import CANDIDATES, diagnose

ROOT = Path(__file__).parents[1]

DRAWN, PREDICTED, SEED = 2000, 400, 20261123
START, END = "<!-- tables: benchmarks/diagnosis_confusion.py -->", "<!-- end of tables -->"


def table(cases: Sequence[made]) -> str:
    """Truth down, answer across, and the sums."""
    return counted(Counter((c.truth, diagnose(c.evidence).name) for c in cases))


def predicted_table() -> str:
    """Of whole records; those without a clear truth are left out."""
    runs = [m for m in drawn_runs(PREDICTED, SEED) if m.truth is not None]
    return counted(Counter((m.truth or "", answered(m).name) for m in runs))


def counted(counts: Counter[tuple[str, str]]) -> str:
    """The table of (truth, answer) counts."""
    truths = [n for n in (*CANDIDATES, "undecided") if any(t == n for t, _ in counts)]
    answers = [n for n in (*CANDIDATES, "undecided") if any(a == n for _, a in counts)]
    lines = ["| truth \\ answer | " + " | ".join(a.replace("_", " ") for a in answers) + " |"]
    lines.append("|---|" + "--:|" * len(answers))
    for truth in truths:
        lines.append(
            f"| {truth.replace('_', ' ')} | " + " | ".join(str(counts[truth, a] or "·") for a in answers) + " |"
        )
    total = sum(counts.values())
    right = sum(n for (t, a), n in counts.items() if t == a)
    open_ = sum(n for (t, a), n in counts.items() if a == "undecided" and t != a)
    lines += [
        "",
        f"{total} cases: {right / total:.1%} right, {open_ / total:.1%} undecided, "
        f"{(total - right - open_) / total:.1%} wrong.",
    ]
    return "\n".join(lines)


def main() -> None:
    """Print or write."""
    parts = ["### Made by hand", table(CASES), f"### Drawn at random (seed {SEED})"]
    parts += [table(drawn_cases(DRAWN, SEED, clear=True))]
    parts += ["### Drawn at random: close calls, where no one constraint has most of the answer"]
    parts += [table(drawn_cases(DRAWN, SEED, clear=False))]
    text = "\n\n".join([*parts, "### Whole records from the production function", predicted_table()])
    if "--write" not in sys.argv[1:]:
        print(text)
        return
    page = ROOT / "docs" / "diagnosis.md"
    before, rest = page.read_text(encoding="utf-8").split(START)
    page.write_text(f"{before}{START}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    main()
