"""What a parser finds in another tool's file: requests with their times, figures as that tool states them, conditions.

Pure. Times are seconds since ``origin_wall_s``, the Unix time of the first thing seen; where a file has no wall time
the origin is unknown, and no meter can be joined. A stated figure is what a file says: its basis is ``declared``,
since nothing here has seen how it came about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.formats.untrusted import MAX_NUMBER, Part
from joulemill.ledger.manifest import StatedEntry
from joulemill.ledger.record import RequestOutcome, RequestRecord
from joulemill.recording.rows import refuse_copies


@dataclass(frozen=True, slots=True)
class StatedFigures:
    """One figure as a file states it.

    name    the report's own name of it where the meaning is the same (``latency.ttft_s.p50``), else the tool's
    source  tool and field;  reason  the caveat that must stand beside it
    """

    name: str
    value: float
    unit: str
    source: str
    reason: str | None = None

    def entry(self) -> StatedEntry:
        """As the manifest has it."""
        return StatedEntry(
            name=self.name,
            value=self.value,
            unit=self.unit,
            basis=Basis.DECLARED.value,
            source=self.source,
            reason=self.reason,
            members=None,
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """What the user chose about an import.

    part           which of several benchmarks in one file, from 1; None where there is only one
    client_tokens  count tokens by the tool's own tokenizer where the server's usage is not in the file
    """

    part: int | None = None
    client_tokens: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A parsed file. ``load`` spans the load in seconds since the origin; None where the file does not tell.

    totals   of a file without single requests: output_tok, prompt_tok, requests of the whole load
    simulated  no server was asked: nothing that follows from it is measured
    """

    tool: str
    tool_version: str | None = None
    requests: tuple[RequestRecord, ...] = ()
    origin_wall_s: float | None = None
    load: tuple[float, float] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    model: Mapping[str, Any] = field(default_factory=dict)
    server: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=dict)
    stated: tuple[StatedFigures, ...] = ()
    warnings: tuple[str, ...] = ()
    totals: Mapping[str, float] = field(default_factory=dict)
    simulated: bool = False


class Statements:
    """Collects stated figures of one tool, converting units once."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._found: list[StatedFigures] = []
        self._left_out: list[str] = []

    def add(self, name: str, part: Part, unit: str, factor: float = 1.0, reason: str | None = None) -> None:
        """State ``part`` × ``factor`` as ``name``, where the file has it; what cannot be one is left out and told.

        No figure that a benchmark states (time, joules, watts, tokens, a rate) can be negative or infinite.
        """
        try:
            value = part.number(least=0.0)
        except InputError as fault:
            self._left_out.append(f"{name} is left out: {fault}")
            return
        if value is None:
            return
        if not value * factor < MAX_NUMBER:
            self._left_out.append(f"{name} is left out: {part.where}: {value:.3g} gives no finite figure")
            return
        field_name = part.where.split(": ", 1)[-1]
        self._found.append(StatedFigures(name, value * factor, unit, f"{self._tool}: {field_name}", reason))

    def percentiles(
        self, name: str, part: Part, keys: Mapping[str, str], factor: float, why: str | None = None
    ) -> None:
        """State a latency distribution: ``keys`` map p50, p90, p99, mean to members of ``part``."""
        for ours, theirs in keys.items():
            self.add(f"{name}.{ours}", part.at(*theirs.split(".")), "s", factor, why)

    @property
    def figures(self) -> tuple[StatedFigures, ...]:
        """All of them, in the order stated."""
        return tuple(self._found)

    @property
    def left_out(self) -> tuple[str, ...]:
        """What the file states and no figure can be: warnings."""
        return tuple(self._left_out)


#: No request has more tokens, no file that is read whole more in all: the account keeps a time for every token.
MAX_REQUEST_TOK, MAX_RUN_TOK = 4_000_000, 100_000_000


#: A year: no run is longer.
MAX_RUN_S = 3.2e7


def refuse_excess(requests: Sequence[RequestRecord]) -> None:
    """Raise InputError where counts or times are not those of a run: they would fill the memory or lose all digits."""
    counts = [n for r in requests for n in (r.output_tok, r.prompt_tok) if n is not None]
    if max(counts, default=0) > MAX_REQUEST_TOK:
        raise InputError(f"a request of {max(counts)} tokens (at most {MAX_REQUEST_TOK}): is the file damaged?")
    if sum(counts) > MAX_RUN_TOK:
        raise InputError(f"{sum(counts)} tokens in all (at most {MAX_RUN_TOK}): import a shorter part of the run")
    spots = [t for r in requests for t in (r.scheduled_mono_s, r.dispatched_mono_s, r.end_mono_s) if t is not None]
    spots += [t for r in requests for t in (r.first_token_mono_s, r.last_token_mono_s) if t is not None]
    if spots and max(spots) - min(spots) > MAX_RUN_S:
        raise InputError(f"the times of its requests are {max(spots) - min(spots):.3g} s apart: is the file damaged?")


def chosen_part(name: str, parts: Sequence[Part], choice: Choice, what: str, load: Callable[[Part], str]) -> Part:
    """The one of ``parts`` (at least one) that ``--part`` names; ``what`` calls them, ``load`` says each one's load."""
    if choice.part is not None:
        if not 1 <= choice.part <= len(parts):
            raise InputError(f"`part` {choice.part}: {name} holds {len(parts)} {what}")
        return parts[choice.part - 1]
    if len(parts) > 1:
        listed = "; ".join(f"{n}: {load(part)}" for n, part in enumerate(parts[:20], 1))
        raise InputError(f"{name}: holds {len(parts)} {what}; choose one with `part` ({listed})")
    return parts[0]


