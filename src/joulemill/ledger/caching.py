"""Prompt tokens that a server took from its prefix cache, against those that it may have by the load's own design.

Every prompt of a run starts with the chat template, then the shared prefix that was asked for, then, in a
conversation, its earlier turns. What a cache holds of these is explained. Anything beyond means that the load met
prompts that the server had computed before: an earlier run with the same prompts, or another client's. Its rate, its
TTFT and its joules per token then say less about the server than about its memory of that load. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.manifest import Manifest
from joulemill.ledger.record import RequestOutcome, RequestRecord, ServerSample

#: What a prompt may share by chance and by the doubt of the template's length [tok], and the doubt of a shared
#: prefix, whose words are sized by the mean word. Assumed.
SLACK_TOK = 8.0
SLACK_RATIO = 0.10
#: Share of the prompt tokens that may be cached beyond what is explained before the run is told to be no measurement
#: of computing its prompts. Assumed.
UNEXPLAINED_RATIO = 0.02


@dataclass(frozen=True, slots=True)
class CachedPrompts:
    """Prompt tokens of the load, those from a cache, and those of them that nothing in the load explains.

    source   "usage" or "counters": whose count ``cached_tok`` is
    """

    prompt_tok: float
    cached_tok: float
    unexplained_tok: float
    source: str

    @property
    def unexplained_ratio(self) -> float:
        """Share of the prompt tokens that came from a cache without an explanation."""
        return self.unexplained_tok / self.prompt_tok if self.prompt_tok else 0.0

    def finding(self) -> Finding | None:
        """What must be told of it, None where it is all explained."""
        if self.unexplained_ratio <= UNEXPLAINED_RATIO:
            return None
        return Finding(
            Reason.CACHED_PROMPTS,
            "tokens",
            f"{self.cached_tok:.0f} of {self.prompt_tok:.0f} prompt tokens came from the server's prompt cache, "
            f"{self.unexplained_tok:.0f} more than the chat template and a shared prefix explain: it had met these "
            "prompts before, so rate, TTFT and joules are not those of computing them",
        )


def prefix_tok(manifest: Manifest) -> float | None:
    """Tokens that all prompts of a run share by design; None where the run did not size its prompts itself."""
    overhead_tok = manifest.prompt_line.overhead_tok if manifest.prompt_line else None
    if overhead_tok is None:
        return None
    shared_tok = float(manifest.asked.shared_prefix_tok or 0.0)
    return max(0.0, float(overhead_tok)) + SLACK_TOK + (1.0 + SLACK_RATIO) * shared_tok


def cached_prompts(
    requests: Sequence[RequestRecord], counters: Mapping[str, float | None], allowed_tok: float | None
) -> CachedPrompts | None:
    """What came from a cache over the compared span, by the requests' usage, else by the server's counters.

    requests      those that lived inside the span;  counters  increases over it, by our names
    allowed_tok   ``prefix_tok``; None: nothing can be said
    """
    good = [r for r in requests if r.outcome is RequestOutcome.OK]
    if allowed_tok is None or not good:
        return None
    prompt_tok = float(sum(r.prompt_tok or 0 for r in good))
    if all(r.cached_tok is not None for r in good):
        beyond = [max(0.0, float(r.cached_tok or 0) - _explained_tok(r, allowed_tok)) for r in good]
        return CachedPrompts(prompt_tok, float(sum(r.cached_tok or 0 for r in good)), sum(beyond), "usage")
    cached_tok = counters.get("prompt_cached_tok")
    if cached_tok is None:
        return None
    total_tok = counters.get("prompt_tok") or prompt_tok
    explained_tok = sum(_explained_tok(r, allowed_tok) for r in requests)  # one that failed was looked up all the same
    return CachedPrompts(total_tok, cached_tok, max(0.0, cached_tok - explained_tok), "counters")


def _explained_tok(request: RequestRecord, allowed_tok: float) -> float:
    """Most of a request's prompt that a cache may hold by design; it cannot be more than the prompt."""
    prompt_tok = request.prompt_tok if request.prompt_tok is not None else request.asked_prompt_tok
    return min(float(prompt_tok or 0), allowed_tok + (request.history_tok or 0))


def counted_between(samples: Sequence[ServerSample], name: str, window: tuple[float, float]) -> float | None:
    """Increase of a counter over ``window``, linear between looks; None where they do not bracket it."""
    kept = [(s.t_mono_s, s.values[name]) for s in samples if s.error is None and name in s.values]
    if len(kept) < 2:
        return None
    times, values = (np.array(x, dtype=float) for x in zip(*sorted(kept), strict=True))
    if times[0] > window[0] or times[-1] < window[1] or (np.diff(values) < 0.0).any():
        return None
    low, high = np.interp(window, times, values)
    return float(high - low)
