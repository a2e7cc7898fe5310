"""What is asked of a deployment, and the answer: a prediction, what was assumed, and what it falls short of."""

from __future__ import annotations

from dataclasses import KW_ONLY, asdict, dataclass
from numbers import Real
from typing import Any

from joulemill.catalog.model_entry import ModelEntry
from joulemill.catalog.models import find_model
from joulemill.catalog.sites import load_site
from joulemill.errors import InputError
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.site import Site
from joulemill.physics.production.prediction import Prediction
from joulemill.physics.serving.deployment import MOST_PARALLEL, Deployment, Parallelism
from joulemill.physics.serving.speculation import MOST_DRAFTED
from joulemill.physics.serving.workload import Workload
from joulemill.wording import percent, signed_percent

#: Arguments that are counts → the most that is no slip of a key.
COUNTS = {
    "devices": 1_000_000,
    "tp": MOST_PARALLEL,
    "dp": MOST_PARALLEL,
    "ep": MOST_PARALLEL,
    "pp": MOST_PARALLEL,
    "concurrency": 100_000,
    "max_num_seqs": 100_000,
    "max_num_batched_tokens": 10_000_000,
    "speculative_tokens": MOST_DRAFTED,
    "prefill_devices": 1_000_000,
    "prefill_tp": MOST_PARALLEL,
    "prefill_dp": MOST_PARALLEL,
    "prefill_ep": MOST_PARALLEL,
}
#: Arguments that are words; numbers that are always known, as they have a default.
WORDS = ("precision", "kv_dtype", "engine", "draft_model", "node")
NEEDED = (
    *("devices", "input_tokens", "output_tokens", "output_spread_ratio", "cached_ratio", "max_num_batched_tokens"),
    *("gpu_memory_utilization", "clock_ratio", "speculative_tokens"),
)
#: Arguments that are values of Python, and no facts that a file or a table could state.
VALUES = ("facility", "hardware", "released")
POOL = ("prefill_devices", "prefill_tp", "prefill_dp", "prefill_ep")
WHOLE = ("devices", "tp", "dp", "ep", "pp", *POOL, "speculative_tokens")
#: Arguments that are counts and may be 0: what they count is then left out.
FROM_ZERO = ("speculative_tokens",)
#: Arguments that are quantities → (least, most) in their unit. Beyond these it is a slip of a unit.
BOUNDS = {
    "input_tokens": (1.0, 1e8),
    "output_tokens": (1.0, 1e8),
    "rate_req_s": (1e-6, 1e9),
    "slo_ttft_s": (1e-6, 86400.0),
    "slo_tpot_s": (1e-6, 3600.0),
    "power_cap_w": (1.0, 20e3),
    "output_spread_ratio": (0.0, 5.0),
    "cached_ratio": (0.0, 0.999),
    "gpu_memory_utilization": (0.05, 1.0),
    "clock_ratio": (0.106, 1.0),
    "clock_hz": (1e7, 1e11),
    "acceptance_rate": (0.0, 1.0),
}


