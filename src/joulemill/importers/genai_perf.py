"""GenAI-Perf (NVIDIA, before AIPerf): ``profile_export_genai_perf.json``, a summary.

Traps: it looks like AIPerf's summary, but its telemetry stands under ``telemetry_stats`` by board (``gpu0`` …): watts,
and energy in MJ as statistics of a counter, which is no energy of the load: watts are read, joules are not.
Token counts are those of its own tokenizer.
"""

from __future__ import annotations

from typing import Any

from joulemill.formats.documents import Document
from joulemill.formats.untrusted import Part
from joulemill.importers.recording import Choice, Recording, Statements

TOOL = "GenAI-Perf"
_KEYS = {"mean": "avg", "p50": "p50", "p90": "p90", "p99": "p99"}
_TIME_FACTORS = {"s": 1.0, "sec": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_POWER_FACTORS = {"W": 1.0, "mW": 1e-3, "kW": 1e3}
_CLIENT = "tokens by GenAI-Perf's own tokenizer"
_POWER = "sum over the boards that reported, whose number GenAI-Perf does not check"


def recognizes(document: Document) -> bool:
    """Whether ``document`` is a summary by GenAI-Perf: its input section names perf_analyzer or its subcommand."""
    head = document.head
    if document.form != "json" or head.has("aiperf_version"):
        return False
    has_input_config = head["input_config"].has("perf_analyzer") or head["input_config"].has("subcommand")
    return head.has("request_latency") and (has_input_config or head.has("telemetry_stats"))


def parse(document: Document, choice: Choice) -> Recording:
    """What the summary states; its boards' watts from the telemetry."""
    root = document.root
    config = root["input_config"]
    statements = _stated(root)
    power = root.at("telemetry_stats", "gpu_power_usage")
    boards = [(name, part) for name, part in _objects(power) if name.startswith("gpu")]
    _state_power(statements, power, boards)
    models = [m.text() for m in config["model_names"].each()] if isinstance(config["model_names"].value, list) else []
    endpoint = config["endpoint"]
    return Recording(
        tool=TOOL,
        options=_options(config),
        model={"name": models[0] if models else config.first("model", "model_name").text()},
        server={"kind": endpoint["backend"].text(), "url": endpoint["url"].text()},
        hardware={"stated_devices": len(boards) or None},
        stated=statements.figures,
        warnings=(*statements.left_out, *_warnings(boards)),
    )


def _objects(part: Part) -> list[tuple[str, Part]]:
    """The members of ``part`` that are objects; none where it is no object itself."""
    if not isinstance(part.value, dict):
        return []
    return [(name, member) for name, member in part.members() if isinstance(member.value, dict)]


def _state_power(statements: Statements, power: Part, boards: list[tuple[str, Part]]) -> None:
    """Watts of each board, and their sum where every one is known."""
    factor = _POWER_FACTORS.get(power["unit"].text() or "W")
    if factor is None:
        raise power["unit"].wrong("one of " + ", ".join(_POWER_FACTORS))
    for name, part in boards:
        statements.add(f"genai_perf.power_w.{name}", part["avg"], "W", factor, "mean of the board over the run")
    watts = [part["avg"].option() for _, part in boards]
    known = [w for w in watts if w is not None]
    if boards and len(known) == len(boards):
        statements.add("power.device_w", Part(sum(known), f"{power.where} (sum of avg)"), "W", factor, _POWER)


def _stated(root: Part) -> Statements:
    statements = Statements(TOOL)
    statements.add("output.rate_tok_s", root["output_token_throughput"]["avg"], "tok/s", reason=_CLIENT)
    statements.add("output.request_rate_req_s", root["request_throughput"]["avg"], "req/s")
    for ours, theirs, why in (
        ("latency.ttft_s", "time_to_first_token", None),
        ("latency.tpot_s", "inter_token_latency", f"GenAI-Perf's inter-token latency, {_CLIENT}"),
        ("latency.e2e_s", "request_latency", None),
    ):
        part = root[theirs]
        factor = _TIME_FACTORS.get(part["unit"].text() or "ms")
        if factor is None:
            raise part["unit"].wrong("one of " + ", ".join(_TIME_FACTORS))
        statements.percentiles(ours, part, _KEYS, factor, why)
    statements.add("tokens.output_mean", root["output_sequence_length"]["avg"], "tok", reason=_CLIENT)
    statements.add("tokens.prompt_mean", root["input_sequence_length"]["avg"], "tok", reason=_CLIENT)
    return statements


def _options(config: Part) -> dict[str, Any]:
    stimulus = config.at("perf_analyzer", "stimulus")
    rate, concurrency = stimulus["request_rate"].option(), stimulus["concurrency"].option()
    return {"rate": rate} if rate else {"concurrency": int(concurrency)} if concurrency else {}


def _warnings(boards: list[tuple[str, Part]]) -> tuple[str, ...]:
    summary = "GenAI-Perf's summary holds no single requests: its figures are shown as stated"
    if not boards:
        return (summary, "it holds no telemetry: power and joules are unknown")
    return (
        summary,
        f"power is of {len(boards)} GPU boards: no host, no fans, no conversion; its energy is statistics of a "
        "counter, not joules of the load, so joules per token are unknown",
    )
