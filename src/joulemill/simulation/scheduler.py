"""How engines choose what a step carries; their differences as data. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from joulemill.errors import InputError
from joulemill.simulation.outcomes import REASONS


@dataclass(frozen=True, kw_only=True)
class SchedulerPolicy:
    """An engine's scheduler.

    lookahead     a step is chosen while the one before it runs (asynchronous scheduling), so that a request that comes
                  during a step waits for one more
    mixed_steps   prompts share a step with sequences that decode; False: they have steps of their own, and decoding
                  waits while there are any
    chunked       a prompt may be computed over several steps
    reserve_output_ratio   share of its answer that must have room in the KV cache for a request to be admitted, beside
                  its prompt; None: room for the next chunk is enough
    block_tok     tokens of a block of the KV cache
    """

    name: str
    lookahead: bool
    mixed_steps: bool = True
    chunked: bool = True
    reserve_output_ratio: float | None = None
    block_tok: int = 16

    def __post_init__(self) -> None:
        if not self.chunked and (self.reserve_output_ratio or 0.0) < 1.0:
            raise InputError(
                f"scheduler {self.name}: whole prompts need room for whole answers (reserve_output_ratio 1): a request "
                "that loses its place in the KV cache may be longer than a step when it is computed again"
            )


#: vLLM v1, since 0.14 with asynchronous scheduling where nothing speaks against it (docs: engine arguments,
#: ``--async-scheduling``); blocks of 16 tokens, chunked prefill, preemption by recomputation.
VLLM = SchedulerPolicy(name="vllm", lookahead=True)
#: vLLM before that: a step is chosen when the one before it has ended.
VLLM_SYNCHRONOUS = SchedulerPolicy(name="vllm-synchronous", lookahead=False)
#: SGLang: prompts before decoding, in steps of their own (``--enable-mixed-chunk`` is off); a request is admitted where
#: its prompt and 0.7 of its answer fit (``init_new_token_ratio``, whose later decay is left out); pages of one token;
#: overlap scheduling.
SGLANG = SchedulerPolicy(name="sglang", lookahead=True, mixed_steps=False, reserve_output_ratio=0.7, block_tok=1)
#: TensorRT-LLM: GUARANTEED_NO_EVICT admits what fits to its last token, so nothing is preempted; whole prompts
#: (``enable_chunked_prefill`` is off); blocks of 32 tokens; overlap scheduler.
TENSORRT_LLM = SchedulerPolicy(name="trtllm", lookahead=True, chunked=False, reserve_output_ratio=1.0, block_tok=32)

POLICIES = {p.name: p for p in (VLLM, VLLM_SYNCHRONOUS, SGLANG, TENSORRT_LLM)}


@dataclass(frozen=True, kw_only=True)
class EngineLimits:
    """What bounds an engine; the names are vLLM's.

    kv_tok        tokens that the KV cache holds, all ranks together
    max_model_len longest prompt and answer together [tok]
    ranks_count   ranks of data-parallel attention: each has a budget of its own
    ingest_s, ingest_tok_s   before a request can be scheduled: fixed, and a prompt token (HTTP, tokenizer)
    step_yield_tok  tokens that a step yields a sequence: more than 1 where drafts are accepted
    """

    policy: SchedulerPolicy
    max_num_seqs: int
    max_num_batched_tokens: int
    kv_tok: int
    max_model_len_tok: int | None = None
    ranks_count: int = 1
    ingest_s: float = 0.0
    ingest_tok_s: float = 0.0
    step_yield_tok: float = 1.0

    def __post_init__(self) -> None:
        counts = {
            "max_num_seqs": self.max_num_seqs,
            "max_num_batched_tokens": self.max_num_batched_tokens,
            "kv_tok": self.kv_tok,
            "ranks_count": self.ranks_count,
        }
        for name, value in counts.items():
            if value < 1:
                raise InputError(f"{name} is {value}; it must be at least 1")
        if self.step_yield_tok < 1.0 or min(self.ingest_s, self.ingest_tok_s) < 0.0:
            raise InputError("a step yields at least one token per sequence, and no wait is below 0 s")

    @property
    def blocks_count(self) -> int:
        """Blocks of the KV cache."""
        return self.kv_tok // self.policy.block_tok

    @property
    def step_tok(self) -> int:
        """Tokens of one step, all ranks together."""
        return self.max_num_batched_tokens * self.ranks_count

    def refusal(self, input_tok: int, output_tok: int) -> int:
        """Why such a request can never be served, an index of ``outcomes.REASONS``; 0: it can."""
        whole_tok = input_tok + output_tok
        if self.max_model_len_tok is not None and whole_tok > self.max_model_len_tok:
            return REASONS.index("longer than the model's context")
        if -(-whole_tok // self.policy.block_tok) > self.blocks_count:
            return REASONS.index("longer than the KV cache holds")
        whole = not self.policy.chunked and input_tok > self.step_tok
        return REASONS.index("longer than a step's budget") if whole else 0