def delivered(output_tok: int | None) -> RequestOutcome:
    """How a request ended that the tool counts as good: only with tokens counted is it ``ok``."""
    if output_tok is None:
        return RequestOutcome.NO_USAGE
    return RequestOutcome.OK if output_tok else RequestOutcome.NO_TOKENS


def failed(error: str | None, status: int | None = None) -> RequestOutcome:
    """How a failed request ended, by the tool's words for it."""
    words = (error or "").lower()
    if status is not None or "http" in words or "status" in words:
        return RequestOutcome.HTTP_ERROR
    if "timeout" in words or "timed out" in words:
        return RequestOutcome.TIMEOUT
    return RequestOutcome.CANCELLED if "cancel" in words else RequestOutcome.CONNECTION_ERROR


def in_order(request: RequestRecord) -> RequestRecord:
    """``request``, or what is left of it where its times contradict each other: its tokens then do not count."""
    if request.dispatched_mono_s is None:
        return replace(
            request,
            first_byte_mono_s=None,
            first_token_mono_s=None,
            last_token_mono_s=None,
            end_mono_s=None,
            chunk_mono_s=(),
            outcome=RequestOutcome.CANCELLED if request.outcome is RequestOutcome.OK else request.outcome,
        )
    times = (request.dispatched_mono_s, request.first_token_mono_s, request.last_token_mono_s, request.end_mono_s)
    known = [t for t in times if t is not None]
    if all(a <= b for a, b in pairwise(known)):
        return request
    reason = "its times in the file are not in order"
    end = max(known)
    return replace(
        request,
        outcome=RequestOutcome.CUT_SHORT,
        error=reason,
        first_byte_mono_s=None,
        first_token_mono_s=None,
        last_token_mono_s=None,
        end_mono_s=end,
        chunk_mono_s=(),
    )


def checked(requests: Sequence[RequestRecord]) -> tuple[tuple[RequestRecord, ...], tuple[str, ...]]:
    """Requests in order of sending, with unique ids and ordered times; and what must be told about them.

    Raises InputError for token counts and times that no run has, and for requests that stand in the file twice.
    """
    refuse_excess(requests)
    refuse_copies(requests, "the file")
    sound = [in_order(r) for r in requests]
    spoilt = sum(new is not old for new, old in zip(sound, requests, strict=True))
    sound.sort(key=lambda r: (r.scheduled_mono_s, r.id))
    if len({r.id for r in sound}) < len(sound):
        sound = [replace(r, id=f"{n}:{r.id}") for n, r in enumerate(sound)]
    uncounted = sum(r.outcome is RequestOutcome.NO_USAGE for r in sound)
    warnings = []
    if spoilt:
        warnings.append(f"{spoilt} requests have times that are not in order; their tokens are not counted")
    if uncounted:
        warnings.append(
            f"{uncounted} requests carry no token count of the server: their tokens are unknown "
            "(--client-tokens counts them by the tool's own tokenizer)"
        )
    return tuple(sound), tuple(warnings)
