"""What a misspelt name is taken to mean: hand-picked slips, and what holds for any."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from joulemill import suggestions
from joulemill.catalog.devices import device_names
from joulemill.catalog.models import find_model, model_names
from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.suggestions import meant, nearest

KNOWN = ("h100-sxm", "h100-pcie", "h200-sxm", "mi300x", "vllm-0.11", "tokens", "power_cap")


def test_examples() -> None:
    assert doctest.testmod(suggestions).failed == 0


def test_a_word_that_is_near_nothing_is_answered_with_what_there_is() -> None:
    many = [f"name{i}" for i in range(40)]
    assert meant("q", many).startswith("there are name0, name1,") and meant("q", many).endswith("name29 and 10 more")
    assert meant("q", []) == "there are none"


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("H100SXM", "h100-sxm"),  # letter case and dashes are alike
        ("h100-smx", "h100-sxm"),  # two letters swapped
        ("mi300", "mi300x"),  # one missing
        ("vllm", "vllm-0.11"),  # a beginning
        ("tokenz", "tokens"),  # one wrong
        ("power-cap", "power_cap"),
        ("powercapp", "power_cap"),  # one too many
    ],
)
def test_a_slip_means_the_nearest_name(word: str, name: str) -> None:
    assert nearest(word, KNOWN)[0] == name


def test_nothing_near_is_listed_where_names_are_few() -> None:
    assert nearest("qqqqqq", KNOWN) == ()
    assert meant("qqqqqq", KNOWN) == f"there are {', '.join(KNOWN)}"


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=20), max_size=8), st.integers(1, 4))
def test_suggestions_are_known_names_each_once(word: str, known: list[str], most: int) -> None:
    near = nearest(word, known, most=most)
    assert len(near) <= most and len(set(near)) == len(near) and set(near) <= set(known)


@example("a10g", 3, "0")
@given(st.sampled_from(device_names()), st.integers(0, 40), st.sampled_from("abcdefghijklmnopqrstuvwxyz0123456789"))
def test_one_wrong_letter_of_a_device_is_understood(name: str, place: int, letter: str) -> None:
    at = place % len(name)
    word = name[:at] + letter + name[at + 1 :]
    near = nearest(word, device_names(), most=4)
    begins_another = any(n.startswith(word) for n in device_names())  # a10g with a slip is a100
    assert word in near or name in near or begins_another or len(name) < 4


def said_of(word: str) -> str:
    """The message of a model that is not known; empty where one is."""
    try:
        find_model(word)
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", model_names()[::3])
def test_one_letter_left_out_of_a_model_is_understood(name: str) -> None:
    publisher, _, rest = name.partition("/")
    message = said_of(f"{publisher}/{rest[:2]}{rest[3:]}")
    assert not message or f" {name}" in message


@pytest.mark.parametrize(
    ("word", "first"),
    [
        ("Qwen3-8b-instuct", "Qwen/Qwen3-8B"),  # a slip in a word that says nothing of the model
        ("Lama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("deepseek-v3.2-spciale", "deepseek-ai/DeepSeek-V3.2"),
        ("glm4.5-air", "zai-org/GLM-4.5-Air"),
        ("falcon-h1-34", "tiiuae/Falcon-H1-34B"),
    ],
)
def test_the_model_meant_comes_first(word: str, first: str) -> None:
    message = said_of(word)
    assert f"did you mean {first}" in message


PREDICT = ["predict", "--model", "Llama-3.1-8B", "--device", "h100"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["predict", "--modell", "Llama-3.1-8B", "--device", "h100"], "--modell; did you mean --model?"),
        (["predict", "--model", "Llama-3.1-8B", "--devise=h100"], "--devise; did you mean --device?"),
        ([*PREDICT, "--engine", "vllm-0.12"], "engine 'vllm-0.12' has no fitted profile; did you mean vllm-0.1"),
        ([*PREDICT, "--precision", "nvpf4"], "number format 'nvpf4' is not known; did you mean nvfp4"),
        ([*PREDICT, "--kv-dtype", "fp9"], "number format 'fp9' is not known; did you mean fp8"),
        (["show", "modle", "Qwen3-8B"], "argument kind cannot be 'modle'; did you mean model?"),
        (["show", "region"], "argument kind cannot be 'region'; there are device, model, site"),
        (["bench", "--url", "http://127.0.0.1:9", "--api", "chta"], "--api cannot be 'chta'; did you mean chat?"),
        (["bench", "--url", "http://127.0.0.1:9", "--meter", "nvm"], "no meter is called 'nvm'; did you mean nvml?"),
        (["levers", *PREDICT[1:], "--beyond", "lossey"], "--beyond: 'lossey' is not known; there are "),
        (["levers", *PREDICT[1:], "--beyond", "facilty"], "--beyond: 'facilty' is not known; did you mean facility?"),
        (["histry"], "no command 'histry'; did you mean history?"),
    ],
)
def test_a_slip_on_the_command_line_is_suggested(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--site", "--device", "--model"])
def test_a_file_beside_the_one_named_is_suggested(
    option: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kind = ".json" if option == "--model" else ".toml"
    (tmp_path / f"virginia{kind}").write_text("")
    (tmp_path / "virginia.txt").write_text("")
    words = dict(zip(PREDICT[1::2], PREDICT[2::2], strict=True)) | {option: str(tmp_path / f"virgina{kind}")}
    assert main(["predict", *(w for pair in words.items() for w in pair)]) == 2
    assert f"did you mean {tmp_path / f'virginia{kind}'}?" in capsys.readouterr().err


def test_unknown_keys_of_toml_files_are_refused_with_the_key_meant(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meters = tmp_path / "meters.toml"
    meters.write_text('meter = ["nvml"]')
    assert main(["doctor", "--meter", str(meters)]) == 2
    assert "unknown key 'meter'; did you mean meters?" in capsys.readouterr().err
