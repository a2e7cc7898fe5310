"""Run folders that the first version wrote stay readable: their bare powers are the watts that they were."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.report import Report
from joulemill.analysis.run import analyze
from joulemill.catalog.stated_device import device_in
from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.ledger.manifest import StatedDevice, document
from joulemill.recording.reader import read_run
from joulemill.recording.rows import checked_manifest
from joulemill.recording.writer import write_run
from tests.support.manifests import manifest_of
from tests.support.recorded import recorded

#: Members of ``run.json`` as version 0.1.0 wrote them: `bench --site FILE --slo-tpot 50ms` on the embedded server.
FIRST_VERSION: dict[str, Any] = {
    "created_wall_s": 1795998005.9611745,
    "options": {
        "url": None,
        "model": None,
        "api": "chat",
        "gguf": None,
        "threads": 1,
        "slots": None,
        "context_tok": None,
        "kv_type": None,
        "cache_prompt": None,
        "draft_gguf": None,
        "draft_tok": None,
        "second_gguf": None,
        "concurrency": 2,
        "rate_req_s": None,
        "burstiness": 1.0,
        "trace": None,
        "duration_s": 5.0,
        "requests": None,
        "warmup_s": 1.0,
        "idle_s": 1.0,
        "drain_s": 60.0,
        "input_tokens": "16",
        "output_tokens": "16",
        "shared_prefix_tok": 0,
        "seed": 0,
        "timeout_s": 300.0,
        "retries": 2,
        "meters": ["declared:idle=60W,busy=180W"],
        "sample_period_s": 0.2,
        "machine_period_s": 1.0,
        "site_path": "old.toml",
        "slo_ttft_s": None,
        "slo_tpot_s": 0.05,
        "quality": "small",
        "quality_stated": None,
        "answer_ratio": 1.0,
        "out": "runs",
        "ignore_eos": True,
        "load_s": 5.0,
        "loop": "closed",
    },
    "versions": {"joulemill": "0.1.0", "python": "3.11.7", "aiohttp": "3.14.5", "numpy": "2.4.6"},
    "machine": {
        "cpu": "AMD EPYC",
        "cpus": 2,
        "cpus_usable": 2,
        "memory_byte": 25276063744,
        "system": "Linux",
        "kernel": "6.18",
        "architecture": "x86_64",
        "virtual": True,
    },
    "site": {
        "name": "Old site",
        "pue": 1.3,
        "it_power_limit": 400,
        "facility_power_limit": "1 kW",
        "cooling_limit": "600",
        "carbon_gco2e_kwh": 350,
        "carbon_kind": "location",
        "price_currency_kwh": "0.2",
        "currency": "EUR",
        "water_l_kwh": "unknown",
    },
    "device": None,
    "expected": {},
    "machine_ceilings": {
        "schema": 1,
        "when": "2026-11-30T00:20:00+00:00",
        "threads": 1,
        "machine": {
            "cpu": "AMD EPYC",
            "flags": [],
            "cpus": 2,
            "usable": 2,
            "memory_byte": 25276063744,
            "cache_byte": 33554432,
        },
        "load1": 3.8,
        "compute_flop_s": {
            "value": 4.57e10,
            "low": 2.86e10,
            "high": 6.38e10,
            "unit": "flop/s",
            "basis": "measured",
            "when": "2026-11-30T00:20:00+00:00",
            "source": "float32 matrix product of size 1280, 1 thread",
            "repetitions": 19,
            "dtype": "fp32",
        },
        "compute_int8_flop_s": {
            "value": 6.46e10,
            "low": 4.57e10,
            "high": 1.28e11,
            "unit": "flop/s",
            "basis": "modelled",
            "when": "2026-11-30T00:20:00+00:00",
            "source": "float32 rate times 1 to 2, by the CPU's int8 instructions",
            "reason": "int8 was not measured",
            "dtype": "int8",
        },
        "memory_bandwidth_byte_s": {
            "value": 1.44e10,
            "low": 8.02e9,
            "high": 1.63e10,
            "unit": "byte/s",
            "basis": "measured",
            "when": "2026-11-30T00:20:00+00:00",
            "source": "reads of 256 MiB, 1 thread",
            "repetitions": 95,
        },
        "cached": False,
    },
    "server": {
        "url": "http://127.0.0.1:46451/v1",
        "api": "chat",
        "embedded": True,
        "kind": "llama.cpp",
        "version": "b0-unknown",
        "model": "SmolLM2-135M",
        "models": ["SmolLM2-135M"],
        "max_context_tok": 2048,
        "metrics_url": "http://127.0.0.1:46451/metrics",
        "slots": 2,
        "ignore_eos": True,
    },
    "model": {
        "name": "SmolLM2-135M",
        "kv_type": "f16",
        "sha256": "b179c952",
        "precision": "Q4_1 weights, f16 KV cache",
        "threads": 1,
        "served_by": "xllamacpp 2026.10.11549",
        "gguf": {
            "file": "SmolLM2-135M.gguf",
            "file_byte": 98362432,
            "weight_byte": 96576768,
            "weight_count": 134515008,
            "metadata": {"general.architecture": "llama", "general.size_label": "135M"},
            "tensors": [["token_embd.weight", [576, 49152], "Q8_0", 30081024]],
        },
    },
    "prompt_line": {"overhead_tok": 36.9, "tok_word": 1.166},
    "schema_version": 1,
}


def first_version(path: Path, seed: int = 1, **site: Any) -> Path:
    """A run folder with a manifest of version 0.1.0."""
    made = recorded(path.with_name(f"{path.name}-made"), seed=seed)
    manifest = {**FIRST_VERSION, "site": {**FIRST_VERSION["site"], **site}, "created_wall_s": 1.7e9 + seed}
    write_run(path, dataclasses.replace(read_run(made), manifest=manifest_of(manifest)))
    return path


def power_limit_w(report: Report) -> float | None:
    return next(c.capacity.value for c in report.ceilings if c.name == "power" and c.capacity is not None)


def test_its_bare_powers_are_watts(tmp_path: Path) -> None:
    report = analyze(read_run(first_version(tmp_path / "run")))
    assert power_limit_w(report) == 400.0
    cooling = next(c for c in report.ceilings if c.name == "cooling")
    assert cooling.capacity is not None and cooling.capacity.value == 600.0


def test_the_schema_takes_every_member_that_it_wrote() -> None:
    assert document(checked_manifest(FIRST_VERSION, "run.json")) == FIRST_VERSION


@pytest.mark.parametrize("verb", [["report"], ["diagnose"]])
def test_report_and_diagnose_read_it(verb: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*verb, str(first_version(tmp_path / "run"))]) == 0
    assert "no unit" not in capsys.readouterr().err


def test_compare_and_gate_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = (str(first_version(tmp_path / f"run{n}", seed=n)) for n in (1, 2))
    assert main(["compare", one, two]) == 0
    assert main(["gate", one, two]) in (0, 3)
    assert "joulemill" not in capsys.readouterr().err


def test_what_cannot_be_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"pue = 120 cannot be.*joulemill report RUN --site FILE"):
        analyze(read_run(first_version(tmp_path / "run", pue=120)))


def test_a_users_file_with_a_bare_power_is_refused_all_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "site.toml").write_text("pue = 1.3\nit_power_limit = 400\n")
    run = first_version(tmp_path / "run")
    assert main(["report", str(run), "--site", str(tmp_path / "site.toml")]) == 2
    assert "400W, 400kW or 400MW" in capsys.readouterr().err


def test_bare_facts_of_a_kept_device_are_si() -> None:
    facts = {
        "name": "mine",
        "kind": "gpu",
        "memory": 80_000_000_000,
        "memory_bandwidth": "2 TB/s",
        "tdp": 300.0,
        "peak_bf16": 9e14,
    }
    device = device_in(StatedDevice(name="mine", kind="gpu", count=1, facts=facts))
    assert (device.memory_byte, device.memory_bandwidth_byte_s, device.tdp_w) == (8e10, 2e12, 300.0)


def test_a_run_names_no_file_to_open(tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text('kind = "gpu"\nmemory = "80 GB"\nmemory_bandwidth = "2 TB/s"\n')
    with pytest.raises(InputError, match="is not in the catalog"):
        device_in(StatedDevice(name=str(own), count=1))
