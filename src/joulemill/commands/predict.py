"""``joulemill predict``: rate, J/token, power and latency of a deployment before running it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from joulemill.commands.flags import in_flags
from joulemill.errors import InputError
from joulemill.streams import print_json, results_console
from joulemill.units import parse_count, parse_quantity, parse_ratio

if TYPE_CHECKING:
    from pathlib import Path

    from joulemill.api.prediction import MemoryShort


MOST_DEVICES = 1_000_000
MOST_CONCURRENCY_REQ = 100_000
MOST_SPREAD_RATIO = 5.0
MOST_CACHED_RATIO = 0.999
MOST_DRAFTED = 64
LEAST_CLOCK = 0.106
ENGINE_HELP = "vllm-0.11 (with measured energy), vllm-0.19, sglang, trtllm; vllm: release not stated (default)"
DRAFT_MODEL_HELP = "source of draft tokens: a model, or ngram (default: the model's own drafting layers)"
POOL = ("prefill_devices", "prefill_tp", "prefill_dp", "prefill_ep")
#: Option → (least, most) in SI units. Beyond these it is a slip of a unit.
BOUNDS = {
    "input_tokens": (1.0, 1e8),
    "output_tokens": (1.0, 1e8),
    "rate": (1e-6, 1e9),
    "slo_ttft": (1e-6, 86400.0),
    "slo_tpot": (1e-6, 3600.0),
    "power_cap": (1.0, 20e3),
    "max_num_batched_tokens": (1.0, 1e7),
}
LEAST_MEMORY_RATIO = 0.05


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    deployment_arguments(parser, required=True)
    parser.epilog = (
        "Exit 1 where the site's limits, the latency targets, the offered load or the devices' memory are not met: "
        "what is missed is reported first, and --json has meets and short_by."
    )
    parser.add_argument("--explain", action="store_true", help="print the terms of the arithmetic")
    parser.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def approximate_argument(parser: argparse.ArgumentParser) -> None:
    """The option that accepts a model which is not understood."""
    about = "predict with a model file that is not understood, as a plain decoder; intervals are three times wider"
    parser.add_argument("--approximate", action="store_true", help=about)


def deployment_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Options that describe a deployment, a workload and a site; ``required``: model and device must be named."""
    _deployment(parser.add_argument_group("deployment"), required=required)
    _engine(parser.add_argument_group("engine"))
    _workload(parser.add_argument_group("workload and targets"))
    site = parser.add_argument_group("site and coefficients")
    site.add_argument("--site", metavar="FILE", help="site file (TOML): PUE, limits, carbon, price")
    site.add_argument("--calibration", metavar="FILE", help="scales or coefficients that joulemill calibrate wrote")
    approximate_argument(parser)


def _deployment(group: Any, *, required: bool) -> None:
    add = group.add_argument
    add("--model", required=required, metavar="NAME", help="model name, or a config.json or GGUF file")
    about = "device of the catalog (joulemill show device), or a TOML file"
    add("--device", required=required, metavar="NAME[:COUNT]", help=about)
    add("--devices", type=int, metavar="N", help="devices in total (default: 1)")
    about = "tensor parallelism (default: as many devices as the attention heads divide over)"
    add("--tp", type=int, metavar="N", help=about)
    add("--dp", type=int, metavar="N", help="data-parallel attention ranks per replica")
    add("--ep", type=int, metavar="N", help="expert parallelism: devices that share the routed experts")
    add("--pp", type=int, metavar="N", help="pipeline parallelism: stages that the layers are split into")
    about = "devices of the prefill pool, in addition to --devices, which then only decode (disaggregated serving)"
    add("--prefill-devices", type=int, metavar="N", help=about)
    for name, what in (("tp", "tensor parallelism"), ("dp", "data-parallel ranks"), ("ep", "expert parallelism")):
        add(f"--prefill-{name}", type=int, metavar="N", help=f"{what} of the prefill pool")
    add("--precision", metavar="FORMAT", help="bf16, fp8, nvfp4, int4 … (default: as released)")
    add("--power-cap", metavar="POWER", help="power limit of one device, e.g. 500W")
    about = "locked core clock of the devices, e.g. 1410MHz, or its share of the highest, e.g. 70%%"
    add("--clock-lock", metavar="CLOCK", help=about)
    about = "server that holds the devices, e.g. hgx-hopper-8-liquid, pcie-2 (default: the usual one)"
    add("--node", metavar="NAME", help=about)


