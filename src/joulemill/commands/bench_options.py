"""What ``bench``, ``sweep``, ``probe`` and ``find-rate`` have in common: their options, and those options checked."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from joulemill.units import parse_quantity

KV_TYPES = ("f16", "q8_0", "q4_0")


def run_arguments(parser: argparse.ArgumentParser) -> None:
    """The server, its load, and what the run's energy is accounted at."""
    _server_arguments(parser.add_argument_group("server"))
    _load_arguments(parser.add_argument_group("load"))
    _account_arguments(parser.add_argument_group("energy, site, targets"))


def series_arguments(group: Any, *, resumes: bool) -> None:
    """Where a series of runs goes, and how its result is shown."""
    about = "folder of the runs (default: a new one under runs/)" + ("; resumes an interrupted series" * resumes)
    group.add_argument("--out", type=Path, metavar="DIR", help=about)
    group.add_argument("--html", type=Path, metavar="FILE", help="the offline HTML page (default: in the folder)")
    group.add_argument("--json", action="store_true", help="print one JSON document on stdout")


def _server_arguments(group: Any) -> None:
    group.add_argument(
        "--url", metavar="URL", help="an OpenAI-compatible server; without it the embedded llama.cpp server is started"
    )
    group.add_argument("--model", metavar="NAME", help="model name at --url (default: the only one that it serves)")
    group.add_argument("--api", choices=("chat", "completions"), default="chat", help="which endpoint (default: chat)")
    group.add_argument(
        "--device",
        metavar="NAME[:COUNT]",
        help="hardware of --url, for its ceilings: see `joulemill show device`, or a TOML file of its facts",
    )
    group.add_argument(
        "--precision", metavar="FORMAT", help="what --url serves, where the server does not report it: fp8, awq, fp32 …"
    )
    group.add_argument(
        "--architecture", type=Path, metavar="FILE", help="config.json of the model at --url, for an alias's ceilings"
    )
    group.add_argument(
        "--metrics-url", metavar="URL", help="the server's Prometheus page, where it is at another address (gateway)"
    )
    group.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="send this header to --url (repeatable); VALUE env:VARIABLE takes a secret from the environment",
    )
    group.add_argument("--extra-body", metavar="JSON", help="more fields for each request, e.g. '{\"top_k\": 1}'")
    group.add_argument(
        "--server-pid",
        type=int,
        metavar="PID",
        help="server process on this machine (default: the one that listens on its port)",
    )
    group.add_argument("--devices", type=int, metavar="N", help="number of devices (default: 1)")
    group.add_argument("--gguf", type=Path, metavar="FILE", help="model of the embedded server (default: SmolLM2-135M)")
    group.add_argument("--threads", type=int, metavar="N", help="threads of the embedded server (default: all cores)")
    group.add_argument(
        "--max-num-seqs", type=int, metavar="N", help="most concurrent requests of the embedded server (its slots)"
    )
    group.add_argument("--context", type=int, metavar="TOK", help="context of each slot of the embedded server")
    group.add_argument(
        "--kv-dtype", choices=KV_TYPES, metavar="FORMAT", help=f"format of the KV cache: {', '.join(KV_TYPES)}"
    )
    group.add_argument("--no-prompt-cache", action="store_true", help="disable the embedded server's prompt cache")
    group.add_argument("--draft-gguf", type=Path, metavar="FILE", help="draft model for speculative decoding")


def _load_arguments(group: Any) -> None:
    group.add_argument(
        "--concurrency", type=int, metavar="N", help="closed loop with N concurrent requests (default: 4)"
    )
    group.add_argument("--rate", metavar="REQ/S", help="open loop: mean requests per second")
    group.add_argument(
        "--burstiness", default="1", metavar="X", help="gaps of --rate: 1 Poisson, <1 bursty, inf constant"
    )
    group.add_argument("--trace", type=Path, metavar="FILE", help="replay CSV or JSONL: time, input and output tokens")
    group.add_argument("--speed", default="1", metavar="X", help="replay --trace X times as fast (default: 1)")
    for flag, what in (("--input-scale", "prompts"), ("--output-scale", "answers")):
        group.add_argument(flag, default="1", metavar="X", help=f"{what} of --trace X times as long (default: 1)")
    group.add_argument("--turns", type=int, default=1, metavar="N", help="conversations of N turns in a closed loop")
    group.add_argument(
        "--think", default="0s", metavar="TIME", help="pause between an answer and the next turn (default: 0 s)"
    )
    group.add_argument(
        "--until", metavar="X%", help="end once the rate's 95 %% interval is within X%% (at most --duration, 15 min)"
    )
    group.add_argument("--duration", metavar="TIME", help="length of the load, e.g. 90s (default: 60 s)")
    group.add_argument("--requests", type=int, metavar="N", help="end after N requests")
    group.add_argument("--warmup", default="8s", metavar="TIME", help="first part of the load, left out (default: 8 s)")
    group.add_argument("--idle", default="5s", metavar="TIME", help="idle baseline before the load (default: 5 s)")
    group.add_argument(
        "--input-tokens", default="128", metavar="TOK", help="'128', '64-256', 'normal:128:32' … (default: 128)"
    )
    group.add_argument("--output-tokens", default="64", metavar="TOK", help="the same for output tokens (default: 64)")
    group.add_argument("--shared-prefix", type=int, default=0, metavar="TOK", help="tokens that all prompts begin with")
    group.add_argument("--timeout", default="300s", metavar="TIME", help="time limit of one request (default: 300 s)")
    group.add_argument(
        "--retries", type=int, default=2, metavar="N", help="retries after HTTP 429 or a lost connection (default: 2)"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="seed of arrivals and lengths (default: 0)")
    group.add_argument(
        "--salt",
        metavar="TEXT",
        help="salt of the prompts' words; that of an earlier run.json repeats its prompts (default: new)",
    )


