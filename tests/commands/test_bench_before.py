"""What `joulemill bench` refuses before anything is started, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from simulated.mock_server import MockPlan, mock_process

from joulemill.bench.options import BenchOptions
from joulemill.bench.preflight import announced
from joulemill.cli import main

pytestmark = pytest.mark.apart

NOBODY = ["--url", "http://127.0.0.1:9"]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


WRONG = [
    (["--html", "."], "is a folder; name a file in it"),
    (["--html", "a.txt/page.html"], "is no folder"),
    (["--trace", "nofile.csv"], "cannot be read"),
    (["--gguf", "nofile.gguf"], "no such file"),
    (["--draft-gguf", "nofile.gguf"], "no such file"),
    (["--out", "old"], "holds a run already"),
    (["--out", "a.txt/run"], "is no folder"),
    (["--meter", "nvmml"], "no meter is called 'nvmml'"),
    (["--concurrency", "1000000", "--duration", "2s"], "more than 16384"),
    (["--duration", "1ms"], "--duration must be at least 0.5 s"),
    (["--warmup", "100s", "--duration", "2s"], "--warmup 100 s is more than"),
    (["--input-tokens", "12\x1e\x00"], "--input-tokens"),
    (["--input-tokens", "１２"], "--input-tokens"),
    (["--input-tokens", "9" * 4000], "--input-tokens"),
    (["--output-tokens", "normal:1e300:1e300"], "--output-tokens"),
    (["--metrics-url", "http://127.0.0.1:9/metrics"], "--metrics-url is for a running server"),
    ([*NOBODY, "--metrics-url", "127.0.0.1:9"], "--metrics-url"),
    ([*NOBODY, "--metrics-url", "http://u:p@h/metrics"], "--metrics-url"),
    ([*NOBODY, "--header", "nothing"], "NAME=VALUE"),
    ([*NOBODY, "--header", "X-A=b\r\nHost: evil"], "--header X-A"),
    ([*NOBODY, "--header", "Host=evil"], "--header Host"),
    ([*NOBODY, "--header", "Authorization=Bearer x"], "JOULEMILL_API_KEY"),
    ([*NOBODY, "--header", "X-A=env:NOT_THERE_AT_ALL"], "NOT_THERE_AT_ALL"),
    ([*NOBODY, "--extra-body", "[1]"], "JSON object"),
    ([*NOBODY, "--extra-body", '{"x": NaN}'], "JSON object"),
    ([*NOBODY, "--extra-body", "{" * 30_000], "--extra-body"),
    ([*NOBODY, "--extra-body", '{"a":' * 9_000 + "1" + "}" * 9_000], "--extra-body"),
    ([*NOBODY, "--extra-body", '{"stream": false}'], "stream is set by the load itself"),
    ([*NOBODY, "--server-pid", "0"], "--server-pid"),
    ([*NOBODY, "--server-pid", "99999999"], "no such process"),
    (["--url", "http://192.0.2.1", "--server-pid", "1"], "another machine"),
    ([*NOBODY, "--precision", "fp5"], "fp5"),
    ([*NOBODY, "--precision", " "], "--precision"),
    ([*NOBODY, "--architecture", "nofile.json"], "no such file"),
    ([*NOBODY, "--architecture", "a.txt"], "a.txt"),
    (["--url", "http://h:99999999"], "--url"),
    (["--url", "http://[::1"], "--url"),
]


@pytest.mark.parametrize(("words", "says"), WRONG, ids=[" ".join(w)[-40:].encode("ascii", "replace") for w, _ in WRONG])
def test_wrong_input_is_refused_at_once_in_one_line_and_leaves_nothing(
    words: list[str], says: str, capsys: pytest.CaptureFixture[str], elsewhere: Path
) -> None:
    (elsewhere / "a.txt").write_text("x")
    (elsewhere / "old").mkdir()
    (elsewhere / "old" / "run.json").write_text("{}")
    before, began_s = set(elsewhere.rglob("*")), time.process_time()
    assert main(["bench", *words]) == 2
    told = capsys.readouterr()
    assert says in told.err and told.err.strip().count("\n") == 0 and not told.out
    assert set(elsewhere.rglob("*")) == before
    assert time.process_time() - began_s < 10.0  # of this process alone: a busy machine makes no refusal slow


def test_a_server_that_is_not_there_leaves_no_folder(capsys: pytest.CaptureFixture[str], elsewhere: Path) -> None:
    assert main(["bench", *NOBODY, "--quality", "none"]) == 2
    assert "no server answers" in capsys.readouterr().err
    assert not list(elsewhere.iterdir())


def test_a_meter_that_does_not_open_leaves_no_folder(capsys: pytest.CaptureFixture[str], elsewhere: Path) -> None:
    with mock_process(MockPlan()) as url:
        words = ["bench", "--url", url, "--model", "mock-model", "--quality", "none"]
        assert main([*words, "--meter", "prometheus:http://127.0.0.1:9/metrics"]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not [p for p in elsewhere.rglob("*") if p.is_file()]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written(capsys: pytest.CaptureFixture[str], elsewhere: Path) -> None:
    (elsewhere / "locked").mkdir(mode=0o500)
    assert main(["bench", *NOBODY, "--out", "locked/run"]) == 2
    assert "may not be written" in capsys.readouterr().err


def test_what_a_server_serves_is_checked_and_kept(elsewhere: Path) -> None:
    from argparse import ArgumentParser

    from joulemill.api.benching import bench_options
    from joulemill.commands.bench import add_arguments, arguments_of

    config = {
        "model_type": "llama",
        "hidden_size": 576,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "intermediate_size": 1536,
        "tie_word_embeddings": True,
        "vocab_size": 49152,
        "architectures": ["LlamaForCausalLM"],
    }
    (elsewhere / "config.json").write_text(json.dumps(config))
    parser = ArgumentParser()
    add_arguments(parser)
    options = bench_options(**arguments_of(parser.parse_args([*NOBODY, "--architecture", ".", "--precision", "awq"])))
    assert options.precision == "awq" and options.architecture == config
    assert options.manifest()["architecture_path"] == "." and "architecture" not in options.manifest()


def test_how_long_it_takes_is_said_before() -> None:
    assert "about 73 s: 5 s idle, 8 s warm-up, 60 s load" in announced(BenchOptions(quality=None))
    assert "for 8 runs" in announced(BenchOptions(duration_s=20.0), 8)
    assert "until 9 requests are done" in announced(BenchOptions(requests=9))
    assert "questions" in announced(BenchOptions()) and "questions" not in announced(BenchOptions(quality=None))
