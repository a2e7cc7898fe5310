"""What a measured run is asked to do, checked as a whole before anything is started."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import Any

from joulemill.errors import InputError
from joulemill.ledger.manifest import StatedDevice
from joulemill.statistics.lengths import Lengths, parse_lengths
from joulemill.wording import percent

#: The default load fits two cores and a model of a hundred million parameters (assumed): about 100 tok/s.
DEFAULT_CONCURRENCY = 4
DEFAULT_LOAD_S = 60.0
#: Bounds of a load (assumed): slots of one client; the shortest load with a rate; warm-up against what is measured.
MOST_AT_ONCE = 16_384
LEAST_LOAD_S = 0.5
MOST_WARMUP = 20.0
MOST_TURNS = 1000
LEAST_UNTIL_RATIO = 0.002
#: How long a load with --until may last where no --duration says it.
LONGEST_UNTIL_S = 900.0


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """All that ``joulemill bench`` takes, resolved; a field's default is the flag's.

    url, model, api      the server to drive; url None: the embedded server with ``gguf`` (None: the bundled model)
    threads, slots, context_tok, kv_type, cache_prompt   of the embedded server; None: its own defaults; slots None: as
                         many as the load needs at once
    draft_gguf, draft_tok   model that drafts, and its tokens a round, for the embedded server
    second_gguf          model beside it that is asked what the first did not answer (questions only, not the load)
    concurrency          slots of a closed loop; with ``rate_req_s`` or ``trace`` it is None
    rate_req_s, burstiness   open loop: mean rate, shape of the gaps (1 Poisson, inf constant; ``bench.arrivals``)
    duration_s, requests     the load after the warm-up ends at whichever comes first; neither given: 60 s or the trace
    warmup_s, idle_s, drain_s   warm-up (inside the load phase, left out of the window), idle baseline, longest drain
    input_lengths, output_lengths   see ``bench.lengths``;  shared_prefix_tok   first tokens that all prompts share
    timeout_s, retries   of one request
    meters, sample_period_s   meters' SPECs, and how often they, the server's counters and the machine are read
    site_path, site      the site's TOML, where from and parsed;  slo_ttft_s, slo_tpot_s   service targets
    quality              name or path of the question set; None: not asked
    quality_stated       accuracy that another tool found for this model (``catalog.lm_eval``); None: none is stated
    answer_ratio         share of each question's own limit that its answer may have (a budget of thinking)
    out                  run folder; None: a new one under ``runs/``
    trace_speed_ratio    how many times as fast a trace is replayed;
    trace_input_scale_ratio, trace_output_scale_ratio   factors of its lengths
    until_ratio          end the load once the 95 % interval of its rate is within this share of it; None: do not
    turns, think_s       of a conversation in a closed loop: each slot asks so many times in a row, all that was said
                         before in each prompt, and waits so long between an answer and the next turn
    salt                 what the prompts' texts are drawn with beside the seed; None: new in each run, so that no
                         server has met them before. Lengths and arrivals come from the seed alone
    metrics_url          where the server's counters are, if not beside its API;  headers  more HTTP headers, for the
                         API's own address only;  extra_body  more fields of each request's JSON
    server_pid           process of a server on this machine; None: whoever listens on its port
    precision, architecture_path   what is served, where the server cannot say;  architecture  the config.json, parsed
    ignore_eos           ask for exactly the output length where the server can be told to
    """

    url: str | None = None
    model: str | None = None
    api: str = "chat"
    gguf: Path | None = None
    threads: int | None = None
    slots: int | None = None
    context_tok: int | None = None
    kv_type: str | None = None
    cache_prompt: bool | None = None
    draft_gguf: Path | None = None
    draft_tok: int | None = None
    second_gguf: Path | None = None
    concurrency: int | None = None
    rate_req_s: float | None = None
    burstiness: float = 1.0
    trace: Path | None = None
    duration_s: float | None = None
    requests: int | None = None
    warmup_s: float = 8.0
    idle_s: float = 5.0
    drain_s: float = 60.0
    input_tokens: str = "128"
    output_tokens: str = "64"
    shared_prefix_tok: int = 0
    seed: int = 0
    timeout_s: float = 300.0
    retries: int = 2
    meters: tuple[str, ...] = ("auto",)
    sample_period_s: float = 0.2
    machine_period_s: float = 1.0
    site_path: Path | None = None
    site: Mapping[str, Any] | None = None
    slo_ttft_s: float | None = None
    slo_tpot_s: float | None = None
    quality: str | None = "small"
    quality_stated: Mapping[str, Any] | None = None
    answer_ratio: float = 1.0
    out: Path | None = None
    ignore_eos: bool = True
    device: StatedDevice | None = None
    trace_speed_ratio: float = 1.0
    trace_input_scale_ratio: float = 1.0
    trace_output_scale_ratio: float = 1.0
    until_ratio: float | None = None
    turns: int = 1
    think_s: float = 0.0
    salt: str | None = None
    metrics_url: str | None = None
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    server_pid: int | None = None
    precision: str | None = None
    architecture_path: Path | None = None
    architecture: Mapping[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        self._check_kinds()
        self._check_load()
        self._check_numbers()
        self._check_lengths()
        self._check_server()
        if self.url is None and self.model is not None:
            raise InputError(
                "`model` names a model of a running server: give `url` too, or `gguf` for the embedded one"
            )
        if self.url is not None and self.gguf is not None:
            raise InputError("`gguf` is for the embedded server and `url` for a running one; give one of them")
        if self.url is not None and (self.draft_gguf is not None or self.cache_prompt is not None):
            raise InputError("`draft_gguf` and `cache_prompt` are for the embedded server: leave out `url`")
        if self.url is None and self.api not in ("chat", "completions"):
            raise InputError(f"api {self.api!r} is unknown; use chat or completions")
        _ = self.input_lengths, self.output_lengths

    def _check_kinds(self) -> None:
        """InputError for a word where a number belongs."""
        for option in fields(self):
            value = getattr(self, option.name)
            kinds = {kind.strip() for kind in str(option.type).split("|")}
            if kinds <= {"int", "float", "None"} and value is not None and not _is_number(value):
                raise InputError(f"`{option.name}` is {value!r}; it must be a number")

    def _check_server(self) -> None:
        named = {
            "`metrics_url`": self.metrics_url,
            "`headers`": self.headers or None,
            "`server_pid`": self.server_pid,
            "`precision`": self.precision,
            "`architecture_path`": self.architecture_path,
        }
        stray = next((flag for flag, value in named.items() if value is not None), None)
        if self.url is None and stray is not None:
            raise InputError(f"{stray} is for a running server: give `url` too; the embedded one says it itself")
        if self.server_pid is not None and self.server_pid < 1:
            raise InputError(f"`server_pid` must be a process number, not {self.server_pid}")

    @property
    def input_lengths(self) -> Lengths:
        """Parsed ``input_tokens``."""
        return parse_lengths(self.input_tokens, "`input_tokens`")

    @property
    def output_lengths(self) -> Lengths:
        """Parsed ``output_tokens``."""
        return parse_lengths(self.output_tokens, "`output_tokens`")

    @property
    def closed_loop(self) -> bool:
        """Whether the load waits for the server."""
        return self.rate_req_s is None and self.trace is None

    @property
    def load_s(self) -> float:
        """How long the load lasts after its warm-up at most; infinite where requests or a trace end it."""
        if self.duration_s is not None:
            return self.duration_s
        if self.until_ratio is not None:
            return LONGEST_UNTIL_S
        return math.inf if self.requests is not None or self.trace is not None else DEFAULT_LOAD_S

    @property
    def at_once(self) -> int:
        """Slots of the closed loop; for an open one, how many the embedded server serves at once."""
        return self.concurrency or DEFAULT_CONCURRENCY

    def manifest(self) -> dict[str, Any]:
        """The options as JSON, resolved. ``site`` stands apart in the manifest. An infinite burstiness is null."""
        document = asdict(self)
        del document["site"], document["device"], document["architecture"]
        document["headers"] = [name for name, _ in self.headers]  # values may be secrets
        document["concurrency"] = self.at_once if self.closed_loop else None
        document["load_s"] = self.load_s if math.isfinite(self.load_s) else None
        document["loop"] = "closed" if self.closed_loop else "trace" if self.trace else "open"
        # A trace is replayed from its first line on, after a warm-up phase of its own: nothing of it is left out.
        document["warmup_s"] = None if self.trace else self.warmup_s
        document["burstiness"] = self.burstiness if math.isfinite(self.burstiness) else None
        return {k: str(v) if isinstance(v, Path) else v for k, v in document.items()}

    def _check_load(self) -> None:
        load_flags = [
            flag
            for flag, value in (
                ("`concurrency`", self.concurrency),
                ("`rate_req_s`", self.rate_req_s),
                ("`trace`", self.trace),
            )
            if value is not None
        ]
        if len(load_flags) > 1:
            raise InputError(
                f"{' and '.join(load_flags)} exclude each other: a load is a closed loop, a rate or a trace"
            )
        if self.concurrency is not None and self.concurrency < 1:
            raise InputError(f"`concurrency` must be at least 1, not {self.concurrency}")
        if self.requests is not None and self.requests < 1:
            raise InputError(f"`requests` must be at least 1, not {self.requests}")
        if self.retries < 0:
            raise InputError(f"`retries` must be 0 or more, not {self.retries}")
        if self.shared_prefix_tok < 0:
            raise InputError(f"`shared_prefix_tok` must be 0 or more tokens, not {self.shared_prefix_tok}")

    def _check_lengths(self) -> None:
        """Loads that could not be read: too many at once, too short to hold a figure."""
        if self.at_once > MOST_AT_ONCE:
            raise InputError(
                f"`concurrency` {self.at_once} is more than {MOST_AT_ONCE}, which one client cannot drive without "
                "being the bottleneck; run several clients, or give less"
            )
        if self.duration_s is not None and self.duration_s < LEAST_LOAD_S:
            raise InputError(
                f"`duration_s` must be at least {LEAST_LOAD_S:g} s, not {self.duration_s:g} s: no rate shows"
            )
        self._check_shape()
        if self.duration_s is not None and self.warmup_s > MOST_WARMUP * self.duration_s:
            raise InputError(
                f"`warmup_s` {self.warmup_s:g} s is more than {MOST_WARMUP:g} times the {self.duration_s:g} s that are "
                "measured: give a longer `duration_s` or a shorter `warmup_s`"
            )

    def _check_shape(self) -> None:
        """Turns, traces and stopping rules that do not go together."""
        changed = (self.trace_speed_ratio, self.trace_input_scale_ratio, self.trace_output_scale_ratio) != (
            1.0,
            1.0,
            1.0,
        )
        if changed and self.trace is None:
            raise InputError("`trace_speed_ratio` and `trace_input_scale_ratio` change a trace: give `trace` FILE")
        if not 1 <= self.turns <= MOST_TURNS:
            raise InputError(f"`turns` must lie between 1 and {MOST_TURNS}, not {self.turns}")
        if self.turns > 1 and (not self.closed_loop or self.api != "chat"):
            raise InputError("`turns` needs a closed loop over the chat API: give `concurrency` (a trace has sessions)")
        if self.think_s and self.turns == 1:
            raise InputError("`think_s` is the time between the turns of a conversation: give `turns` N too")
        if self.until_ratio is not None and not (LEAST_UNTIL_RATIO <= self.until_ratio <= 0.5):
            raise InputError(
                f"`until_ratio` is {percent(self.until_ratio, 3)}; "
                f"it must lie between {percent(LEAST_UNTIL_RATIO, 1)} and 50 %"
            )
        if self.until_ratio is not None and (self.requests is not None or self.trace is not None):
            raise InputError(
                "`until_ratio` ends a load by itself: leave out `requests` and `trace`; `duration_s` bounds it"
            )

    def _check_numbers(self) -> None:
        positive = {
            "`duration_s`": self.duration_s,
            "`timeout_s`": self.timeout_s,
            "`sample_period_s`": self.sample_period_s,
            "`drain_s`": self.drain_s,
            "`rate_req_s`": self.rate_req_s,
            "`slo_ttft_s`": self.slo_ttft_s,
            "`slo_tpot_s`": self.slo_tpot_s,
            "`threads`": self.threads,
            "`slots`": self.slots,
            "`context_tok`": self.context_tok,
            "`trace_speed_ratio`": self.trace_speed_ratio,
            "`trace_input_scale_ratio`": min(self.trace_input_scale_ratio, self.trace_output_scale_ratio),
            "`until_ratio`": self.until_ratio,
        }
        if self.seed < 0:
            raise InputError(f"`seed` is {self.seed}; it must be 0 or more")
        for flag, value in positive.items():
            if value is not None and not (value > 0 and math.isfinite(value)):
                raise InputError(f"{flag} must be more than 0, not {value:g}")
        if not self.burstiness > 0:
            raise InputError(f"`burstiness` must be more than 0, not {self.burstiness:g}; 1 is Poisson, inf constant")
        for flag, value in {"`warmup_s`": self.warmup_s, "`idle_s`": self.idle_s, "`think_s`": self.think_s}.items():
            if not (value >= 0 and math.isfinite(value)):
                raise InputError(f"{flag} must be 0 s or more, not {value:g}")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