def _account_arguments(group: Any) -> None:
    group.add_argument(
        "--meter", action="append", metavar="SPEC", help="auto, nvml, rapl, declared:idle=60W,busy=180W …"
    )
    group.add_argument(
        "--sample-period", default="0.2s", metavar="TIME", help="interval between meter readings (default: 0.2 s)"
    )
    group.add_argument("--site", type=Path, metavar="FILE", help="site file (TOML): PUE, limits, carbon, price")
    group.add_argument("--slo-ttft", metavar="TIME", help="target for the time to first token, e.g. 500ms")
    group.add_argument("--slo-tpot", metavar="TIME", help="target for the time per output token, e.g. 30ms")
    group.add_argument(
        "--quality",
        default="small",
        metavar="FILE",
        help="JSONL questions, 'small' (default), 'none', or lm-eval:FILE, the results of lm-evaluation-harness",
    )


def arguments_of(args: argparse.Namespace) -> dict[str, Any]:
    """The flags as arguments of ``joulemill.bench``, in SI units. Raises InputError for the first that can't be."""
    return dict(
        url=args.url,
        model=args.model,
        api=args.api,
        gguf=args.gguf,
        threads=args.threads,
        slots=args.max_num_seqs,
        context_tok=args.context,
        kv_type=args.kv_dtype,
        cache_prompt=False if args.no_prompt_cache else None,
        draft_gguf=args.draft_gguf,
        concurrency=args.concurrency,
        rate_req_s=None if args.rate is None else parse_quantity(args.rate, "req/s", name="--rate"),
        burstiness=_burstiness(args.burstiness),
        trace=args.trace,
        duration_s=_seconds(args.duration, "--duration"),
        requests=args.requests,
        warmup_s=parse_quantity(args.warmup, "s", name="--warmup"),
        idle_s=parse_quantity(args.idle, "s", name="--idle"),
        input_tokens=args.input_tokens,
        output_tokens=args.output_tokens,
        shared_prefix_tok=args.shared_prefix,
        seed=args.seed,
        timeout_s=parse_quantity(args.timeout, "s", name="--timeout"),
        retries=args.retries,
        meters=tuple(args.meter or ("auto",)),
        sample_period_s=parse_quantity(args.sample_period, "s", name="--sample-period"),
        site=args.site,
        slo_ttft_s=_seconds(args.slo_ttft, "--slo-ttft"),
        slo_tpot_s=_seconds(args.slo_tpot, "--slo-tpot"),
        quality=None if args.quality == "none" else args.quality,
        out=args.out,
        device=args.device,
        devices=args.devices,
        **_shape(args),
        salt=args.salt,
        metrics_url=args.metrics_url,
        headers=args.header,
        extra_body=args.extra_body,
        server_pid=args.server_pid,
        precision=args.precision,
        architecture=args.architecture,
    )


def _shape(args: argparse.Namespace) -> dict[str, Any]:
    """How a trace is changed, conversations, and when the load ends by itself."""
    return {
        "trace_speed_ratio": parse_quantity(args.speed, "", name="--speed"),
        "trace_input_scale_ratio": parse_quantity(args.input_scale, "", name="--input-scale"),
        "trace_output_scale_ratio": parse_quantity(args.output_scale, "", name="--output-scale"),
        "turns": args.turns,
        "think_s": parse_quantity(args.think, "s", name="--think"),
        "until_ratio": None if args.until is None else parse_quantity(args.until, "", name="--until"),
    }


def _seconds(text: str | None, name: str) -> float | None:
    return None if text is None else parse_quantity(text, "s", name=name)


def _burstiness(text: str) -> float:
    return float("inf") if text == "inf" else parse_quantity(text, "", name="--burstiness")
