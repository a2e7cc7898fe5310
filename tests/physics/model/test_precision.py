"""Number formats, and which tensors carry which, as quantization configs say it."""

from __future__ import annotations

from typing import Any

import pytest

from joulemill.errors import InputError
from joulemill.physics.model.precision import FORMATS, TENSORS, format_named, uniform
from joulemill.physics.model.quantization_config import precision_from_config


# Bits: OCP microscaling v1.0 (32 x 4 bits + 8), NVFP4 (16 x 4 bits + 8), DeepSeek-V3 (fp32 scale per 128 x 128).
@pytest.mark.parametrize(
    ("name", "bits"), [("mxfp4", 4.25), ("nvfp4", 4.5), ("fp8", 8.0), ("bf16", 16.0), ("int4_g32", 4.5)]
)
def test_bits_with_scales(name: str, bits: float) -> None:
    assert FORMATS[name].element_byte * 8 == bits


def test_names_as_frameworks_write_them() -> None:
    assert format_named("bfloat16") is FORMATS["bf16"]
    assert format_named("FP8_E4M3") is FORMATS["fp8"]
    assert format_named("awq") is FORMATS["int4"] and format_named("w4a8_mxfp4_mxfp8") is FORMATS["mxfp4"]
    with pytest.raises(InputError, match="fp3"):
        format_named("fp3")


def test_uniform_keeps_the_ends() -> None:
    fp8 = uniform("fp8")
    assert {t: fp8.of(t).name for t in TENSORS if t in ("head", "embedding", "router")} == dict.fromkeys(
        ("router", "head", "embedding"), "bf16"
    )
    assert fp8.experts.name == fp8.attention.name == "fp8"
    assert uniform("fp32").head.name == "fp32"
    assert fp8.with_kv("fp8").kv.element_byte == 1


def quantized(layers: int = 4, **config: Any) -> Any:
    return precision_from_config({"num_hidden_layers": layers, "quantization_config": config})


def test_no_quantization_is_the_stated_dtype() -> None:
    assert precision_from_config({"torch_dtype": "float16"}).dense.name == "fp16"
    assert precision_from_config({}).dense.name == "bf16"
    assert precision_from_config({"text_config": {"dtype": "float32"}}).dense.name == "fp32"
    assert precision_from_config({"mamba_ssm_dtype": "bfloat16"}).recurrent.name == "bf16"


def test_block_fp8_leaves_routers_only() -> None:
    p = quantized(
        quant_method="fp8",
        weight_block_size=[128, 128],
        modules_to_not_convert=["lm_head", *(f"model.layers.{i}.mlp.gate" for i in range(4))],
    )
    assert p.attention.name == p.experts.name == p.dense.name == "fp8_block"
    assert p.head.name == "bf16"


def test_mxfp4_is_for_experts_only() -> None:
    p = quantized(
        quant_method="mxfp4",
        modules_to_not_convert=["model.layers.*.self_attn", "model.layers.*.mlp.router", "lm_head"],
    )
    assert (p.experts.name, p.attention.name, p.name) == ("mxfp4", "bf16", "mxfp4")


def test_modelopt_excluding_attention_in_every_layer() -> None:
    exclude = [f"model.layers.{i}.self_attn*" for i in range(4)] + ["lm_head"]
    p = quantized(quant_method="modelopt", quant_algo="NVFP4", kv_cache_quant_algo="FP8", exclude_modules=exclude)
    assert (p.experts.name, p.dense.name, p.attention.name, p.kv.name) == ("nvfp4", "nvfp4", "bf16", "fp8")


def test_one_layer_left_alone_does_not_count() -> None:
    p = quantized(quant_method="fp8", modules_to_not_convert=["model.layers.0.self_attn.q_proj"])
    assert p.attention.name == "fp8"


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"quant_method": "awq", "bits": 4, "group_size": 128}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8_weight_only"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "nf4"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float"}, "input_activations": {}}},
            },
            "fp8_weight_only",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "g": {
                        "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
                        "input_activations": {"num_bits": 8},
                    }
                },
            },
            "fp8",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 4, "type": "float", "group_size": 16}}},
            },
            "nvfp4",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {
                    "g": {"weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8}}
                },
            },
            "int8",
        ),
        ({"quant_method": "quark", "global_quant_config": {"weight": {"dtype": "fp4"}}}, "mxfp4_w4a4"),
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, "int4"),
    ],
)
def test_methods(config: dict[str, Any], name: str) -> None:
    assert quantized(**config).dense.name == name


def test_meta_leaves_attention_of_its_fp8_alone() -> None:
    p = quantized(quant_method="fbgemm_fp8", modules_to_not_convert=[])
    assert (p.dense.name, p.attention.name) == ("fp8", "bf16")


def test_unknown_method_is_refused() -> None:
    with pytest.raises(InputError, match="magic"):
        quantized(quant_method="magic")
