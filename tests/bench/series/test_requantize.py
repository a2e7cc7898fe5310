"""A small model written with llama.cpp's own package, packed anew, and read back by our header reader and by theirs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from joulemill.bench.series.requantize import installed, requantize
from joulemill.catalog.gguf_shards import read_gguf
from joulemill.errors import MachineError

gguf = pytest.importorskip("gguf", reason="the package gguf is not installed")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_string("general.name", "a model")
    writer.add_uint32("llama.block_count", 1)
    writer.add_array("tokenizer.ggml.tokens", ["a", "b", "c"])
    writer.add_array("tokenizer.ggml.scores", [0.5, 1.5, 2.5])
    weights = np.random.default_rng(1).normal(size=(8, 64)).astype(np.float32)
    packed = gguf.quants.quantize(weights, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blk.0.ffn_up.weight", packed, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("blk.0.attn_norm.weight", np.ones(64, dtype=np.float32))
    writer.add_tensor("odd.weight", np.ones((4, 20), dtype=np.float16))
    for step in (writer.write_header_to_file, writer.write_kv_data_to_file, writer.write_tensors_to_file, writer.close):
        step()
    return path


def test_matrices_are_packed_and_all_else_is_as_it_was(model: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.gguf"
    assert installed() and requantize(model, small) == 1
    before, after = gguf.GGUFReader(str(model)), gguf.GGUFReader(str(small))
    kinds = {t.name: t.tensor_type.name for t in after.tensors}
    assert kinds == {"blk.0.ffn_up.weight": "Q4_0", "blk.0.attn_norm.weight": "F32", "odd.weight": "F16"}
    for name, field in before.fields.items():
        if not name.startswith("GGUF."):
            assert after.fields[name].contents() == field.contents(), name
    old, new = (gguf.quants.dequantize(r.tensors[0].data, r.tensors[0].tensor_type) for r in (before, after))
    # a block of 32 is cut into sixteen steps of its largest magnitude ÷ 8
    step = np.abs(old.reshape(8, 2, 32)).max(axis=2, keepdims=True) / 8
    assert np.all(np.abs(new - old).reshape(8, 2, 32) <= 1.01 * step)
    assert not small.with_suffix(".part").exists()


def test_our_reader_and_a_second_time(model: Path, tmp_path: Path) -> None:
    small, again = tmp_path / "small.gguf", tmp_path / "again.gguf"
    requantize(model, small)
    assert read_gguf(small) is not None
    assert requantize(small, again) == 0  # nothing is left to pack


def test_what_is_no_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "no.gguf").write_bytes(b"GGUX" + bytes(64))
    with pytest.raises(MachineError, match="`small_gguf`"):
        requantize(tmp_path / "no.gguf", tmp_path / "small.gguf")
    assert not (tmp_path / "small.gguf").exists()
