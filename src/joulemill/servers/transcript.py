"""What came back for one question: first as bytes with their arrival times, then read as an answer. Sans-IO.

While a stream runs, only ``(time, bytes)`` pairs are kept: work done then would delay the time stamps of the other
streams of this process. ``read_pieces`` decodes them after the end, in pieces between which the caller may let other
streams be served. A chunk is not a token: counts come from the server's ``usage`` alone.
This file knows nothing of sockets, sessions or clocks.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from joulemill.formats.plain_text import plain_text
from joulemill.formats.sse import EventTooLongError, SseEvent, SseParser
from joulemill.ledger.record import RequestOutcome

#: Bounds on what is kept of an answer's texts, and on what a usage may claim (assumed): a tokenizer makes at most one
#: token of a byte; templates, tools and system prompts that a gateway adds; tokens that a server may run over.
MAX_TEXT_CHARS = 1 << 20
MAX_REASON_CHARS = 64
MOST_TEMPLATE_TOK = 1 << 17
_OVER = (1.25, 64)
#: Arrivals decoded between two pauses: about 0.3 ms of work (assumed, 10 µs a chunk).
PIECE_COUNT = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How one question went. Times are on the monotonic clock; None where it never came to that.

    ``outcome`` OK: ``error`` is None. ``first_token_mono_s`` is the arrival of the first chunk with text in it
    (content or reasoning); ``chunk_mono_s`` the arrivals of all such chunks. Token counts are the server's usage.
    """

    outcome: RequestOutcome
    dispatched_mono_s: float
    first_byte_mono_s: float | None
    first_token_mono_s: float | None
    last_token_mono_s: float | None
    end_mono_s: float | None
    chunk_mono_s: tuple[float, ...]
    text: str
    prompt_tok: int | None
    cached_tok: int | None
    output_tok: int | None
    reasoning_tok: int | None
    finish_reason: str | None
    http_status: int | None
    error: str | None
    retry_after_s: float | None


@dataclass(slots=True, kw_only=True)
class Transcript:
    """The raw side of one exchange, filled while it runs; after a cancellation the caller still holds it.

    ``answer()`` reads it at once (blocking); ``ask`` reads it in pieces.
    """

    dispatched_mono_s: float = 0.0
    first_byte_mono_s: float | None = None
    end_mono_s: float | None = None
    http_status: int | None = None
    retry_after_s: float | None = None
    outcome: RequestOutcome | None = None
    error: str | None = None
    arrivals: list[tuple[float, bytes]] = field(default_factory=list)
    reused: bool = False  # the connection had carried a question before
    prompt_byte: int | None = None  # what was asked, as a bound on what the server may say of it; None: unknown
    max_tok: int | None = None
    secrets: tuple[str, ...] = ()  # what the server was told and must not be kept

    def fail(self, outcome: RequestOutcome, error: str) -> None:
        """Note the first thing that went wrong; later ones are its consequences."""
        if self.outcome is None:
            self.outcome, self.error = outcome, error

    def answer(self) -> Answer:
        """Read everything now. Without an end this is a cancelled request, with what had come until then."""
        reading = _AnswerReading(self.secrets)
        for _ in reading.pieces(self.arrivals):
            pass
        return reading.answer(self)

    def read_pieces(self) -> Iterator[Answer | None]:
        """None after each piece of work, the Answer last."""
        reading = _AnswerReading(self.secrets)
        for _ in reading.pieces(self.arrivals):
            yield None
        yield reading.answer(self)


