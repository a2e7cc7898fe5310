"""``joulemill simulate``: JSON by its promised names, tables on disk, and wrong input in one line."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from joulemill.cli import main
from tests.support.command_lines import one_line
from tests.support.paths import EXAMPLES

BASE = ["simulate", "--model", "Qwen/Qwen3-8B", "--device", "h100", "--max-num-seqs", "64", "--scenarios", "0"]
RATE = ["--rate", "4", "--requests", "60", "--output-tokens", "32"]


def at(document: dict[str, Any], path: str) -> Any:
    for key in path.split("."):
        document = document[key]
    return document


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("simulate") / "run"
    code = main(
        [*BASE, *RATE, "--site", str(EXAMPLES / "site.toml"), "--out", str(out), "--html", str(out / "day.html")]
    )
    assert code == 0
    loaded: dict[str, Any] = json.loads((out / "simulation.json").read_text())
    return loaded


@pytest.mark.parametrize(
    "path",
    [
        *(f"latency.{x}.{p}" for x in ("ttft_s", "tpot_s", "e2e_s") for p in ("mean", "p50", "p90", "p99")),
        *(f"power.{s}_w.{p}" for s in ("device", "node", "site") for p in ("mean", "peak", "p50", "p95", "p99")),
        *(f"energy.{s}_j_tok.value" for s in ("device", "node", "site")),
        *("output.rate_tok_s.value", "energy.closure_j"),
        *(f"requests.{r}" for r in ("offered", "completed", "rejected", "preempted")),
        *(f"simulation.{s}" for s in ("requests_per_s", "events", "wall_s")),
    ],
)
def test_promised_names_hold_numbers(document: dict[str, Any], path: str) -> None:
    assert isinstance(at(document, path), int | float)


def test_series_and_requests_lie_where_the_document_says(document: dict[str, Any]) -> None:
    with Path(document["series"]).open() as lines:
        series = list(csv.DictReader(lines))
    assert {"t_s", "site_w", "output_tok_s", "constraint"} <= series[0].keys()
    with Path(document["requests_table"]).open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == document["requests"]["offered"] == 60
    assert float(rows[0]["ttft_s"]) > 0


def test_stdout_holds_one_document_and_parquet_the_same_rows(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main([*BASE, *RATE, "--json", "--format", "parquet", "--out", str(tmp_path)]) == 0
    printed = json.loads(capsys.readouterr().out)
    table = pq.read_table(printed["series"])
    assert table.num_rows > 0 and "device_w" in table.column_names
    assert pq.read_table(tmp_path / "requests.parquet").num_rows == 60


def test_people_read_joules_latency_and_speed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(
        "\n".join(json.dumps({"arrival_time": i * 0.5, "input_toks": 90, "output_toks": 8}) for i in range(9))
    )
    assert main([*BASE, "--trace", str(trace), "--out", str(tmp_path / "o")]) == 0
    shown = capsys.readouterr()
    for words in (
        "energy per token, nodes",
        "TTFT",
        "9 requests: 9 completed",
        "arrival_time: read as seconds",
        "simulated in",
    ):
        assert words in shown.out
    assert "series, requests and document" in shown.err


def test_policies_of_an_event_are_compared(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    events = tmp_path / "events.toml"
    events.write_text('policies = ["cap"]\n[[event]]\nname = "cut"\nstart = "5s"\nduration = "10s"\ncut = "20%"\n')
    words = [*BASE, *RATE, "--site", str(EXAMPLES / "site.toml"), "--events", str(events), "--out", str(tmp_path / "o")]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [p["policy"] for p in printed["policies"]] == ["none", "cap"]
    assert printed["policy"] == "cap"
    assert printed["events"][0]["limit_w"] == pytest.approx(0.8 * printed["policies"][0]["window_w"])


def test_replicas_follow_the_load_and_loading_is_counted(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Quiet, a spike for two minutes, quiet: one replica, then more, whose loading is in the transitions."""
    words = [*BASE, "--arrivals", "poisson+spike:12:60s:120s", "--rate", "1", "--duration", "10min"]
    words += [
        "--output-tokens",
        "200",
        "--autoscale",
        "min=1,max=4,target=8,every=5s,patience=60s",
        "--max-num-seqs",
        "16",
    ]
    assert main([*words, "--out", str(tmp_path / "o"), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["deployment"]["autoscale"]["most_count"] == printed["deployment"]["replicas"] == 4
    of = printed["replicas"]
    assert of["transitions"] >= 1 and 1.0 <= of["serving_mean"] < 4.0
    assert printed["energy"]["parts_j"]["transition"] == pytest.approx(of["transition_j"]) == 2500.0 * of["transitions"]
    assert printed["requests"]["completed"] == printed["requests"]["offered"]


def test_a_thinking_budget_and_a_cascade_say_what_a_correct_answer_costs(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    thinking = ["--thinking", "tokens=100-300,budget=200,loss=10%", "--accuracy", "80%"]
    cascade = ["--cascade", "model=Qwen/Qwen3-0.6B,escalate=25%,accuracy=60%"]
    assert main([*BASE, *RATE, *thinking, *cascade, "--out", str(tmp_path / "o")]) == 0
    shown = capsys.readouterr().out
    for words in (
        "energy per correct answer",
        "first answered by Qwen/Qwen3-0.6B",
        "budget of 200",
        "Qwen3-0.6B before",
    ):
        assert words in " ".join(shown.split())
    document = json.loads((tmp_path / "o" / "simulation.json").read_text())
    quality = document["quality"]
    completed = document["requests"]["completed"]
    correct_req = quality["accuracy"]["value"] * completed
    assert quality["correct_j"]["value"] == pytest.approx(document["energy"]["node_j"]["value"] / correct_req)
    assert quality["accuracy"]["basis"] == "declared"
    assert 0.6 < quality["accuracy"]["value"] < 0.8
    assert 0.3 < quality["thinking"]["cut_ratio"] < 0.7


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--rate", "4", "--autoscale", "max=4"], "target must be given"),
        (["--rate", "4", "--autoscale", "max=4,target=8", "--replicas", "3"], "leave --replicas out"),
        (["--rate", "4", "--thinking", "2000"], "no key=value"),
        (["--rate", "4", "--accuracy", "80"], "--accuracy"),
        (["--rate", "4", "--cascade", "model=Qwen/Qwen3-0.6B"], "escalate must be given"),
        (["--rate", "4", "--cascade", "model=Qwen/Qwen3-0.6Bx,escalate=5%"], "Qwen3-0.6B"),
        ([], "name the traffic"),
        (["--rate", "4", "--trace", "x.csv"], "give one of them"),
        (["--trace", "nowhere.csv"], "cannot be read"),
        (["--rate", "-1"], "--rate"),
        (["--rate", "4", "--duration", "10"], "no unit"),
        (["--rate", "4", "--arrivals", "poison"], "did you mean poisson"),
        (["--rate", "4", "--input-tokens", "many"], "--input-tokens"),
        (["--rate", "4", "--router", "best"], "least-load"),
        (["--rate", "4", "--rest", "nap"], "rest 'nap'"),
        (["--rate", "4", "--resolution", "0.3s"], "multiple of 0.25s"),
        (["--rate", "4", "--resolution", "0.1s"], "--resolution"),
        (["--rate", "4", "--events", "nowhere.toml"], "cannot be read"),
        (["--rate", "4", "--site", "nowhere.toml"], "nowhere.toml"),
        (["--rate", "4", "--replicas", "0"], "--replicas"),
        (["--rate", "4", "--speed", "2"], "--speed scales a trace"),
        (["--rate", "4", "--output-scale", "2"], "--output-scale scales a trace"),
        (["--trace", "x.csv", "--rate", "4"], "--speed makes"),
        (["--rate", "4", "--seed", "-1"], "--seed is -1"),
        (["--rate", "4", "--prefill-devices", "2"], "give --prefill-tp 1"),
        (["--rate", "4", "--violation", "5"], "--violation"),
        (["--rate", "4", "--shared-prefix", "1000000000000"], "a whole number from 1 to 40,960, the model's context"),
        (["--rate", "4", "--time-unit", "min"], "cannot be 'min'; there are s, ms, us, ns"),
        (["--rate", "4", "--slo-ttft", "100000s"], "between 1 µs and 86,400 s"),
        (["--rate", "4", "--out", "/dev/null"], "/dev/null is no folder; name another"),
        (["--rate", "4", "--html", "."], "is a folder; name a file in it"),
        (["--trace", "."], "is a folder; name a file in it"),
    ],
)
def test_wrong_input_is_one_line_and_exit_2(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    one_line([*BASE, *words], says, capsys)
    assert not list(tmp_path.iterdir())


def test_an_events_file_that_says_nothing_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "e.toml").write_text("# later\n")
    one_line([*BASE, "--rate", "4", "--events", str(tmp_path / "e.toml")], "says nothing; write what happens", capsys)


def test_too_little_memory_is_no_internal_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(**_: object) -> object:
        raise MemoryError("Unable to allocate 15.9 TiB")

    monkeypatch.setattr("joulemill.api.simulation.simulate", fails)
    one_line([*BASE, "--rate", "4", "--duration", "5s"], "has not enough memory for it; ask for less at once", capsys)


def test_a_bad_line_of_a_trace_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,input_tokens,output_tokens\n0,5,5\n1,5,-3\n")
    one_line([*BASE, "--trace", str(trace)], "line 3: output_tokens", capsys)


def test_a_trace_that_lasts_longer_than_power_is_kept_says_for_how_long_it_is(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("time_s,input_tokens,output_tokens\n0,5,5\n30000000,5,5\n")
    one_line([*BASE, "--trace", str(trace)], "(11.6 days) at most; give a shorter duration", capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["--model", "Qwen/Qwen3-32B", "--device", "l4"],
        # 16 GB of weights, of which vLLM would be let use 8 GB
        ["--model", "Qwen/Qwen3-8B", "--device", "h100", "--gpu-memory-utilization", "0.1"],
    ],
)
def test_a_model_that_does_not_fit_says_what_would_and_exits_1(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", *words, "--rate", "1", "--requests", "3"]) == 1
    shown = capsys.readouterr().out
    assert "DOES NOT FIT" in shown and "devices per replica (--devices" in shown


def test_a_shared_prefix_that_is_longer_than_the_prompts_is_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--shared-prefix", "100", "--input-tokens", "64", "--out", str(tmp_path / "o")]
    assert main([*BASE, *RATE, *words]) == 0
    assert "60 of 60 prompts have the shared prefix of 100 tokens and one of their own" in capsys.readouterr().out
