"""Command lines, and what a refusal must look like."""

from __future__ import annotations

import pytest

from joulemill.cli import main

PREDICT = ["predict", "--model", "Qwen/Qwen3-32B", "--device", "h100", "--devices", "2"]


LEVERS = ["levers", "--model", "Qwen/Qwen3-32B", "--device", "h100", "--devices", "2"]


def one_line(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    shown = capsys.readouterr()
    assert says in shown.err and shown.err.count("\n") == 1 and "Traceback" not in shown.err
    assert shown.out == ""
