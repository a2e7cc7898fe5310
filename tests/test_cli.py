"""What all verbs have in common: streams, exit codes, one line an error, one document with --json, no traceback."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from joulemill import cli
from joulemill.cli import COMMANDS, main
from joulemill.errors import EXIT_INTERRUPTED, InputError, JoulemillError, MachineError, ServerError

pytestmark = pytest.mark.apart

PREDICT = ["predict", "--model", "Qwen/Qwen3-8B", "--device", "h100"]
COMMAND = [sys.executable, "-m", "joulemill"]

#: (arguments, a piece of the one line that says what is wrong)
WRONG = {
    "no command": ([], "required: COMMAND"),
    "misspelt command": (["prdict"], "did you mean predict?"),
    "unknown command": (["frobnicate"], "no command 'frobnicate'"),
    "misspelt flag": ([*PREDICT, "--precison", "fp8"], "did you mean --precision?"),
    "flag without a value": ([*PREDICT, "--tp"], "argument --tp: expected one argument"),
    "no number": ([*PREDICT, "--tp", "two"], "argument --tp: invalid int value: 'two'"),
    "negative value with a unit": ([*PREDICT, "--slo-tpot", "-5ms"], "cannot be"),
    "required flag": (["predict", "--model", "Qwen/Qwen3-8B"], "required: --device"),
    "file that is not there": (["report", "no-such-run"], "no-such-run"),
}


@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("as_json", [False, True])
def test_wrong_input_is_one_line_and_exit_2(case: str, as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    words, says = WRONG[case]
    assert main([*words, *(["--json"] if as_json else [])]) == 2
    shown = capsys.readouterr()
    assert says in shown.err and shown.err.count("\n") == 1
    if as_json:
        error = json.loads(shown.out)["error"]
        assert error["kind"] == "input" and error["exit_code"] == 2 and says in error["message"]
    else:
        assert shown.out == ""


def test_a_flag_given_twice_is_told_and_the_last_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main([*PREDICT, "--devices", "2", "--devices", "4", "--concurrency", "8", "--concurrency", "8", "--json"]) == 0
    )
    shown = capsys.readouterr()
    assert shown.err == "joulemill predict: --devices is given as 2 and as 4: the last counts\n"
    assert json.loads(shown.out)["deployment"]["devices"] == 4


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_on_stdout(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main([*command.split(), "--help"])
    assert end.value.code == 0 and f"usage: joulemill {command}" in capsys.readouterr().out


class Verb:
    """A verb that ends as it is told."""

    def __init__(self, fault: BaseException, before: str = "") -> None:
        self.fault, self.before = fault, before

    def add_arguments(self, parser: object) -> None:
        """None but --json."""
        parser.add_argument("--json", action="store_true")  # type: ignore[attr-defined]

    def run(self, args: object) -> int:
        sys.stdout.write(self.before)
        raise self.fault


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (InputError("wrong"), "input", 2),
        (ServerError("wrong"), "server", 1),
        (ServerError("wrong", usage=True), "server", 2),
        (MachineError("wrong"), "machine", 2),
        (KeyboardInterrupt(), "interrupted", EXIT_INTERRUPTED),
        (RecursionError("wrong"), "internal", 1),
        (MemoryError(), "machine", 2),
    ],
)
def test_every_fault_is_one_line_and_one_document(
    fault: BaseException, kind: str, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_module", lambda verb: Verb(fault))
    assert main(["show", "--json"]) == code
    shown = capsys.readouterr()
    assert json.loads(shown.out)["error"]["kind"] == kind and json.loads(shown.out)["error"]["exit_code"] == code
    assert shown.err.count("\n") == 1 and "Traceback" not in shown.err


def test_a_document_that_stands_is_not_followed_by_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_module", lambda verb: Verb(ServerError("broke"), before='{"a": 1}\n'))
    assert main(["show", "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {"a": 1}


def test_control_characters_of_a_message_stay_off_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cli, "_module", lambda verb: Verb(JoulemillError("model \x1b]0;PWNED\x07 \u202e is not known")))
    assert main(["show", "--json"]) == 2
    shown = capsys.readouterr()
    assert not {"\x1b", "\x07", "\u202e"} & set(shown.err + shown.out)
    assert "\u202e" in json.loads(shown.out)["error"]["message"], "JSON escapes it: nothing is lost"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_a_full_disk_behind_stdout_is_one_line(flags: list[str]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run([*COMMAND, *PREDICT, *flags], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and "cannot be written to stdout" in done.stderr and done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_changes_no_exit_code() -> None:
    script = "import sys; from joulemill.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", script, "show", "device"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(60) == 0 and told == b""


def test_an_ascii_terminal_gets_ascii() -> None:
    done = subprocess.run(
        [*COMMAND, *PREDICT], env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=False
    )
    assert done.returncode == 0 and done.stderr == b"" and done.stdout.isascii()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_verb_that_waits(number: signal.Signals, tmp_path: Path) -> None:
    """The verb hangs in a call that no exception ends: the watch over it does, for SIGTERM."""
    script = (
        "import signal, sys, time\nfrom joulemill import cli\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job hands down that it is ignored
        "class Verb:\n"
        "    @staticmethod\n    def add_arguments(parser): parser.add_argument('--json', action='store_true')\n"
        "    @staticmethod\n    def run(args):\n"
        "        sys.stderr.write('running\\n'); sys.stderr.flush(); time.sleep(60)\n"
        "cli._module = lambda verb: Verb\nsys.exit(cli.main(['show', '--json']))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None and process.stderr.readline() == "running\n"
        begun = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=55)
    assert process.returncode == EXIT_INTERRUPTED and "Traceback" not in err
    assert json.loads(out)["error"]["kind"] == "interrupted"
    assert time.monotonic() - begun < 50, "the verb would wait for 60 s"


def test_no_console_is_made_outside_the_boundary() -> None:
    source = Path(cli.__file__).parent
    made = [p.name for p in source.rglob("*.py") if "Console(" in p.read_text() and p.name != "streams.py"]
    assert not made, f"use joulemill.streams.results_console or progress_console in {made}"
