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
        "x_request_id": f"r{n}",
        "request_start_ns": start,
        "request_end_ns": start + 500_000_000,
        "credit_issued_ns": start,
        "benchmark_phase": "profiling",
    }
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


def aisimulate(**more: Any) -> dict[str, Any]:
    """AISimulate's report: four of five requests of 100 tokens in 2 s on 2 GPUs: 200 tok/s."""
    return {
        "num_requests": 5,
        "completed_requests": 4,
        "total_input_tokens": 4000,
        "total_output_tokens": 400,
        "duration_ms": 2000.0,
        "wall_time_ms": 150.0,
        "request_throughput_rps": 2.0,
        "output_throughput_tok_s": 200.0,
        "num_ttft_samples": 4,
        "num_tpot_samples": 4,
        "mean_ttft_ms": 100.0,
        "median_ttft_ms": 90.0,
        "p99_ttft_ms": 140.0,
        "mean_tpot_ms": 10.0,
        "median_tpot_ms": 10.0,
        "mean_e2e_latency_ms": 1090.0,
        "gpu_hours": 4.0 / 3600.0,
        "power_w": 487.5,
        "power_coverage": 0.95,
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


def requests(usage: int | None = 21) -> list[dict[str, Any]]:
    """Eight requests one after the other on a monotonic clock; the client's tokenizer counts 30 where usage says 21."""
    made: list[dict[str, Any]] = []
    for n in range(8):
        start = 900.0 + n / 2
        answer: dict[str, Any] = {
            "output_tokens": 30,
            "output_token_times": [start + 0.1 + 0.02 * k for k in range(21)],
        }
        if usage is not None:
            answer["server_usage"] = {"prompt_tokens": 10, "completion_tokens": usage}
        info = {"response_metrics": answer, "input_tokens": 10}
        made.append(
            {"scheduled_time": start, "start_time": start, "end_time": start + 0.5, "info": info, "error": None}
        )
    return made


def summary() -> dict[str, Any]:
    latency = {
        "time_to_first_token": {"mean": 0.11, "median": 0.1, "p99": 0.2},
        "normalized_time_per_output_token": {"mean": 0.024},
    }
    rates = {"output_tokens_per_sec": 42.0, "requests_per_sec": 2.0}
    return {
        "load_summary": {"count": 8, "requested_rate": 2.0},
        "successes": {"count": 8, "latency": latency, "throughput": rates, "output_len": {"mean": 21.0}},
        "failures": {"count": 0},
    }


def inferencex(**more: Any) -> dict[str, Any]:
    """8 GPUs at 600 W for 60 s over 30 000 tokens: 9.6 J a token."""
    return {
        "hw": "mi300x", "tp": 8, "conc": 64, "model": "m", "framework": "vllm", "precision": "fp8",
        "output_tput_per_gpu": 62.5, "mean_ttft": 0.25, "p99_tpot": 0.03, "power_valid": 1,
        "power_metric_schema_version": 2, "avg_total_gpu_power_w": 4800.0, "total_gpu_energy_j": 288000.0,
        "joules_per_output_token": 9.6, **more,
    }  # fmt: skip


def llmd(**more: Any) -> dict[str, Any]:
    latency = {
        "time_to_first_token": {"units": "ms", "mean": 110.0, "p50": 100.0},
        "time_per_output_token": {"units": "s/token", "mean": 0.02},
    }
    rates = {"output_token_rate": {"units": "tokens/s", "mean": 42.0}}
    engine = {
        "kind": "inference_engine",
        "tool": "vllm",
        "tool_version": "0.11",
        "role": "replica",
        "replicas": 1,
        "model": {"name": "m"},
        "accelerator": {"model": "H100", "count": 2, "parallelism": {"tp": 2}},
    }
    power = {"component_label": "vllm", "aggregate": {"power_consumption": {"units": "Watts", "mean": 900.0}}}
    return {
        "version": "0.2",
        "run": {"uid": "u"},
        "scenario": {
            "stack": [{"metadata": {"label": "vllm", "cfg_id": "1"}, "standardized": engine, "native": {}}],
            "load": {"standardized": {"tool": "guidellm", "tool_version": "0.8", "concurrency": 4}},
        },
        "results": {
            "request_performance": {"aggregate": {"latency": latency, "throughput": rates}},
            "observability": {"components": [power]},
        },
        **more,
    }


def mlenergy() -> dict[str, Any]:
    return {
        "model_id": "m",
        "max_num_seqs": 128,
        "duration": 135.2,
        "completed": 1024,
        "steady_state_duration": 100.0,
        "steady_state_energy": 50000.0,
        "steady_state_energy_per_token": 0.1,
        "total_output_tokens": 661234,
        "output_throughput": 4890.0,
        "median_itl_ms": 12.0,
        "request_rate": "inf",
    }


CODECARBON = (
    "timestamp,duration,emissions,cpu_energy,gpu_energy,ram_energy,energy_consumed,cpu_model,gpu_model,"
    "tracking_mode,codecarbon_version,pue\n"
    "2026-01-01T00:00:00,100,0.003,0.0012,0.006,0.0048,0.012,c,g,machine,3.3.2,{pue}\n"
)


def result(**more: Any) -> dict[str, Any]:
    """One request after the other: 0.1 s to the first of 21 tokens, 20 ms between them; perf_counter times."""
    return {
        "date": "20270115-080000", "backend": "vllm", "endpoint_type": "vllm", "model_id": "m",
        "num_prompts": 8, "request_rate": "inf", "burstiness": 1.0, "max_concurrency": 1,
        "duration": 4.0, "completed": 8, "failed": 0, "total_input_tokens": 80, "total_output_tokens": 168,
        "request_throughput": 2.0, "output_throughput": 42.0, "mean_ttft_ms": 100.0, "median_tpot_ms": 20.0,
        **more,
    }  # fmt: skip


def detail(**more: Any) -> dict[str, Any]:
    arrays = {
        "input_lens": [10] * 8,
        "output_lens": [21] * 8,
        "ttfts": [0.1] * 8,
        "itls": [[0.02] * 20] * 8,
        "start_times": [5000.0 + n / 2 for n in range(8)],
        "latencies": [0.5] * 8,
        "errors": [""] * 8,
    }
    return result(**{**arrays, **more})


#: As version 0.4.x lays it out (figures invented): a task, a group with two parts, a metric that is no share.
RESULTS: dict[str, Any] = {
    "results": {
        "gsm8k": {
            "alias": "gsm8k",
            "exact_match,strict-match": 0.5,
            "exact_match_stderr,strict-match": 0.05,
            "exact_match,flexible-extract": 0.75,
            "exact_match_stderr,flexible-extract": 0.04,
        },
        "mmlu": {"acc,none": 0.6, "acc_stderr,none": 0.02, "alias": "mmlu"},
        "mmlu_law": {"acc,none": 0.5, "acc_stderr,none": 0.025, "alias": " - law"},
        "mmlu_logic": {"acc,none": 0.75, "acc_stderr,none": 0.0218, "alias": " - logic"},
        "wikitext": {"word_perplexity,none": 12.3, "word_perplexity_stderr,none": "N/A"},
    },
    "groups": {"mmlu": {"acc,none": 0.6}},
    "group_subtasks": {"gsm8k": [], "mmlu": ["mmlu_law", "mmlu_logic"], "wikitext": []},
    "n-samples": {
        "gsm8k": {"original": 1319, "effective": 100},
        "mmlu_law": {"original": 400, "effective": 400},
        "mmlu_logic": {"original": 400, "effective": 400},
    },
    "model_name": "org/model",
    "lm_eval_version": "0.4.9",
}
