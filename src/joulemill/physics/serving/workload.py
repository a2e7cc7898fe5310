"""What is asked of a deployment: lengths, how they scatter, and how much is asked at once. Pure values."""

from __future__ import annotations

import math
from dataclasses import dataclass

from joulemill.errors import InputError
from joulemill.statistics.normal import Z_80


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A steady stream of requests.

    input_tok, output_tok   mean prompt and answer length [tok]
    output_spread_ratio     standard deviation of answer length over its mean; 0: all alike
    cached_ratio            share of prompt tokens that a prefix cache serves [0–1)
    concurrency             requests in flight in one replica; None: as many as fit (or as ``rate_req_s`` needs)
    rate_req_s              requests offered per second to the whole deployment; None: saturated
    ttft_limit_s, tpot_limit_s   latency targets; None: none
    """

    input_tok: float
    output_tok: float
    output_spread_ratio: float = 0.0
    cached_ratio: float = 0.0
    concurrency: float | None = None
    rate_req_s: float | None = None
    ttft_limit_s: float | None = None
    tpot_limit_s: float | None = None

    def __post_init__(self) -> None:
        check_workload(self)

    @property
    def has_tpot(self) -> bool:
        """Whether requests have a time per output token: it is of the tokens after the first."""
        return self.output_tok > 1.0

    @property
    def binding_tpot_limit_s(self) -> float | None:
        """The TPOT limit; None where there is none, or nothing that it could bind."""
        return self.tpot_limit_s if self.has_tpot else None


def check_workload(workload: Workload) -> None:
    """InputError naming the first length, share, rate or limit that cannot be."""
    w = workload
    needed = {"input length": w.input_tok, "output length": w.output_tok}
    optional = {
        "batch": w.concurrency,
        "rate": w.rate_req_s,
        "TTFT limit": w.ttft_limit_s,
        "TPOT limit": w.tpot_limit_s,
    }
    for name, value in needed.items() | {k: v for k, v in optional.items() if v is not None}.items():
        if not (math.isfinite(value) and value > 0):
            raise InputError(f"{name} is {value}; it must be positive and finite")
    if not 0.0 <= w.cached_ratio < 1.0:
        raise InputError(f"cached share of the prompt is {w.cached_ratio}; it must be at least 0 and below 1")
    if not (math.isfinite(w.output_spread_ratio) and w.output_spread_ratio >= 0.0):
        raise InputError(f"spread of the output length is {w.output_spread_ratio}; it must be 0 or more")


def spread_from_percentiles_ratio(mean_tok: float, p50_tok: float | None, p90_tok: float | None) -> float:
    """Standard deviation ÷ mean of a length whose median and 90th percentile are known, taken as lognormal.

    σ from ln(p90/p50)/1.2816; 0.6 (assumed, chat and reasoning answers) where percentiles are unknown.
    """
    if not p50_tok or not p90_tok or p90_tok <= p50_tok or mean_tok <= 0:
        return 0.6
    sigma = math.log(p90_tok / p50_tok) / Z_80
    return math.sqrt(math.expm1(min(sigma, 1.2) ** 2))
