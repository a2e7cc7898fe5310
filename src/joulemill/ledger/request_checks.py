"""Token counts and times of requests held against what can be: what cannot is unknown, and told.

A server's usage is believed as far as what it says could have been made: no more output tokens than were asked for or
than any server makes for one request in that time, no more cached prompt tokens than prompt tokens, nothing negative or
not finite. A request whose count is unknown keeps its life and its times; its tokens are not counted. One whose times
are no numbers was never sent, as far as anybody can tell. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.record import RequestOutcome, RequestRecord

#: Output tokens of one request may exceed what was asked (max_tokens) by this factor and number: engines that end a
#: step late, tokens of reasoning counted beside. Assumed.
ASKED_MOST_RATIO = 2.0
ASKED_MORE_TOK = 64
#: The fastest that one request is served [tok/s], and what it may get in no time [tok]: assumed, ten times the fastest
#: published decoding.
REQUEST_MOST_TOK_S = 5e4
REQUEST_MORE_TOK = 4096
#: Times on anybody's clock lie within this of its zero [s]: 30,000 years. Assumed.
MOST_TIME_S = 1e12
#: The longest prompt [tok]: assumed, ten times the longest published context.
PROMPT_MOST_TOK = 1e8
_MOMENTS = ("dispatched_mono_s", "first_byte_mono_s", "first_token_mono_s", "last_token_mono_s", "end_mono_s")


@dataclass(frozen=True, slots=True)
class SoundRequests:
    """Requests with counts that can be.

    uncounted_ratio   share of the requests whose output count was not believed
    findings          what was not believed, and of how many requests
    """

    requests: tuple[RequestRecord, ...]
    uncounted_ratio: float = 0.0
    findings: tuple[Finding, ...] = ()


def sound_requests(requests: Sequence[RequestRecord]) -> SoundRequests:
    """``requests``, the counts that cannot be replaced by None."""
    timed, findings = _timed(requests)
    checked = [(r, _sound(r)) for r in timed]
    changed = [(a, b) for a, b in checked if a is not b]
    if not changed:
        return SoundRequests(tuple(timed), findings=tuple(findings))
    lost = [a for a, b in changed if b.output_tok is None and a.output_tok is not None]
    findings += [_output_finding(lost, len(requests))] if lost else []
    prompts = [a for a, b in changed if b.prompt_tok is None and a.prompt_tok is not None]
    if prompts:
        detail = f"{len(prompts)} requests state prompts of {prompts[0].prompt_tok!s:.24} tokens and more: not counted"
        findings.append(Finding(Reason.IMPLAUSIBLE_TOKENS, "prompt tokens", detail))
    cached = [a for a, b in changed if b.cached_tok is None and a.cached_tok is not None]
    if cached:
        one = cached[0]
        stated = f"{one.cached_tok!s:.24} of {one.prompt_tok!s:.24}"
        detail = f"{len(cached)} requests state more cached than prompt tokens ({stated}): cached tokens unknown"
        findings.append(Finding(Reason.CACHED_ABOVE_PROMPT, "prompt tokens", detail))
    return SoundRequests(tuple(b for _, b in checked), len(lost) / len(requests), tuple(findings))


def _timed(requests: Sequence[RequestRecord]) -> tuple[Sequence[RequestRecord], list[Finding]]:
    bad = {i for i, r in enumerate(requests) if not all(map(_is_time, _times(r)))}
    if not bad:
        return requests, []
    kept = [_never_sent(r) if i in bad else r for i, r in enumerate(requests)]
    detail = f"{len(bad)} of {len(requests)} requests state times that are no numbers: left out"
    return kept, [Finding(Reason.NOT_FINITE, "requests", detail)]


def _never_sent(r: RequestRecord) -> RequestRecord:
    return replace(
        r,
        scheduled_mono_s=0.0,
        dispatched_mono_s=None,
        first_byte_mono_s=None,
        first_token_mono_s=None,
        last_token_mono_s=None,
        end_mono_s=None,
        chunk_mono_s=(),
        outcome=RequestOutcome.CANCELLED,
    )


def _times(r: RequestRecord) -> tuple[float | None, ...]:
    return (r.scheduled_mono_s, *(getattr(r, f) for f in _MOMENTS), *r.chunk_mono_s)


def _is_time(t: float | None) -> bool:
    return t is None or -MOST_TIME_S <= t <= MOST_TIME_S


def _output_finding(lost: Sequence[RequestRecord], every: int) -> Finding:
    one = lost[0]
    asked = "" if one.asked_output_tok is None else f", {one.asked_output_tok} asked"
    detail = f"{len(lost)} of {every} requests state more output tokens than can be ({one.output_tok!s:.24}{asked})"
    return Finding(Reason.IMPLAUSIBLE_TOKENS, "output tokens", f"{detail}: their tokens are not counted")


def _sound(r: RequestRecord) -> RequestRecord:
    output = r.output_tok if _within(r.output_tok, _most_output_tok(r)) else None
    prompt = r.prompt_tok if _within(r.prompt_tok, PROMPT_MOST_TOK) else None
    cached = r.cached_tok if _within(r.cached_tok, PROMPT_MOST_TOK if r.prompt_tok is None else prompt or 0) else None
    reasoning = r.reasoning_tok if _within(r.reasoning_tok, PROMPT_MOST_TOK if output is None else output) else None
    if (output, prompt, cached, reasoning) == (r.output_tok, r.prompt_tok, r.cached_tok, r.reasoning_tok):
        return r
    return replace(r, output_tok=output, prompt_tok=prompt, cached_tok=cached, reasoning_tok=reasoning)


def _within(count: float | None, most: float) -> bool:
    return count is None or 0 <= count <= most  # also of an integer beyond any float, or NaN


def _most_output_tok(r: RequestRecord) -> float:
    life_s = 0.0
    if r.dispatched_mono_s is not None and r.end_mono_s is not None:
        life_s = max(r.end_mono_s - r.dispatched_mono_s, 0.0)
    most = REQUEST_MOST_TOK_S * life_s + REQUEST_MORE_TOK
    if not r.asked_output_tok:
        return most
    return min(most, ASKED_MOST_RATIO * r.asked_output_tok + ASKED_MORE_TOK)
