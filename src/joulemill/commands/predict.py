"""``joulemill predict``: what a deployment nobody has run would do."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from joulemill.errors import InputError
from joulemill.streams import print_json
from joulemill.units import parse_count, parse_quantity, parse_ratio

if TYPE_CHECKING:
    from joulemill.physics.serving.batch import MemoryShort
    from joulemill.prediction.question import Question


MOST_DEVICES = 1_000_000
MOST_BATCH_REQ = 100_000
MOST_SPREAD_RATIO = 5.0
MOST_CACHED_RATIO = 0.999
#: Option → (least, most) in SI units. Beyond these it is a slip of a unit.
BOUNDS = {
    "input": (1.0, 1e8), "output": (1.0, 1e8), "rate": (1e-6, 1e9), "ttft": (1e-6, 86400.0), "tpot": (1e-6, 3600.0),
    "power_cap": (1.0, 20e3),
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    deployment_arguments(parser, required=True)
    parser.epilog = (
        "Exit 1 where the site's limits, the latency targets, the offered load or the devices' memory are not met: "
        "this is said first, and --json has meets and short_by."
    )
    parser.add_argument("--explain", action="store_true", help="print the terms of the arithmetic")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def approximate_argument(parser: argparse.ArgumentParser) -> None:
    """The option that accepts a model which is not understood."""
    about = "predict with a model file that is not understood, as a plain decoder; intervals are three times wider"
    parser.add_argument("--approximate", action="store_true", help=about)


def deployment_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Options that describe a deployment, a workload and a site; ``required``: model and device must be named."""
    add = parser.add_argument
    add("--model", required=required, metavar="NAME", help="model name, or a config.json or GGUF file")
    add(
        "--device",
        required=required,
        metavar="NAME",
        help="device of the catalogue (joulemill show device), or a TOML file",
    )
    add("--devices", type=int, default=1, metavar="N", help="devices in all (default 1)")
    add(
        "--tp",
        type=int,
        metavar="N",
        help="tensor parallelism (default: as many devices as the heads can be cut over)",
    )
    add("--ep", type=int, metavar="N", help="devices that routed experts are spread over")
    add("--dp", type=int, metavar="N", help="ranks of data-parallel attention in a replica")
    add("--precision", metavar="FORMAT", help="bf16, fp8, nvfp4, int4 … (default: as released)")
    add("--kv-dtype", metavar="FORMAT", help="format of the key-value cache (default: as released)")
    add(
        "--engine",
        default="vllm",
        metavar="NAME",
        help="vllm (0.11, the one with measured energy), vllm-0.19, sglang, trtllm",
    )
    load = parser.add_mutually_exclusive_group()
    load.add_argument("--batch", metavar="N", help="requests in flight a replica")
    load.add_argument("--rate", metavar="REQ/S", help="requests offered a second, all replicas together")
    load.add_argument("--fit-slo", action="store_true", help="the largest batch that meets --ttft and --tpot")
    add("--ttft", metavar="TIME", help="target of the time to first token, e.g. 500ms")
    add("--tpot", metavar="TIME", help="target of the time per output token, e.g. 30ms")
    add("--max-batch", metavar="N", help="the engine's own limit on requests in flight (default 1024)")
    add("--input", default="512", metavar="TOK", help="prompt tokens (default 512)")
    add("--output", default="512", metavar="TOK", help="answer tokens (default 512)")
    add("--output-spread", default="0", metavar="RATIO", help="standard deviation over mean of answer lengths")
    add("--cached", default="0", metavar="SHARE", help="share of the prompt that a prefix cache serves")
    add("--power-cap", metavar="POWER", help="power limit of one device, e.g. 500W")
    add("--site", metavar="FILE", help="site file (TOML): PUE, limits, carbon, price")
    approximate_argument(parser)
    add("--calibration", metavar="FILE", help="coefficients fitted by joulemill calibrate")


