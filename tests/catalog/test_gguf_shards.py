"""Models in several GGUF files: any shard stands for all; a missing one is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemill.bench.facts import gguf_facts
from joulemill.catalog.gguf_shards import read_whole_gguf
from joulemill.catalog.models import find_model
from joulemill.errors import InputError
from joulemill.physics.model.architecture import parameters_count
from tests.support.gguf_files import FIRST, LLAMA, REST, write

TOTAL = 12 * 8 + 8 + 2 * (128 + 64 + 384 + 16)


def shards(
    folder: Path, first: list[tuple[str, tuple[int, ...]]], second: list[tuple[str, tuple[int, ...]]]
) -> list[Path]:
    count = {"split.count": 2, "split.tensors.count": len(FIRST) + len(REST)}
    return [
        write(folder / "tiny-00001-of-00002.gguf", {**LLAMA, **count, "split.no": 0}, first),
        write(folder / "tiny-00002-of-00002.gguf", {**count, "split.no": 1}, second),
    ]


@pytest.mark.parametrize("given", [0, 1])
def test_any_shard_stands_for_all(tmp_path: Path, given: int) -> None:
    entry = find_model(shards(tmp_path, FIRST, REST)[given])
    assert parameters_count(entry.architecture).total == TOTAL
    assert not [a for a in entry.approximations if "parameters as read" in a]


def test_a_first_shard_without_tensors(tmp_path: Path) -> None:
    paths = shards(tmp_path, [], FIRST + REST)
    assert parameters_count(find_model(paths[0]).architecture).total == TOTAL
    assert gguf_facts(paths[0]).weight_count == TOTAL
    assert gguf_facts(paths[0]).file_byte == sum(p.stat().st_size for p in paths)


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    first, second = shards(tmp_path, FIRST, REST)
    second.rename(tmp_path / "elsewhere.gguf")
    with pytest.raises(InputError, match=r"shard 1 of 2; give also tiny-00002-of-00002\.gguf"):
        find_model(first)
    with pytest.raises(InputError, match=r"shard 2 of 2; name the shards"):
        find_model(tmp_path / "elsewhere.gguf")


def test_shards_that_do_not_fit(tmp_path: Path) -> None:
    first, second = shards(tmp_path, FIRST, REST[:-1])
    with pytest.raises(InputError, match="hold 19 tensors, not 20"):
        find_model(first)
    second.write_bytes(first.read_bytes())
    with pytest.raises(InputError, match="does not say that it is shard 2 of 2"):
        read_whole_gguf(first)


def test_weights_that_do_not_fit_the_keys_warn(tmp_path: Path) -> None:
    extra = [*FIRST, *REST, ("memory.weight", (64, 64))]
    entry = find_model(write(tmp_path / "tiny.gguf", LLAMA, extra))
    assert any("the stored weights have" in a for a in entry.approximations)


def test_a_file_that_is_no_model_says_what_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "lora.gguf", {**LLAMA, "general.type": "adapter"}, FIRST + REST)
    with pytest.raises(InputError, match="is a GGUF of type 'adapter', not a model"):
        find_model(path)
    assert find_model(write(tmp_path / "m.gguf", {**LLAMA, "general.type": "model"}, FIRST + REST)).architecture
