"""``joulemill import FILE``: another tool's results as a run folder, and the report of it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from joulemill.commands.inputs import keep_grid, site_of, with_quality
from joulemill.commands.output import verbose_argument
from joulemill.errors import MachineError
from joulemill.streams import print_json, tell


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help="result files of one run of one tool")
    parser.add_argument(
        "--meter-file", metavar="FILE[,OPTIONS]", help="a power file, joined by time; options as in --meter file:FILE"
    )
    parser.add_argument("--out", metavar="DIR", type=Path, help="the run folder to write (default: a new one in runs/)")
    parser.add_argument("--part", type=int, metavar="N", help="which benchmark of a file that holds several, from 1")
    parser.add_argument(
        "--client-tokens", action="store_true", help="use the tool's own token counts where the server reported none"
    )
    parser.add_argument(
        "--device", metavar="NAME[:COUNT]", help="the hardware, which result files do not state reliably"
    )
    parser.add_argument("--model", metavar="NAME", help="the model, where the file uses an unusual name")
    parser.add_argument("--site", type=Path, metavar="FILE", help="TOML: PUE, limits, carbon, price")
    parser.add_argument("--quality", metavar="lm-eval:FILE", help="accuracy measured by lm-evaluation-harness")
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write one offline HTML page")
    verbose_argument(parser)
    parser.add_argument("--json", action="store_true", help="print the report document as JSON on stdout")


def run(args: argparse.Namespace) -> int:
    """Read, write the run folder, print the report."""
    from joulemill.analysis.load import load_report
    from joulemill.analysis.serialization import plain
    from joulemill.bench.preflight import check_page
    from joulemill.catalog.stated_device import stated_device
    from joulemill.commands.output import print_terminal, write_page
    from joulemill.importers.opening import import_files
    from joulemill.importers.recording import Choice
    from joulemill.recording.writer import free_folder, write_run

    check_page(args.html)
    stated: dict[str, Any] = {}
    if args.model:
        stated["model"] = {"name": args.model}
    if args.device:
        stated["device"] = stated_device(args.device)
    if args.site:
        stated["site"] = site_of(args.site)
    record = import_files(args.files, Choice(args.part, args.client_tokens), args.meter_file, stated)
    if args.quality:
        record = with_quality(record, args.quality)
    out = args.out or free_folder(Path("runs"), time.time())
    try:
        write_run(out, record)
    except OSError as fault:
        raise MachineError(f"--out {out}: cannot be written ({fault.strerror})") from fault
    keep_grid(out)
    tell(f"run folder: {out}")
    report = load_report(out)
    if args.html:
        write_page(report, args.html)
    if args.json:
        print_json(plain(report))
    else:
        print_terminal(report, verbose=args.verbose)
    return 0
