"""Models in several GGUF files: any shard stands for all; a missing one is named."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest

from joulemill.bench.facts import gguf_facts
from joulemill.catalog.gguf_shards import read_whole_gguf
from joulemill.catalog.models import find_model
from joulemill.errors import InputError
from joulemill.physics.model.architecture import parameters_count


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def stored(value: Any) -> bytes:
    if isinstance(value, str):
        return struct.pack("<I", 8) + text(value)
    return struct.pack("<II", 4, value)


def write(path: Path, metadata: dict[str, Any], tensors: list[tuple[str, tuple[int, ...]]]) -> Path:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata))
    head += b"".join(text(k) + stored(v) for k, v in metadata.items())
    offset = 0
    for name, shape in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 1, offset)
        offset += 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(offset))
    return path


#: 2 layers of width 8: q, o 8x8; k, v 8x4; three matrices 8x16; two norms; embedding 12x8; last norm; tied.
LLAMA = {
    "general.architecture": "llama", "llama.block_count": 2, "llama.embedding_length": 8,
    "llama.feed_forward_length": 16, "llama.attention.head_count": 2, "llama.attention.head_count_kv": 1,
}  # fmt: skip
FIRST = [("token_embd.weight", (8, 12)), ("output_norm.weight", (8,))]
LAYER = [
    ("attn_q.weight", (8, 8)), ("attn_k.weight", (8, 4)), ("attn_v.weight", (8, 4)), ("attn_output.weight", (8, 8)),
    ("ffn_up.weight", (8, 16)), ("ffn_gate.weight", (8, 16)), ("ffn_down.weight", (16, 8)), ("attn_norm.weight", (8,)),
    ("ffn_norm.weight", (8,)),
]  # fmt: skip
REST = [(f"blk.{i}.{n}", s) for i in range(2) for n, s in LAYER]
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
    assert gguf_facts(paths[0])["weight_count"] == TOTAL
    assert gguf_facts(paths[0])["file_byte"] == sum(p.stat().st_size for p in paths)


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
