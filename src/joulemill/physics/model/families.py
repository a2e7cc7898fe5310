"""What distinguishes the model families and stands in no config: norms, biases, gates, defaults of the modelling code.

One row a family; a config's own fields go before it. Pure data.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Facts about a ``model_type``.

    norms         vectors of the hidden size in a layer's norms (a LayerNorm with bias counts two)
    qkv_bias      whether q, k, v have biases where the config does not say
    tied          whether head and embedding are one where the config does not say
    pattern       how windows alternate where ``layer_types`` is missing: ``all``, ``none``, or each n-th is global
    mixer         which mixer full layers have: ``gqa``, ``mla`` or ``compressed`` (DeepSeek V4)
    defaults      values of fields that published configs of the family leave out
    listed        whether a config must list the kinds of its layers
    window_off    whether windows are off where ``use_sliding_window`` is missing
    only, other   the kind of all layers; of those without attention
    full_every    every how many layers attention is full, where the config does not say
    first_dense   first layers without experts, where the config does not say
    feed          ``none``: layers are a mixer alone; ``shared``: the dense block is the shared expert's width
    mamba         1 or 2: which state-space block; ``state_norm``: whether it has a norm at its end (1: inside)
    head_gate     an output gate of one number a head
    plain_width   whether a missing ``intermediate_size`` is 4 x hidden
    bare          names of fields that mean the state space's in this family (a model of state spaces alone)
    """

    norms: int = 2
    final_norms: int = 1
    qk_norm: Literal["none", "head", "full"] = "none"
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    matrices: Literal[2, 3] = 3
    tied: bool = False
    pattern: int | Literal["all", "none", "chunked"] = "all"
    first_local: bool = True
    gated: bool = False
    sinks: bool = False
    expert_bias: bool = False
    router_bias: bool = False
    shared_gate: bool = False
    mixer: Literal["gqa", "mla", "compressed"] = "gqa"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    listed: bool = False
    window_off: bool = False
    only: Literal["mamba", "hybrid"] | None = None
    other: Literal["mamba", "conv", "linear"] | None = None
    full_every: int = 0
    first_dense: int = 0
    feed: Literal["usual", "shared", "none"] = "usual"
    mamba: Literal[1, 2] = 2
    state_norm: bool = True
    head_gate: bool = False
    plain_width: bool = False
    bare: tuple[str, ...] = ()

    def own(self, name: str) -> tuple[str, ...]:
        """``name`` where it means the state space's in this family, else nothing."""
        return (name,) if name in self.bare else ()


_GEMMA3 = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262208,
    "sliding_window": 4096,
    "sliding_window_pattern": 6,
}
_MLA = Family(mixer="mla")
_PLAIN = Family()
_OLD = Family(
    norms=4, final_norms=2, qkv_bias=True, output_bias=True, mlp_bias=True, matrices=2, tied=True, plain_width=True
)
_QWEN_NEXT = Family(qk_norm="head", gated=True, shared_gate=True, window_off=True, full_every=4)
_STEP = Family(qk_norm="head", head_gate=True, first_dense=3)
_STATES = Family(norms=1, only="mamba", feed="none", bare=("num_heads", "head_dim", "use_bias", "intermediate_size"))
_STATES_1 = Family(norms=1, only="mamba", feed="none", mamba=1, state_norm=False, tied=True)

