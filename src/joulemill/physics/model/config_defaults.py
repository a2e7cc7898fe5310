"""What the engines' config classes take where a published config leaves a field out.

Facts of the ``Config`` classes of Hugging Face transformers 5.24, which vLLM and SGLang read configs with. ``SIZES``
are the sizes of a model as such: they stand in only for a language model nested in a multimodal config, where
publishers do leave them out; a plain config without them is torn. Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DEFAULTS: dict[str, Mapping[str, Any]] = {
    "mistral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "mixtral": {"num_key_value_heads": 8, "num_experts_per_tok": 2, "num_local_experts": 8},
    "ministral": {"num_key_value_heads": 8, "sliding_window": 4096},
    "ministral3": {"num_key_value_heads": 8, "head_dim": 128},
    "granitemoe": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "granitemoeshared": {"num_local_experts": 8, "num_experts_per_tok": 2},
    "seed_oss": {"num_key_value_heads": 8, "attention_bias": True, "head_dim": 128},
    "smollm3": {"num_key_value_heads": 4, "tie_word_embeddings": True},
    "internlm3": {"num_key_value_heads": 2, "head_dim": 128},
    "exaone": {"num_key_value_heads": 8},
    "helium": {"num_key_value_heads": 20, "head_dim": 128},
    "ernie4_5": {"num_key_value_heads": 2, "head_dim": 128, "tie_word_embeddings": True},
    "ernie4_5_moe": {
        "num_key_value_heads": 4, "moe_intermediate_size": 1536, "moe_k": 6, "moe_num_experts": 64,
        "moe_num_shared_experts": 2, "moe_layer_start_index": 1, "tie_word_embeddings": True
    },
    "mllama_text_model": {"num_key_value_heads": 8},
    "olmo3": {"sliding_window": 4096},
    "olmoe": {"num_experts_per_tok": 8, "num_experts": 64},
    "qwen2": {"num_key_value_heads": 32, "sliding_window": 4096},
    "qwen2_moe": {
        "num_key_value_heads": 16, "sliding_window": 4096, "moe_intermediate_size": 1408,
        "shared_expert_intermediate_size": 5632, "num_experts_per_tok": 4, "num_experts": 60
    },
    "qwen2_5_vl_text": {"num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2_vl_text": {"num_key_value_heads": 8, "sliding_window": 4096},
    "qwen2_5_omni_text": {"num_key_value_heads": 4, "sliding_window": 32768},
    "qwen3": {"num_key_value_heads": 32, "head_dim": 128, "sliding_window": 4096},
    "qwen3_moe": {
        "num_key_value_heads": 4, "sliding_window": 4096, "moe_intermediate_size": 768, "num_experts_per_tok": 8,
        "num_experts": 128
    },
    "qwen3_vl_text": {"num_key_value_heads": 32, "head_dim": 128},
    "qwen3_vl_moe_text": {
        "num_key_value_heads": 16, "moe_intermediate_size": 1408, "num_experts_per_tok": 4, "num_experts": 60
    },
    "qwen3_omni_moe_text": {
        "num_key_value_heads": 4, "moe_intermediate_size": 768, "num_experts_per_tok": 8, "num_experts": 128
    },
    "qwen3_next": {
        "num_key_value_heads": 2, "head_dim": 256, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512, "num_experts_per_tok": 10,
        "num_experts": 512
    },
    "qwen3_5_text": {
        "num_key_value_heads": 4, "head_dim": 256, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32
    },
    "qwen3_5_moe_text": {
        "num_key_value_heads": 2, "head_dim": 256, "linear_conv_kernel_dim": 4, "linear_key_head_dim": 128,
        "linear_value_head_dim": 128, "linear_num_key_heads": 16, "linear_num_value_heads": 32,
        "moe_intermediate_size": 512, "shared_expert_intermediate_size": 512, "num_experts_per_tok": 8,
        "num_experts": 256
    },
    "gemma": {"num_key_value_heads": 16, "head_dim": 256},
    "gemma2": {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096},
    "gemma3_text": {"num_key_value_heads": 4, "head_dim": 256, "sliding_window": 4096},
    "gemma3n_text": {
        "num_key_value_heads": 2, "head_dim": 256, "sliding_window": 512, "vocab_size_per_layer_input": 262144,
        "hidden_size_per_layer_input": 256, "num_kv_shared_layers": 15, "laurel_rank": 64
    },
    "gemma4_text": {
        "global_head_dim": 512,
        "num_key_value_heads": 4, "head_dim": 256, "sliding_window": 512, "vocab_size_per_layer_input": 262144,
        "hidden_size_per_layer_input": 256
    },
    "phi4_multimodal": {"num_key_value_heads": 8},
    "phimoe": {"num_key_value_heads": 8, "num_experts_per_tok": 2, "num_local_experts": 16},
    "gpt_oss": {
        "num_local_experts": 128, "head_dim": 64, "num_key_value_heads": 8, "sliding_window": 128,
        "num_experts_per_tok": 4, "attention_bias": True
    },
    "deepseek_v2": {
        "kv_lora_rank": 512, "q_lora_rank": 1536, "n_routed_experts": 64, "n_shared_experts": 2, "qk_nope_head_dim":
        128, "qk_rope_head_dim": 64, "v_head_dim": 128, "moe_intermediate_size": 1407
    },
    "deepseek_v3": {
        "moe_intermediate_size": 2048, "num_key_value_heads": 128, "n_shared_experts": 1, "n_routed_experts": 256,
        "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim":
        128, "num_experts_per_tok": 8, "first_k_dense_replace": 3
    },
    "deepseek_v32": {
        "moe_intermediate_size": 2048, "num_key_value_heads": 128, "n_shared_experts": 1, "n_routed_experts": 256,
        "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim":
        128, "num_experts_per_tok": 8, "index_topk": 2048, "index_head_dim": 128, "index_n_heads": 64, "head_dim":
        64, "first_k_dense_replace": 3
    },
    "glm_moe_dsa": {
        "moe_intermediate_size": 2048, "num_key_value_heads": 64, "n_shared_experts": 1, "n_routed_experts": 256,
        "kv_lora_rank": 512, "q_lora_rank": 2048, "qk_rope_head_dim": 64, "v_head_dim": 256, "qk_nope_head_dim":
        192, "num_experts_per_tok": 8, "index_topk": 2048, "index_head_dim": 128, "index_n_heads": 32, "head_dim":
        64, "first_k_dense_replace": 3
    },
    "glm4_moe_lite": {
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 1536, "num_key_value_heads": 20, "n_shared_experts": 1, "n_routed_experts": 64,
        "kv_lora_rank": 512, "q_lora_rank": 768, "qk_rope_head_dim": 64, "v_head_dim": 256, "qk_nope_head_dim": 192,
        "num_experts_per_tok": 4
    },
    "longcat_flash": {
        "q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "head_dim": 64,
        "v_head_dim": 128, "moe_topk": 12, "n_routed_experts": 512
    },
    "minicpm3": {
        "num_key_value_heads": 40, "kv_lora_rank": 256, "q_lora_rank": 768, "qk_nope_head_dim": 64,
        "qk_rope_head_dim": 32, "tie_word_embeddings": True
    },
    "mistral4": {
        "moe_intermediate_size": 2048, "num_key_value_heads": 32, "n_shared_experts": 1, "n_routed_experts": 128,
        "kv_lora_rank": 256, "q_lora_rank": 1024, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 64,
        "num_experts_per_tok": 4
    },
    "axk1": {
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 2048, "num_key_value_heads": 64, "n_shared_experts": 1, "n_routed_experts": 192,
        "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim":
        128, "num_experts_per_tok": 8
    },
    "kimi_linear": {
        "first_k_dense_replace": 1,
        "moe_intermediate_size": 1024, "num_key_value_heads": 32, "n_shared_experts": 1, "kv_lora_rank": 512,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128, "num_experts_per_tok": 8,
        "num_local_experts": 256, "linear_head_dim": 128, "linear_num_heads": 32, "linear_conv_kernel_dim": 4
    },
    "bailing_hybrid": {
        "moe_intermediate_size": 768, "num_key_value_heads": 32, "n_shared_experts": 1, "kv_lora_rank": 512,
        "qk_rope_head_dim": 64, "v_head_dim": 128, "qk_nope_head_dim": 128, "num_experts_per_tok": 8,
        "first_k_dense_replace": 2, "num_local_experts": 512, "head_dim": 128, "layer_group_size": 6
    },
    "glm": {"num_key_value_heads": 2, "head_dim": 128, "attention_bias": True},
    "glm4": {"num_key_value_heads": 2, "head_dim": 128, "attention_bias": True},
    "glm4v_text": {"num_key_value_heads": 2},
    "glm4_moe": {
        "num_key_value_heads": 8, "moe_intermediate_size": 1408, "num_experts_per_tok": 8, "n_shared_experts": 1,
        "n_routed_experts": 128, "first_k_dense_replace": 1
    },
    "glm4v_moe_text": {
        "num_key_value_heads": 8, "attention_bias": True, "moe_intermediate_size": 1408, "num_experts_per_tok": 8,
        "n_shared_experts": 1, "n_routed_experts": 128, "first_k_dense_replace": 1
    },
    "minimax_m2": {"num_key_value_heads": 8, "head_dim": 128, "num_experts_per_tok": 8, "num_local_experts": 256},
    "minimax": {"num_key_value_heads": 8, "num_experts_per_tok": 2, "num_local_experts": 8},
    "nemotron_h": {
        "num_key_value_heads": 8, "head_dim": 128, "ssm_state_size": 128, "mamba_num_heads": 128, "mamba_head_dim":
        64, "n_groups": 8, "conv_kernel": 4, "expand": 2, "use_conv_bias": True, "n_routed_experts": 8,
        "n_shared_experts": 1, "moe_intermediate_size": 7688, "moe_shared_expert_intermediate_size": 7688,
        "num_experts_per_tok": 2
    },
    "llama4_text": {
        "intermediate_size_mlp": 16384, "num_key_value_heads": 8, "head_dim": 128, "num_experts_per_tok": 1,
        "num_local_experts": 16, "interleave_moe_layer_step": 1,
        "attention_chunk_size": 8192
    },
    "hunyuan_v1_moe": {"num_experts": 1, "moe_topk": 1},
    "exaone4": {"num_key_value_heads": 32, "sliding_window": 4096, "sliding_window_pattern": 4},
    "exaone_moe": {
        "num_key_value_heads": 32, "sliding_window": 4096, "sliding_window_pattern": 4, "first_k_dense_replace": 1,
        "moe_intermediate_size": 1024, "num_experts": 64, "num_experts_per_tok": 8, "num_shared_experts": 1
    },
    "starcoder2": {"num_key_value_heads": 2, "use_bias": True},
    "cohere2": {"sliding_window": 4096},
    "falcon": {"multi_query": True},
    "falcon_h1": {
        "num_key_value_heads": 8, "mamba_d_ssm": 1024, "mamba_n_heads": 128, "mamba_d_head": "auto",
        "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_conv_bias": True
    },
    "gpt2": {"n_positions": 1024},
    "gpt_bigcode": {"n_positions": 1024, "multi_query": True},
    "opt": {"ffn_dim": 3072},
    "gpt_neox": {"attention_bias": True},
    "gptj": {"n_positions": 2048},
    "mpt": {"expansion_ratio": 4},
    "stablelm": {"num_key_value_heads": 32},
    "persimmon": {"qk_layernorm": True},
    "granitemoehybrid": {
        "num_local_experts": 8, "num_experts_per_tok": 2, "shared_intermediate_size": 1024, "mamba_n_heads": 128,
        "mamba_n_groups": 1, "mamba_d_state": 256, "mamba_d_head": "auto", "mamba_d_conv": 4, "mamba_expand": 2,
        "mamba_conv_bias": True
    },
    "bamba": {
        "num_key_value_heads": 8, "mamba_n_heads": 128, "mamba_d_head": "auto", "mamba_n_groups": 1,
        "mamba_d_state": 256, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_conv_bias": True
    },
    "lfm2": {
        "num_key_value_heads": 8, "conv_L_cache": 3, "block_multiple_of": 256, "block_ffn_dim_multiplier": 1.0,
        "block_auto_adjust_ff_dim": True
    },
    "lfm2_moe": {
        "moe_intermediate_size": 1792, "num_key_value_heads": 8, "conv_L_cache": 3, "num_dense_layers": 2,
        "num_experts_per_tok": 4, "num_experts": 32
    },
    "dots1": {
        "moe_intermediate_size": 1408, "num_key_value_heads": 32, "sliding_window": 4096, "max_window_layers": 62
    },
    "mimo_v2_flash": {
        "first_k_dense_replace": 1,
        "num_key_value_heads": 4, "moe_intermediate_size": 2048, "num_experts_per_tok": 8, "n_routed_experts": 256,
        "head_dim": 192, "v_head_dim": 128, "sliding_window": 129, "swa_num_key_value_heads": 8,
        "add_swa_attention_sink_bias": True
    },
    "afmoe": {
        "moe_intermediate_size": 1408, "num_dense_layers": 1, "head_dim": 128, "num_experts": 64,
        "num_experts_per_tok": 6, "num_shared_experts": 2, "global_attn_every_n_layers": 4, "sliding_window": 1024
    },
    "solar_open": {
        "num_key_value_heads": 8, "moe_intermediate_size": 1280, "num_experts_per_tok": 8, "n_shared_experts": 1,
        "n_routed_experts": 128, "head_dim": 128
    },
    "mamba2": {
        "num_heads": 128, "head_dim": 64, "state_size": 128, "expand": 2, "conv_kernel": 4, "n_groups": 8,
        "use_conv_bias": True
    },
    "mamba": {"state_size": 16, "expand": 2, "conv_kernel": 4, "use_conv_bias": True},
    "falcon_mamba": {"state_size": 16, "expand": 2, "conv_kernel": 4, "use_conv_bias": True},
    "jamba": {
        "num_key_value_heads": 8, "num_experts_per_tok": 2, "num_experts": 16, "expert_layer_period": 2,
        "expert_layer_offset": 1, "attn_layer_period": 8, "attn_layer_offset": 4, "mamba_d_state": 16,
        "mamba_d_conv": 4, "mamba_expand": 2, "mamba_dt_rank": "auto", "mamba_conv_bias": True
    },
    "zamba2": {
        "mamba_d_state": 64, "mamba_d_conv": 4, "mamba_expand": 2, "mamba_ngroups": 1, "n_mamba_heads": 8,
        "use_conv_bias": True, "num_mem_blocks": 1, "adapter_rank": 128
    },
    "step3p5": {
        "num_key_value_heads": 8, "head_dim": 128, "num_experts_per_tok": 8, "num_local_experts": 128,
        "moe_intermediate_size": 1280, "n_routed_experts": 288, "share_expert_dim": 1280
    },
    "lfm3": {"num_key_value_heads": 4, "conv_L_cache": 7, "head_dim": 128, "sliding_window": 256},
}  # fmt: skip

_NAMES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_SIZES: dict[str, tuple[int | None, ...]] = {
    "llama": (32000, 4096, 11008, 32, 32),
    "mistral": (32000, 4096, 14336, 32, 32),
    "mixtral": (32000, 4096, 14336, 32, 32),
    "ministral": (32000, 4096, 14336, 32, 32),
    "ministral3": (131072, 4096, 14336, 34, 32),
    "granite": (32000, 4096, 11008, 32, 32),
    "granitemoe": (32000, 4096, 11008, 32, 32),
    "granitemoeshared": (32000, 4096, 11008, 32, 32),
    "seed_oss": (155136, 4096, 27648, 64, 80),
    "smollm3": (128256, 2048, 11008, 36, 16),
    "helium": (48000, 2560, 7040, 24, 20),
    "ernie4_5": (103424, 1024, 3072, 18, 16),
    "ernie4_5_moe": (103424, 2560, 12288, 28, 20),
    "mllama_text_model": (128256, 4096, 14336, 40, 32),
    "olmo": (50304, 4096, 11008, 32, 32),
    "olmo2": (50304, 4096, 11008, 32, 32),
    "olmo3": (50304, 4096, 11008, 32, 32),
    "olmoe": (50304, 2048, 2048, 16, 16),
    "qwen2": (151936, 4096, 22016, 32, 32),
    "qwen2_moe": (151936, 2048, 5632, 24, 16),
    "qwen2_5_vl_text": (152064, 8192, 29568, 80, 64),
    "qwen2_vl_text": (152064, 8192, 29568, 80, 64),
    "qwen2_5_omni_text": (152064, 3584, 18944, 28, 28),
    "qwen3": (151936, 4096, 22016, 32, 32),
    "qwen3_moe": (151936, 2048, 6144, 24, 32),
    "qwen3_vl_text": (151936, 4096, 22016, 32, 32),
    "qwen3_vl_moe_text": (151936, 2048, 5632, 24, 16),
    "qwen3_omni_moe_text": (3584, 2048, 18944, 28, 28),
    "qwen3_next": (151936, 2048, 5632, 48, 16),
    "qwen3_5_text": (248320, 4096, 12288, 32, 16),
    "qwen3_5_moe_text": (248320, 2048, None, 40, 16),
    "gemma": (256000, 3072, 24576, 28, 16),
    "gemma2": (256000, 2304, 9216, 26, 8),
    "gemma3_text": (262208, 2304, 9216, 26, 8),
    "gemma3n_text": (262400, 2048, 16384, 35, 8),
    "gemma4_text": (262144, 2304, 9216, 30, 8),
    "phi": (51200, 2048, 8192, 24, 32),
    "phi3": (32064, 3072, 8192, 32, 32),
    "phi4_multimodal": (200064, 3072, 8192, 32, 32),
    "phimoe": (32064, 4096, 6400, 32, 32),
    "gpt_oss": (201088, 2880, 2880, 36, 64),
    "deepseek_v2": (102400, 4096, 11008, 32, 32),
    "deepseek_v3": (129280, 7168, 18432, 61, 128),
    "deepseek_v32": (129280, 7168, 18432, 61, 128),
    "glm_moe_dsa": (154880, 6144, 12288, 78, 64),
    "glm4_moe_lite": (154880, 2048, 10240, 47, 20),
    "mistral4": (131072, 4096, 12288, 36, 32),
    "glm": (151552, 4096, 13696, 40, 32),
    "glm4": (151552, 4096, 13696, 40, 32),
    "glm4v_text": (151552, 4096, 13696, 40, 32),
    "glm4_moe": (151552, 4096, 10944, 46, 96),
    "glm4v_moe_text": (151424, 4096, 10944, 46, 96),
    "nemotron": (256000, 6144, 24576, 32, 48),
    "nemotron_h": (131072, 4096, 21504, None, 32),
    "llama4_text": (202048, 5120, 8192, 48, 40),
    "hunyuan_v1_dense": (290943, 4096, 11008, 32, 32),
    "hunyuan_v1_moe": (290943, 4096, 11008, 32, 32),
    "cohere": (256000, 8192, 22528, 40, 64),
    "cohere2": (256000, 8192, 22528, 40, 64),
    "falcon": (65024, 4544, None, 32, 71),
    "falcon_h1": (128000, 4096, 14336, 32, 32),
    "granitemoehybrid": (32000, 4096, 11008, 32, 32),
    "bamba": (128000, 4096, 14336, 32, 32),
    "lfm2": (65536, 2560, 12288, 32, 32),
    "lfm2_moe": (65536, 2048, 7168, 32, 32),
    "falcon_mamba": (50280, 768, None, 32, None),
    "step3p5": (128815, 4096, 11264, 45, 64),
    "lfm3": (128000, 2048, 7680, 24, 16),
    "recurrent_gemma": (256000, 2560, None, 26, 10),
}

#: Sizes of a nested language model whose config leaves them out.
SIZES: dict[str, Mapping[str, Any]] = {
    kind: {n: v for n, v in zip(_NAMES, values, strict=True) if v is not None} for kind, values in _SIZES.items()
}
