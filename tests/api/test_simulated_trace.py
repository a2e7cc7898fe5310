"""Requests that vLLM served, played through the same deployment: published stamps, no coefficient fitted to them."""

from __future__ import annotations

import json

import numpy as np
import pytest

import joulemill as jm
from tests.support.paths import DATA

TRACE = DATA / "serving_traces" / "rtxpro6000_llama-3.1-8b"
pytestmark = pytest.mark.skipif(not TRACE.is_dir(), reason="the published traces are not beside the project")
#: What the simulation is to be within, of the measured mean.
MOST_RATIO = {"tpot_s": 0.10, "e2e_s": 0.12, "ttft_s": 0.20}


def test_means_are_those_that_were_measured() -> None:
    rows = [json.loads(line) for line in (TRACE / "requests.jsonl").read_text("utf-8").splitlines()]
    column = {name: np.array([r[name] for r in rows]) for name in rows[0] if name != "request_id"}
    # The engine's clock is set by the request that was queued soonest after it came.
    come = column["arrival_time"] + (column["queued_ts"] - column["arrival_time"]).min()
    first, last = column["first_token_ts"], column["last_token_ts"]
    tpot_s = (last - first) / np.maximum(column["output_toks"] - 1, 1)
    measured = {"ttft_s": first - come, "tpot_s": tpot_s, "e2e_s": last - come}
    limits = json.loads((TRACE / "meta.json").read_text("utf-8"))["engine_kwargs"]
    simulated = jm.simulate(
        "meta-llama/Llama-3.1-8B",
        "rtx-pro-6000",
        engine="vllm-0.19",
        trace=TRACE / "requests.jsonl",
        max_num_seqs=limits["max_num_seqs"],
        max_num_batched_tokens=limits["max_num_batched_tokens"],
        scenarios=0,
    )
    latency = simulated.to_dict()["latency"]
    apart = {name: latency[name]["mean"] / values.mean() - 1.0 for name, values in measured.items()}
    assert all(abs(apart[name]) <= MOST_RATIO[name] for name in MOST_RATIO), apart
