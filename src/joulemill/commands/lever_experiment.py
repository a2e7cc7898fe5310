"""``joulemill levers measure``: real A/B runs of levers on the embedded server."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from joulemill.commands.output import check_page, print_series
from joulemill.errors import EXIT_INTERRUPTED
from joulemill.units import parse_quantity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    parser.description = (
        "Runs each lever for real on the embedded server, interleaved with the unchanged base, and compares what was "
        "measured with what was predicted."
    )
    add = parser.add_argument
    add("--only", default="", metavar="LEVERS", help="these levers, comma-separated (default: all that apply)")
    add("--repeats", type=int, default=3, metavar="N", help="runs per lever, in alternating order (default: 3)")
    add("--duration", default="20s", metavar="TIME", help="load of each run (default: 20s)")
    add("--warmup", default="5s", metavar="TIME", help="first part of each load, left out (default: 5s)")
    add("--gguf", type=Path, metavar="FILE", help="model (default: the bundled SmolLM2-135M)")
    add("--draft-gguf", type=Path, metavar="FILE", help="draft model for speculative decoding, of the same vocabulary")
    about = "the same weights in fewer bits (default: made with joulemill[levers])"
    add("--small-gguf", type=Path, metavar="FILE", help=about)
    add("--second-gguf", type=Path, metavar="FILE", help="another model, for a cascade of the two")
    add("--threads", type=int, metavar="N", help="threads of the server (default: all cores)")
    add("--concurrency", type=int, metavar="N", help="concurrent requests (default: 4)")
    add("--input-tokens", default="128", metavar="TOK", help="prompt tokens (default: 128)")
    add("--output-tokens", default="64", metavar="TOK", help="output tokens (default: 64)")
    add("--shared-prefix", type=int, default=64, metavar="TOK", help="tokens all prompts begin with (default: 64)")
    add("--meter", action="append", metavar="SPEC", help="as for bench (default: auto)")
    add("--quality", default="small", metavar="FILE", help="JSONL questions, 'small' (default) or 'none'")
    add("--out", type=Path, metavar="DIR", help="folder of the runs; resumes an interrupted experiment")
    add("--html", metavar="FILE", type=Path, help="the offline HTML page (default: levers.html in the folder)")
    add("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write the page. 0 done, 130 interrupted with what was measured kept."""
    from joulemill.api.series import measure_levers
    from joulemill.commands.progress import ProgressBar

    check_page(args.html)
    run_s, warmup_s = (parse_quantity(getattr(args, n), "s", name=f"--{n}") for n in ("duration", "warmup"))
    with ProgressBar() as progress:
        measured = measure_levers(
            only=[w.strip() for w in args.only.split(",") if w.strip()],
            repeats=args.repeats,
            run_s=run_s,
            small_gguf=args.small_gguf,
            second_gguf=args.second_gguf,
            draft_gguf=args.draft_gguf,
            out=args.out,
            progress=progress,
            gguf=args.gguf,
            threads=args.threads,
            concurrency=args.concurrency or 4,
            input_tokens=args.input_tokens,
            output_tokens=args.output_tokens,
            shared_prefix_tok=args.shared_prefix,
            warmup_s=warmup_s,
            meters=tuple(args.meter or ("auto",)),
            quality=None if args.quality == "none" else args.quality,
        )
    folder = measured.folder
    page = args.html or folder / "levers.html"
    print_series(measured, page, as_json=args.json)
    sys.stderr.write(f"\nruns kept in {folder}; page: {page}\n")
    if measured.status == "complete":
        return 0
    sys.stderr.write(
        f"joulemill levers measure: interrupted after {measured.result.runs} of {measured.result.planned} runs; rerun "
        f"with --out {folder} to resume\n"
    )
    return EXIT_INTERRUPTED
