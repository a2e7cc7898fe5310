"""The highest rate that meets the latency targets, in a sentence. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from joulemill.wording import percent


def sentence(
    met_req_s: float | None,
    missed_req_s: float | None,
    attained: Mapping[float, float | None],
    served_req_s: Mapping[float, float | None] = MappingProxyType({}),
) -> str:
    """The highest rate that met the targets and the lowest that missed them.

    attained, served_req_s   each trial's share of requests; what was served of a rate that the server did not keep up
    with
    """

    def rate_text(rate_req_s: float) -> str:
        share, served = attained.get(rate_req_s), served_req_s.get(rate_req_s)
        if served is not None:
            return f"{rate_req_s:.4g} req/s (of which {served:.3g} were served: the queue grew)"
        return f"{rate_req_s:.4g} req/s ({'unknown share' if share is None else percent(share)} within the targets)"

    if met_req_s is None:
        lowest = "no run completed" if missed_req_s is None else f"even {rate_text(missed_req_s)} does not"
        return f"no rate that was tried meets the targets: {lowest}"
    if missed_req_s is None:
        return f"at least {rate_text(met_req_s)} meets the targets; no rate that was tried misses them"
    return f"highest rate that meets the targets: {rate_text(met_req_s)}; {rate_text(missed_req_s)} misses them"
