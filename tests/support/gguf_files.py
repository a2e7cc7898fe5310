"""GGUF files made by hand: a small Llama, whole or in shards."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any


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
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 8,
    "llama.feed_forward_length": 16,
    "llama.attention.head_count": 2,
    "llama.attention.head_count_kv": 1,
}


FIRST = [("token_embd.weight", (8, 12)), ("output_norm.weight", (8,))]


LAYER = [
    ("attn_q.weight", (8, 8)), ("attn_k.weight", (8, 4)), ("attn_v.weight", (8, 4)), ("attn_output.weight", (8, 8)),
    ("ffn_up.weight", (8, 16)), ("ffn_gate.weight", (8, 16)), ("ffn_down.weight", (16, 8)), ("attn_norm.weight", (8,)),
    ("ffn_norm.weight", (8,)),
]  # fmt: skip


REST = [(f"blk.{i}.{n}", s) for i in range(2) for n, s in LAYER]
