"""Arguments and flags: what a message calls `argument` is a flag that the command really takes."""

from __future__ import annotations

import argparse
import ast
import re
from dataclasses import fields
from pathlib import Path

import pytest

import joulemill
from joulemill import cli
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


#: Flags that mean the same in every command that has them (docs/design.md, section 4).
SHARED = (
    *("--model", "--device", "--devices", "--tp", "--dp", "--ep", "--pp", "--precision", "--kv-dtype", "--engine"),
    *("--max-num-seqs", "--max-num-batched-tokens", "--gpu-memory-utilization", "--power-cap", "--concurrency"),
    *(
        "--rate",
        "--input-tokens",
        "--output-tokens",
        "--slo-ttft",
        "--slo-tpot",
        "--site",
        "--seed",
        "--json",
        "--html",
    ),
    *("--url", "--speed", "--input-scale", "--output-scale", "--calibration", "--draft-model"),
)
#: … of which these are explained in the same words too; `report --site` adds whose site it replaces.
ONE_HELP = ("--json", "--site", "--slo-ttft", "--slo-tpot", "--tp", "--dp", "--ep", "--engine", "--draft-model")


def actions(flag: str) -> dict[str, argparse.Action]:
    """The flag in each command that has it."""
    parsers = {name: cli._parser(name)[1] for name in cli.COMMANDS}
    return {n: a for n, p in parsers.items() if p is not None and (a := p._option_string_actions.get(flag)) is not None}


@pytest.mark.parametrize("flag", SHARED)
def test_a_shared_flag_takes_the_same_in_every_command(flag: str) -> None:
    metavars = {name: str(action.metavar).removesuffix("[:COUNT]") for name, action in actions(flag).items()}
    assert metavars and len(set(metavars.values())) == 1, metavars


@pytest.mark.parametrize("flag", ONE_HELP)
def test_a_shared_flag_is_explained_in_the_same_words(flag: str) -> None:
    words = {name: str(action.help).split(";")[0] for name, action in actions(flag).items()}
    assert words and len(set(words.values())) == 1, words


def test_a_flag_that_takes_a_value_says_what() -> None:
    for name in cli.COMMANDS:
        parser = cli._parser(name)[1]
        assert parser is not None
        silent = [
            a.option_strings
            for a in parser._actions
            if a.option_strings and a.nargs != 0 and not (a.metavar or a.choices)
        ]
        assert not silent, (name, silent)
