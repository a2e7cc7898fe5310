"""The first model's errors (2026-11-29, before the redesign) beside today's, row by row, for ``fidelity.py``.

``first_model.csv`` holds ln(predicted ÷ measured) of each row of ``serving_runs.csv`` by the first model: fitted
without the row's family, and (``other_*``) on the other device generation alone. Its code was run once more for it.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulemill.validation.row import MeasuredRow

ERRORS = Path(__file__).parent / "first_model.csv"
#: Median errors and 90 % quantiles of its latency points, a family left out of all engines at once.
LATENCY = {"TPOT": "13.4% · 43%", "TTFT": "29.3% · 87%"}
NONE = "–"

Errors = dict[str, np.ndarray]


@dataclass(frozen=True)
class Line:
    """A quantity of some rows: errors of the first model and of today's; ``rows``: which of them it is about."""

    name: str
    first: np.ndarray
    today: np.ndarray
    rows: np.ndarray


def quantities(rate: np.ndarray, itl: np.ndarray, power: np.ndarray) -> Errors:
    """Errors by quantity; joules per token are watts over rate."""
    return {"J/token": power - rate, "tok/s": rate, "W": power, "median ITL": itl}


def first_errors(rows: list[MeasuredRow]) -> tuple[Errors, np.ndarray]:
    """The first model's errors of ``rows`` without their families; of J/token by its fit on the other device alone."""
    with ERRORS.open(encoding="utf-8") as handle:
        by_row = {int(line["row"]): line for line in csv.DictReader(handle)}
    found = [by_row[row.number] for row in rows]

    def column(name: str) -> np.ndarray:
        return np.array([float(line[f"{name}_ln"] or np.nan) for line in found])

    return quantities(*map(column, ("rate", "itl", "power"))), column("other_power") - column("other_rate")


def cell(error: np.ndarray) -> str:
    """Median and 90 % quantile of the relative error."""
    relative = np.abs(np.expm1(error[np.isfinite(error)]))
    if not relative.size:
        return NONE
    return f"{np.median(relative):.1%} · {np.quantile(relative, 0.9):.0%}"


def compared(rows: list[MeasuredRow], today: Errors, other_today: np.ndarray) -> list[Line]:
    """Lines of the table. ``other_today``: today's errors of J/token by a fit on the other device alone."""
    first, other_first = first_errors(rows)
    sparse = np.array([r.architecture.is_moe for r in rows])
    newest = np.array([r.device.is_newest for r in rows])
    kinds = {"": np.ones(len(rows), dtype=bool), ", dense": ~sparse, ", sparse": sparse}
    lines = [Line(f"{q}{kind}", first[q], today[q], mask) for q in today for kind, mask in kinds.items()]
    for name, device in (("B200, fitted on H100 alone", newest), ("H100, fitted on B200 alone", ~newest)):
        lines += [
            Line(f"J/token of {name}{kind}", other_first, other_today, device & mask) for kind, mask in kinds.items()
        ]
    return lines


def hosts_of(rows: list[MeasuredRow], quiet: np.ndarray) -> dict[str, np.ndarray]:
    """Masks by what is known of hosts: whether a run was crowded is decided by today's errors, whether it was on one
    B200 by its configuration alone."""
    alone = np.array([r.shared_host for r in rows])
    every = np.ones(len(rows), dtype=bool)
    return {"all": every, "quiet hosts": quiet, "crowded hosts": ~quiet, "without runs on one B200": ~alone}


def table_lines(lines: list[Line], hosts: dict[str, np.ndarray], late: Errors) -> list[str]:
    """The table; ``late``: today's errors of the latency points."""
    heads = [f"{name} ({mask.sum()}): first | today" for name, mask in hosts.items()]
    out = [f"| quantity | {' | '.join(heads)} |", "|---|" + "--:|" * 2 * len(hosts)]
    for line in lines:
        cells = [cell(e[line.rows & mask]) for mask in hosts.values() for e in (line.first, line.today)]
        out.append(f"| {line.name} | {' | '.join(cells)} |")
    rest = f" | {NONE}" * (2 * len(hosts) - 2)
    return out + [f"| {name} | {LATENCY[name]} | {cell(error)}{rest} |" for name, error in late.items()]


def larger_lines(lines: list[Line], hosts: dict[str, np.ndarray]) -> list[str]:
    """Figures that are larger than the first model's, as the table prints them; every one of crowded hosts is."""
    return [f"* Larger now, {name}: {_larger(lines, mask)}." for name, mask in hosts.items() if "crowded" not in name]


def _larger(lines: list[Line], mask: np.ndarray) -> str:
    found = [part for line in lines if (part := _larger_parts(line, mask))]
    return "; ".join(found) or "nothing"


def _larger_parts(line: Line, mask: np.ndarray) -> str:
    """Name and figures of a line where they are larger now; else nothing."""
    before, now = (cell(e[line.rows & mask]).split(" · ") for e in (line.first, line.today))
    pairs = zip(("median", "90 %"), before, now, strict=False)
    larger = [f"{what} {a} → {b}" for what, a, b in pairs if _percent(b) > _percent(a)]
    return f"{line.name} ({', '.join(larger)})" if larger else ""


def _percent(text: str) -> float:
    return 0.0 if text == NONE else float(text.rstrip("%"))
