"""SmolLM2 out of its GGUF as a Hugging Face folder, which vLLM loads: python gguf_to_hf.py MODEL.gguf FOLDER.

Runs in the environment of vLLM (torch, transformers, gguf, safetensors). llama.cpp keeps the rows of the query and key
projections in another order for its rotary embedding; here they are put back. Weights become bfloat16.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

NAMES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
OUTER = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}


def name_of(tensor: str) -> tuple[str, str]:
    """The tensor's name in a Hugging Face model, and its kind."""
    if tensor in OUTER:
        return OUTER[tensor], ""
    _, layer, kind, _ = tensor.split(".")
    return f"model.layers.{layer}.{NAMES[kind]}.weight", kind


def unpermuted(weight: Any, heads: int) -> Any:
    """Rows of a projection of ``heads`` heads as Hugging Face orders them."""
    half = weight.shape[0] // heads // 2
    return weight.reshape(heads, half, 2, *weight.shape[1:]).swapaxes(2, 1).reshape(weight.shape)


def config_of(field: Any) -> Any:
    """The model's config.json from the GGUF's metadata."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=field("llama.vocab_size"),
        hidden_size=field("llama.embedding_length"),
        intermediate_size=field("llama.feed_forward_length"),
        num_hidden_layers=field("llama.block_count"),
        num_attention_heads=field("llama.attention.head_count"),
        num_key_value_heads=field("llama.attention.head_count_kv"),
        max_position_embeddings=field("llama.context_length"),
        rms_norm_eps=field("llama.attention.layer_norm_rms_epsilon"),
        rope_parameters={"rope_type": "default", "rope_theta": field("llama.rope.freq_base")},
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=2,
        architectures=["LlamaForCausalLM"],
        dtype="bfloat16",
    )


def convert(source: Path, folder: Path) -> None:
    """Write config, weights and tokenizer of ``source`` into ``folder``."""
    import numpy as np
    import torch
    from gguf import GGUFReader, dequantize
    from safetensors.torch import save_file
    from transformers import AutoTokenizer

    reader = GGUFReader(str(source))
    config = config_of(lambda key: reader.fields[key].contents())
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    weights: dict[str, Any] = {}
    for tensor in reader.tensors:
        weight = dequantize(tensor.data, tensor.tensor_type).reshape([int(n) for n in reversed(tensor.shape)])
        name, kind = name_of(tensor.name)
        weight = unpermuted(weight, heads[kind]) if kind in heads else weight
        weights[name] = torch.tensor(np.ascontiguousarray(weight)).to(torch.bfloat16).contiguous()
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    AutoTokenizer.from_pretrained(str(source.parent), gguf_file=source.name).save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
