"""Files config.json of several architectures, as they are published."""

from __future__ import annotations

from typing import Any

LLAMA_CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 100,
}


CONFIGS: list[dict[str, Any]] = [
    LLAMA_CONFIG,
    {**LLAMA_CONFIG, "model_type": "deepseek_v32", "n_routed_experts": 4, "num_experts_per_tok": 2,
     "moe_intermediate_size": 8, "kv_lora_rank": 8, "q_lora_rank": 8, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8,
     "v_head_dim": 8, "index_topk": 4, "index_n_heads": 2, "index_head_dim": 8, "first_k_dense_replace": 1},
    {**LLAMA_CONFIG, "model_type": "nemotron_h", "hybrid_override_pattern": "M-*M", "mamba_num_heads": 4,
     "mamba_head_dim": 4, "ssm_state_size": 4, "n_groups": 1, "conv_kernel": 4},
    {**LLAMA_CONFIG, "model_type": "kimi_linear", "linear_attn_config": {"kda_layers": [1, 2], "num_heads": 2,
     "head_dim": 4, "short_conv_kernel_size": 4, "full_attn_layers": [3, 4]}},
    {**LLAMA_CONFIG, "model_type": "nemotron-nas", "block_configs": [
        {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.5}}, {"attention": {"no_op": True},
         "ffn": {"intermediate_size": 32}}] * 2},
    {"model_type": "step3p7", "vision_config": {"a": 1}, "text_config": {**LLAMA_CONFIG, "model_type": "step3p5",
     "attention_other_setting": {"attention_type": "sliding_attention", "num_attention_heads": 8},
     "layer_types": ["full_attention", "sliding_attention"] * 2, "sliding_window": 8, "moe_layers_enum": "1,2",
     "moe_num_experts": 4, "moe_top_k": 1, "moe_intermediate_size": 8, "share_expert_dim": 8}},
    {**LLAMA_CONFIG, "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 128}},
    {**LLAMA_CONFIG, "quantization_config": {"quant_method": "compressed-tensors", "ignore": ["lm_head"],
     "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "int", "group_size": 128}}},
     "kv_cache_scheme": {"num_bits": 8}}},
    {"d_model": 64, "n_layer": 2, "vocab_size": 100, "ssm_cfg": {"layer": "Mamba2"}, "pad_vocab_size_multiple": 8},
]  # fmt: skip
