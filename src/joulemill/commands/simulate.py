"""``joulemill simulate``: traffic through a deployment, with tokens, latency and power over time."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.commands.output import check_folder, check_page
from joulemill.commands.predict import (
    BOUNDS,
    LEAST_MEMORY_RATIO,
    MOST_DEVICES,
    MOST_DRAFTED,
    approximate_argument,
    counted,
    drafting_arguments,
    engine_arguments,
    number,
    whole,
)
from joulemill.errors import InputError
from joulemill.files import write_text
from joulemill.streams import print_json, results_console, tell
from joulemill.units import parse_count, parse_quantity, parse_ratio

if TYPE_CHECKING:
    from joulemill.api.simulation import SimulatedDeployment

#: Longest time and most requests that are no slip of a unit.
MOST_S, MOST_REQUESTS = 400 * 86400.0, 20_000_000
MOST_SCALE = 1e4
MOST_SCENARIOS = 1000
#: A lower share of correct answers is a slip of a unit.
LEAST_ACCURACY = 0.001
#: Requests up to which the folder is also that of a run, for report, compare, gate and diagnose.
MOST_RECORDED = 20_000

#: Options that --sweep takes; its file states all others.
OF_SWEEP = {"help", "sweep", "workers", "ray", "address", "chunk", "sensitivity", "out", "format", "json"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command."""
    _deployment(parser.add_argument_group("deployment"))
    _engine(parser.add_argument_group("engine"))
    _traffic(parser.add_argument_group("traffic"))
    _scaling(parser.add_argument_group("scaling a trace"))
    _site(parser.add_argument_group("targets, site and events"))
    _results(parser.add_argument_group("results"))
    _sweep(parser.add_argument_group("a design space"))
    of_one = {a.dest: (a.option_strings[-1], a.default) for a in parser._actions if a.dest not in OF_SWEEP}
    parser.set_defaults(of_one=of_one)


def _deployment(group: Any) -> None:
    add = group.add_argument
    add("--model", metavar="NAME", help="model name, or a config.json or GGUF file")
    add("--device", metavar="NAME[:COUNT]", help="device of the catalog (joulemill show device), or a TOML file")
    add("--devices", type=int, metavar="N", help="devices per replica group (default: 1)")
    add("--replicas", type=int, default=1, metavar="N", help="number of such groups (default: 1)")
    about = "tensor parallelism (default: as many devices as the attention heads divide over)"
    add("--tp", type=int, metavar="N", help=about)
    add("--dp", type=int, metavar="N", help="data-parallel attention ranks per replica")
    add("--ep", type=int, metavar="N", help="expert parallelism: devices that share the routed experts")
    about = "devices of the prefill pool, in addition to --devices, which then only decode (default: as many)"
    add("--prefill-devices", type=int, metavar="N", help=about)
    add("--prefill-tp", type=int, metavar="N", help="tensor parallelism of the prefill pool")
    add("--precision", metavar="FORMAT", help="bf16, fp8, nvfp4, int4 … (default: as released)")
    add("--power-cap", metavar="POWER", help="power limit of one device, e.g. 500W")
    about = "round-robin, least-load, prefix-aware, power-aware (default: least-load)"
    add("--router", default="least-load", metavar="NAME", help=about)
    about = "idle replicas: loaded, boost-off, sleep-1:60s, sleep-2:60s, unload:10min (default: loaded)"
    add("--rest", default="loaded", metavar="STATE", help=about)
    about = "replicas by their load: min=1,max=8,target=16[,every=10s][,patience=5min]; target: requests per replica"
    add("--autoscale", metavar="RULE", help=about)
    about = "a model that answers first: model=NAME,escalate=30%%[,devices=N][,tp=N][,replicas=N][,accuracy=70%%] …"
    add("--cascade", metavar="STAGE", help=about)
    add("--accuracy", metavar="SHARE", help="correct answers of this deployment, as declared")


