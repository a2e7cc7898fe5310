"""``joulemill import FILE``: another tool's results as a run folder, and the report of it."""

from __future__ import annotations

import argparse
from pathlib import Path

from joulemill.commands.output import check_page, print_terminal, verbose_argument
from joulemill.files import write_text
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
    parser.add_argument("--site", type=Path, metavar="FILE", help="site file (TOML): PUE, limits, carbon, price")
    parser.add_argument("--quality", metavar="lm-eval:FILE", help="accuracy measured by lm-evaluation-harness")
    parser.add_argument("--html", metavar="FILE", type=Path, help="also write one offline HTML page")
    verbose_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Read, write the run folder, print the report."""
    from joulemill.api.runs import import_run

    check_page(args.html)
    imported = import_run(
        *args.files,
        meter_file=args.meter_file,
        part=args.part,
        client_tokens=args.client_tokens,
        device=args.device,
        model=args.model,
        site=args.site,
        quality=args.quality,
        out=args.out,
    )
    tell(f"run folder: {imported.path}")
    if args.html:
        write_text(args.html, imported.page())
    if args.json:
        print_json(imported.to_dict())
    else:
        print_terminal(imported.report, verbose=args.verbose)
    return 0