def engine_arguments(group: Any) -> None:
    """The engine and its limits, by vLLM's names."""
    add = group.add_argument
    add("--engine", default="vllm", metavar="NAME", help=ENGINE_HELP)
    add("--kv-dtype", metavar="FORMAT", help="format of the KV cache (default: as released)")
    add("--max-num-seqs", metavar="N", help="most concurrent requests per replica (default: 1024)")
    about = "most tokens per step, prefill and decode together (default: 8192)"
    add("--max-num-batched-tokens", default="8192", metavar="TOK", help=about)
    about = "share of device memory for weights and KV cache (default: 0.9)"
    add("--gpu-memory-utilization", default="0.9", metavar="SHARE", help=about)


def drafting_arguments(group: Any) -> None:
    """Speculative decoding: how many tokens are drafted, and by what."""
    about = "draft tokens per sequence and step, for speculative decoding (default: 0)"
    group.add_argument("--speculative-tokens", metavar="N", help=about)
    group.add_argument("--draft-model", metavar="NAME", help=DRAFT_MODEL_HELP)


def _engine(group: Any) -> None:
    engine_arguments(group)
    add = group.add_argument
    about = "compute prompts in parts, in the same steps as decoding (default), or whole, in separate steps"
    add("--chunked-prefill", action=argparse.BooleanOptionalAction, default=True, help=about)
    add("--enforce-eager", action="store_true", help="no captured graphs: every kernel is launched by the host")
    about = "of wide expert parallelism: two micro-batches that overlap (default: from 32 ranks on)"
    add("--two-batch-overlap", action=argparse.BooleanOptionalAction, default=None, help=about)
    about = "expert load balancing: loaded experts are kept twice (default: from 32 ranks on)"
    add("--eplb", action=argparse.BooleanOptionalAction, default=None, help=about)
    drafting_arguments(group)
    about = "acceptance rate of a draft token (default: as published for the model's own drafting layers, else 0.7)"
    add("--acceptance-rate", metavar="SHARE", help=about)


def _workload(group: Any) -> None:
    load = group.add_mutually_exclusive_group()
    load.add_argument("--concurrency", metavar="N", help="concurrent requests per replica")
    load.add_argument("--rate", metavar="REQ/S", help="requests per second offered to all replicas together")
    about = "the highest concurrency that meets --slo-ttft and --slo-tpot"
    load.add_argument("--fit-slo", action="store_true", help=about)
    add = group.add_argument
    add("--input-tokens", default="512", metavar="TOK", help="prompt tokens (default: 512)")
    add("--output-tokens", default="512", metavar="TOK", help="output tokens (default: 512)")
    about = "standard deviation over mean of the output lengths (default: 0)"
    add("--output-spread", default="0", metavar="RATIO", help=about)
    about = "share of prompt tokens that a prefix cache serves (default: 0)"
    add("--cached", default="0", metavar="SHARE", help=about)
    add("--slo-ttft", metavar="TIME", help="target for the time to first token, e.g. 500ms")
    add("--slo-tpot", metavar="TIME", help="target for the time per output token, e.g. 30ms")


def run(args: argparse.Namespace) -> int:
    """Predict and print, what is missed first; 1 where limits, targets or the offered load are not met."""
    from joulemill.api.prediction import MemoryShort, predict
    from joulemill.reports.text.prediction import show

    asked = arguments_of(args)
    try:
        predicted = predict(**asked)
    except MemoryShort as fault:
        return tell_does_not_fit(asked, fault, as_json=args.json)
    if args.json:
        print_json(predicted.to_dict())
    else:
        show(predicted.answer, results_console(), explain=args.explain)
    if not predicted.answer.prediction.batch.meets:
        sys.stderr.write(
            "joulemill predict: no concurrency meets the latency targets, not even a single request; relax --slo-ttft "
            "or --slo-tpot, or use more or faster devices per replica\n"
        )
    return 0 if predicted.meets else 1


def tell_does_not_fit(arguments: dict[str, Any], fault: MemoryShort, *, as_json: bool, run: Path | None = None) -> int:
    """Say that the devices do not hold the model, and what would fit; the exit code."""
    from joulemill.api.levers import memory_short_document
    from joulemill.api.prediction import MemoryShort

    in_words = MemoryShort(in_flags(str(fault)), fault.needed_byte, fault.room_byte)
    if as_json:
        print_json(memory_short_document(arguments, in_words, run))
    else:
        sys.stdout.write(f"DOES NOT FIT: {in_words}\n")
    return 1


