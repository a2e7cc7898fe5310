"""A run folder's content with a row of every kind and a manifest with every member."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from simulated.runs import steady_run

from joulemill.ledger.record import MachineSample, QualityAnswer, RunRecord, ServerSample
from tests.support.manifests import manifest_of


def _ceiling(value: float, unit: str) -> dict[str, Any]:
    return {
        "value": value,
        "low": 0.5 * value,
        "high": 2.0 * value,
        "unit": unit,
        "basis": "measured",
        "source": "a probe",
        "when": "2026-01-01T00:00:00+00:00",
    }


MANIFEST: dict[str, Any] = {
    "schema_version": 1,
    "created_wall_s": 1.77e9,
    "salt": "0123456789abcdef",
    "options": {
        "concurrency": 4,
        "rate_req_s": None,
        "trace": None,
        "duration_s": 60.0,
        "warmup_s": 1.0,
        "input_tokens": "128",
        "output_tokens": "64",
        "shared_prefix_tok": 0,
        "seed": 0,
        "slo_ttft_s": 0.2,
        "slo_tpot_s": 0.1,
        "quality": "small",
        "meters": ["nvml"],
        "threads": 2,
        "kv_type": "f16",
    },
    "versions": {"joulemill": "0.1.0", "python": "3.11.7"},
    "machine": {"cpu": "a CPU", "cpus": 2, "memory_byte": 25276063744, "virtual": True},
    "site": {"name": "hall", "pue": 1.2, "carbon_gco2e_kwh": 300, "price_currency_kwh": 0.1, "currency": "EUR"},
    "device": {"name": "h100", "kind": "gpu", "count": 1},
    "expected": {"device": 1},
    "machine_ceilings": {
        "compute_flop_s": _ceiling(1e11, "flop/s"),
        "compute_int8_flop_s": _ceiling(2e11, "flop/s"),
        "memory_bandwidth_byte_s": _ceiling(5e10, "byte/s"),
    },
    "server": {"url": "http://127.0.0.1:1/v1", "kind": "vllm", "version": "0.32", "models": ["m"], "slots": 4},
    "model": {"name": "Qwen/Qwen3-8B", "precision": "bf16"},
    "precision": "bf16",
}


def run_of_everything() -> RunRecord:
    """A steady run with samples of the server, of the machine, and answers of the quality set."""
    run = steady_run()
    begin, end = min(r.scheduled_mono_s for r in run.requests), max(r.scheduled_mono_s for r in run.requests)
    spots = [begin + (end - begin) * n / 10 for n in range(11)]
    return replace(
        run,
        manifest=manifest_of(MANIFEST),
        server=tuple(
            ServerSample(t, 1.77e9 + t, {"output_tok_total": 100.0 * n, "running_req": 4.0, "kv_use_ratio": 0.5})
            for n, t in enumerate(spots)
        ),
        machine=tuple(
            MachineSample(
                t_mono_s=t,
                t_wall_s=1.77e9 + t,
                load1=1.0,
                cpu_busy_ratio=0.5,
                steal_ratio=0.0,
                own_cpu_ratio=0.3,
                server_cpu_ratio=None,
                psi_some_ratio=0.0,
                loop_lag_s=0.001,
                client_cpu_ratio=0.2,
            )
            for t in spots
        ),
        quality=tuple(
            QualityAnswer(
                request_id=f"q{n}", task="t", question_id=f"{n}", scorer="exact", expected="4", answer="4", score=1.0
            )
            for n in range(3)
        ),
    )