def _engine(group: Any) -> None:
    engine_arguments(group)
    drafting_arguments(group)
    group.add_argument("--calibration", metavar="FILE", help="scales or coefficients that joulemill calibrate wrote")
    approximate_argument(group)


def _traffic(group: Any) -> None:
    add = group.add_argument
    about = "trace (CSV or JSON Lines: arrival time, input and output tokens), or another tool's result file"
    add("--trace", type=Path, metavar="FILE", help=about)
    add("--rate", metavar="REQ/S", help="requests (or sessions) per second")
    about = "prompt tokens: 512, 64-900, lognormal:512:300, lognormal:512:p90=900 (default: 512)"
    add("--input-tokens", default="512", metavar="TOK", help=about)
    add("--output-tokens", default="512", metavar="TOK", help="the same for output tokens (default: 512)")
    about = "reasoning on top of outputs: tokens=D (or share=60%% of them)[,budget=TOK][,loss=4%%]"
    add("--thinking", metavar="SPEC", help=about)
    add("--duration", metavar="TIME", help="length of the generated traffic, or of the first part of a trace")
    add("--requests", metavar="N", help="number of requests (default: 1000 if no duration is given)")
    about = (
        "constant, poisson, gamma:SHAPE; + diurnal:SWING, ramp:FROM:TO, spike:TIMES:AT:LENGTH, stages:2x60s,5x60s; "
        "+ agents:TURNS:WAIT[:ADDED] (default: poisson)"
    )
    add("--arrivals", default="poisson", metavar="SPEC", help=about)
    add("--shared-prefix", metavar="TOK", help="length of the prefix that prompts of a group share")
    add("--prefix-groups", metavar="N", default="1", help="groups that share a prefix (default: 1)")
    add("--seed", type=int, default=0, metavar="N", help="seed of all random draws (default: 0)")


def _scaling(group: Any) -> None:
    add = group.add_argument
    add("--speed", default="1", metavar="X", help="arrivals X times as fast")
    add("--volume", default="1", metavar="X", help="X times as many requests at the same times")
    add("--input-scale", default="1", metavar="X", help="prompts X times as long")
    add("--output-scale", default="1", metavar="X", help="answers X times as long")
    add(
        "--time-unit",
        default="",
        metavar="UNIT",
        choices=["s", "ms", "us", "ns"],
        help="unit of the trace's times: s, ms, us, ns",
    )


def _site(group: Any) -> None:
    add = group.add_argument
    add("--slo-ttft", metavar="TIME", help="target for the time to first token, e.g. 500ms")
    add("--slo-tpot", metavar="TIME", help="target for the time per output token, e.g. 30ms")
    add("--site", metavar="FILE", help="site file (TOML): PUE, limits, carbon, price")
    add("--events", metavar="FILE", help="events file (TOML): demand response, heat, load, and policies to compare")
    about = "share of the time in which a feed may be overloaded, for the headroom (default: 0.1%%)"
    add("--violation", default="0.1%", metavar="SHARE", help=about)


def _results(group: Any) -> None:
    add = group.add_argument
    add(
        "--out",
        type=Path,
        metavar="DIR",
        help="folder of the series, requests and document (default: a new one under runs/)",
    )
    add("--format", default="csv", choices=["csv", "parquet"], help="of the tables (default: csv)")
    about = "time step of the series: 0.25s or a multiple (default: from the duration, at most 3,600 steps)"
    add("--resolution", metavar="TIME", help=about)
    about = "repeated simulations for the intervals of latencies (default: 5 for up to 20,000 requests; 0: none)"
    add("--scenarios", metavar="N", help=about)
    add("--html", type=Path, metavar="FILE", help="also write the day as an offline page")
    add("--json", action="store_true", help="print one JSON document on stdout")


