"""Requests a second of CPU time that the engine's loop plays, and that the time grows linearly.

    python benchmarks/simulate_speed.py --trace ../shared/data/traces/AzureLLMInferenceTrace_conv.csv
    python benchmarks/simulate_speed.py --trace … --million

The trace goes through one replica of Llama-3.1-70B on eight H100, tables of step costs included; then twice, four and
eight times as long, the same hour again and again. ``--million`` plays a million requests, at four times the trace's
rate, with the memory that it took at most. CPU time, so that a neighbour who waits for the core does not count.
"""

from __future__ import annotations

import argparse
import csv
import resource
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from joulemill.catalog.serving import rates
from joulemill.prediction.predict import resolved
from joulemill.prediction.question import PredictionRequest
from joulemill.simulation.fleet import Fleet, Played, play
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


def timed(traffic: Traffic, replicas: int = 1) -> tuple[float, Played]:
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


def report(name: str, traffic: Traffic, cpu_s: float, run: Played) -> None:
    n = traffic.requests_count
    done = int(run.outcomes.completed.sum())
    print(
        f"{name}: {n:,} requests, {done:,} completed, {run.events_count:,} events, {cpu_s:.2f} s of CPU, "
        f"{n / cpu_s:,.0f} requests/s, {cpu_s / n * 1e6:.1f} µs a request"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, required=True)
    parser.add_argument("--million", action="store_true")
    arguments = parser.parse_args()
    traffic = read_trace(arguments.trace)
    timed(repeated(traffic, 1))
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
