"""GGUF's names: architectures, keys, block sizes of number formats; and the keys that change no shape. Pure data."""

from __future__ import annotations

import re

#: Bytes and elements of a block of each ggml type (ggml.h and ggml-common.h of llama.cpp).
BLOCKS: dict[str, tuple[int, int]] = {
    "F32": (4, 1), "F16": (2, 1), "BF16": (2, 1), "F64": (8, 1), "I8": (1, 1), "I16": (2, 1), "I32": (4, 1),
    "I64": (8, 1), "Q4_0": (18, 32), "Q4_1": (20, 32), "Q5_0": (22, 32), "Q5_1": (24, 32), "Q8_0": (34, 32),
    "Q8_1": (36, 32), "Q2_K": (84, 256), "Q3_K": (110, 256), "Q4_K": (144, 256), "Q5_K": (176, 256),
    "Q6_K": (210, 256), "Q8_K": (292, 256), "IQ2_XXS": (66, 256), "IQ2_XS": (74, 256), "IQ2_S": (82, 256),
    "IQ3_XXS": (98, 256), "IQ3_S": (110, 256), "IQ1_S": (50, 256), "IQ1_M": (56, 256), "IQ4_NL": (18, 32),
    "IQ4_XS": (136, 256), "TQ1_0": (54, 256), "TQ2_0": (66, 256), "MXFP4": (17, 32),
}  # fmt: skip

