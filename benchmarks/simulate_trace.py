"""The engine's loop against requests that were served and timed: vLLM 0.19 on one RTX PRO 6000, nothing calibrated.

    python benchmarks/simulate_trace.py --trace ../shared/data/serving_traces/rtxpro6000_llama-3.1-8b

Plays the trace's own arrivals and lengths through the same model, board and limits, and prints means and percentiles
beside the measured ones, and how the running and waiting requests are followed from second to second. No coefficient
was fitted to this trace.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemill.catalog.serving import rates
from joulemill.prediction.predict import resolved
from joulemill.prediction.question import PredictionRequest
from joulemill.simulation.fleet import Fleet, FleetRun, play
from joulemill.simulation.replica_cost import ingest_s, kv_tok_capacity, step_cost
from joulemill.simulation.resting import always_loaded
from joulemill.simulation.scheduler import VLLM, EngineLimits
from joulemill.simulation.traffic import NS_IN_S, Traffic

Latencies = dict[str, NDArray[np.float64]]


def measured(folder: Path) -> tuple[Traffic, Latencies]:
    """Arrivals and lengths; latencies from arrival on. The engine's stamps have a clock of their own: it is set by the
    request that was queued soonest after it came."""
    rows = [json.loads(line) for line in (folder / "requests.jsonl").read_text("utf-8").splitlines()]
    rows.sort(key=lambda r: r["arrival_time"])
    column = {name: np.array([r[name] for r in rows]) for name in rows[0] if name != "request_id"}
    arrival = column["arrival_time"]
    offset = (column["queued_ts"] - arrival).min()
    first, last = (column[n] - offset - arrival for n in ("first_token_ts", "last_token_ts"))
    traffic = Traffic(
        arrival_ns=np.rint((arrival - arrival[0]) * NS_IN_S).astype(np.int64),
        input_tok=column["input_toks"],
        output_tok=column["output_toks"],
    )
    return traffic, latencies(first, last, column["output_toks"])


def latencies(first: NDArray[np.float64], last: NDArray[np.float64], output_tok: NDArray[np.int64]) -> Latencies:
    """By name [s]."""
    return {"TTFT": first, "TPOT": (last - first) / np.maximum(output_tok - 1, 1), "E2E": last}


def played(traffic: Traffic, meta: dict[str, Any]) -> FleetRun:
    """The same requests through the model."""
    engine = meta["engine_kwargs"]
    question = PredictionRequest(
        model=meta["model"],
        device="rtx-pro-6000",
        engine="vllm-0.19",
        max_num_seqs=engine["max_num_seqs"],
        max_num_batched_tokens=engine["max_num_batched_tokens"],
    )
    deployment, _, profile, _ = resolved(question)
    own = rates(profile)
    fixed_s, token_s = ingest_s(own.host)
    most_tok = float((traffic.input_tok + traffic.output_tok).max())
    limits = EngineLimits(
        policy=VLLM,
        max_num_seqs=engine["max_num_seqs"],
        max_num_batched_tokens=engine["max_num_batched_tokens"],
        kv_tok=kv_tok_capacity(deployment, most_tok),
        ingest_s=fixed_s,
        ingest_tok_s=token_s,
    )
    cost = step_cost(deployment, own, max_num_seqs=limits.max_num_seqs, most_context_tok=most_tok)
    rest = always_loaded(deployment.device.resting_w or 0.0)
    return play(traffic, Fleet(limits=limits, cost_at=lambda cap, clock: cost, rest=rest, least_interval_ns=0))


def followed(run: FleetRun, folder: Path) -> dict[str, tuple[float, float, float]]:
    """Measured mean, simulated mean and mean distance of running and waiting requests, at the trace's seconds."""
    with (folder / "timeseries.csv").open(encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    at_s = np.array([float(r["t"]) for r in rows])
    out = run.outcomes
    begun, ended = out.admitted_ns / NS_IN_S, out.finish_ns / NS_IN_S
    come = out.arrival_ns / NS_IN_S
    ours = {
        "running": np.array([((begun <= t) & (ended > t)).sum() for t in at_s]),
        "waiting": np.array([((come <= t) & (begun > t)).sum() for t in at_s]),
    }
    table = {name: np.array([float(r[name]) for r in rows]) for name in ours}
    return {n: (table[n].mean(), ours[n].mean(), np.abs(ours[n] - table[n]).mean()) for n in ours}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trace", type=Path, required=True)
    folder = parser.parse_args().trace
    meta = json.loads((folder / "meta.json").read_text("utf-8"))
    traffic, theirs = measured(folder)
    run = played(traffic, meta)
    out = run.outcomes
    first, last = ((t - out.arrival_ns) / NS_IN_S for t in (out.first_token_ns, out.finish_ns))
    ours = latencies(first, last, traffic.output_tok)
    print(f"{meta['model']}, vLLM {meta['vllm_version']}, {traffic.requests_count} requests, uncalibrated")
    for name, values in theirs.items():
        for what, of in (("mean", np.mean), *((f"p{q}", lambda x, q=q: np.percentile(x, q)) for q in (50, 90, 99))):
            a, b = float(of(values)), float(of(ours[name]))
            print(f"{name} {what:4}  measured {a:8.4f} s  simulated {b:8.4f} s  {b / a - 1:+.1%}")
    for name, (a, b, apart) in followed(run, folder).items():
        print(f"{name}: measured {a:.1f}, simulated {b:.1f} on average; {apart:.1f} apart from second to second")


if __name__ == "__main__":
    main()