def arguments_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options as arguments of ``joulemill.predict``, in SI units. InputError names the option that is wrong."""
    if args.fit_slo and args.slo_ttft is None and args.slo_tpot is None:
        raise InputError("--fit-slo needs a target: --slo-ttft, --slo-tpot, or both")
    _refuse_lists(args)
    _refuse_counts(args)
    device, devices = counted(args)
    _refuse_concurrency(args)
    return dict(
        model=args.model,
        device=device,
        devices=devices,
        tp=args.tp,
        ep=args.ep,
        dp=args.dp,
        pp=args.pp,
        **{name: getattr(args, name) for name in POOL},
        precision=args.precision,
        kv_dtype=args.kv_dtype,
        engine=args.engine,
        input_tokens=number(args, "input_tokens", "tok") or 0.0,
        output_tokens=number(args, "output_tokens", "tok") or 0.0,
        output_spread_ratio=parse_ratio(
            args.output_spread, name="--output-spread", most=MOST_SPREAD_RATIO, plain=MOST_SPREAD_RATIO
        ),
        cached_ratio=parse_ratio(args.cached, name="--cached", most=MOST_CACHED_RATIO),
        concurrency=whole(args, "concurrency"),
        max_num_seqs=whole(args, "max_num_seqs"),
        rate_req_s=number(args, "rate", "req/s"),
        slo_ttft_s=number(args, "slo_ttft", "s"),
        slo_tpot_s=number(args, "slo_tpot", "s"),
        power_cap_w=number(args, "power_cap", "W"),
        node=args.node,
        **_locked(args.clock_lock),
        gpu_memory_utilization=parse_ratio(
            args.gpu_memory_utilization, name="--gpu-memory-utilization", least=LEAST_MEMORY_RATIO
        ),
        max_num_batched_tokens=number(args, "max_num_batched_tokens", "tok") or 0.0,
        chunked_prefill=args.chunked_prefill,
        enforce_eager=args.enforce_eager,
        two_batch_overlap=args.two_batch_overlap,
        eplb=args.eplb,
        speculative_tokens=_drafted(args.speculative_tokens),
        acceptance_rate=None
        if args.acceptance_rate is None
        else parse_ratio(args.acceptance_rate, name="--acceptance-rate"),
        draft_model=args.draft_model,
        site=args.site,
        calibration=args.calibration,
        approximate=args.approximate,
    )


def _locked(stated: str | None) -> dict[str, float]:
    """A locked clock as an argument: in Hz, or as a share of the highest."""
    if stated is None:
        return {}
    if stated.strip().lower().endswith("hz"):
        return {"clock_hz": parse_quantity(stated, "Hz", name="--clock-lock", least=1e7, most=1e11)}
    return {"clock_ratio": parse_ratio(stated, name="--clock-lock", least=LEAST_CLOCK)}


def _drafted(stated: str | None) -> int:
    """Tokens drafted a step; 0 where none are."""
    return (
        0 if stated in (None, "0") else int(parse_count(stated or "", name="--speculative-tokens", most=MOST_DRAFTED))
    )


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
    return float(parse_count(stated, name=f"--{name.replace('_', '-')}", most=MOST_CONCURRENCY_REQ))


def _refuse_lists(args: argparse.Namespace) -> None:
    """Several values at once, which is a loop over calls."""
    for name in ("model", "device", "concurrency", "devices", "precision"):
        stated = str(getattr(args, name) or "")
        if "," in stated and "/" not in stated:
            first = stated.split(",")[0]
            raise InputError(
                f"--{name} {stated}: one value per call, e.g. --{name} {first}; for several, loop: "
                f"for x in {stated.replace(',', ' ')}; do joulemill {args.command} … --{name} $x --json; done"
            )


def _refuse_concurrency(args: argparse.Namespace) -> None:
    concurrency, most = whole(args, "concurrency"), whole(args, "max_num_seqs")
    if concurrency is not None and most is not None and concurrency > most:
        raise InputError(
            f"--concurrency {args.concurrency} is above --max-num-seqs {args.max_num_seqs}; give one of them"
        )


def _refuse_counts(args: argparse.Namespace) -> None:
    for name in ("devices", "tp", "ep", "dp", "pp", *POOL):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= MOST_DEVICES:
            raise InputError(f"--{name.replace('_', '-')} {value}: it must lie between 1 and {MOST_DEVICES:,}")


def counted(args: argparse.Namespace) -> tuple[str | None, int]:
    """The device and how many of it, which may stand with its name."""
    from joulemill.api.prediction import named_count

    device, devices = (None, args.devices) if args.device is None else named_count(args.device, args.devices)
    if devices is not None and devices > MOST_DEVICES:
        raise InputError(f"--device {args.device}: the devices must be at most {MOST_DEVICES:,}")
    return device, 1 if devices is None else devices
