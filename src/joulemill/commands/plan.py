"""``joulemill plan``: what to buy and what to run where, under power, cooling, carbon, devices, money and latency."""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.commands.output import check_page
from joulemill.errors import InputError, MachineError
from joulemill.files import write_text
from joulemill.streams import csv_cell, print_json, print_text, progress_console, results_console

if TYPE_CHECKING:
    from joulemill.api.planning import FleetPlan

EXPORTS = ("dynamo", "vllm", "pypsa")
TABLES = ("replicas", "power", "constraints", "hours", "frontier", "played")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    add = parser.add_argument
    add("file", metavar="FILE", type=Path, help="the plan (TOML): sites, pools, models, demands, objective")
    about = "plan with another value, e.g. site.oslo.it_power_limit=30MW (may repeat)"
    add("--set", metavar="KIND.NAME.KEY=VALUE", action="append", default=[], help=about)
    add("--quick", action="store_true", help="the plan and its prices only: no frontier, levers or worse cases")
    about = "simulate the peak hours as traffic, and correct the plan until it holds"
    add("--simulate", action="store_true", help=about)
    out = parser.add_argument_group("output")
    out.add_argument("--json", action="store_true", help="print one JSON document on stdout")
    about = "print the plan for another tool: dynamo (graphs, JSON), vllm (command lines), pypsa (loads by hour, CSV)"
    out.add_argument("--export", choices=EXPORTS, help=about)
    out.add_argument("--html", metavar="FILE", type=Path, help="write one offline HTML page")
    out.add_argument("--csv", metavar="DIR", type=Path, help=f"write {', '.join(TABLES)} there as CSV")
    out.add_argument("--parquet", metavar="DIR", type=Path, help="write the same tables as Parquet")
    parser.epilog = (
        "Exit 1 if a demand cannot be served: the shortage is reported in its own unit, with the smallest conflicting "
        "set of limits."
    )


def run(args: argparse.Namespace) -> int:
    """Plan and print; 1 where something is short, or time ran out before any plan."""
    from joulemill.api.planning import plan
    from joulemill.reports.played_wording import lines
    from joulemill.reports.text.page import prose
    from joulemill.reports.text.plan import show

    if args.export and args.json:
        raise InputError("--export prints another tool's format; leave --json out")
    for path in (args.csv, args.parquet):
        if path is not None and path.exists() and not path.is_dir():
            raise InputError(f"{path} is a file; name a folder")
    if args.html is not None and args.html.is_dir():
        raise InputError(f"--html {args.html} is a folder; name a file")
    check_page(args.html)
    with _bars() as tell:
        result = plan(
            args.file, changes=args.set, extras=not (args.quick or args.export), simulate=args.simulate, tell=tell
        )
    _write(args, result)
    if args.export:
        print_text(result.export(args.export))
    elif args.json:
        print_json(result.to_dict())
    else:
        console = results_console()
        show(result.study, console)
        if result.played is not None:
            prose(console, "", *lines(result.played, result.unit))
    return 0 if result.feasible and (result.played is None or result.played.holds) else 1


def _write(args: argparse.Namespace, result: FleetPlan) -> None:
    from joulemill.reports.html.plan import page

    if args.html is not None:
        write_text(args.html, page(result.study, result.played))
    for folder, write in ((args.csv, _csv), (args.parquet, _parquet)):
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            written: list[Any] = [*TABLES]
            for name in written:
                if result.rows(name):
                    write(folder, name, result)
        except OSError as fault:
            raise MachineError(f"{folder}: cannot be written ({fault.strerror}); choose another folder") from fault


def _csv(folder: Path, name: Any, result: FleetPlan) -> None:
    from joulemill.api.planning import columns_of

    columns = columns_of(result.rows(name))
    with (folder / f"{name}.csv").open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        writer.writerows(["" if v is None else csv_cell(v) for v in row] for row in zip(*columns.values(), strict=True))


def _parquet(folder: Path, name: Any, result: FleetPlan) -> None:
    try:
        import pyarrow.parquet as parquet
    except ImportError:
        raise InputError("--parquet needs pyarrow: pip install 'joulemill[parquet]'") from None
    parquet.write_table(result.to_frame(name, "pyarrow"), folder / f"{name}.parquet")


@contextmanager
def _bars() -> Iterator[Callable[[str, float], None]]:
    """A bar a phase on stderr, in a terminal only."""
    from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    console = progress_console()
    columns = (TextColumn("{task.description:<16}"), BarColumn(bar_width=24), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=console, disable=not sys.stderr.isatty()) as bars:

        def tell(phase: str, done: float) -> None:
            if phase not in tasks:
                tasks[phase] = bars.add_task(phase, total=1.0)
            bars.update(tasks[phase], completed=done)

        yield tell
