"""Files that no model config is: refused with the place, in bounded time and memory; never a crash."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from joulemill.catalog.gguf_models import model_of_header
from joulemill.catalog.model_files import MAX_CONFIG_BYTE, model_from_config, parse_config, read_config
from joulemill.catalog.model_totals import sizes_named, stored_count, total_warnings
from joulemill.catalog.models import find_model, model_names
from joulemill.errors import InputError, JoulemillError
from joulemill.formats.gguf import parse_gguf_bytes
from joulemill.physics.model.facts import architecture_facts
from tests.support.gguf_files import FIRST, LLAMA, REST, write
from tests.support.model_configs import CONFIGS, LLAMA_CONFIG

ODD: list[Any] = [
    None,
    float("nan"),
    float("inf"),
    -1,
    0,
    1,
    2,
    10**9,
    2**62,
    10**400,
    1e308,
    0.5,
    "",
    "many",
    "4",
    True,
    False,
    [],
    [1],
    [None],
    [float("nan")] * 4,
    ["full_attention"],
    ["x"] * 4,
    [[]],
    {},
    {"a": 1},
    {"num_heads": "x"},
    [2**62] * 4,
    "3,4,x",
    "M" * 3000,
    [1] * 5000,
    "auto",
    {"5": {"head_dim": 8}},
]


def drive(config: object) -> None:
    """What `show model` does with a file, twice; only Joulemill's own errors may come out."""
    data = json.dumps(config).encode()
    for approximate in (False, True):
        with contextlib.suppress(JoulemillError):
            architecture, precision = model_from_config(parse_config(data), approximate=approximate)
            architecture_facts(architecture, precision)
            total_warnings("a-9B-A3B", architecture)


@pytest.mark.finding("F30")
def test_mutated_configs_are_refused_or_read() -> None:
    rng = random.Random(30)
    names = sorted({k for c in CONFIGS for k in c} | {"per_layer_config", "sliding_window", "head_dim", "torch_dtype"})
    for _ in range(600):
        config = copy.deepcopy(rng.choice(CONFIGS))
        for _ in range(rng.choice((1, 1, 2, 4))):
            place = config
            inner = [v for v in config.values() if isinstance(v, dict) and v]
            if inner and rng.random() < 0.5:
                place = rng.choice(inner)
            key = rng.choice([*place, *place, rng.choice(names)])
            place[key] = copy.deepcopy(rng.choice(ODD))
            if rng.random() < 0.1:
                place.pop(key)
        drive(config)


