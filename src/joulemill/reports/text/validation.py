"""Errors of predictions, and what measurements say of them, as tables for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from joulemill.prediction.scale_file import ScaleFile, scale_table
from joulemill.reports.text.page import add_row, plain_table, prose
from joulemill.streams import rendered
from joulemill.validation.scores import MOST_SKIPPED_SHOWN, Score, Validation
from joulemill.wording import percent, signed_percent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_HEADS = ("quantity", "n", "median", "p90", "bias", "in 80 %")
#: Columns of a text that goes to no terminal.
WIDTH = 120


def show(validation: Validation, console: Console) -> None:
    """Scores of all rows and of each group; rows that were skipped, and why."""
    prose(console, f"{validation.rows} rows predicted, {len(validation.skipped)} skipped")
    used = validation.calibrating
    if used is not None:
        prose(
            console,
            f"calibrated with {used.count} random rows in each of {used.cells} cells (seed {used.seed}); "
            f"{used.not_scored} rows calibrated, repeat others, or are in smaller cells: not scored",
        )
    for title, groups in (
        ("all rows", {"all": validation.scores}),
        *((f"by {c}", v) for c, v in validation.by.items()),
    ):
        if any(groups.values()):
            prose(console, "")
            console.print(_table(title, groups))
    prose(console, *_skipped(validation), *(f"note: {n}" for n in validation.notes))


def text(validation: Validation) -> str:
    """As ``show``."""
    return rendered(lambda console: show(validation, console), WIDTH)


def _table(title: str, groups: Mapping[str, Mapping[str, Score]]) -> Table:
    table = plain_table(title, *_HEADS, right={2, 3, 4, 5, 6}, fold=0)
    for name, scores in groups.items():
        for quantity, s in scores.items():
            shares = (
                percent(s.median, 1),
                percent(s.p90, 1),
                signed_percent(s.bias),
                percent(s.coverage),
            )
            add_row(table, name, quantity, str(s.n), *shares)
    return table


def _skipped(validation: Validation) -> Iterator[str]:
    yield from (f"skipped row {s['row']}: {s['why']}" for s in validation.skipped[:MOST_SKIPPED_SHOWN])
    more = len(validation.skipped) - MOST_SKIPPED_SHOWN
    if more > 0:
        yield f"and {more:,} more skipped rows (--json lists them)"


def scales_text(scale_file: ScaleFile) -> str:
    """Each deployment's scales with their spread, slope and interval."""

    def print_cells(console: Console) -> None:
        for cell, scales in scale_file.cells.items():
            prose(console, str(cell))
            table = plain_table("", "scale", "±", "slope per ln(batch)", "80 % interval", "rows", right={1, 2, 3, 5})
            for quantity, scale in scales.items():
                row, center = scale_table(scale), scale_table(scale)["concurrency"]
                interval = f"± {percent(scale.half_width_ratio(center))} at batch {center:.3g}"
                numbers = f"× {row['scale']:.3f}", percent(row["stderr_ln"], 1), f"{row['slope']:+.3f}"
                add_row(table, f"  {quantity}", *numbers, interval, str(row["rows"]))
            console.print(table)
        prose(console, *(f"note: {note}" for note in scale_file.notes))

    return rendered(print_cells, WIDTH)


def coefficients_text(
    coefficients: Mapping[str, float],
    stderr: Mapping[str, float],
    widths: Mapping[str, float],
    notes: Sequence[str] = (),
) -> str:
    """Fitted coefficients with their standard errors, the half-width of each quantity's interval, and notes."""

    def print_rows(console: Console) -> None:
        table = plain_table("", "", "", right={1})
        for name, error in stderr.items():
            add_row(table, name, f"{coefficients[name]:.4g}", f"± {percent(error)}")
        for name, width in widths.items():
            add_row(table, name, "80 % interval", f"± {percent(width)}")
        console.print(table)
        prose(console, *(f"note: {note}" for note in notes))

    return rendered(print_rows, WIDTH)
