"""``vllm bench serve`` JSON, with or without ``--save-detailed``; SGLang's and InferenceX's forks write the same names.

Traps: ``start_times`` are of a monotonic clock (``perf_counter``), so no meter can be joined by them; ``date`` is the
local time of the end, to the second, without a zone. ``queue_times`` are waits at the tool's own limit of requests in
flight: in a closed loop (no finite rate) all are due at 0, and that wait is the loop itself and no lateness.
``output_lens`` are the server's usage where it was sent and the client tokenizer's count otherwise; the file does not
say which. Latencies are in ms in names, seconds in arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from joulemill.imports.part import Part
from joulemill.imports.reading import Document
from joulemill.imports.recording import Choice, Recording, Statements, checked, delivered, failed
from joulemill.ledger.record import RequestRecord

TOOL = "vLLM bench serve"
_ARRAYS = ("ttfts", "itls", "output_lens", "input_lens")
_COUNTS = "output lengths are the server's usage where it was sent, else the client tokenizer's; the file does not say"
_NO_WALL = "its start times are of a monotonic clock: no meter can be joined by time"


def recognises(document: Document) -> bool:
    """Whether ``document`` is a result of ``vllm bench serve``."""
    head = document.head
    return document.form == "json" and head.has("output_throughput", "total_output_tokens", "completed", "duration")


def parse(document: Document, choice: Choice) -> Recording:
    """The run of the file; its requests where they were saved."""
    root = document.root
    version = root.first("vllm_version", "version").text()
    detailed = root.has(*_ARRAYS)
    requests, warnings = _requests(root, choice) if detailed else ((), ())
    ends = [r.end_mono_s for r in requests if r.end_mono_s is not None]
    told = (_COUNTS, _NO_WALL) if detailed else (_COUNTS, "no single requests in it: run it with --save-detailed")
    return Recording(
        tool=TOOL,
        tool_version=version,
        requests=requests,
        load=(0.0, max(ends)) if ends else None,
        options=options_of(root),
        model={"name": root["model_id"].text()},
        server={"kind": root.first("backend", "endpoint_type").text()},
        stated=stated_of(root, TOOL).found,
        warnings=(*warnings, *told),
    )


def options_of(root: Part) -> dict[str, float]:
    """Load as asked: a finite request rate is an open loop, else ``max_concurrency`` is a closed one.

    Without a limit all requests were sent at once.
    """
    rate, limit = root["request_rate"].number(least=0.0), root["max_concurrency"].count()
    all_at_once = None if rate or limit else root["num_prompts"].count()
    found = {"rate": rate, "max_concurrency": limit} if rate else {"concurrency": limit, "at_once": all_at_once}
    return {k: v for k, v in found.items() if v}


def stated_of(root: Part, tool: str) -> Statements:
    """What the file's own summary says."""
    found = Statements(tool)
    found.add("output.rate_tok_s", root["output_throughput"], "tok/s")
    found.add("output.request_rate_req_s", root["request_throughput"], "req/s")
    found.add("tokens.output", root["total_output_tokens"], "tok")
    found.add("tokens.prompt", root["total_input_tokens"], "tok")
    for ours, theirs in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", "e2el")):
        for statistic, name in (("mean", "mean"), ("p50", "median"), ("p90", "p90"), ("p99", "p99")):
            found.add(f"latency.{ours}_s.{statistic}", root[f"{name}_{theirs}_ms"], "s", 1e-3)
    return found


def _requests(root: Part, choice: Choice) -> tuple[tuple[RequestRecord, ...], tuple[str, ...]]:
    columns = {
        name: list(root[name].each()) for name in (*_ARRAYS, "start_times", "latencies", "queue_times", "errors")
    }
    lengths = {len(c) for c in columns.values() if c}
    if len(lengths) > 1:
        raise root["ttfts"].wrong("as long as the other arrays of requests")
    starts = [p.number() for p in columns["start_times"]]
    if not starts or any(s is None for s in starts):
        told = "the file holds no start times (vLLM before 0.11): no window can be found, its summary only"
        return (), (told,)
    first = min(s for s in starts if s is not None)
    rows = range(lengths.pop() if lengths else 0)
    scheduled = bool(root["request_rate"].number(least=0.0))
    made = [request_at(columns, n, (starts[n] or 0.0) - first, scheduled=scheduled) for n in rows]
    return checked(made)


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