def _sweep(group: Any) -> None:
    add = group.add_argument
    about = "simulate every point of a TOML file instead: fixed, axes, ranges; --out DIR resumes an interrupted one"
    add("--sweep", type=Path, metavar="SPEC.toml", help=about)
    add("--workers", metavar="N", help="processes (default: one per core; 1: serial)")
    add("--ray", action="store_true", help="workers of a local Ray (pip install 'joulemill[ray]')")
    add("--address", metavar="HOST:PORT", help="workers of a Ray cluster, e.g. auto")
    add("--chunk", metavar="N", default="50", help="points per unit of work (default: 50)")
    about = "morris or sobol: which input moves the result most (pip install 'joulemill[sensitivity]')"
    add("--sensitivity", metavar="METHOD", help=about)


def run(args: argparse.Namespace) -> int:
    """Simulate, write the tables, print; 0. A sweep of which no point could be simulated: 1."""
    if args.sweep is not None:
        return _run_sweep(args)
    for name in ("workers", "address", "sensitivity"):
        if getattr(args, name) is not None or args.ray:
            raise InputError(f"--{name if not args.ray else 'ray'} is of --sweep; give both")
    if args.model is None or args.device is None:
        raise InputError("name the deployment: --model and --device; or a design space: --sweep SPEC.toml")
    return _run_one(args)


def _run_sweep(args: argparse.Namespace) -> int:
    from joulemill.api.simulation_sweep import load_sweep, simulate_sweep
    from joulemill.reports.text.simulation import show_sweep

    stray = next((flag for name, (flag, default) in args.of_one.items() if getattr(args, name) != default), None)
    if stray is not None:
        raise InputError(f"the file of --sweep states the deployments and their traffic; leave {stray} out")
    if args.out is None:
        raise InputError("--sweep needs --out DIR, where finished points are kept")
    ray = args.address if args.address is not None else "" if args.ray else None
    with _Bar() as tell_progress:
        swept = simulate_sweep(
            load_sweep(args.sweep, args.sensitivity),
            args.out,
            workers=_count(args, "workers"),
            ray=ray,
            chunk_points=_count(args, "chunk") or 1,
            form=args.format,
            progress=lambda done, count: tell_progress(f"{done:,} of {count:,} points"),
        )
    document = swept.to_dict()
    if args.json:
        print_json(document)
    else:
        show_sweep(document, results_console())
    return 0 if document["failed"] < document["points"] else 1


def _run_one(args: argparse.Namespace) -> int:
    from joulemill.api.prediction import MemoryShort
    from joulemill.api.simulation import DEPLOYMENT, simulate
    from joulemill.commands.predict import tell_does_not_fit

    asked = arguments_of(args)
    check_page(args.html)
    check_folder(args.out)
    try:
        with _progress() as progress:
            simulated = simulate(**asked, progress=progress)
    except MemoryShort as fault:
        return tell_does_not_fit({name: asked[name] for name in DEPLOYMENT}, fault, as_json=args.json)
    _written(simulated, args)
    return 0


def _written(simulated: SimulatedDeployment, args: argparse.Namespace) -> None:
    """The folder, the page, and what goes to stdout."""
    from joulemill.reports.simulation_files import write_folder
    from joulemill.reports.text.simulation import show

    document = simulated.to_dict()
    folder = write_folder(simulated.series(), simulated.requests(), document, args.out, args.format)
    reportable = document["requests"]["offered"] <= MOST_RECORDED and not (folder / "run.json").exists()
    if reportable:
        simulated.to_run(folder)
    if args.html is not None:
        from joulemill.reports.html.simulation import render

        write_text(args.html, render(document, simulated.all_series(), simulated.headline))
    if args.json:
        print_json(document)
        return
    show(document, results_console(), simulated.headline)
    tell(f"series, requests and document: {folder}" + (f"; joulemill report {folder}" if reportable else ""))


class _Bar:
    """A spinner on stderr for long runs; silent where stderr is no terminal."""

    def __init__(self) -> None:
        from joulemill.streams import progress_console

        console = progress_console()
        self._status = console.status("simulating") if console.is_terminal else None

    def __enter__(self) -> Any:
        if self._status is not None:
            self._status.start()
        return self.tell

    def tell(self, text: str) -> None:
        """What is done now."""
        if self._status is not None:
            self._status.update(f"simulating: {text}")

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()


