"""inference-perf: ``per_request_lifecycle_metrics.json`` (requests) and summary or stage lifecycle metrics.

Traps: all times are of a monotonic clock, so no meter can be joined by them; ``output_tokens`` is re-tokenized by the
client, the server's own usage stands in ``server_usage`` where it was sent. ``time_per_output_token`` leaves the first
token out; ``normalized_time_per_output_token`` does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from joulemill.errors import InputError
from joulemill.formats.documents import Document
from joulemill.formats.untrusted import UNIX_SECONDS, Part
from joulemill.importers.recording import Choice, Recording, Statements, checked, delivered, failed
from joulemill.ledger.record import RequestRecord

TOOL = "inference-perf"
_KEYS = {"mean": "mean", "p50": "median", "p90": "p90", "p99": "p99"}
_NO_WALL = "its times are of a monotonic clock: no meter can be joined by time"


def recognizes(document: Document) -> bool:
    """Whether ``document`` is one of inference-perf's lifecycle reports."""
    return _is_summary(document) or _is_requests(document)


def _is_summary(document: Document) -> bool:
    return document.form == "json" and document.root.has("load_summary", "successes")


def _is_requests(document: Document) -> bool:
    rows = document.root.value
    if document.form != "json" or not isinstance(rows, list) or not rows:
        return False
    return Part(rows[0], "").has("start_time", "end_time", "info")


def parse(documents: Sequence[Document], choice: Choice) -> Recording:
    """One run from a summary, its requests, or both. Raises InputError for two of a kind."""
    summaries = [d for d in documents if _is_summary(d)]
    exports = [d for d in documents if not _is_summary(d)]
    if len(summaries) > 1 or len(exports) > 1:
        raise InputError("two inference-perf files of one kind: name the summary and the requests of one run")
    recording = Recording(tool=TOOL)
    if summaries:
        stated = _stated(summaries[0].root)
        recording = replace(
            recording, stated=stated.figures, warnings=stated.left_out, options=_options(summaries[0].root)
        )
    if not exports:
        advice = (
            "a summary only: give per_request_lifecycle_metrics.json beside it (report.request_lifecycle.per_request)"
        )
        return replace(recording, warnings=(*recording.warnings, advice))
    return _with_requests(recording, exports[0], choice)


def _options(root: Part) -> dict[str, Any]:
    load = root["load_summary"]
    rate = load.first("requested_rate", "achieved_rate").option()
    concurrency = int(load["concurrency"].option() or 0)
    return {"concurrency": concurrency} if concurrency else {"rate": rate} if rate else {}


def _stated(root: Part) -> Statements:
    good = root["successes"]
    statements = Statements(TOOL)
    statements.add("output.rate_tok_s", good.at("throughput", "output_tokens_per_sec"), "tok/s")
    statements.add("output.request_rate_req_s", good.at("throughput", "requests_per_sec"), "req/s")
    for ours, theirs in (
        ("latency.ttft_s", "time_to_first_token"),
        ("latency.tpot_s", "time_per_output_token"),
        ("latency.itl_s", "inter_token_latency"),
        ("latency.e2e_s", "request_latency"),
        ("inference_perf.normalized_time_per_output_token_s", "normalized_time_per_output_token"),
    ):
        why = "includes the first token" if "normalized" in theirs else None
        statements.percentiles(ours, good.at("latency", theirs), _KEYS, 1.0, why)
    statements.add("tokens.prompt_mean", good.at("prompt_tokens").first("mean"), "tok")
    statements.add(
        "tokens.output_mean", good["output_tokens" if good.has("output_tokens") else "output_len"]["mean"], "tok"
    )
    return statements


def _with_requests(recording: Recording, document: Document, choice: Choice) -> Recording:
    rows = list(document.root.each())
    starts = [s for row in rows if (s := row["start_time"].number()) is not None]
    if not starts:
        raise InputError(f"{document.name}: no request has a start time")
    origin = min(starts)
    requests, warnings = checked([_request(row, origin, choice) for row in rows])
    ends = [r.end_mono_s for r in requests if r.end_mono_s is not None]
    wall = origin if UNIX_SECONDS[0] <= origin < UNIX_SECONDS[1] else None
    return replace(
        recording,
        requests=requests,
        origin_wall_s=wall,
        load=(0.0, max(ends)) if ends else None,
        warnings=(*recording.warnings, *warnings, *(() if wall else (_NO_WALL,))),
    )


def _request(row: Part, origin: float, choice: Choice) -> RequestRecord:
    def since(name: str) -> float | None:
        value = row[name].number()
        return None if value is None else value - origin

    info = row["info"]
    answer = info["response_metrics"] if info["response_metrics"].known else info
    usage = answer["server_usage"]
    output = usage["completion_tokens"].count()
    if output is None and choice.client_tokens:
        output = answer["output_tokens"].count()
    times = [t - origin for t in (p.number() for p in answer["output_token_times"].each()) if t is not None]
    error = row["error"]
    message = error.first("error_msg", "error_type").text() if isinstance(error.value, dict) else error.text()
    sent, planned = since("start_time"), since("scheduled_time")
    return RequestRecord(
        id=row.where.rsplit("[", 1)[-1].rstrip("]"),
        phase="load",
        scheduled_mono_s=planned if planned is not None else (sent or 0.0),
        dispatched_mono_s=sent,
        first_byte_mono_s=None,
        first_token_mono_s=times[0] if times else None,
        last_token_mono_s=times[-1] if times else None,
        end_mono_s=since("end_time"),
        outcome=failed(message) if error.known else delivered(output),
        prompt_tok=usage["prompt_tokens"].count(),
        cached_tok=usage.at("prompt_tokens_details", "cached_tokens").count(),
        output_tok=output,
        chunk_mono_s=tuple(times),
        retries=info["retries_attempted"].count() or 0,
        error=message,
    )