class _AnswerReading:
    """Accumulates what the events of one stream say."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        self.secrets = secrets
        self.parser = SseParser()
        self.text: list[str] = []
        self.chunk_mono_s: list[float] = []
        self.usage: dict[str, Any] = {}
        self.timings: dict[str, Any] = {}
        self.finish_reason: str | None = None
        self.done = False
        self.fault: tuple[RequestOutcome, str] | None = None

    def pieces(self, arrivals: list[tuple[float, bytes]]) -> Iterator[None]:
        try:
            for index, (t_mono_s, data) in enumerate(arrivals, 1):
                for event in self.parser.feed(data):
                    self.take(t_mono_s, event)
                if index % PIECE_COUNT == 0:
                    yield
            for event in self.parser.finish():
                self.take(arrivals[-1][0], event)
        except EventTooLongError as error:
            self.fault = self.fault or (RequestOutcome.CUT_SHORT, str(error))

    def take(self, t_mono_s: float, event: SseEvent) -> None:
        if event.data.strip() == b"[DONE]":
            self.done = True
            return
        try:
            message = json.loads(event.data)
        except (ValueError, RecursionError):
            message = None
        if event.kind == b"error" or (isinstance(message, dict) and message.get("error")):
            reason = error_text(event.data, secrets=self.secrets)
            self.fault = self.fault or (RequestOutcome.HTTP_ERROR, f"error in the stream: {reason}")
        elif isinstance(message, dict):
            self._message(t_mono_s, message)
        elif not self.done:
            shown = plain_text(event.data[:4096].decode("utf-8", "replace"), self.secrets)[:60]
            self.fault = self.fault or (
                RequestOutcome.CUT_SHORT,
                f"the stream has an event that is not a JSON object: {shown!r}",
            )

    def _message(self, t_mono_s: float, message: dict[str, Any]) -> None:
        self.usage = _mapping(message.get("usage")) or self.usage
        self.timings = _mapping(message.get("timings")) or self.timings
        choices = message.get("choices")
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return
        choice = choices[0]
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"]
        content, visible = _content(choice)
        if content:
            self.text.append(content)
        if visible:
            self.chunk_mono_s.append(t_mono_s)

    def answer(self, raw: Transcript) -> Answer:
        count = _believed(self.usage, self.timings, raw, len(self.chunk_mono_s))
        outcome, error = self._verdict(raw, count)
        chunks = tuple(self.chunk_mono_s)
        return Answer(
            outcome=outcome,
            dispatched_mono_s=raw.dispatched_mono_s,
            first_byte_mono_s=raw.first_byte_mono_s,
            first_token_mono_s=chunks[0] if chunks else None,
            last_token_mono_s=chunks[-1] if chunks else None,
            end_mono_s=raw.end_mono_s,
            chunk_mono_s=chunks,
            text=plain_text("".join(self.text), raw.secrets, MAX_TEXT_CHARS),
            prompt_tok=count.prompt_tok,
            cached_tok=count.cached_tok,
            output_tok=count.output_tok,
            reasoning_tok=count.reasoning_tok,
            finish_reason=_plain(self.finish_reason, raw, MAX_REASON_CHARS),
            http_status=raw.http_status,
            error=_plain(error, raw),
            retry_after_s=raw.retry_after_s,
        )

    def _verdict(self, raw: Transcript, count: _UsageCounts) -> tuple[RequestOutcome, str | None]:
        """The first cause wins. A transport fault after a whole answer is no fault of the answer."""
        whole = self.done or (self.finish_reason is not None and raw.outcome is None)
        if self.fault is not None:
            return self.fault
        if raw.outcome is not None and not whole:
            return raw.outcome, raw.error
        if raw.end_mono_s is None:
            return RequestOutcome.CANCELLED, "cancelled by the client"
        if not whole:
            return RequestOutcome.CUT_SHORT, "the stream ended without [DONE] or a finish_reason"
        return self._counted(count)

    def _counted(self, count: _UsageCounts) -> tuple[RequestOutcome, str | None]:
        if count.doubt is not None:
            return RequestOutcome.NO_USAGE, count.doubt
        if count.output_tok == 0 or (count.output_tok is None and not self.chunk_mono_s):
            return RequestOutcome.NO_TOKENS, "the server ended the answer without a single token"
        if count.output_tok is None or count.prompt_tok is None:
            return RequestOutcome.NO_USAGE, "the stream carried no usage counts, so its tokens cannot be counted"
        return RequestOutcome.OK, None


@dataclass(frozen=True, slots=True)
class _UsageCounts:
    """Tokens as the server counted them, where that can be; ``doubt`` says what cannot be."""

    prompt_tok: int | None
    cached_tok: int | None
    output_tok: int | None
    reasoning_tok: int | None
    doubt: str | None = None


def _believed(usage: dict[str, Any], timings: dict[str, Any], raw: Transcript, chunks: int) -> _UsageCounts:
    """The usage, bounded by what was asked and by what arrived: no number of a server may size anything of ours."""
    output_tok, prompt_tok = _count(usage.get("completion_tokens")), _count(usage.get("prompt_tokens"))
    cached_tok = _count(_mapping(usage.get("prompt_tokens_details")).get("cached_tokens"))
    cached_tok = cached_tok if cached_tok is not None else _count(timings.get("cache_n"))
    reasoning_tok = _count(_mapping(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    reasoning_tok = reasoning_tok if reasoning_tok is not None else _count(usage.get("reasoning_tokens"))
    doubt = None
    if output_tok is not None and raw.max_tok is not None:
        most = max(int(_OVER[0] * raw.max_tok) + _OVER[1], _arrived_tok(raw, chunks))
        if output_tok > most:
            doubt = f"usage says {output_tok:.4g} output tokens where {raw.max_tok} were asked and {chunks} chunks came"
            output_tok = None
    if prompt_tok is not None and raw.prompt_byte is not None and prompt_tok > raw.prompt_byte + MOST_TEMPLATE_TOK:
        doubt = doubt or f"usage says {prompt_tok:.4g} prompt tokens for a prompt of {raw.prompt_byte} bytes"
        prompt_tok = None
    return _UsageCounts(
        prompt_tok, _within(cached_tok, prompt_tok), output_tok, _within(reasoning_tok, output_tok), doubt
    )


def _arrived_tok(raw: Transcript, chunks: int) -> int:
    """Most tokens that so many bytes with text can hold; without a chunk with text, none."""
    return sum(len(data) for _, data in raw.arrivals) if chunks else 0


def _within(part: int | None, whole: int | None) -> int | None:
    """A count of part of ``whole``; one that is more than it is none."""
    return part if part is not None and whole is not None and part <= whole else None


def _plain(text: str | None, raw: Transcript, limit: int | None = None) -> str | None:
    return None if text is None else plain_text(text, raw.secrets, limit)


def _content(choice: dict[str, Any]) -> tuple[str, bool]:
    """The answer's text in this chunk, and whether a token shows in it (text, reasoning or a tool call)."""
    delta = _mapping(choice.get("delta"))
    text = delta.get("content") if delta else choice.get("text")
    thought = delta.get("reasoning_content") or delta.get("reasoning") or delta.get("tool_calls")
    return (text if isinstance(text, str) else ""), bool(text or thought)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _count(value: object) -> int | None:
    """A count of tokens that can be believed: a whole number, not negative."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value or not 0 <= value < 2**53:
        return None
    return int(value) if value == int(value) else None


def error_text(body: bytes, limit: int = 300, secrets: tuple[str, ...] = ()) -> str:
    """The server's own words from an error body (OpenAI's, FastAPI's or plain text), on one line, without secrets."""
    text = body[: 64 * limit].decode("utf-8", "replace")
    try:
        value: Any = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    for key in ("error", "detail", "message"):
        if isinstance(value, dict) and value.get(key):
            value = value[key]
    line = " ".join((value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).split())
    return plain_text(line, secrets, limit)  # blanked before it is cut: half a key is one too
