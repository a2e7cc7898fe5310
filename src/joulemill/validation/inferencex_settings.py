"""Settings of published latency points, from the launch scripts of their benchmark.

InferenceX publishes the script of each deployment it measures. Two settings in them make most of the time to first
token: how many tokens a step may hold, and how many steps pass between two looks at the queue of new requests. A third,
the format of keys and values, decides how many requests fit and what decoding reads.
Source: benchmarks/*.sh of InferenceX (formerly InferenceMAX), read 2026-11: ``max_num_tokens``,
``chunked-prefill-size``, ``scheduler-recv-interval``, ``batch_wait_timeout_iters``, ``attention_dp_config``,
``kv-cache-dtype``, ``kv_cache_config.dtype``.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Tokens a step holds where no script says otherwise: the default of vLLM's server, and of TensorRT-LLM.
BUDGET_TOK = 8192.0
HOPPER, BLACKWELL = ("h100", "h200", "gh200"), ("b200", "b300", "gb200", "gb300")


@dataclass(frozen=True, slots=True)
class Recipe:
    """``budget_tok`` tokens a step; ``poll_count`` steps between two looks at the queue, 0 where it is the engine's."""

    budget_tok: float = BUDGET_TOK
    poll_count: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Launched:
    """What a script chooses its settings by."""

    engine: str
    model: str
    device: str
    precision: str
    prompt_tok: float
    answer_tok: float
    in_flight_req: float
    tensor_count: int
    data_count: int


def recipe_of(run: Launched) -> Recipe:
    """Settings of an aggregated InferenceX deployment."""
    if run.engine == "sglang":
        return _sglang(run)
    if run.engine == "trtllm":
        return _trtllm(run)
    return Recipe()


def narrow_keys(run: Launched, *, quantized: bool, scripted: bool) -> bool:
    """Whether keys and values were kept in 8 bits; engines keep them in the model's format where nothing says so.

    ``quantized``: the weights are. TensorRT-LLM's quantized checkpoints state 8-bit keys, and its scripts set them, but
    for gpt-oss on Hopper. vLLM's scripts set them for Llama, and for gpt-oss on Blackwell; SGLang's on Blackwell, and
    for Qwen3.5. No other devices are told of.
    """
    hopper, blackwell = run.device.startswith(HOPPER), run.device.startswith(BLACKWELL)
    if run.engine == "trtllm":
        return quantized and not ("gpt-oss" in run.model and hopper)
    if run.engine == "sglang":
        return scripted and (blackwell or "Qwen3.5" in run.model)
    return scripted and ("Llama" in run.model or ("gpt-oss" in run.model and blackwell))


def _sglang(run: Launched) -> Recipe:
    """On B200 (DeepSeek, Qwen3.5): a look each 10 steps, from 16 in flight on each 30; GLM-5 runs with defaults."""
    if not run.device.startswith("b200") or "GLM" in run.model:
        return Recipe()
    budget = 16384.0 if run.precision == "fp4" else 32768.0
    return Recipe(budget, 30.0 if run.in_flight_req >= 16.0 else 10.0)


def _trtllm(run: Launched) -> Recipe:
    """DeepSeek: room for one prompt a step, and prompts wait for data-parallel ranks to have one each, up to 60 steps
    (15 on average, assumed).
    Llama-70B: at 1k/1k on fewer than eight devices a prompt waits 20 steps for others (two halves of 40)."""
    if "DeepSeek" in run.model:
        budget = run.in_flight_req + run.prompt_tok + 64.0
        return Recipe(budget, 30.0 if run.data_count > 1 else 0.0)
    if "gpt-oss" in run.model:
        return Recipe(20000.0)
    if "Llama" in run.model:
        waits = run.prompt_tok == run.answer_tok == 1024.0 and run.tensor_count < 8
        return Recipe(16384.0, 40.0 if waits else 0.0)
    return Recipe()