@pytest.mark.finding("F30")
@pytest.mark.parametrize("name", sorted(LLAMA_CONFIG)[:1] + sorted(set(LLAMA_CONFIG) - {"model_type", "hidden_size"}))
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "many", 2**62, [2, "x"], {"a": 1}, 10**400])
def test_a_bad_number_names_its_field(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        model_from_config({**LLAMA_CONFIG, name: value})


@pytest.mark.finding("F30")
@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_a_missing_size_names_its_field(name: str) -> None:
    with pytest.raises(InputError, match=f"no '{name}'"):
        model_from_config({k: v for k, v in LLAMA_CONFIG.items() if k != name})


@pytest.mark.finding("F30")
@pytest.mark.parametrize("layers", [10**9, 2**62, 4097])
def test_absurd_counts_of_layers_are_refused_at_once(layers: int) -> None:
    start_s = time.process_time()
    with pytest.raises(InputError, match="no model has more than 4096"):
        model_from_config({**LLAMA_CONFIG, "num_hidden_layers": layers})
    assert time.process_time() - start_s < 2.0


@pytest.mark.finding("F34")
@pytest.mark.parametrize("data", [b"[" * 100_000, b'{"a":' * 100_000, b'{"text_config":' * 100 + b"1" + b"}" * 100])
def test_deep_nesting_is_refused(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(data)
    with pytest.raises(InputError, match="deep"):
        find_model(file)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[1]", "must be a JSON object"),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", "not JSON"),
        (json.dumps({f"k{i}": 1 for i in range(5000)}).encode(), "has 5000 fields"),
        (json.dumps({"a": [[]] * 300_000}).encode(), "more than 200000 values"),
        (b" " * (MAX_CONFIG_BYTE + 1), "larger than 4 MB"),
        (b"{}", "is empty: give the config.json"),
        (b'{"peft_type": "LORA", "r": 16}', "an adapter .*give the config.json of its base model"),
        (b'{"_class_name": "UNet2DConditionModel", "sample_size": 64}', "diffusers pipeline"),
        (b'{"tokenizer_class": "X"}', "describes a tokenizer"),
        (b'{"weight_map": {}}', "lists where the weights are"),
    ],
)
def test_what_is_no_config(data: bytes, words: str, tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_bytes(data)
    with pytest.raises(InputError, match=words) as caught:
        read_config(file)
    assert "config.json" in str(caught.value)


def test_no_regular_file(tmp_path: Path) -> None:
    for name in ("pipe.json", "pipe.gguf"):
        os.mkfifo(tmp_path / name)
        with pytest.raises(InputError, match="no regular file"):
            find_model(tmp_path / name)


@pytest.mark.finding("F30")
def test_mutated_gguf_files_are_refused_or_read(tmp_path: Path) -> None:
    rng = random.Random(31)
    whole = write(tmp_path / "tiny.gguf", LLAMA, FIRST + REST).read_bytes()
    head = len(whole) - 2 * 1288
    for _ in range(600):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 5))):
            data[rng.randrange(head)] = rng.randrange(256)
        if rng.random() < 0.3:
            del data[rng.randrange(len(data)) :]
        for approximate in (False, True):
            with contextlib.suppress(JoulemillError):
                model_of_header(parse_gguf_bytes(bytes(data)), Path("tiny.gguf"), approximate=approximate)


def test_names_of_fields_are_shown_safely() -> None:
    odd = {**LLAMA_CONFIG, "\x1b[2Jheads": 1, "k" * 9000: 1, **{f"heads_{i}": 1 for i in range(1000)}}
    with pytest.raises(InputError) as caught:
        model_from_config(odd)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1500
    assert "and 98" in str(caught.value)


def test_sizes_that_names_state() -> None:
    assert sizes_named("Qwen3-30B-A3B") == ([(30e9, 0.5e9)], [(3e9, 0.5e9)])
    assert sizes_named("Llama-4-Scout-17B-16E") == ([], [(17e9, 0.5e9)])
    assert sizes_named("mamba2-780m") == ([(780e6, 0.5e6)], [])
    assert sizes_named("Qwen1.5-MoE-A2.7B") == ([], [(2.7e9, 0.05e9)])
    assert sizes_named("Mixtral-8x7B-v0.1") == sizes_named("gemma-3n-E4B") == sizes_named("Phi-3-mini-128k") == ([], [])


@pytest.mark.parametrize("name", model_names())
def test_no_name_of_the_catalog_is_doubted(name: str) -> None:
    entry = find_model(name)
    assert total_warnings(name, entry.architecture, entry.published_parameters) == ()


def test_stored_weights_are_compared(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_CONFIG))
    assert find_model(tmp_path).approximations == ()
    header = json.dumps({"a": {"dtype": "BF16", "shape": [1000, 10], "data_offsets": [0, 20000]}, "__metadata__": {}})
    (tmp_path / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header.encode())
    assert stored_count(tmp_path) == 10_000
    assert "the stored weights have 0.01 M" in find_model(tmp_path).approximations[0]
    index = {"metadata": {"total_parameters": 161_000}, "weight_map": {}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    assert stored_count(tmp_path) == 161_000
    for broken in ("{", "[]", '{"metadata": {"total_parameters": "x"}}'):
        (tmp_path / "model.safetensors.index.json").write_text(broken)
        assert stored_count(tmp_path) is None
