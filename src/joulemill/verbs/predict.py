"""``joulemill predict``: what a deployment nobody has run would do."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from joulemill.streams import print_json

if TYPE_CHECKING:
    from joulemill.reports.predict_view import Question


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    deployment_arguments(parser, required=True)
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
    """Predict and print; 1, with a line on stderr, where no batch meets the latency targets."""

    from joulemill.reports.predict_view import answer, document, text

    found = answer(question_of(args))
    if args.json:
        print_json(document(found))
    else:
        sys.stdout.write(text(found, explain=args.explain))
    if found.prediction.batch.meets:
        return 0
    sys.stderr.write(
        "joulemill predict: no batch meets the latency targets, not even one request; relax --ttft or --tpot, or use "
        "more or faster devices a replica\n"
    )
    return 1


def question_of(args: argparse.Namespace) -> Question:
    """What the options ask, in SI units. InputError names the option that is wrong."""
    from joulemill.errors import InputError
    from joulemill.reports.predict_view import Question
    from joulemill.units import parse_quantity

    def number(name: str, unit: str = "") -> float | None:
        given = getattr(args, name)
        return None if given is None else parse_quantity(given, unit, name=f"--{name.replace('_', '-')}")

    if args.fit_slo and args.ttft is None and args.tpot is None:
        raise InputError("--fit-slo needs a target: --ttft, --tpot, or both")
    return Question(
        args.model, args.device, args.devices, args.tp, args.ep, args.dp, args.precision, args.kv_dtype, args.engine,
        number("input") or 0.0, number("output") or 0.0, number("output_spread") or 0.0, number("cached") or 0.0,
        number("batch"), number("max_batch"), number("rate"), number("ttft", "s"), number("tpot", "s"),
        number("power_cap", "W"), site=args.site, calibration=args.calibration,
        approximate=args.approximate,
    )  # fmt: skip
