"""AIPerf (0.9 to 0.13): ``profile_export.jsonl`` (requests), ``profile_export_aiperf.json`` (summary, schema 1.x).

Traps: AIPerf counts tokens with a tokenizer of its own; with the wrong one its lengths, rates, inter-token latency and
energy per token are wrong by the ratio of the counts. The server's usage stands beside them (``usage_*``) and is what
is imported. Energy per token is in mJ, of the GPUs that reported, over a window longer than the load by 0.666 s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from joulemill.errors import InputError
from joulemill.formats.documents import Document
from joulemill.formats.untrusted import Part
from joulemill.importers.recording import Choice, Recording, Statements, checked, delivered, failed
from joulemill.ledger.record import RequestOutcome, RequestRecord

TOOL = "AIPerf"
_KEYS = {"mean": "avg", "p50": "p50", "p90": "p90", "p99": "p99"}
_FACTORS = {"ms": 1e-3, "sec": 1.0, "s": 1.0, "us": 1e-6, "ns": 1e-9}
_ENERGY = "of the GPUs that reported, whose number AIPerf does not check; the window of energy is 0.666 s longer"
_CLIENT = "by AIPerf's own tokenizer, not the server's usage"
_SERVER = "by the server's usage, as AIPerf was asked to count (use_server_token_count)"
#: Counts further apart than this are a wrong tokenizer, not a special token more or less. Assumed.
_ALIKE = 0.02


def recognizes(document: Document) -> bool:
    """Whether ``document`` is AIPerf's summary or per-request export."""
    return _is_summary(document) or _is_requests(document)


def _is_summary(document: Document) -> bool:
    head = document.head
    return document.form == "json" and (head.has("aiperf_version") or head.has("input_config", "request_latency"))


def _is_requests(document: Document) -> bool:
    return document.head["metadata"].has("request_start_ns") and document.head.value.get("aiperf_version") is None


def parse(documents: Sequence[Document], choice: Choice) -> Recording:
    """One run from its summary, its requests, or both. Raises InputError for two of a kind."""
    summaries = [d for d in documents if _is_summary(d)]
    exports = [d for d in documents if not _is_summary(d)]
    if len(summaries) > 1 or len(exports) > 1:
        raise InputError("two AIPerf files of one kind: name the files of one run (profile_export.jsonl and its .json)")
    recording = _summary(summaries[0].root) if summaries else Recording(tool=TOOL)
    if summaries and _counts_usage(summaries[0].root):
        choice = replace(choice, client_tokens=True)  # what AIPerf calls its count is then the server's usage
    if not exports:
        advice = "the summary holds no single requests: give profile_export.jsonl of the same run beside it"
        return replace(recording, warnings=(*recording.warnings, advice))
    return _with_requests(recording, exports[0], choice)


def _summary(root: Part) -> Recording:
    version = root["schema_version"].text()
    if version is not None and not version.startswith("1."):
        raise InputError(f"{root.where}schema version {version} of AIPerf's export; version 1.x can be read")
    config = root["input_config"]
    models = [m["name"].text() for m in config.at("models", "items").each()]
    stated = _stated(root)
    averages = _average(root, "total_usage_completion_tokens"), _average(root, "total_output_tokens")
    counted = () if _counts_usage(root) else _count_warnings(*averages)
    servers = [Part(u.value, u.where).text() for u in config.at("endpoint", "urls").each()]
    return Recording(
        tool=TOOL,
        tool_version=root["aiperf_version"].text(),
        options=_options(config),
        model={"name": models[0] if models else None},
        server={"url": servers[0] if servers else None},
        stated=stated.figures,
        warnings=(*stated.left_out, *counted),
    )


def _counts_usage(root: Part) -> bool:
    """Whether AIPerf was asked to count by the server's usage: its own names of tokens then hold that."""
    config = root["input_config"]
    places = (config["endpoint"], config["tokenizer"], config)
    return any(p["use_server_token_count"].flag() for p in places)


def _average(root: Part, name: str) -> float | None:
    return root.at(name, "avg").number(least=0.0)


def _options(config: Part) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for phase in config["phases"].each():
        if phase.first("kind", "name").text() in ("profiling", None):
            options["strategy"] = phase["type"].text()
            options["concurrency"] = int(phase["concurrency"].option() or 0)
            options["rate"] = phase["rate"].option() or phase["request_rate"].option()
    if options.get("rate"):
        options.pop("concurrency", None)
    return {k: v for k, v in options.items() if v}


def _count_warnings(by_server: float | None, by_client: float | None) -> tuple[str, ...]:
    """What must be told where the server's count and AIPerf's own differ."""
    if by_server is None and by_client is not None:
        return ("AIPerf's tokens are by its own tokenizer; the file does not hold the server's usage",)
    if not by_server or by_client is None or abs(by_client / by_server - 1.0) <= _ALIKE:
        return ()
    ratio = by_client / by_server
    return (
        f"AIPerf counted {by_client:.0f} output tokens with its own tokenizer where the server says {by_server:.0f} "
        f"({ratio:.3g} times): its output rate, inter-token latency and energy per token are wrong by that; "
        "tokens here are the server's",
    )


def _stated(root: Part) -> Statements:
    statements, whose = Statements(TOOL), _SERVER if _counts_usage(root) else _CLIENT
    statements.add("output.rate_tok_s", root["output_token_throughput"]["avg"], "tok/s", reason=whose)
    statements.add("output.request_rate_req_s", root["request_throughput"]["avg"], "req/s")
    for ours, theirs, why in (
        ("latency.ttft_s", "time_to_first_token", None),
        ("latency.tpot_s", "inter_token_latency", f"AIPerf's inter-token latency, tokens {whose}"),
        ("latency.itl_s", "inter_chunk_latency", "between chunks"),
        ("latency.e2e_s", "request_latency", None),
    ):
        part = root[theirs]
        statements.percentiles(ours, part, _KEYS, _time_factor(part), why)
    statements.add("tokens.output", root["total_output_tokens"]["avg"], "tok", reason=whose)
    statements.add("tokens.output_by_server", root["total_usage_completion_tokens"]["avg"], "tok")
    for prefix in ("nvidia_", "amd_", ""):
        _energy(statements, root, prefix, whose)
    return statements


