"""GuideLLM's ``benchmarks.json``, report version 2 (GuideLLM 0.4 and later): requests with Unix times.

Traps: its ``time_per_output_token_ms`` holds the time to first token as well (request start to last token over the
output tokens), its ``inter_token_latency_ms`` is what others call TPOT; token counts are the server's usage where the
server gives one and GuideLLM's own tokenizer's otherwise, and the file does not say which; units stand in names.
"""

from __future__ import annotations

from typing import Any

from joulemill.errors import InputError
from joulemill.formats.documents import Document
from joulemill.formats.untrusted import Part
from joulemill.importers.recording import Choice, Recording, Statements, checked, chosen_part, delivered, failed
from joulemill.ledger.record import RequestOutcome, RequestRecord

TOOL = "GuideLLM"
REPORT_VERSION = 2
_KEYS = {"mean": "mean", "p50": "percentiles.p50", "p90": "percentiles.p90", "p99": "percentiles.p99"}
_TPOT = "includes the time to first token: request start to last token over output tokens; not this report's TPOT"
_COUNTS = (
    "GuideLLM takes token counts from the server's usage where it is sent, else from its own tokenizer; "
    "the file does not say which"
)


def recognizes(document: Document) -> bool:
    """Whether ``document`` is GuideLLM's."""
    head = document.head
    return head.has("benchmarks") and (head["metadata"].has("guidellm_version") or _old(head))


def _old(head: Part) -> bool:
    """A report from before version 2."""
    runs = head["benchmarks"].value
    return isinstance(runs, list) and bool(runs) and Part(runs[0], "").has("metrics", "requests")


def parse(document: Document, choice: Choice) -> Recording:
    """The chosen benchmark of the file. Raises InputError where it is none, or which one is not said."""
    root = document.root
    version = root.at("metadata", "version").count()
    if version != REPORT_VERSION:
        older = "of GuideLLM before 0.4" if version is None else f"version {version}"
        raise InputError(f"{document.name}: a report {older}; version {REPORT_VERSION} can be read: run it again")
    run = _chosen(document.name, list(root["benchmarks"].each()), choice)
    origin, options = _origin(run), _options(run)
    # Without a rate a request is due when a slot is free; its ``targeted_start`` is then the start of the loop.
    scheduled = options.get("rate") is not None
    requests, warnings = checked(
        [
            _request(item, group, origin, scheduled=scheduled)
            for group in ("successful", "errored", "incomplete")
            for item in run.at("requests", group).each()
        ]
    )
    if not requests:
        warnings = (*warnings, "the file holds no single requests (it was saved without them): its summary only")
    backend = run.at("config", "backend")
    ends = [r.end_mono_s for r in requests if r.end_mono_s is not None]
    statements = _stated(run["metrics"])
    return Recording(
        tool=TOOL,
        tool_version=root.at("metadata", "guidellm_version").text(),
        requests=requests,
        origin_wall_s=origin,
        load=(0.0, max(ends)) if ends else None,
        options=options,
        model={"name": backend["model"].text()},
        server={"url": backend["target"].text()},
        stated=statements.figures,
        warnings=(*warnings, *statements.left_out, _COUNTS),
    )


def _chosen(name: str, runs: list[Part], choice: Choice) -> Part:
    if not runs:
        raise InputError(f"{name}: holds no benchmark; did GuideLLM end before its first?")
    return chosen_part(name, runs, choice, "benchmarks", lambda run: _load_text(_options(run)))


def _load_text(options: dict[str, Any]) -> str:
    shown = [f"{k} {options[k]}" for k in ("strategy", "concurrency", "rate") if options.get(k) is not None]
    return ", ".join(shown) or "unknown load"


def _options(run: Part) -> dict[str, Any]:
    strategy = run.at("config", "strategy")
    kind = strategy["type_"].text()
    options: dict[str, Any] = {"strategy": kind, "warmup_s": run["warmup_duration"].number(least=0.0)}
    rate = strategy["rate"].number(least=0.0)
    if rate:
        options["rate"] = rate
    else:
        options["concurrency"] = 1 if kind == "synchronous" else _count(strategy, "streams", "max_concurrency")
    return {k: v for k, v in options.items() if v is not None}


def _count(part: Part, *names: str) -> int | None:
    return part.first(*names).count() or None


def _origin(run: Part) -> float | None:
    """The first time that a request of the run was sent; else the start of the run."""
    sent = [
        t
        for group in ("successful", "errored", "incomplete")
        for item in run.at("requests", group).each()
        if (t := _sent(item)) is not None
    ]
    return min(sent) if sent else run["start_time"].unix_s()


def _sent(item: Part) -> float | None:
    timings = item.at("info", "timings")
    start = timings["request_start"] if timings["request_start"].known else item["request_start_time"]
    return start.unix_s()


def _request(item: Part, group: str, origin: float | None, *, scheduled: bool) -> RequestRecord:
    timings = item.at("info", "timings")

    def since(*parts: Part) -> float | None:
        first_time_s = next((t for t in (p.unix_s() for p in parts) if t is not None), None)
        return None if first_time_s is None or origin is None else first_time_s - origin

    sent = since(timings["request_start"], item["request_start_time"])
    output = item["output_tokens"].count()
    error = item.at("info", "error").text()
    outcome = {"successful": delivered(output), "errored": failed(error)}.get(group, RequestOutcome.CANCELLED)
    planned = since(timings["targeted_start"]) if scheduled else None
    return RequestRecord(
        id=item["request_id"].text() or item.where,
        phase="load",
        scheduled_mono_s=planned if planned is not None else (sent or 0.0),
        dispatched_mono_s=sent,
        first_byte_mono_s=since(timings["first_request_iteration"]),
        first_token_mono_s=since(timings["first_token_iteration"]),
        last_token_mono_s=since(timings["last_token_iteration"]),
        end_mono_s=since(timings["request_end"], item["request_end_time"]),
        outcome=outcome,
        prompt_tok=item["prompt_tokens"].count(),
        cached_tok=item["cached_tokens"].count(),
        output_tok=output,
        error=error,
    )


def _stated(metrics: Part) -> Statements:
    statements = Statements(TOOL)

    def of(name: str) -> Part:
        return metrics.at(name, "successful")

    statements.add("output.rate_tok_s", of("output_tokens_per_second")["mean"], "tok/s")
    statements.add("output.request_rate_req_s", of("requests_per_second")["mean"], "req/s")
    statements.percentiles("latency.ttft_s", of("time_to_first_token_ms"), _KEYS, 1e-3)
    statements.percentiles(
        "latency.tpot_s", of("inter_token_latency_ms"), _KEYS, 1e-3, "GuideLLM's inter-token latency"
    )
    statements.percentiles("latency.e2e_s", of("request_latency"), _KEYS, 1.0)
    statements.percentiles("guidellm.time_per_output_token_s", of("time_per_output_token_ms"), _KEYS, 1e-3, _TPOT)
    statements.add("tokens.prompt_mean", of("prompt_token_count")["mean"], "tok")
    statements.add("tokens.output_mean", of("output_token_count")["mean"], "tok")
    return statements