@dataclass(frozen=True, kw_only=True)
class PredictionRequest:
    """What is asked: the arguments of ``joulemill.predict``, by the same names. None: not stated.

    devices          in all; tp, dp, ep, pp   a replica's parallelism: tensor, data, expert, pipeline
    prefill_devices  compute prompts, beside ``devices``, which decode (disaggregated); prefill_tp, _dp, _ep: theirs
    concurrency      requests in flight in one replica; None: as many as fit, or as ``rate_req_s`` needs
    max_num_seqs, max_num_batched_tokens, gpu_memory_utilization   limits of the engine, as vLLM names them
    chunked_prefill, enforce_eager   whether prompts are computed in parts beside decoding; without captured graphs
    two_batch_overlap, eplb   of wide expert parallelism: two micro-batches that overlap, expert load balancing; None:
                     both from 32 expert-parallel ranks on
    speculative_tokens, acceptance_rate, draft_model   tokens drafted a step, each accepted so often, by this model
                     ("ngram": looked up in the prompt; None: the model's own drafting layers)
    rate_req_s       requests offered per second, to all replicas together
    output_spread_ratio   standard deviation over mean of output lengths
    cached_ratio     share of the prompt that a prefix cache serves
    slo_ttft_s, slo_tpot_s   targets of the latencies
    power_cap_w, clock_ratio   of one device: power limit, locked core clock over the highest, or clock_hz
    node             server that holds the devices, by its name in the catalog: boards, cooling, links, NICs
    site, calibration   paths of files
    facility, hardware, released   a site, a device and a model as values: the site after ``site``, the device and the
                     model before ``device`` and ``model``, whose words then only name them
    approximate      whether a model file that is not understood is read as a plain decoder
    """

    model: str
    device: str
    _: KW_ONLY
    devices: int = 1
    tp: int | None = None
    dp: int | None = None
    ep: int | None = None
    pp: int | None = None
    prefill_devices: int | None = None
    prefill_tp: int | None = None
    prefill_dp: int | None = None
    prefill_ep: int | None = None
    precision: str | None = None
    kv_dtype: str | None = None
    engine: str = "vllm"
    concurrency: float | None = None
    rate_req_s: float | None = None
    input_tokens: float = 512.0
    output_tokens: float = 512.0
    output_spread_ratio: float = 0.0
    cached_ratio: float = 0.0
    max_num_seqs: float | None = None
    max_num_batched_tokens: float = 8192.0
    gpu_memory_utilization: float = 0.9
    chunked_prefill: bool = True
    enforce_eager: bool = False
    two_batch_overlap: bool | None = None
    eplb: bool | None = None
    speculative_tokens: int = 0
    acceptance_rate: float | None = None
    draft_model: str | None = None
    power_cap_w: float | None = None
    clock_ratio: float = 1.0
    clock_hz: float | None = None
    node: str | None = None
    slo_ttft_s: float | None = None
    slo_tpot_s: float | None = None
    site: str | None = None
    calibration: str | None = None
    facility: Site | None = None
    hardware: Device | None = None
    released: ModelEntry | None = None
    approximate: bool = False

    def __post_init__(self) -> None:
        _check_words(self)
        _check_numbers(self)
        _check_drafts(self)
        _check_pool(self)
        if self.clock_hz is not None and self.clock_ratio != 1.0:
            raise InputError("`clock_hz` and `clock_ratio` lock the same clock; give one of them")
        for name in (*COUNTS, *BOUNDS):  # an array made of a whole number would round what is put into it
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, int(value) if name in WHOLE else float(value))
        if self.concurrency is not None and self.max_num_seqs is not None and self.concurrency > self.max_num_seqs:
            raise InputError(
                f"`concurrency` {self.concurrency:g} is above `max_num_seqs` {self.max_num_seqs:g}; give one of them"
            )

    def place(self) -> Site | None:
        """The site, read. Raises InputError where the file is none."""
        return load_site(self.site) if self.site else self.facility

    def released_model(self) -> ModelEntry:
        """The model as released. Raises InputError for a name that is not known, or a file that is no model."""
        return self.released or find_model(self.model, approximate=self.approximate)

    def document(self) -> dict[str, Any]:
        """What was stated, as JSON."""
        return {k: v for k, v in asdict(self).items() if k not in VALUES}


def _check_words(question: PredictionRequest) -> None:
    """InputError for a word or a path that is none, and for a number that was set to None but must be known."""
    for name in WORDS:
        value = getattr(question, name)
        if not isinstance(value, str) and (value is not None or name == "engine"):
            raise InputError(f"`{name}` is {value!r}; it must be a text")
    for name in NEEDED:
        if getattr(question, name) is None:
            raise InputError(f"`{name}` is None; it must be a number, or be left out")


def _check_numbers(question: PredictionRequest) -> None:
    """InputError naming the first number that cannot be meant."""
    for name, most in COUNTS.items():
        value = getattr(question, name)
        least_count = 0 if name in FROM_ZERO else 1
        _check_is_number(name, value)
        if value is not None and not least_count <= value <= most:
            raise InputError(f"`{name}` is {value}; it must lie between {least_count} and {most:,}")
        if value is not None and name in WHOLE and value != int(value):
            raise InputError(f"`{name}` is {value}; it must be a whole number")
    for name, (least, largest) in BOUNDS.items():
        value = getattr(question, name)
        _check_is_number(name, value)
        if value is not None and not least <= value <= largest:
            raise InputError(f"`{name}` is {value}; it must lie between {least:g} and {largest:,g}")


def _check_drafts(question: PredictionRequest) -> None:
    """InputError for what speaks of drafts where none are made."""
    if question.speculative_tokens:
        return
    for name in ("acceptance_rate", "draft_model"):
        if getattr(question, name) is not None:
            raise InputError(f"`{name}` is stated, but no tokens are drafted; give `speculative_tokens=3`, say")


