"""Small result files in the shapes of other tools, with numbers chosen so that every figure can be worked out by hand.

One run each: requests sent one after the other from Unix time 1 800 000 000, each with its first token 0.1 s after
sending, 21 tokens in all, one every 0.02 s, so TPOT is 20 ms, the request lasts 0.5 s and the rate is 42 tok/s.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ORIGIN_S = 1_800_000_000.0
REQUESTS = 8
LAST_S = 0.5
TOKENS = 21


def guidellm(**more: Any) -> dict[str, Any]:
    """A GuideLLM report of version 2 with one synchronous benchmark."""
    requests = [_guidellm_request(n) for n in range(REQUESTS)]
    run = {
        "config": {
            "strategy": {"type_": "synchronous"},
            "backend": {"target": "http://127.0.0.1:8000", "model": "m"},
        },
        "metrics": {
            "output_tokens_per_second": {"successful": {"mean": 42.0}},
            "time_per_output_token_ms": {"successful": {"mean": 500.0 / 21}},
            "inter_token_latency_ms": {"successful": {"mean": 20.0, "percentiles": {"p50": 20.0}}},
        },
        "requests": {"successful": requests, "errored": [], "incomplete": []},
        "start_time": ORIGIN_S,
        "warmup_duration": 0.0,
    }
    return {"metadata": {"version": 2, "guidellm_version": "0.8.1"}, "benchmarks": [run], **more}


def _guidellm_request(n: int) -> dict[str, Any]:
    start = ORIGIN_S + n * LAST_S
    return {
        "request_id": f"r{n}",
        "info": {
            "timings": {
                "targeted_start": start,
                "request_start": start,
                "first_token_iteration": start + 0.1,
                "last_token_iteration": start + LAST_S,
                "request_end": start + LAST_S,
            }
        },
        "prompt_tokens": 10,
        "output_tokens": TOKENS,
    }


def aiperf_lines(own_tokens: int = TOKENS, usage: bool = True) -> list[dict[str, Any]]:
    """AIPerf's per-request records; ``own_tokens`` is what its tokenizer counted."""
    return [_aiperf_record(n, own_tokens, usage) for n in range(REQUESTS)]


def _aiperf_record(n: int, own_tokens: int, usage: bool) -> dict[str, Any]:
    start = int(ORIGIN_S * 1e9) + n * 500_000_000
    metrics: dict[str, Any] = {
        "time_to_first_token": {"value": 100.0, "unit": "ms"},
        "request_latency": {"value": 500.0, "unit": "ms"},
        "inter_chunk_latency": {"value": [20.0] * 20, "unit": "ms"},
        "output_sequence_length": {"value": own_tokens, "unit": "tokens"},
    }
    if usage:
        metrics["usage_completion_tokens"] = {"value": TOKENS, "unit": "tokens"}
        metrics["usage_prompt_tokens"] = {"value": 10, "unit": "tokens"}
    meta = {
        "x_request_id": f"r{n}", "request_start_ns": start, "request_end_ns": start + 500_000_000,
        "credit_issued_ns": start, "benchmark_phase": "profiling",
    }  # fmt: skip
    return {"metadata": meta, "metrics": metrics}


def aiperf_summary(**more: Any) -> dict[str, Any]:
    """AIPerf's summary with GPU energy: 336 J over 168 tokens, 4 s, so 2 J a token, 84 W."""
    return {
        "schema_version": "1.4",
        "aiperf_version": "0.13.0",
        "input_config": {
            "models": {"items": [{"name": "m"}]},
            "endpoint": {"urls": ["http://127.0.0.1:8000"]},
            "phases": [{"kind": "profiling", "type": "concurrency", "concurrency": 1}],
        },
        "request_latency": {"unit": "ms", "avg": 500.0, "p50": 500.0},
        "output_token_throughput": {"unit": "tokens/sec", "avg": 42.0},
        "total_output_tokens": {"unit": "tokens", "avg": 168.0},
        "total_usage_completion_tokens": {"unit": "tokens", "avg": 168.0},
        "nvidia_energy_per_output_token": {"unit": "mJ/token", "avg": 2000.0},
        "nvidia_total_gpu_energy": {"unit": "J", "avg": 336.0},
        "nvidia_average_gpu_power": {"unit": "W", "avg": 84.0},
        **more,
    }


def power_csv(watts: float = 100.0, begin_s: float = ORIGIN_S - 1.0, seconds: int = 8) -> str:
    """A wall meter's file: constant ``watts``, every 0.1 s."""
    rows = [f"{begin_s + n / 10:.1f},{watts}" for n in range(seconds * 10)]
    return "\n".join(["time,watts", *rows]) + "\n"


def write_json(path: Path, value: Any) -> Path:
    """``value`` as a JSON file."""
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    """``rows`` as JSON Lines."""
    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
    return path
