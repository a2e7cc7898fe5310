"""The highest rate that meets the latency targets, in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping


def sentence(met_req_s: float | None, missed_req_s: float | None, attained: Mapping[float, float | None]) -> str:
    """The highest rate that met the targets and the lowest that missed them; ``attained`` is each trial's share."""

    def rate_text(rate_req_s: float) -> str:
        share = attained.get(rate_req_s)
        return f"{rate_req_s:.4g} req/s ({'unknown share' if share is None else f'{share:.0%}'} within the targets)"

    if met_req_s is None:
        lowest = "no run completed" if missed_req_s is None else f"even {rate_text(missed_req_s)} does not"
        return f"no rate that was tried meets the targets: {lowest}"
    if missed_req_s is None:
        return f"at least {rate_text(met_req_s)} meets the targets; no rate that was tried misses them"
    return f"highest rate that meets the targets: {rate_text(met_req_s)}; {rate_text(missed_req_s)} misses them"
