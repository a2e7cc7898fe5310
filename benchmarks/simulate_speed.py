"""Requests a second of CPU time that the engine's loop plays, and that the time grows linearly.

    python benchmarks/simulate_speed.py --trace ../shared/data/traces/AzureLLMInferenceTrace_conv.csv
    python benchmarks/simulate_speed.py --trace … --million
    python benchmarks/simulate_speed.py --trace … --aisimulate ENV/bin/aisimulate

The trace goes through one replica of Llama-3.1-70B on eight H100, tables of step costs included; then twice, four and
eight times as long, the same hour again and again. ``--million`` plays a million requests, at four times the trace's
rate, with the memory that it took at most. CPU time, so that a neighbor who waits for the core does not count.
``--aisimulate`` plays the trace through NVIDIA AISimulate too, the same deployment and limits, from an environment of
its own (``pip install aisimulate==0.13.0.dev202610270000000085``, 1.5 GB); where it is absent, that is said.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from joulemill.catalog.serving import rates
from joulemill.prediction.predict import resolved
from joulemill.prediction.question import PredictionRequest
from joulemill.simulation.fleet import Fleet, FleetRun, play
from joulemill.simulation.replica_cost import at_setting, ingest_s, kv_tok_capacity, step_cost
from joulemill.simulation.resting import always_loaded
from joulemill.simulation.scheduler import VLLM, EngineLimits
from joulemill.simulation.traffic import Traffic


def read_trace(path: Path) -> Traffic:
    """Azure's columns."""
    with path.open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    at_ns = np.array([np.datetime64(r["TIMESTAMP"][:26], "ns") for r in rows]).astype(np.int64)
    return Traffic(
        arrival_ns=at_ns - at_ns[0],
        input_tok=np.array([max(int(r["ContextTokens"]), 1) for r in rows]),
        output_tok=np.array([max(int(r["GeneratedTokens"]), 1) for r in rows]),
    )


def repeated(traffic: Traffic, times: int, faster: float = 1.0) -> Traffic:
    """The same traffic again and again."""
    span_ns = int(traffic.arrival_ns[-1]) + 1
    at_ns = np.concatenate([traffic.arrival_ns + k * span_ns for k in range(times)])
    return Traffic(
        arrival_ns=np.rint(at_ns / faster).astype(np.int64),
        input_tok=np.tile(traffic.input_tok, times),
        output_tok=np.tile(traffic.output_tok, times),
    )


def timed(traffic: Traffic, replicas: int = 1) -> tuple[float, FleetRun]:
    """CPU seconds to build the tables and play."""
    start_s = time.process_time()
    question = PredictionRequest(model="meta-llama/Llama-3.1-70B", device="h100", devices=8, tp=8)
    deployment, _, profile, _ = resolved(question)
    own = rates(profile)
    fixed_s, token_s = ingest_s(own.host)
    most_tok = float((traffic.input_tok + traffic.output_tok).max())
    limits = EngineLimits(
        policy=VLLM,
        max_num_seqs=256,
        max_num_batched_tokens=8192,
        kv_tok=kv_tok_capacity(deployment, most_tok),
        ingest_s=fixed_s,
        ingest_tok_s=token_s,
    )
    fleet = Fleet(
        limits=limits,
        cost_at=lambda cap, clock: step_cost(
            at_setting(deployment, cap, clock), own, max_num_seqs=256, most_context_tok=most_tok
        ),
        rest=always_loaded(deployment.device.resting_w or 0.0),
        devices_count=8,
    )
    run = play(traffic, replace(fleet, replicas_count=replicas))
    return time.process_time() - start_s, run


def report(name: str, traffic: Traffic, cpu_s: float, run: FleetRun) -> None:
    n = traffic.requests_count
    done = int(run.outcomes.completed.sum())
    print(
        f"{name}: {n:,} requests, {done:,} completed, {run.events_count:,} events, {cpu_s:.2f} s of CPU, "
        f"{n / cpu_s:,.0f} requests/s, {cpu_s / n * 1e6:.1f} µs a request"
    )