def _progress() -> _Bar:
    return _Bar()


def arguments_of(args: argparse.Namespace) -> dict[str, Any]:
    """The options as arguments of ``joulemill.simulate``, in SI units. InputError names the option that is wrong."""
    device, devices = counted(args)
    for name in ("devices", "replicas", "tp", "dp", "ep", "prefill_devices", "prefill_tp"):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= MOST_DEVICES:
            raise InputError(f"--{name.replace('_', '-')} {value}: it must lie between 1 and {MOST_DEVICES:,}")
    names = (
        *("model", "replicas", "tp", "dp", "ep", "precision", "kv_dtype", "engine", "router"),
        *("rest", "site", "events", "calibration", "approximate", "prefill_devices", "prefill_tp", "draft_model"),
        *("autoscale", "cascade", "thinking"),
    )
    return {name: getattr(args, name) for name in names} | dict(
        device=device,
        devices=devices,
        max_num_seqs=whole(args, "max_num_seqs"),
        speculative_tokens=_count(args, "speculative_tokens", least=0, most=MOST_DRAFTED) or 0,
        power_cap_w=number(args, "power_cap", "W"),
        max_num_batched_tokens=number(args, "max_num_batched_tokens", "tok") or 0.0,
        gpu_memory_utilization=parse_ratio(
            args.gpu_memory_utilization, name="--gpu-memory-utilization", least=LEAST_MEMORY_RATIO
        ),
        accuracy_ratio=None
        if args.accuracy is None
        else parse_ratio(args.accuracy, name="--accuracy", least=LEAST_ACCURACY),
        slo_ttft_s=number(args, "slo_ttft", "s"),
        slo_tpot_s=number(args, "slo_tpot", "s"),
        resolution_s=_resolution_s(args),
        violation_ratio=parse_ratio(args.violation, name="--violation", most=0.5),
        scenarios=_count(args, "scenarios", least=0, most=MOST_SCENARIOS),
        **_traffic_of(args),
    )


def _traffic_of(args: argparse.Namespace) -> dict[str, Any]:
    scales = ("speed", "volume", "input_scale", "output_scale")
    return dict(
        trace=args.trace,
        rate_req_s=_quantity(args, "rate", "req/s", BOUNDS["rate"][1]),
        input_tokens=args.input_tokens,
        output_tokens=args.output_tokens,
        duration_s=_quantity(args, "duration", "s", MOST_S),
        requests=_count(args, "requests", most=MOST_REQUESTS),
        arrivals=args.arrivals,
        shared_prefix_tok=_count(args, "shared_prefix"),
        prefix_groups=_count(args, "prefix_groups"),
        time_unit=args.time_unit,
        seed=args.seed,
        **{f"{name}_ratio": _quantity(args, name, "", MOST_SCALE) for name in scales},
    )


def _quantity(args: argparse.Namespace, name: str, unit: str, most: float) -> float | None:
    """A quantity above 0; None where the option is not given."""
    stated, flag = getattr(args, name), f"--{name.replace('_', '-')}"
    return None if stated is None else parse_quantity(stated, unit, name=flag, above=0.0, most=most)


def _count(args: argparse.Namespace, name: str, least: int = 1, most: int | None = None) -> int | None:
    stated, flag = getattr(args, name), f"--{name.replace('_', '-')}"
    return None if stated is None else parse_count(stated, name=flag, least=least, most=most)


def _resolution_s(args: argparse.Namespace) -> float | None:
    """A multiple of a quarter of a second. InputError where it is none."""
    if args.resolution is None:
        return None
    width_s = parse_quantity(args.resolution, "s", name="--resolution", least=0.25, most=86400.0)
    if abs(width_s / 0.25 - round(width_s / 0.25)) > 1e-9:
        raise InputError(f"--resolution {args.resolution}: it must be a multiple of 0.25s, e.g. 0.25s, 1s or 15min")
    return width_s