def run(args: argparse.Namespace) -> int:
    """Predict and print, what is missed first; 1 where limits, targets or the offered load are not met."""
    from joulemill.physics.serving.batch import MemoryShort
    from joulemill.prediction.document import document
    from joulemill.prediction.predict import answer
    from joulemill.reports.text.prediction import text

    question = question_of(args)
    try:
        found = answer(question)
    except MemoryShort as fault:
        return tell_does_not_fit(question, fault, as_json=args.json)
    if args.json:
        print_json(document(found))
    else:
        sys.stdout.write(text(found, explain=args.explain))
    if not found.prediction.batch.meets:
        sys.stderr.write(
            "joulemill predict: no batch meets the latency targets, not even one request; relax --ttft or --tpot, or "
            "use more or faster devices a replica\n"
        )
    return 0 if found.meets else 1


def tell_does_not_fit(question: Question, fault: MemoryShort, *, as_json: bool) -> int:
    """Say that the devices do not hold the model, and what would fit; the exit code."""
    from joulemill.prediction.document import short_document_of

    if as_json:
        print_json(short_document_of(question, fault))
    else:
        sys.stdout.write(f"DOES NOT FIT: {fault}\n")
    return 1


def question_of(args: argparse.Namespace) -> Question:
    """What the options ask, in SI units. InputError names the option that is wrong."""
    from joulemill.prediction.question import Question

    if args.fit_slo and args.ttft is None and args.tpot is None:
        raise InputError("--fit-slo needs a target: --ttft, --tpot, or both")
    _refuse_lists(args)
    _refuse_counts(args)
    _refuse_batch(args)
    return Question(
        args.model, args.device, args.devices, args.tp, args.ep, args.dp, args.precision, args.kv_dtype, args.engine,
        number(args, "input", "tok") or 0.0, number(args, "output", "tok") or 0.0,
        parse_ratio(args.output_spread, name="--output-spread", most=MOST_SPREAD_RATIO, plain=MOST_SPREAD_RATIO),
        parse_ratio(args.cached, name="--cached", most=MOST_CACHED_RATIO),
        whole(args, "batch"), whole(args, "max_batch"), number(args, "rate", "req/s"), number(args, "ttft", "s"),
        number(args, "tpot", "s"), number(args, "power_cap", "W"), site=args.site, calibration=args.calibration,
        approximate=args.approximate,
    )  # fmt: skip


def number(args: argparse.Namespace, name: str, unit: str = "") -> float | None:
    """The quantity of one option within its bounds; None where it is not given. InputError names the option."""
    stated = getattr(args, name)
    least, most = BOUNDS[name]
    if stated is None:
        return None
    return parse_quantity(stated, unit, name=f"--{name.replace('_', '-')}", least=least, most=most)


def whole(args: argparse.Namespace, name: str) -> float | None:
    """The whole number of one option. InputError names the option."""
    stated = getattr(args, name)
    if stated is None:
        return None
    return float(parse_count(stated, name=f"--{name.replace('_', '-')}", most=MOST_BATCH_REQ))


def _refuse_lists(args: argparse.Namespace) -> None:
    """Several values at once, which is a loop over calls."""
    for name in ("model", "device", "batch", "devices", "precision"):
        stated = str(getattr(args, name) or "")
        if "," in stated and "/" not in stated:
            first = stated.split(",")[0]
            raise InputError(
                f"--{name} {stated}: one value a call, e.g. --{name} {first}; for several, loop: "
                f"for x in {stated.replace(',', ' ')}; do joulemill {args.verb} … --{name} $x --json; done"
            )


def _refuse_batch(args: argparse.Namespace) -> None:
    batch, most = whole(args, "batch"), whole(args, "max_batch")
    if batch is not None and most is not None and batch > most:
        raise InputError(f"--batch {args.batch} is above --max-batch {args.max_batch}; give one of them")


def _refuse_counts(args: argparse.Namespace) -> None:
    for name in ("devices", "tp", "ep", "dp"):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= MOST_DEVICES:
            raise InputError(f"--{name} {value}: it must lie between 1 and {MOST_DEVICES:,}")
