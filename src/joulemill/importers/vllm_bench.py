"""``vllm bench serve`` JSON, with or without ``--save-detailed``; SGLang's and InferenceX's forks write the same names.

Traps: ``start_times`` are of a monotonic clock (``perf_counter``), so no meter can be joined by them alone; InferenceX
writes the run's start and end in Unix seconds beside them. ``date`` is the local time of the end, without a zone.
``output_lens`` are the server's usage where it was sent and the client tokenizer's count otherwise; the file does not
say which. Latencies are in ms in names, seconds in arrays. SGLang appends results to one file, a line each.
``queue_times`` are waits at the tool's own limit of requests in flight: in a closed loop (no finite rate) all are due
at 0, and that wait is the loop itself and no lateness.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

from joulemill.errors import InputError
from joulemill.formats.documents import Document
from joulemill.formats.untrusted import Part
from joulemill.importers.recording import Choice, Recording, Statements, checked, chosen_part, delivered, failed
from joulemill.ledger.record import RequestRecord

TOOL = "vLLM bench serve"
SGLANG = "SGLang bench_serving"
_ARRAYS = ("ttfts", "itls", "output_lens", "input_lens")
_COUNTS = "output lengths are the server's usage where it was sent, else the client tokenizer's; the file does not say"
_WALL = "its requests are placed in time by its stated start, to within the time that the first one took to be sent"
_NO_WALL = "its start times are of a monotonic clock: no meter can be joined by time"

#: Start and end include what the tool does before its clock starts and after it stops. Assumed.
SPAN_S, SPAN_RATIO = 5.0, 0.1
#: A rate and the total over the duration may part by rounding, and by what a tool counts at its ends. Assumed.
CONTRADICTION_RATIO = 0.05


def recognizes(document: Document) -> bool:
    """Whether ``document`` is a result of ``vllm bench serve``."""
    head = document.head
    return document.form in ("json", "jsonl") and head.has(
        "output_throughput", "total_output_tokens", "completed", "duration"
    )


def parse(document: Document, choice: Choice) -> Recording:
    """The run of the file; its requests where they were saved."""
    root = _chosen(document, choice)
    sglang = root.has("total_output_tokens_retokenized") or root["server_info"].has("model_path")
    tool = SGLANG if sglang else TOOL
    detailed = root.has(*_ARRAYS)
    requests, warnings = _requests(root, choice) if detailed else ((), ())
    ends = [r.end_mono_s for r in requests if r.end_mono_s is not None]
    wall = _wall_span(root)
    load = (0.0, max(ends)) if ends else None if wall is None else (0.0, wall[1] - wall[0])
    statements = stated_of(root, tool)
    return Recording(
        tool=tool,
        tool_version=root.first("vllm_version", "version").text(),
        requests=requests,
        origin_wall_s=None if wall is None else wall[0],
        load=load,
        options=options_of(root),
        model={"name": root["model_id"].text() or root.at("server_info", "model_path").text()},
        server={
            "kind": root.first("backend", "endpoint_type").text(),
            "version": root.at("server_info", "version").text(),
        },
        hardware={"stated_tensor_parallel": int(root.at("server_info", "tp_size").option() or 0) or None},
        stated=statements.figures,
        warnings=(*warnings, *_assumptions(detailed, wall is not None), *statements.left_out, *_contradictions(root)),
        totals={} if requests else _totals(root),
    )


def _chosen(document: Document, choice: Choice) -> Part:
    """The result of a file; of several that were appended to one file, the one that ``--part`` names."""
    rows = [document.root] if document.form == "json" else list(document.root.each())
    return chosen_part(document.name, rows, choice, "results", _load_text)


def _load_text(root: Part) -> str:
    concurrency, rate = root["max_concurrency"].text(), root["request_rate"].text()
    known = (f"concurrency {concurrency}" if concurrency else "", f"request rate {rate}" if rate else "")
    return ", ".join(k for k in known if k) or "unknown load"


def _wall_span(root: Part) -> tuple[float, float] | None:
    """Start and end of the run in Unix seconds, where the file holds them; the end from the duration if need be."""
    start, end = root["benchmark_start_time_unix"], root["benchmark_end_time_unix"]
    if not start.known:
        return None
    begin, stop, duration = start.unix_s(), end.unix_s(), root["duration"].option()
    if begin is not None and stop is None and duration:
        stop = begin + duration
    if begin is None or stop is None:
        return None
    if not stop > begin:
        raise InputError(f"{end.where}: the run ends before it starts; is the file damaged?")
    if duration and not abs(stop - begin - duration) <= SPAN_S + SPAN_RATIO * duration:
        raise InputError(
            f"{end.where}: the run took {stop - begin:.1f} s by its start and end, {duration:.1f} s by its duration, "
            "so its joules cannot be assigned; remove benchmark_end_time_unix to use the duration"
        )
    return begin, stop


def _totals(root: Part) -> dict[str, float]:
    """Tokens and finished requests of the whole run, as the file states them."""
    stated = {
        "output_tok": root["total_output_tokens"].option(),
        "prompt_tok": root["total_input_tokens"].option(),
        "requests": root["completed"].option(),
    }
    return {k: v for k, v in stated.items() if v}


def _assumptions(detailed: bool, wall: bool) -> tuple[str, ...]:
    """What must stand beside the figures."""
    if not detailed:
        return (_COUNTS, "no single requests in it: run it with --save-detailed")
    return (_COUNTS, _WALL if wall else _NO_WALL)


def _contradictions(root: Part) -> Iterator[str]:
    """Rates that are not the file's own totals over its own duration: one of the three is of another run, or edited."""
    duration_s = root["duration"].option()
    for rate_name, total_name in (("output_throughput", "total_output_tokens"), ("request_throughput", "completed")):
        rate, total = root[rate_name].option(), root[total_name].option()
        if not (duration_s and rate and total) or abs(rate * duration_s / total - 1) <= CONTRADICTION_RATIO:
            continue
        yield (
            f"the file contradicts itself: {rate_name} is {rate:g}, but {total_name} ÷ duration is "
            f"{total / duration_s:.6g}; figures by its totals and those that it states are not of one run"
        )