AISIMULATE = """\
traffic:
  source: {{type: trace, paths: [{trace}], format: mooncake, block_size: 512}}
  load: {{type: trace_timestamps}}
engine:
  mode: aggregated
  model: meta-llama/Meta-Llama-3.1-70B
  hardware: h100_sxm
  backend: vllm
  workers:
    aggregated:
      parallelism: {{replicas: 1, tensor: 8}}
      scheduler: {{max_batched_tokens: 8192, max_sequences: 256}}
"""


def aisimulate(program: Path, traffic: Traffic, folder: Path) -> tuple[float, dict[str, Any]]:
    """CPU seconds of its whole process, and its report; no prompt of the trace shares a block with another."""
    trace, config, out = folder / "trace.jsonl", folder / "config.yaml", folder / "out"
    columns = (traffic.arrival_ns / 1e6, traffic.input_tok, traffic.output_tok)
    with trace.open("w", encoding="utf-8") as file:
        first = 0
        for at_ms, prompt, answer in zip(*(c.tolist() for c in columns), strict=True):
            ids = list(range(first, first - (-prompt // 512)))
            first += len(ids)
            row = {"timestamp": at_ms, "input_length": prompt, "output_length": answer, "hash_ids": ids}
            file.write(json.dumps(row) + "\n")
    config.write_text(AISIMULATE.format(trace=trace), encoding="utf-8")
    command = [str(program), "predict", "--config", str(config), "--output-dir", str(out)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent_s, json.loads((out / "prediction.json").read_text("utf-8"))


def beside(program: Path, traffic: Traffic) -> None:
    """The trace through both."""
    if not program.exists():
        print(f"AISimulate is not at {program}: skipped")
        return
    cpu_s, run = timed(traffic)
    report("ours", traffic, cpu_s, run)
    with tempfile.TemporaryDirectory() as scratch:
        theirs_s, theirs = aisimulate(program, traffic, Path(scratch))
    n, inside_s = traffic.requests_count, theirs["wall_time_ms"] / 1e3
    print(
        f"AISimulate: {n:,} requests, {theirs['completed_requests']:,} completed, {theirs_s:.2f} s of CPU with its "
        f"start; {inside_s:.2f} s by its own clock, {n / inside_s:,.0f} requests/s"
    )
    o, several = run.outcomes, traffic.output_tok > 1
    ttft = (o.first_token_ns - o.arrival_ns) / 1e6
    tpot = (o.finish_ns - o.first_token_ns)[several] / 1e6 / (traffic.output_tok[several] - 1)
    e2e = (o.finish_ns - o.arrival_ns) / 1e6
    for name, ours in (("ttft", ttft), ("tpot", tpot), ("e2e_latency", e2e)):
        mine = float(ours.mean()), float(np.median(ours)), float(np.percentile(ours, 99))
        other = (theirs[f"{statistic}_{name}_ms"] for statistic in ("mean", "median", "p99"))
        cells = (f"{a:,.1f} / {b:,.1f}" for a, b in zip(mine, other, strict=True))
        print(f"  {name:12} ours / AISimulate [ms]: mean {next(cells)}, median {next(cells)}, p99 {next(cells)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--million", action="store_true")
    parser.add_argument("--aisimulate", type=Path, metavar="PROGRAM", help="play the trace through AISimulate too")
    arguments = parser.parse_args()
    traffic = read_trace(arguments.trace)
    timed(repeated(traffic, 1))
    if arguments.aisimulate is not None:
        beside(arguments.aisimulate, traffic)
        return
    if arguments.million:
        many = repeated(traffic, -(-1_000_000 // traffic.requests_count), faster=4.0)
        report("a million", many, *timed(many, replicas=2))
        peak_byte = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"memory at most {peak_byte / 1e9:.2f} GB")
        return
    for times in (1, 2, 4, 8):
        more = repeated(traffic, times)
        report(f"{times} × the trace", more, *timed(more))


if __name__ == "__main__":
    main()
