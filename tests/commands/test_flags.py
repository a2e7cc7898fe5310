"""One flag for one thing in every command, and a command line that starts at once."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import pytest

from joulemill.cli import COMMANDS, GROUPS, _parser, main

#: Names that meant the same as another command's flag, and what that flag is called everywhere.
RETIRED = {
    "--batch": "--concurrency", "--max-batch": "--max-num-seqs", "--slots": "--max-num-seqs", "--ttft": "--slo-ttft",
    "--tpot": "--slo-tpot", "--input": "--input-tokens", "--output": "--output-tokens", "--kv-type": "--kv-dtype",
    "--point-duration": "--duration", "--run-duration": "--duration", "--sweep": "sweep", "--probe": "probe",
    "--measure": "levers measure", "--find-rate": "find-rate",
}  # fmt: skip
DEPLOYMENT = {
    "--model", "--device", "--devices", "--tp", "--dp", "--ep", "--precision", "--kv-dtype", "--engine",
    "--max-num-seqs", "--max-num-batched-tokens", "--gpu-memory-utilization", "--power-cap", "--concurrency", "--rate",
    "--input-tokens", "--output-tokens", "--slo-ttft", "--slo-tpot", "--site", "--json",
}  # fmt: skip
LOAD = {
    "--model", "--device", "--devices", "--precision", "--kv-dtype", "--max-num-seqs", "--concurrency", "--rate",
    "--input-tokens", "--output-tokens", "--slo-ttft", "--slo-tpot", "--site", "--seed", "--json", "--html",
}  # fmt: skip
HEAVY = {"numpy", "scipy", "rich", "pydantic", "httpx", "jinja2"}
PREDICT = ["predict", "--model", "Qwen/Qwen3-8B", "--device", "h100"]


def flags(command: str) -> set[str]:
    parser = _parser(command)[1]
    assert isinstance(parser, argparse.ArgumentParser)
    return set(parser._option_string_actions)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_has_another_name_for_a_thing(command: str) -> None:
    assert not flags(command) & set(RETIRED)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("predict", DEPLOYMENT), ("levers", DEPLOYMENT | {"--html"}), ("bench", LOAD), ("sweep", LOAD),
        ("probe", LOAD), ("find-rate", LOAD),
        ("levers measure", {"--concurrency", "--input-tokens", "--output-tokens", "--json", "--html"}),
    ],
)  # fmt: skip
def test_commands_share_their_flags(command: str, expected: set[str]) -> None:
    assert not expected - flags(command)


def test_the_help_names_every_command_in_its_group_within_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"\n    {name}" in shown for name in COMMANDS) and all(f"\n{group}:\n" in shown for group in GROUPS)
    assert max(map(len, shown.splitlines())) <= 80


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys\nfrom joulemill.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"sys.stderr.write(' '.join(set(sys.modules) & {HEAVY}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_a_command_of_two_words_is_named_in_its_errors(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["levers", "measure", "--repeats", "two", "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.err.startswith("joulemill levers measure: argument --repeats")
    assert "see `joulemill levers measure --help`" in json.loads(shown.out)["error"]["message"]


def test_engine_limits_reach_the_prediction(capsys: pytest.CaptureFixture[str]) -> None:
    """Half of the memory holds fewer requests; KV room is memory × share − weights, so less than half as many."""

    def batch(name: str, *more: str) -> float:
        assert main([*PREDICT, "--rate", "1000", *more, "--json"]) in (0, 1)
        return float(json.loads(capsys.readouterr().out)["batch"][name])

    assert batch("most_req", "--gpu-memory-utilization", "0.45") < 0.5 * batch("most_req")
    assert batch("batch_req", "--max-num-seqs", "16") == 16
