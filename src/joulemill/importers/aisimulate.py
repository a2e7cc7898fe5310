"""NVIDIA AISimulate (0.12, 0.13): ``prediction.json``, and ``requests.jsonl`` of ``--capture-per-request``.

Traps: ``wall_time_ms`` is the simulator's own; ``duration_ms`` is the time that was simulated. ``power_w`` is of one
GPU while it computes, without idle time, and null where under 90 % of the computing time has evidence
(``power_coverage``): it is no mean power and gives no joules per token. Latencies are of completed requests alone,
and a latency of 0 with no samples is none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joulemill.errors import InputError
from joulemill.formats.documents import Document
from joulemill.formats.untrusted import Part
from joulemill.importers.recording import Choice, Recording, Statements, checked, failed
from joulemill.ledger.record import RequestOutcome, RequestRecord
from joulemill.wording import percent

TOOL = "AISimulate"
#: Share of the computing time that must have energy evidence for AISimulate's watts to stand.
COVERAGE_RATIO = 0.9
#: More devices than any deployment has: hours over a duration that is none.
MOST_DEVICES = 1_000_000
_LATENCIES = (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", "e2e_latency"))
_STATISTICS = (("mean", "mean"), ("p50", "median"), ("p90", "p90"), ("p99", "p99"))
_ACTIVE = "of one GPU while it computes: no idle time, no host; not a mean power"
_OUTCOMES = {
    "completed": RequestOutcome.OK,
    "rejected": RequestOutcome.HTTP_ERROR,
    "canceled": RequestOutcome.CANCELLED,
    "failed": RequestOutcome.CUT_SHORT,
}


def recognizes(document: Document) -> bool:
    """Whether ``document`` is a prediction by AISimulate, or its requests."""
    return _is_summary(document) or _is_requests(document)


def _is_summary(document: Document) -> bool:
    names = ("completed_requests", "output_throughput_tok_s", "mean_ttft_ms", "duration_ms")
    return document.form == "json" and (document.head.has(*names) or document.head["summary"].has(*names))


def _is_requests(document: Document) -> bool:
    return document.form in ("json", "jsonl") and document.head.has(
        "arrival_time_ms", "terminal_status", "input_length", "output_length"
    )


def parse(documents: Sequence[Document], choice: Choice) -> Recording:
    """One prediction from its report, its requests, or both. Raises InputError for two of a kind."""
    summaries, exports = ([d for d in documents if kind(d)] for kind in (_is_summary, _is_requests))
    if len(summaries) > 1 or len(exports) > 1:
        raise InputError("two AISimulate files of one kind: name prediction.json and requests.jsonl of one prediction")
    statements = Statements(TOOL)
    power_warnings = _stated(statements, summaries[0].root) if summaries else ()
    requests, warnings = _requests(exports[0]) if exports else ((), ())
    ends = [r.end_mono_s for r in requests if r.end_mono_s is not None]
    return Recording(
        tool=TOOL,
        requests=requests,
        load=(0.0, max(ends)) if ends else None,
        hardware=_hardware(_summary(summaries[0].root)) if summaries else {},
        stated=statements.figures,
        warnings=(
            "simulated by AISimulate: nothing in it was measured",
            *power_warnings,
            *warnings,
            *statements.left_out,
        ),
        simulated=True,
    )


def _summary(root: Part) -> Part:
    """Where the metrics stand: under ``summary``, or at the top."""
    return root["summary"] if root["summary"].has("completed_requests") else root


def _stated(statements: Statements, root: Part) -> tuple[str, ...]:
    """The report's figures; what must be told about them."""
    s = _summary(root)
    over = "over the time that was simulated"
    statements.add("output.rate_tok_s", s["output_throughput_tok_s"], "tok/s", reason=over)
    statements.add("output.request_rate_req_s", s["request_throughput_rps"], "req/s")
    statements.add("output.good_tok_s", s["goodput_output_throughput_tok_s"], "tok/s")
    statements.add("tokens.output", s["total_output_tokens"], "tok")
    statements.add("tokens.prompt", s["total_input_tokens"], "tok")
    for ours, theirs in _LATENCIES:
        if s[f"num_{theirs}_samples"].option() == 0.0:
            continue
        for statistic, name in _STATISTICS:
            statements.add(f"latency.{ours}_s.{statistic}", s[f"{name}_{theirs}_ms"], "s", 1e-3)
    return (*_state_power(statements, s), *_unfinished(s))


def _state_power(statements: Statements, s: Part) -> tuple[str, ...]:
    """Watts of a computing GPU where AISimulate's own rule of coverage lets them stand."""
    watts, coverage = s["power_w"].option(), s["power_coverage"].option()
    if watts is not None and coverage is not None and coverage >= COVERAGE_RATIO:
        why = f"{_ACTIVE}; {percent(coverage)} of the computing time has evidence"
        statements.add("aisimulate.active_power_device_w", s["power_w"], "W", reason=why)
        return (f"AISimulate's watts are {_ACTIVE}: joules per token are unknown",)
    if coverage is None:
        return ("AISimulate has no energy of this deployment: joules are unknown",)
    part = f"{percent(coverage)} of the computing time has energy evidence"
    return (f"AISimulate withholds its watts: {part}, {percent(COVERAGE_RATIO)} are needed; joules are unknown",)


def _unfinished(s: Part) -> tuple[str, ...]:
    asked, completed = s["num_requests"].option(), s["completed_requests"].option()
    if not asked or completed is None or completed >= asked:
        return ()
    return (f"{asked - completed:,.0f} of {asked:,.0f} requests did not complete: latencies leave them out",)


def _hardware(s: Part) -> dict[str, Any]:
    """GPUs: what was provisioned, on average of the time that was simulated."""
    hours, duration_ms = s["gpu_hours"].option(), s["duration_ms"].option()
    devices = hours * 3600.0 / (duration_ms / 1e3) if hours and duration_ms else 0.0
    return {"stated_devices": round(devices) or None if devices <= MOST_DEVICES else None}


def _requests(document: Document) -> tuple[tuple[RequestRecord, ...], tuple[str, ...]]:
    rows = [document.root] if document.form == "json" else list(document.root.each())
    return checked([_request(row, n) for n, row in enumerate(rows)])


def _request(row: Part, n: int) -> RequestRecord:
    at, first, last = (_seconds(row[name]) for name in ("arrival_time_ms", "first_token_ms", "last_token_ms"))
    status = row["terminal_status"].text() or ""
    outcome = _OUTCOMES.get(status) or failed(status)
    output = row["output_length"].count()
    if at is None:
        raise row["arrival_time_ms"].wrong("a time")
    return RequestRecord(
        id=row["uuid"].text() or str(n),
        phase="load",
        scheduled_mono_s=at,
        dispatched_mono_s=at,
        first_byte_mono_s=None,
        first_token_mono_s=first,
        last_token_mono_s=last,
        end_mono_s=last,
        outcome=RequestOutcome.NO_TOKENS if outcome is RequestOutcome.OK and not output else outcome,
        prompt_tok=row["input_length"].count(),
        cached_tok=row["reused_input_tokens"].count(),
        output_tok=output,
        error=None if outcome is RequestOutcome.OK else status or "unknown",
    )


def _seconds(part: Part) -> float | None:
    value = part.number(least=0.0)
    return None if value is None else value / 1e3