FAMILIES: dict[str, Family] = {
    "llama": _PLAIN,
    "mistral": _PLAIN,
    "mixtral": _PLAIN,
    "ministral": _PLAIN,
    "ministral3": _PLAIN,
    "mistral3": _PLAIN,
    "granite": _PLAIN,
    "granitemoe": _PLAIN,
    "granitemoeshared": _PLAIN,
    "seed_oss": Family(qkv_bias=True),
    "smollm3": Family(window_off=True),
    "internlm2": _PLAIN,
    "internlm3": _PLAIN,
    "baichuan": _PLAIN,
    "yi": _PLAIN,
    "aquila": _PLAIN,
    "exaone": _PLAIN,
    "arcee": Family(matrices=2),
    "decilm": _PLAIN,
    "nemotron-nas": _PLAIN,
    "solar": _PLAIN,
    "helium": _PLAIN,
    "ernie4_5": _PLAIN,
    "ernie4_5_moe": _PLAIN,
    "ernie4_5_moe_vl": _PLAIN,
    "ernie4_5_vl_moe": _PLAIN,
    "mllama_text_model": _PLAIN,
    "mllama": _PLAIN,
    "telechat3": _PLAIN,
    "olmo": Family(norms=0, final_norms=0),
    "olmo2": Family(qk_norm="full"),
    "olmo3": Family(qk_norm="full", pattern=4),
    "olmoe": Family(qk_norm="full"),
    "apertus": Family(qk_norm="head", matrices=2),
    "qwen2": Family(window_off=True, qkv_bias=True),
    "qwen2_moe": Family(window_off=True, qkv_bias=True, shared_gate=True),
    "qwen2_vl": Family(window_off=True, qkv_bias=True),
    "qwen2_5_vl": Family(window_off=True, qkv_bias=True),
    "qwen2_5_vl_text": Family(window_off=True, qkv_bias=True),
    "qwen2_vl_text": Family(window_off=True, qkv_bias=True),
    "qwen2_5_omni_text": Family(window_off=True, qkv_bias=True),
    "qwen": Family(qkv_bias=True),
    "qwen3": Family(window_off=True, qk_norm="head"),
    "qwen3_moe": Family(window_off=True, qk_norm="head"),
    "qwen3_vl": Family(window_off=True, qk_norm="head"),
    "qwen3_vl_text": Family(window_off=True, qk_norm="head"),
    "qwen3_vl_moe": Family(window_off=True, qk_norm="head"),
    "qwen3_vl_moe_text": Family(window_off=True, qk_norm="head"),
    "qwen3_omni_moe_text": Family(window_off=True, qk_norm="head"),
    "qwen3_omni_moe_thinker": Family(window_off=True, qk_norm="head"),
    "qwen3_omni_moe": Family(window_off=True, qk_norm="head"),
    "qwen3_next": _QWEN_NEXT,
    "qwen3_5": _QWEN_NEXT,
    "qwen3_5_text": _QWEN_NEXT,
    "qwen3_5_moe": _QWEN_NEXT,
    "qwen3_5_moe_text": _QWEN_NEXT,
    "gemma": Family(tied=True),
    "gemma2": Family(norms=4, tied=True, pattern=2),
    "gemma3": Family(norms=4, tied=True, pattern=6, qk_norm="head", defaults=_GEMMA3),
    "gemma3_text": Family(norms=4, tied=True, pattern=6, qk_norm="head", defaults=_GEMMA3),
    "gemma3n": Family(norms=4, tied=True, pattern=5, qk_norm="head"),
    "gemma3n_text": Family(norms=4, tied=True, pattern=5, qk_norm="head"),
    "gemma4": Family(norms=4, tied=True, pattern=6, qk_norm="head"),
    "gemma4_text": Family(norms=4, tied=True, pattern=6, qk_norm="head"),
    "phi": Family(norms=2, final_norms=2, qkv_bias=True, output_bias=True, mlp_bias=True, matrices=2),
    "phi3": _PLAIN,
    "phi3small": _PLAIN,
    "phi4mm": _PLAIN,
    "phi4_multimodal": _PLAIN,
    "phimoe": Family(norms=4, final_norms=2, output_bias=True, qkv_bias=True),
    "gpt_oss": Family(pattern=2, qkv_bias=True, output_bias=True, sinks=True, expert_bias=True, router_bias=True),
    "deepseek_v2": _MLA,
    "deepseek_v3": _MLA,
    "deepseek_v32": _MLA,
    "deepseek_v4": Family(mixer="compressed", pattern="none"),
    "deepseek": _PLAIN,
    "kimi_k2": _MLA,
    "kimi_k25": _MLA,
    "glm_moe_dsa": _MLA,
    "glm4_moe_lite": _MLA,
    "longcat_flash": _MLA,
    "minicpm3": _MLA,
    "mistral4": _MLA,
    "mistral_large_3": _MLA,
    "axk1": _MLA,
    "kimi_linear": Family(mixer="mla", listed=True),
    "pangu_ultra_moe": _MLA,
    "bailing_hybrid": _MLA,
    "glm": Family(qkv_bias=True),
    "glm4": Family(norms=4),
    "glm4v_text": Family(norms=4),
    "chatglm": Family(qkv_bias=True),
    "glm4_moe": Family(qkv_bias=True),
    "glm4v_moe": Family(qkv_bias=True),
    "glm4v_moe_text": Family(qkv_bias=True),
    "minimax_m2": Family(qk_norm="full"),
    "minimax": Family(listed=True),
    "minimax_text_01": _PLAIN,
    "minimax_m1": _PLAIN,
    "nemotron": Family(norms=4, final_norms=2, matrices=2),
    "nemotron_h": Family(norms=1, matrices=2),
    "llama4": Family(pattern="chunked"),
    "llama4_text": Family(pattern="chunked"),
    "hunyuan": Family(qk_norm="head"),
    "hunyuan_v1_dense": Family(qk_norm="head"),
    "hunyuan_v1_moe": Family(qk_norm="head"),
    "exaone4": Family(qk_norm="head", pattern=4),
    "exaone_moe": Family(qk_norm="head", pattern=4),
    "starcoder2": Family(norms=4, final_norms=2, qkv_bias=True, output_bias=True, mlp_bias=True, matrices=2, tied=True),
    "cohere": Family(norms=1, tied=True),
    "cohere2": Family(norms=1, tied=True, pattern=4),
    "falcon": Family(norms=2, final_norms=2, matrices=2, tied=True, plain_width=True),
    "falcon_h1": Family(norms=2, only="hybrid", state_norm=False),
    "falcon3": _PLAIN,
    "gpt2": _OLD,
    "gpt_bigcode": _OLD,
    "opt": _OLD,
    "bloom": _OLD,
    "gpt_neox": Family(norms=4, final_norms=2, qkv_bias=True, output_bias=True, mlp_bias=True, matrices=2),
    "gptj": Family(norms=2, final_norms=2, matrices=2, mlp_bias=True, plain_width=True),
    "mpt": Family(norms=2, matrices=2, tied=True, plain_width=True),
    "stablelm": Family(norms=4, final_norms=2),
    "dbrx": Family(norms=2),
    "persimmon": Family(norms=4, qkv_bias=True, matrices=2, mlp_bias=True),
    "granitemoehybrid": Family(other="mamba", feed="shared", only="mamba"),
    "bamba": Family(other="mamba", only="mamba"),
    "lfm2": Family(qk_norm="head", tied=True, other="conv"),
    "lfm2_moe": Family(qk_norm="head", tied=True, other="conv", router_bias=True),
    "bailing_moe": _PLAIN,
    "bailing_moe_v2": Family(qk_norm="head"),
    "dots1": Family(qk_norm="head"),
    "mimo": Family(qkv_bias=True),
    "mimo_v2_flash": Family(listed=True),
    "step3_text": Family(),
    "step3_vl": Family(),
    "step3p5": _STEP,
    "step3p7": _STEP,
    "jamba": Family(other="mamba", mamba=1),
    "zamba2": Family(norms=1, other="mamba", tied=True, listed=True),
    "mamba2": _STATES,
    "mamba": _STATES_1,
    "falcon_mamba": _STATES_1,
    "grok-1": Family(norms=4),
    "afmoe": Family(norms=4, qk_norm="head", pattern=4, gated=True, router_bias=True),
    "solar_open": _PLAIN,
    "minicpm": _PLAIN,
    "minicpm4": _PLAIN,
    "orion": Family(norms=4, final_norms=2),
    "jais": _OLD,
    "plamo": _PLAIN,
    "ouro": Family(norms=4),
    "teuken": _PLAIN,
}

#: Model types that would be silently wrong under any reading of the common fields.
REFUSED: dict[str, str] = {
    "rwkv": "RWKV",
    "rwkv7": "RWKV",
    "t5": "an encoder",
    "bart": "an encoder",
    "whisper": "an encoder",
    "bert": "an encoder, not a decoder",
    "recurrent_gemma": "RG-LRU layers",
}
