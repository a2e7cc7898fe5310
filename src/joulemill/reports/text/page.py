"""What text views print with: prose that a terminal wraps and a pipe does not, and plain aligned tables. Pure."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.table import Table

#: Columns from which a table shows what a terminal of 80 columns has no room for.
WIDE = 112
#: Wider than any table.
UNBOUND = 10_000


def prose(console: Console, *lines: str, style: str | None = None) -> None:
    """Print lines of text as they are; in a terminal broken at its width, elsewhere left whole for other programs."""
    for line in lines:
        console.print(line, style=style, markup=False, highlight=False, soft_wrap=not console.is_terminal)


def plain_table(*headings: str, right: frozenset[int] | set[int] = frozenset(), fold: int | None = None) -> Table:
    """A table without lines; columns in ``right`` are right-aligned, and only column ``fold`` may be broken.

    Where even so it is wider than the terminal, all left-aligned columns may be: nothing is cut off. Cells are text,
    not markup.
    """
    from rich.text import Text

    table = _whole_table()(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(headings))
    for i, heading in enumerate(headings):
        justify = "right" if i in right else "left"
        table.add_column(Text(heading), justify=justify, no_wrap=i != fold, overflow="fold")  # type: ignore[arg-type]
    return table


@cache
def _whole_table() -> type[Table]:
    """A table that breaks its left-aligned columns where it would be cut off at the terminal's edge."""
    from rich.table import Table

    class WholeTable(Table):
        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            if self.__rich_measure__(console, options.update(max_width=UNBOUND)).maximum > options.max_width:
                for column in self.columns:
                    column.no_wrap = column.no_wrap and column.justify == "right"
            return super().__rich_console__(console, options)

    return WholeTable


def add_row(table: Table, *cells: str, style: str | None = None) -> None:
    """One row of text cells."""
    from rich.text import Text

    table.add_row(*(Text(c) for c in cells), style=style)


def split_unit(quantity: str) -> tuple[str, str]:
    """Number and unit of a quantity, for two columns.

    >>> split_unit("1.10 kW"), split_unit("0.53"), split_unit("unknown")
    (('1.10', 'kW'), ('0.53', ''), ('unknown', ''))
    """
    number, _, unit = quantity.partition(" ")
    return number, unit
