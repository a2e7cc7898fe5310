"""Rows of published latency points, as their dumps write them, for tests."""

from __future__ import annotations

from pathlib import Path

from joulemill.prediction.precision import resolver
from joulemill.validation.row import MeasuredRow
from joulemill.validation.tables import read_table

COLUMNS = [
    "id",
    "silicon_data_source",
    "backend",
    "backend_version",
    "model_path",
    "system",
    "precision",
    "mode",
    "isl",
    "osl",
    "gemm_quant_mode",
    "batch_size",
    "tp_size",
    "attention_dp_size",
    "moe_tp_size",
    "moe_ep_size",
    "prefill_num_workers",
    "prefill_tp_size",
    "prefill_attention_dp_size",
    "prefill_moe_tp_size",
    "prefill_moe_ep_size",
    "decode_batch_size",
    "decode_num_workers",
    "decode_tp_size",
    "decode_attention_dp_size",
    "decode_moe_tp_size",
    "decode_moe_ep_size",
    "silicon_ttft_ms",
    "silicon_tpot_ms",
]
AGGREGATED = {"mode": "agg", "batch_size": "16", "tp_size": "8", "moe_tp_size": "8", "moe_ep_size": "1"}
APART = {
    "mode": "disagg",
    "prefill_tp_size": "8",
    "decode_tp_size": "8",
    "prefill_moe_ep_size": "8",
    "prefill_moe_tp_size": "1",
    "decode_moe_tp_size": "1",
    "decode_moe_ep_size": "8",
}
POOLS = {
    "prefill_num_workers": "3",
    "prefill_attention_dp_size": "1",
    "decode_batch_size": "16",
    "decode_num_workers": "4",
    "decode_attention_dp_size": "1",
}


def dumped(day: str, **more: str) -> dict[str, str]:
    source = f"source_file=2026-04-06.csv; silicon_concurrency=64; measured={day}T00:00:00Z"
    base = {
        "silicon_data_source": source,
        "backend": "trtllm",
        "backend_version": "1.2",
        "precision": "fp8",
        "model_path": "deepseek-ai/DeepSeek-R1",
        "system": "h200_sxm",
        "isl": "1024",
        "osl": "1024",
        "gemm_quant_mode": "fp8_block",
        "silicon_ttft_ms": "812.25",
        "silicon_tpot_ms": "16.125",
    }
    return base | more


def listed(day: str, **more: str) -> dict[str, str]:
    source = f"db-dump/2026-04-27; config_id=7; silicon_concurrency=64; measured={day}T00:00:00Z; workflow_run_id=1"
    return dumped(day) | {"silicon_data_source": source} | more


def read(path: Path, rows: list[dict[str, str]]) -> list[MeasuredRow]:
    table = path / "latency.csv"
    lines = [",".join(COLUMNS)] + [",".join(r.get(c, "") for c in COLUMNS) for r in rows]
    table.write_text("\n".join(lines) + "\n")
    found = read_table(table, resolver(None))
    assert not found.skipped
    return found.rows