def _time_factor(part: Part) -> float:
    unit = part["unit"].text()
    if part.known and unit not in _FACTORS:
        raise part["unit"].wrong("one of " + ", ".join(_FACTORS))
    return _FACTORS.get(unit or "ms", 1e-3)


def _energy(statements: Statements, root: Part, prefix: str, whose: str) -> None:
    token = root[f"{prefix}energy_per_output_token"]
    factor = {"mJ/token": 1e-3, "J/token": 1.0}.get(token["unit"].text() or "mJ/token")
    if factor is None:
        raise token["unit"].wrong("mJ/token or J/token")
    statements.add("energy.device_j_tok", token["avg"], "J/tok", factor, f"{_ENERGY}; tokens {whose}")
    statements.add("energy.device_j", root[f"{prefix}total_gpu_energy"]["avg"], "J", reason=_ENERGY)
    statements.add("power.device_w", root[f"{prefix}average_gpu_power"]["avg"], "W", reason=_ENERGY)


def _with_requests(recording: Recording, document: Document, choice: Choice) -> Recording:
    rows = list(document.root.each())
    starts = [n for row in rows if (n := row.at("metadata", "request_start_ns").count()) is not None]
    if not starts:
        raise InputError(f"{document.name}: no request has a start; was the run cancelled before its first?")
    origin_ns = min(starts)
    Part(origin_ns * 1e-9, f"{document.name}: request_start_ns").unix_s()
    requests, warnings = checked([_request(row, origin_ns, choice) for row in rows])
    ours = [row["metrics"] for row in rows if row["metrics"].known]
    both = [(m.at("usage_completion_tokens", "value").count(), _own_count(m)) for m in ours]
    pairs = [(a, b) for a, b in both if a is not None and b is not None]
    counted = _count_warnings(sum(a for a, _ in pairs), sum(b for _, b in pairs)) if pairs else ()
    ends = [r.end_mono_s for r in requests if r.phase == "load" and r.end_mono_s is not None]
    return replace(
        recording,
        requests=requests,
        origin_wall_s=origin_ns * 1e-9,
        load=(min(r.scheduled_mono_s for r in requests if r.phase == "load"), max(ends)) if ends else None,
        warnings=(
            *recording.warnings,
            *(() if any("tokenizer" in w for w in recording.warnings) else counted),
            *warnings,
        ),
    )


def _own_count(metrics: Part) -> int | None:
    return metrics.first("output_token_count", "output_sequence_length")["value"].count()


def _request(row: Part, origin_ns: int, choice: Choice) -> RequestRecord:
    meta, metrics = row["metadata"], row["metrics"]

    def since(name: str) -> float | None:
        stamp = meta[name].count()
        return None if stamp is None else (stamp - origin_ns) * 1e-9

    sent = since("request_start_ns")
    ttft = _seconds(metrics["time_to_first_token"])
    first = None if sent is None or ttft is None else sent + ttft
    chunks = _chunks(metrics["inter_chunk_latency"], first)
    output = metrics.at("usage_completion_tokens", "value").count()
    if output is None and choice.client_tokens:
        output = _own_count(metrics)
    error = row["error"]
    message = error.first("message", "type").text() if error.known else None
    cancelled = meta["was_cancelled"].flag()
    outcome = failed(message, error["code"].count()) if error.known else delivered(output)
    issued, latency = since("credit_issued_ns"), _seconds(metrics["request_latency"])
    last = chunks[-1] if chunks else None
    if last is None and sent is not None and latency is not None and not error.known:
        last = sent + latency
    return RequestRecord(
        id=meta.first("x_request_id", "session_num").text() or row.where,
        phase="warmup" if meta["benchmark_phase"].text() == "warmup" else "load",
        scheduled_mono_s=issued if issued is not None else (sent or 0.0),
        dispatched_mono_s=sent,
        first_byte_mono_s=None,
        first_token_mono_s=first,
        last_token_mono_s=last,
        end_mono_s=_end(since("request_end_ns"), last),
        outcome=RequestOutcome.CANCELLED if cancelled else outcome,
        prompt_tok=metrics.at("usage_prompt_tokens", "value").count(),
        cached_tok=metrics.at("usage_prompt_cache_read_tokens", "value").count(),
        output_tok=output,
        reasoning_tok=metrics.at("usage_reasoning_tokens", "value").count(),
        chunk_mono_s=chunks,
        asked_prompt_tok=metrics.at("input_sequence_length", "value").count(),
        error=message,
    )


def _end(end: float | None, last: float | None) -> float | None:
    """The end; never before the last chunk for the sake of two clocks (chunks are on AIPerf's monotonic one)."""
    if end is None or last is None:
        return end
    return max(end, last) if last - end < 1e-2 else end


def _seconds(part: Part) -> float | None:
    value = part["value"].number()
    return None if value is None else value * _time_factor(part)


def _chunks(part: Part, first: float | None) -> tuple[float, ...]:
    """Arrival of each chunk: the first token, then the sum of the gaps."""
    if first is None:
        return ()
    factor = _time_factor(part)
    gaps = [g * factor for g in (p.number(least=0.0) for p in part["value"].each()) if g is not None]
    return tuple(accumulate(gaps, initial=first))
