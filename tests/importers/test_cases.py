"""Result files on which imports once went wrong: read in full, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.formats.documents import parse_document
from joulemill.importers.opening import import_files, parse_documents
from joulemill.importers.recording import Choice
from tests.support import foreign_results
from tests.support.paths import SHARED

CASES = SHARED / "cases"
START_S = 1_788_250_400.0


def vllm(**changes: Any) -> dict[str, Any]:
    """A summary as ``vllm bench serve`` writes it."""
    return {
        "backend": "vllm",
        "model_id": "openai/gpt-oss-120b",
        "request_rate": "inf",
        "max_concurrency": 64,
        "duration": 100.0,
        "completed": 640,
        "total_input_tokens": 5_242_880,
        "total_output_tokens": 655_360,
        "request_throughput": 6.4,
        "output_throughput": 6553.6,
        "mean_ttft_ms": 800.0,
        **changes,
    }


def sglang(**changes: Any) -> dict[str, Any]:
    served = {"model_path": "meta-llama/Llama-3.1-405B-Instruct-FP8", "tp_size": 8, "version": "0.5.6"}
    told = {k: v for k, v in vllm(server_info=served, total_output_tokens_retokenized=655_000).items()}
    return {k: v for k, v in told.items() if k != "model_id"} | {"backend": "sglang", **changes}


def parsed(document: object, part: int | None = None, name: str = "result.json") -> Any:
    text = document if isinstance(document, str) else json.dumps(document)
    return parse_documents([parse_document(name, text.encode())], Choice(part))


# --- an odd field is unknown, the rest is read ---------------------------------------------------------------------
@pytest.mark.parametrize("odd", ["trace", "inf", None, -3.0, True, [1], {"a": 1}, "1e999"])
@pytest.mark.parametrize("field", ["request_rate", "max_concurrency"])
def test_an_odd_option_is_unknown_and_the_rest_is_read(field: str, odd: object) -> None:
    found = parsed(sglang(**{field: odd}))
    assert {s.name: s.value for s in found.stated}["output.rate_tok_s"] == 6553.6
    assert found.model["name"] == "meta-llama/Llama-3.1-405B-Instruct-FP8" and found.server["version"] == "0.5.6"
    assert "rate" not in found.options


@pytest.mark.finding("F24")
@pytest.mark.parametrize("bad", [-5.0, "n/a?", [], True, 1e300])
def test_a_stated_figure_that_cannot_be_is_left_out_and_told(bad: object) -> None:
    found = parsed(vllm(mean_ttft_ms=bad))
    assert not any(s.name == "latency.ttft_s.mean" for s in found.stated)
    assert any("latency.ttft_s.mean is left out" in w for w in found.warnings)
    assert all(s.value >= 0.0 for s in found.stated)


@pytest.mark.finding("F24")
def test_negative_joules_are_never_shown() -> None:
    row = "duration,emissions,energy_consumed,gpu_energy,cpu_energy,ram_energy\n100,0.1,-0.012,0.01,-1,0.001\n"
    found = parsed(row, name="emissions.csv")
    assert {s.name for s in found.stated} >= {"energy.device_j"} and "energy.node_j" not in {
        s.name for s in found.stated
    }
    assert sum("is left out" in w for w in found.warnings) >= 2
    assert not any("-8%" in w or "RAM" in w for w in found.warnings)


@pytest.mark.finding("F25")
def test_a_stated_figure_that_is_not_finite_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "emissions.csv"
    file.write_text("duration,emissions,energy_consumed,gpu_energy\n5e-324,0.1,0.012,0.01\n")
    record = import_files([file], Choice())
    assert all((s.value or 0.0) < 1e19 for s in record.manifest.stated or ())
    assert any("no finite figure" in w for w in record.manifest.warnings or ())


# --- several results in one file -----------------------------------------------------------------------------------
def test_appended_results_ask_which_one() -> None:
    lines = "\n".join(json.dumps(sglang(max_concurrency=c, output_throughput=10.0 * c)) for c in (1, 2, 4)) + "\n"
    with pytest.raises(InputError, match=r"holds 3 results; choose one with `part` \(1: concurrency 1"):
        parsed(lines, name="results.jsonl")
    found = parsed(lines, part=3, name="results.jsonl")
    assert found.options["concurrency"] == 4 and found.stated[0].value == 40.0
    with pytest.raises(InputError, match="holds 3 results"):
        parsed(lines, part=4, name="results.jsonl")


# --- a stated span and totals are joined to a meter ----------------------------------------------------------------
def smi(boards: int, seconds: range, watts: float) -> str:
    """An nvidia-smi log in UTC, one row a board and second, around 2026-09-01 08:13:20."""
    lines = ["timestamp, index, power.draw [W]"]
    for s in seconds:
        minute, second = divmod(13 * 60 + 20 + s, 60)
        lines += [f"2026/09/01 08:{minute:02d}:{second:02d}.000, {b}, {watts:.2f} W" for b in range(boards)]
    return "\n".join(lines) + "\n"


def joined(tmp_path: Path, boards: int, device: str, seconds: range = range(-30, 131), **fields: Any) -> dict[str, Any]:
    wall = {"benchmark_start_time_unix": START_S, "benchmark_end_time_unix": START_S + 100.0}
    results = foreign_results.write_json(tmp_path / "result.json", vllm(**wall, **fields))
    power = tmp_path / "gpu.csv"
    power.write_text(smi(boards, seconds, 650.0))
    words = ["import", str(results), "--meter-file", f"{power},tz=UTC,skew=0.1s", "--device", device]
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    from joulemill.analysis.load import load_report
    from joulemill.jsonable import plain

    document: dict[str, Any] = plain(load_report(tmp_path / "run"))
    return document


def test_a_summary_with_wall_times_is_joined_by_time(tmp_path: Path) -> None:
    """8 boards × 650 W × 100 s ÷ 655,360 tokens."""
    energy = joined(tmp_path, 8, "b200:8")["energy"]["device_j_tok"]
    assert energy["value"] == pytest.approx(8 * 650.0 * 100.0 / 655_360, rel=1e-3)
    assert energy["low"] < energy["value"] < energy["high"]


def test_a_summary_joined_to_too_few_boards_is_refused(tmp_path: Path) -> None:
    energy = joined(tmp_path, 3, "b200:8")["energy"]["device_j_tok"]
    assert energy["value"] is None and "3" in energy["reason"]


def test_a_summary_that_the_meter_covers_in_part_is_refused(tmp_path: Path) -> None:
    energy = joined(tmp_path, 8, "b200:8", range(40, 131))["energy"]["device_j_tok"]
    assert energy["value"] is None and energy["reason"]


def test_a_span_that_ends_before_it_starts_is_refused() -> None:
    with pytest.raises(InputError, match="ends before it starts"):
        parsed(vllm(benchmark_start_time_unix=START_S, benchmark_end_time_unix=START_S - 1.0))


@pytest.mark.parametrize("duration", [20.0, 500.0])
def test_a_span_that_is_not_the_duration_is_refused(duration: float) -> None:
    with pytest.raises(InputError, match=f"100.0 s by its start and end, {duration} s by its duration"):
        parsed(vllm(benchmark_start_time_unix=START_S, benchmark_end_time_unix=START_S + 100.0, duration=duration))


def test_rates_that_are_not_the_totals_over_the_duration_are_told() -> None:
    assert not any("contradicts itself" in w for w in parsed(vllm()).warnings)
    told = [w for w in parsed(vllm(output_throughput=99.0)).warnings if "contradicts itself" in w]
    assert len(told) == 1 and "output_throughput is 99, but total_output_tokens ÷ duration is" in told[0]


@pytest.mark.parametrize("limit", [2.5, -3, "all", None])
def test_a_limit_that_is_no_count_is_unknown(limit: object) -> None:
    assert "concurrency" not in parsed(vllm(max_concurrency=limit)).options


@pytest.mark.parametrize("tokens", [None, 0, float("nan")])
def test_joules_without_tokens_say_so(tmp_path: Path, tokens: float | None) -> None:
    energy = joined(tmp_path, 8, "b200:8", total_output_tokens=tokens)["energy"]["device_j_tok"]
    assert energy["value"] is None
    assert energy["reason"] == "no_tokens: totals: meters were read, but the file states no output tokens of the run"


def test_a_last_result_that_was_cut_off_is_left_out_and_said() -> None:
    whole = json.dumps(vllm())
    document = parse_document("r.jsonl", f"{whole}\n{whole[:200]}".encode())
    assert parse_documents([document], Choice()).warnings[0] == "r.jsonl: line 2 was cut off and is left out"
    with pytest.raises(InputError, match="line 2: is not JSON"):
        parse_document("r.jsonl", f"{whole}\n{whole[:200]}\n{whole}\n".encode())


# --- GenAI-Perf ----------------------------------------------------------------------------------------------------
def genai_perf(boards: int = 2) -> dict[str, Any]:
    power = {f"gpu{n}": {"unit": "W", "avg": 415.0} for n in range(boards)}
    return {
        "request_throughput": {"unit": "requests/sec", "avg": 2.05},
        "request_latency": {"unit": "ms", "avg": 3900.0},
        "time_to_first_token": {"unit": "ms", "avg": 35.0},
        "inter_token_latency": {"unit": "ms", "avg": 7.56},
        "output_token_throughput": {"unit": "tokens/sec", "avg": 1049.6},
        "telemetry_stats": {"gpu_power_usage": {"unit": "W", **power}},
        "input_config": {
            "model_names": ["Qwen/Qwen3-1.7B-FP8"],
            "subcommand": "profile",
            "endpoint": {"backend": "tensorrtllm"},
            "perf_analyzer": {"stimulus": {"concurrency": 8}},
        },
    }


def test_genai_perf_is_named_and_its_telemetry_read() -> None:
    found = parsed(genai_perf())
    stated = {s.name: s.value for s in found.stated}
    assert found.tool == "GenAI-Perf" and found.model["name"] == "Qwen/Qwen3-1.7B-FP8"
    assert stated["power.device_w"] == 830.0 and stated["latency.ttft_s.mean"] == 0.035
    assert found.options == {"concurrency": 8} and found.hardware["stated_devices"] == 2


def test_genai_perf_with_a_board_that_is_not_known_states_no_sum() -> None:
    document = genai_perf()
    document["telemetry_stats"]["gpu_power_usage"]["gpu1"]["avg"] = None
    assert "power.device_w" not in {s.name for s in parsed(document).stated}


# --- nothing is counted twice ---------------------------------------------------------------------------------------
@pytest.mark.finding("F21")
def test_requests_that_stand_twice_are_refused() -> None:
    lines = foreign_results.aiperf_lines()
    text = "\n".join(json.dumps(row) for row in [*lines, *lines])
    with pytest.raises(InputError, match="appear in it twice"):
        parsed(text, name="profile_export.jsonl")
    document = foreign_results.guidellm()
    done = document["benchmarks"][0]["requests"]["successful"]
    document["benchmarks"][0]["requests"]["successful"] = [*done, done[0]]
    with pytest.raises(InputError, match="appear in it twice"):
        parsed(document)


# --- InferenceX's schema version ------------------------------------------------------------------------------------
@pytest.mark.finding("F26")
@pytest.mark.parametrize("version", [None, 1, 3, "2b"])
def test_joules_of_another_schema_version_are_left_out(version: object) -> None:
    document = {
        "hw": "b200",
        "tp": 8,
        "conc": 64,
        "tput_per_gpu": 100.0,
        "power_valid": 1,
        "joules_per_output_token": 0.7,
        "power_metric_schema_version": version,
    }
    found = parsed(document)
    assert not any(s.name.startswith("energy") for s in found.stated)
    assert any("schema version" in w for w in found.warnings)
    document["power_metric_schema_version"] = 2
    assert {s.name for s in parsed(document).stated} >= {"energy.device_j_tok"}


# --- the public inputs ----------------------------------------------------------------------------------------------
@pytest.mark.skipif(not CASES.exists(), reason="../shared/cases is not beside this checkout")
@pytest.mark.parametrize(
    ("file", "part", "tool", "stated", "value"),
    [
        ("sglang-trace-rate/trace.jsonl", None, "SGLang bench_serving", "output.rate_tok_s", 280.0),
        ("sglang-jsonl/results.jsonl", 2, "SGLang bench_serving", "latency.ttft_s.mean", 1.5),
        ("genai-perf/profile_export_genai_perf.json", None, "GenAI-Perf", "power.device_w", 415.0),
    ],
)
def test_public_inputs(file: str, part: int | None, tool: str, stated: str, value: float) -> None:
    path = CASES / file
    found = parse_documents([parse_document(path.name, path.read_bytes())], Choice(part))
    assert found.tool == tool
    assert {s.name: s.value for s in found.stated}[stated] == pytest.approx(value)


@pytest.mark.skipif(not CASES.exists(), reason="../shared/cases is not beside this checkout")
def test_the_public_inferencex_result_is_joined_by_time(tmp_path: Path) -> None:
    folder = CASES / "inferencex-raw"
    words = ["import", str(folder / "result.json"), "--meter-file", f"{folder}/gpu_metrics.csv,tz=UTC,skew=0.1s"]
    assert main([*words, "--device", "b200:8", "--out", str(tmp_path / "run")]) == 0
    from joulemill.analysis.load import load_report

    figure = load_report(tmp_path / "run").energy.device_j_tok
    assert figure.value == pytest.approx(0.793, rel=0.01)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-8-sig", "utf-32"])
def test_results_in_another_encoding_are_read(encoding: str) -> None:
    document = parse_document("result.json", json.dumps(vllm()).encode(encoding))
    assert parse_documents([document], Choice()).model["name"] == "openai/gpt-oss-120b"