def _check_pool(question: PredictionRequest) -> None:
    """InputError for the parallelism of a prefill pool that is not there."""
    stray = next((name for name in POOL if getattr(question, name) is not None), None)
    if stray is not None and question.prefill_devices is None:
        raise InputError(f"`{stray}` is stated, but no devices compute prompts alone; give `prefill_devices`")


def _check_is_number(name: str, value: object) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, Real)):
        raise InputError(f"`{name}` is {value!r}; it must be a number")


@dataclass(frozen=True)
class ParallelismOption:
    """The same devices under other parallelism, as many requests in flight: rate, J/token of the devices."""

    parallelism: Parallelism
    rate_tok_s: float
    device_j_tok: float

    @property
    def words(self) -> str:
        """As people write it."""
        parallelism = self.parallelism
        parts = [
            f"tp {parallelism.tensor}",
            f"dp {parallelism.data}" * (parallelism.data > 1),
            f"ep {parallelism.expert}" * (parallelism.expert > 1),
        ]
        parts.append(f"pp {parallelism.pipeline}" * (parallelism.pipeline > 1))
        return f"{' × '.join(p for p in parts if p)}, {parallelism.replicas} replica{'s' * (parallelism.replicas > 1)}"


#: A parallelism is called better from this share of J/token on: less is within what predictions tell apart (assumed).
BETTER_RATIO = 0.03


def of_parallelism(result: PredictionResult) -> str | None:
    """Which parallelism was taken where none was stated, and which one would cost least."""
    q, best = result.question, result.best_parallelism
    taken = next((c for c in result.alternatives if c.parallelism == result.deployment.parallelism), None)
    if best is None or taken is None:
        return None
    default = q.tp is None
    parallelism_text = f"parallelism: {taken.words}" + (", taken since none was stated" if default else "")
    change = best.device_j_tok / taken.device_j_tok - 1.0
    if change > -BETTER_RATIO:
        others = len(result.alternatives) - 1
        return f"{parallelism_text}; {_none_better(others)}" if default else None
    faster = best.rate_tok_s / taken.rate_tok_s - 1.0
    gain = f"{percent(-change)} less J/token at {signed_percent(faster, 0)} of the rate (modelled)"
    return f"{parallelism_text}; {best.words} would cost {gain}"


def _none_better(others: int) -> str:
    if not others:
        return "no other without pipeline stages fits these devices"
    if others == 1:
        return f"the one other without pipeline stages does not cost {percent(BETTER_RATIO)} less J/token (modelled)"
    return f"of {others} others without pipeline stages none costs {percent(BETTER_RATIO)} less J/token (modelled)"


@dataclass(frozen=True, kw_only=True)
class PredictionResult:
    """A prediction with the deployment and workload that it is of, and what had to be assumed."""

    question: PredictionRequest
    deployment: Deployment
    workload: Workload
    profile: str
    prediction: Prediction
    notes: tuple[str, ...]
    short_by: tuple[Shortfall, ...] = ()
    alternatives: tuple[ParallelismOption, ...] = ()

    @property
    def best_parallelism(self) -> ParallelismOption | None:
        """The parallelism of the same devices with the least J/token at this load; None where there is no other."""
        return min(self.alternatives, key=lambda c: c.device_j_tok, default=None)

    @property
    def meets(self) -> bool:
        """Whether all that was asked is met: latency, load, and what the site delivers."""
        return not self.short_by

    @property
    def every_note(self) -> tuple[str, ...]:
        """What must be read with it, each once."""
        more = (of_context(self), of_parallelism(self))
        return tuple(dict.fromkeys((*self.notes, *self.prediction.notes, *(m for m in more if m))))


def of_context(result: PredictionResult) -> str | None:
    """A note where a request is longer than the model's context."""
    most, asked = (
        result.deployment.architecture.max_context,
        result.question.input_tokens + result.question.output_tokens,
    )
    if not most or asked <= most:
        return None
    return (
        f"{asked:,.0f} tokens per request are more than the model's context of {most:,.0f}; as released, engines "
        "refuse it"
    )


@dataclass(frozen=True)
class Shortfall:
    """One limit that is missed. ``asked`` of it, ``available``, both in ``unit``; ``text`` says it to people."""

    limit: str
    unit: str
    asked: float
    available: float
    text: str

    @property
    def short_by(self) -> float:
        """How much is missing, above 0."""
        return abs(self.asked - self.available)

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self) | {"short_by": self.short_by}
