"""Arguments and flags: what a message calls `argument` is a flag that the command really takes."""

from __future__ import annotations

import argparse
import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import joulemill
from joulemill.bench.options import BenchOptions
from joulemill.commands import bench, predict
from joulemill.commands.flags import flag_of, in_flags
from joulemill.prediction.question import PredictionRequest

SRC = Path(joulemill.__file__).parent
#: Arguments of the library alone.
NO_FLAG = {"facility", "hardware", "released", "clock_ratio"}


def flags(command: object) -> set[str]:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)  # type: ignore[attr-defined]
    return set(parser._option_string_actions)


@pytest.mark.parametrize("name", [f.name for f in fields(PredictionRequest) if f.name not in NO_FLAG])
def test_every_argument_of_predict_has_its_flag(name: str) -> None:
    assert flag_of(name) in flags(predict)


def named(*files: str) -> set[str]:
    """Arguments that messages of these files name."""
    texts = [
        n.value
        for f in files
        for n in ast.walk(ast.parse((SRC / f).read_text()))
        if isinstance(n, ast.Constant) and isinstance(n.value, str) and "\n" not in n.value
    ]
    return {m for t in texts for m in re.findall(r"`([a-z][a-z0-9_]*)[`=]", t)}


def test_every_argument_that_options_name_has_its_flag() -> None:
    arguments = named("bench/options.py")
    assert len(arguments) > 20 and arguments <= {f.name for f in fields(BenchOptions)} | {"input_lengths"}
    without = {"drain_s"}  # of the library alone
    assert {flag_of(a) for a in arguments - without} <= flags(bench)


def test_values_follow_their_flags_and_other_words_stay() -> None:
    assert in_flags("give `devices=6` or `power_cap_w`") == "give --devices 6 or --power-cap"
    assert in_flags("see `joulemill show device`; `pip install x`") == "see `joulemill show device`; `pip install x`"