#: GGUF architecture -> the model type whose modeling code has the same layers.
MODEL_TYPES = {
    "llama": "llama",
    "qwen2": "qwen2",
    "qwen2moe": "qwen2_moe",
    "qwen3": "qwen3",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen35": "qwen3_5_text",
    "qwen35moe": "qwen3_5_moe_text",
    "qwen2vl": "qwen2_vl",
    "qwen3vl": "qwen3_vl",
    "qwen3vlmoe": "qwen3_vl_moe",
    "gemma": "gemma",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "phi2": "phi",
    "phi3": "phi3",
    "phimoe": "phimoe",
    "gpt-oss": "gpt_oss",
    "deepseek": "deepseek",
    "deepseek2": "deepseek_v2",
    "glm4": "glm4",
    "glm4moe": "glm4_moe",
    "glm-dsa": "glm_moe_dsa",
    "command-r": "cohere",
    "cohere2": "cohere2",
    "starcoder2": "starcoder2",
    "olmo2": "olmo2",
    "olmo": "olmo",
    "falcon": "falcon",
    "gpt2": "gpt2",
    "granite": "granite",
    "granitemoe": "granitemoe",
    "granitehybrid": "granitemoehybrid",
    "exaone": "exaone",
    "exaone4": "exaone4",
    "exaone-moe": "exaone_moe",
    "nemotron": "nemotron",
    "nemotron_h": "nemotron_h",
    "nemotron_h_moe": "nemotron_h",
    "smollm3": "smollm3",
    "ernie4_5": "ernie4_5",
    "ernie4_5-moe": "ernie4_5_moe",
    "hunyuan-dense": "hunyuan_v1_dense",
    "hunyuan-moe": "hunyuan_v1_moe",
    "seed_oss": "seed_oss",
    "minimax-m2": "minimax_m2",
    "llama4": "llama4_text",
    "mistral3": "mistral",
    "stablelm": "stablelm",
    "internlm2": "internlm2",
    "olmoe": "olmoe",
    "bailingmoe2": "bailing_moe_v2",
    "bailingmoe": "bailing_moe",
    "dots1": "dots1",
    "qwen": "qwen",
    "arcee": "arcee",
    "apertus": "apertus",
    "afmoe": "afmoe",
    "baichuan": "baichuan",
    "orion": "orion",
    "minicpm": "minicpm",
    "mamba": "mamba",
    "mamba2": "mamba2",
    "jamba": "jamba",
    "falcon-h1": "falcon_h1",
    "lfm2": "lfm2",
    "lfm2moe": "lfm2_moe",
    "deci": "decilm",
    "step35": "step3p5",
    "mimo2": "mimo_v2_flash",
}
#: Our names of fields <- GGUF keys after the architecture's prefix.
KEYS = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "head_dim": "attention.key_length",
    "v_head_dim": "attention.value_length",
    "swa_head_dim": "attention.key_length_swa",
    "swa_v_head_dim": "attention.value_length_swa",
    "intermediate_size": "feed_forward_length",
    "max_position_embeddings": "context_length",
    "vocab_size": "vocab_size",
    "num_experts": "expert_count",
    "num_experts_per_tok": "expert_used_count",
    "moe_intermediate_size": "expert_feed_forward_length",
    "n_shared_experts": "expert_shared_count",
    "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
    "moe_latent_size": "moe_latent_size",
    "first_k_dense_replace": "leading_dense_block_count",
    "moe_every_n_layers": "moe_every_n_layers",
    "sliding_window": "attention.sliding_window",
    "sliding_window_pattern": "attention.sliding_window_pattern",
    "num_kv_shared_layers": "attention.shared_kv_layers",
    "hidden_size_per_layer_input": "embedding_length_per_layer_input",
    "kv_lora_rank": "attention.kv_lora_rank",
    "q_lora_rank": "attention.q_lora_rank",
    "qk_rope_head_dim": "rope.dimension_count",
    "index_n_heads": "attention.indexer.head_count",
    "index_head_dim": "attention.indexer.key_length",
    "index_topk": "attention.indexer.top_k",
    "attention_chunk_size": "attention.chunk_size",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "full_attention_interval": "full_attention_interval",
    "num_nextn_predict_layers": "nextn_predict_layers",
    "conv_L_cache": "shortconv.l_cache",
    "ssm_state": "ssm.state_size",
    "ssm_groups": "ssm.group_count",
    "ssm_rank": "ssm.time_step_rank",
    "ssm_kernel": "ssm.conv_kernel",
    "ssm_inner": "ssm.inner_size",
}
#: What the four sizes of a recurrent block are called in the families' configs: state, groups, rank or heads, kernel.
STATE_NAMES: dict[str, tuple[str, str, str, str]] = {
    "delta": ("linear_key_head_dim", "linear_num_key_heads", "linear_num_value_heads", "linear_conv_kernel_dim"),
    "mamba2": ("state_size", "n_groups", "num_heads", "conv_kernel"),
    "mamba": ("state_size", "", "time_step_rank", "conv_kernel"),
    "jamba": ("mamba_d_state", "", "mamba_dt_rank", "mamba_d_conv"),
    "nemotron_h": ("ssm_state_size", "n_groups", "mamba_num_heads", "conv_kernel"),
    "": ("mamba_d_state", "mamba_n_groups", "mamba_n_heads", "mamba_d_conv"),
}
#: Keys after the architecture's prefix that change no shape, no count and nothing that is cached.
_HARMLESS = re.compile(
    r"rope\..*|context_length|vocab_size|tensor_data_layout|use_parallel_residual|pooling_type|classifier\..*|"
    r"attention\.(layer_norm.*|group_norm.*|causal|clamp_kqv|max_alibi_bias|scale|output_scale|value_scale|temperature.*|"
    r"softcapping|sliding_window_size)|.*soft_?cap(ping)?|logit_scale|residual_scale|embedding_scale|attn_.*scale|"
    r"expert_(weights_.*|gating_func|group_.*|scoring.*)|router_.*|swiglu_clamp.*|activation_sparsity.*|"
    r"n_deepstack_layers|rescale_every_n_layers|swin_norm|xielu\..*|ssm\.dt_b_c_rms|altup\..*|decoder_.*|"
    r"expert_group_scale|experts_per_group|quantization_version|features_length",
)


def is_harmless_key(key: str) -> bool:
    """Whether no value of a key (after its prefix) changes parameters, cache or kinds of layer."""
    return len(key) < 120 and _HARMLESS.fullmatch(key) is not None
