"""Settings of published latency points, from the launch scripts of their benchmark.

InferenceX publishes the script of each deployment it measures. Four settings in them make most of the time to first
token: how many tokens a step may hold, how many steps pass between two looks at the queue of new requests, how long a
prompt is held back for others, and up to how many tokens steps run from captured graphs. A fifth, the format of keys
and values, decides how many requests fit and what decoding reads.
Source: benchmarks/**/*.sh of InferenceX (formerly InferenceMAX) and ``perf-changelog.yaml``, read 2026-11:
``max_num_tokens``, ``max-num-batched-tokens``, ``chunked-prefill-size``, ``scheduler-recv-interval``,
``batch_wait_timeout_iters``, ``attention_dp_config``, ``max-cudagraph-capture-size``, ``kv-cache-dtype``,
``kv_cache_config.dtype``.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Tokens a step holds where no script says otherwise: the default of vLLM's server, and of TensorRT-LLM.
BUDGET_TOK = 8192.0
HOPPER, BLACKWELL = ("h100", "h200", "gh200"), ("b200", "b300", "gb200", "gb300")


@dataclass(frozen=True, slots=True)
class Recipe:
    """An engine's settings.

    max_batched_tok            most tokens of a step
    scheduler_interval_count   steps between two looks at the queue, 0 where it is the engine's
    hold_count                 steps that a prompt is held back at most for others to join it
    captured_tok               tokens up to which a step with prompts runs from captured graphs
    """

    max_batched_tok: float = BUDGET_TOK
    scheduler_interval_count: float = 0.0
    hold_count: float = 0.0
    captured_tok: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchKey:
    """What a script chooses its settings by; ``version``: the engine's release, empty where none is stated."""

    engine: str
    model: str
    device: str
    precision: str
    version: str
    prompt_tok: float
    answer_tok: float
    in_flight_req: float
    tensor_count: int
    data_count: int


def recipe_of(run: LaunchKey) -> Recipe:
    """Settings of an aggregated InferenceX deployment."""
    return {"sglang": _sglang, "trtllm": _trtllm}.get(run.engine, _vllm)(run)


def kv_cache_is_8bit(run: LaunchKey, *, quantized: bool, scripted: bool) -> bool:
    """Whether the KV cache was kept in 8 bits; engines keep them in the model's format where nothing says so.

    ``quantized``: the weights are. TensorRT-LLM's quantized checkpoints state 8-bit keys, and its scripts set them, but
    for gpt-oss on Hopper. vLLM's scripts set them for Llama, and for gpt-oss on Blackwell; SGLang's on Blackwell, and
    for Qwen3.5. No other devices are told of.
    """
    hopper, blackwell = run.device.startswith(HOPPER), run.device.startswith(BLACKWELL)
    if run.engine == "trtllm":
        return quantized and not ("gpt-oss" in run.model and hopper)
    if run.engine == "sglang":
        return scripted and (blackwell or "Qwen3.5" in run.model)
    mini = "MiniMax" in run.model and run.version.startswith(TUNED_MINIMAX)
    return scripted and ("Llama" in run.model or (blackwell and ("gpt-oss" in run.model or mini)))


#: Releases on Blackwell from which MiniMax-M2.5 ran with 8-bit keys, large graphs and room for two prompts a step.
TUNED_MINIMAX = ("0.19", "nightly")
#: Graphs that vLLM captured for gpt-oss and MiniMax.
CAPTURED_TOK = 2048.0


def _vllm(run: LaunchKey) -> Recipe:
    if "gpt-oss" in run.model:
        return Recipe(captured_tok=CAPTURED_TOK)
    if "MiniMax" in run.model and run.device.startswith(BLACKWELL) and run.version.startswith(TUNED_MINIMAX):
        return Recipe(2.0 * run.prompt_tok, captured_tok=CAPTURED_TOK)
    return Recipe()


def _sglang(run: LaunchKey) -> Recipe:
    """On B200 (DeepSeek, Qwen3.5): a look each 10 steps, from 16 in flight on each 30. Where no script sets it, a step
    holds what SGLang chooses by the device's memory."""
    if run.device.startswith("b200"):
        often = 30.0 if run.in_flight_req >= 16.0 else 10.0
        if "GLM" in run.model:
            return Recipe(16384.0 if run.precision == "fp4" else 32768.0)
        if "DeepSeek" in run.model:
            if run.precision == "fp4":
                return Recipe(16384.0, often)
            return Recipe(8192.0, 10.0) if run.tensor_count == 4 else Recipe(32768.0, often)
        return Recipe(32768.0, 30.0 if run.precision == "fp4" else often)
    if run.device.startswith("h200") and "GLM" not in run.model:
        return Recipe(32768.0 if "DeepSeek" in run.model else 16384.0)
    return Recipe()


def _trtllm(run: LaunchKey) -> Recipe:
    """DeepSeek: room for one prompt a step, from 1.2 on for 8192 tokens; prompts wait up to 60 steps for data-parallel
    ranks to have one each. Some prompts of 1k/1k wait for others: DeepSeek's up to 40 steps, Llama's up to 20."""
    short = run.prompt_tok == run.answer_tok == 1024.0
    if "DeepSeek" in run.model:
        budget = run.in_flight_req + run.prompt_tok + 64.0
        recent = run.version == "1.2.0rc6.post2"
        held = recent and run.precision == "fp8" and short and 64.0 <= run.in_flight_req < 256.0
        hold = 60.0 if run.data_count > 1 else 40.0 if held else 0.0
        return Recipe(max(budget, 8192.0) if recent else budget, hold_count=hold)
    if "gpt-oss" in run.model:
        return Recipe(20000.0, hold_count=50.0 if run.data_count > 1 else 0.0)
    if "Llama" in run.model:
        return Recipe(16384.0, hold_count=20.0 if short and run.tensor_count < 8 else 0.0)
    return Recipe()


def sglang_pool_tok(ranks_count: int) -> float:
    """Tokens a step of each rank of SGLang's prefill workers, which share what their scripts set."""
    return 32768.0 / ranks_count


def pool_recipe_of(run: LaunchKey, ranks_count: int) -> Recipe:
    """Settings of the prefill workers of a disaggregated InferenceX deployment, of ``ranks_count`` ranks."""
    if run.engine == "sglang":
        return Recipe(sglang_pool_tok(ranks_count))
    if run.engine == "trtllm" and "DeepSeek" in run.model:
        short = 4608.0 if run.version.startswith("0.5") or not run.version else 16384.0
        return Recipe(8448.0 if run.prompt_tok > 4096.0 else short)
    return Recipe()