def _whole(part: Part) -> int:
    """A count as it is stated; 0 for anything else, half a request included."""
    value = part.option() or 0.0
    return int(value) if value == int(value) else 0


def options_of(root: Part) -> dict[str, float]:
    """Load as asked: a finite request rate is an open loop, else ``max_concurrency`` is a closed one.

    Without a limit all requests were sent at once.
    """
    rate, limit = root["request_rate"].option(), _whole(root["max_concurrency"])
    all_at_once = None if rate or limit else _whole(root["num_prompts"])
    options = {"rate": rate, "max_concurrency": limit} if rate else {"concurrency": limit, "at_once": all_at_once}
    return {k: v for k, v in options.items() if v}


def stated_of(root: Part, tool: str) -> Statements:
    """What the file's own summary says."""
    statements = Statements(tool)
    statements.add("output.rate_tok_s", root["output_throughput"], "tok/s")
    statements.add("output.request_rate_req_s", root["request_throughput"], "req/s")
    statements.add("tokens.output", root["total_output_tokens"], "tok")
    statements.add("tokens.prompt", root["total_input_tokens"], "tok")
    for ours, theirs in (("ttft", ("ttft",)), ("tpot", ("tpot",)), ("itl", ("itl",)), ("e2e", ("e2el", "e2e_latency"))):
        for statistic, name in (("mean", "mean"), ("p50", "median"), ("p90", "p90"), ("p99", "p99")):
            part = root.first(*(f"{name}_{t}_ms" for t in theirs))
            statements.add(f"latency.{ours}_s.{statistic}", part, "s", 1e-3)
    return statements


def _requests(root: Part, choice: Choice) -> tuple[tuple[RequestRecord, ...], tuple[str, ...]]:
    columns = {
        name: list(root[name].each()) for name in (*_ARRAYS, "start_times", "latencies", "queue_times", "errors")
    }
    lengths = {len(c) for c in columns.values() if c}
    if len(lengths) > 1:
        raise root["ttfts"].wrong("as long as the other arrays of requests")
    starts = [p.number() for p in columns["start_times"]]
    if not starts or any(s is None for s in starts):
        advice = "the file holds no start times (vLLM before 0.11): no window can be found, its summary only"
        return (), (advice,)
    first = min(s for s in starts if s is not None)
    rows = range(lengths.pop() if lengths else 0)
    scheduled = bool(root["request_rate"].number(least=0.0))
    requests = [request_at(columns, n, (starts[n] or 0.0) - first, scheduled=scheduled) for n in rows]
    return checked(requests)


def request_at(columns: dict[str, list[Part]], n: int, sent: float, *, scheduled: bool = False) -> RequestRecord:
    """Request ``n`` of arrays; ``sent`` in seconds since the first.

    scheduled   the load had a rate, so that a wait before sending counts from the schedule
    """

    def cell(name: str) -> Part:
        return columns[name][n] if columns.get(name) else Part(None, name)

    ttft = cell("ttfts").number()
    gaps = [g for g in (p.number(least=0.0) for p in cell("itls").each()) if g is not None]
    first = sent + ttft if ttft else None
    chunks = () if first is None else tuple(accumulate(gaps, initial=first))
    latency = cell("latencies").number(least=0.0)
    error = cell("errors").text()
    output = cell("output_lens").count()
    end = sent + latency if latency else (chunks[-1] if chunks else None)
    queued = (cell("queue_times").number(least=0.0) or 0.0) if scheduled else 0.0
    return RequestRecord(
        id=str(n),
        phase="load",
        scheduled_mono_s=sent - queued,
        dispatched_mono_s=sent,
        first_byte_mono_s=None,
        first_token_mono_s=first,
        last_token_mono_s=chunks[-1] if chunks else None,
        end_mono_s=None if end is None else max(end, *_last(chunks)),
        outcome=failed(error) if error else delivered(output),
        prompt_tok=cell("input_lens").count(),
        output_tok=output,
        chunk_mono_s=chunks,
        error=error,
    )


def _last(chunks: Sequence[float]) -> tuple[float, ...]:
    return (chunks[-1],) if chunks else (0.0,)
