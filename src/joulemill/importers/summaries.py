"""Tools whose files are summaries: InferenceX aggregates, llm-d Benchmark Reports, ML.ENERGY results.

Nothing can be computed anew from them: what they state is kept as stated. Traps: InferenceX says itself whether its
power is valid; an llm-d report names its units beside each value and has power but no energy; ML.ENERGY's
joules are of GPU boards over its own steady state, and its per-request joules are the mean per token times the length.
"""

from __future__ import annotations

from typing import Any

from joulemill.errors import InputError
from joulemill.formats.documents import Document
from joulemill.formats.untrusted import Part
from joulemill.importers.recording import Choice, Recording, Statements
from joulemill.importers.vllm_bench import options_of, stated_of

#: The version from which InferenceX's joules are of the whole deployment; before it they were a device's.
POWER_SCHEMA_VERSION = "2"
_LLMD_VERSIONS = ("0.2", "0.2.1")
_LLMD_FACTORS = {
    "s": 1.0,
    "ms": 1e-3,
    "s/token": 1.0,
    "ms/token": 1e-3,
    "tokens/s": 1.0,
    "queries/s": 1.0,
    "Watts": 1.0,
    "count": 1.0,
}
_LLMD_STATISTICS = ("mean", "p50", "p90", "p99")


def is_inferencex(document: Document) -> bool:
    """Whether ``document`` is an aggregate of InferenceX (formerly InferenceMAX)."""
    head = document.head
    return document.form == "json" and head.has("hw", "tp") and (head.has("conc") or head.has("tput_per_gpu"))


def parse_inferencex(document: Document, choice: Choice) -> Recording:
    """What the aggregate states; joules only where it says itself that its power is valid."""
    root, tool = document.root, "InferenceX"
    statements = Statements(tool)
    _inferencex_latency(statements, root)
    statements.add("inferencex.output_rate_device_tok_s", root["output_tput_per_gpu"], "tok/s", reason="per GPU")
    version = root["power_metric_schema_version"].text()
    warnings = ["InferenceX's joules are of GPU boards: no host, no fans, no conversion"]
    if root["joules_per_output_token"].known and version != POWER_SCHEMA_VERSION:
        warnings.append(
            f"InferenceX's power has schema version {version or 'none'}; {POWER_SCHEMA_VERSION} is the one whose "
            "joules are of the whole deployment: its joules are left out"
        )
    elif root["power_valid"].value in (1, True):
        statements.add(
            "energy.device_j_tok", root["joules_per_output_token"], "J/tok", reason="validated by InferenceX"
        )
        statements.add("energy.device_j", root["total_gpu_energy_j"], "J")
        statements.add("power.device_w", root["avg_total_gpu_power_w"], "W")
    elif root["joules_per_output_token"].known:
        warnings.append("InferenceX marks its power as not valid: its joules are left out")
    return Recording(
        tool=tool,
        tool_version=version,
        options={k: v for k, v in {"concurrency": int(root["conc"].option() or 0)}.items() if v},
        model={"name": root.first("model", "model_id").text(), "precision": root["precision"].text()},
        server={"kind": root["framework"].text(), "version": root["image"].text()},
        hardware={"stated_device": root["hw"].text(), "stated_tensor_parallel": root["tp"].count()},
        stated=statements.figures,
        warnings=(*warnings, *statements.left_out),
    )


def _inferencex_latency(statements: Statements, root: Part) -> None:
    """``mean_ttft`` and the like are in seconds."""
    for ours, theirs in (("ttft", "ttft"), ("tpot", "tpot"), ("itl", "itl"), ("e2e", "e2el")):
        for statistic, name in (("mean", "mean"), ("p50", "median"), ("p90", "p90"), ("p99", "p99")):
            statements.add(f"latency.{ours}_s.{statistic}", root[f"{name}_{theirs}"], "s")


def is_llmd(document: Document) -> bool:
    """Whether ``document`` is an llm-d Benchmark Report of version 0.2 or later."""
    return document.form == "json" and document.head.has("run", "results") and document.head["run"].has("uid")


def parse_llmd(document: Document, choice: Choice) -> Recording:
    """What the report states, each value by the unit beside it. Raises InputError for another version."""
    root, tool = document.root, "llm-d Benchmark Report"
    version = root["version"].text()
    if version not in _LLMD_VERSIONS:
        raise InputError(f"{document.name}: llm-d report version {version}; {' and '.join(_LLMD_VERSIONS)} can be read")
    statements = Statements(tool)
    aggregate = root.at("results", "request_performance", "aggregate")
    for ours, theirs in (
        ("latency.ttft_s", "time_to_first_token"),
        ("latency.tpot_s", "time_per_output_token"),
        ("latency.itl_s", "inter_token_latency"),
        ("latency.e2e_s", "request_latency"),
        ("llmd.normalized_time_per_output_token_s", "normalized_time_per_output_token"),
    ):
        part = aggregate.at("latency", theirs)
        for statistic in _LLMD_STATISTICS:
            statements.add(f"{ours}.{statistic}", part[statistic], "s", _llmd_factor(part))
    for ours, theirs, unit in (
        ("output.rate_tok_s", "output_token_rate", "tok/s"),
        ("output.request_rate_req_s", "request_rate", "req/s"),
    ):
        part = aggregate.at("throughput", theirs)
        statements.add(ours, part["mean"], unit, _llmd_factor(part))
    for part in root.at("results", "observability", "components").each():
        power = part.at("aggregate", "power_consumption")
        label = part["component_label"].text()
        statements.add(
            f"llmd.power_w.{label}", power["mean"], "W", _llmd_factor(power), "as the component's exporter says"
        )
    for ours, theirs in (("tokens.prompt_mean", "input_length"), ("tokens.output_mean", "output_length")):
        statements.add(ours, aggregate.at("requests", theirs)["mean"], "tok")
    load = root.at("scenario", "load", "standardized")
    return Recording(
        tool=tool,
        tool_version=version,
        options=_llmd_options(load),
        stated=statements.figures,
        warnings=("an llm-d report has no energy: joules are unknown", *_generator(load), *statements.left_out),
        **_llmd_stack(root),
    )


def _llmd_factor(part: Part) -> float:
    unit = part["units"].text()
    if part.known and unit not in _LLMD_FACTORS:
        raise part["units"].wrong("one of " + ", ".join(_LLMD_FACTORS))
    return _LLMD_FACTORS.get(unit or "", 1.0)


def _llmd_options(load: Part) -> dict[str, Any]:
    rate, concurrency = load["rate_qps"].option(), load["concurrency"].option()
    return {"rate": rate} if rate else {"concurrency": int(concurrency)} if concurrency else {}


def _generator(load: Part) -> tuple[str, ...]:
    named = " ".join(t for t in (load["tool"].text(), load["tool_version"].text()) if t)
    return (f"the load was made by {named}",) if named else ()


def _llmd_stack(root: Part) -> dict[str, Any]:
    """Model, server and hardware of the first inference engine of the stack."""
    engines = [c["standardized"] for c in root.at("scenario", "stack").each()]
    engine = next((e for e in engines if e["kind"].text() == "inference_engine"), Part(None, root.where))
    return {
        "model": {"name": engine.at("model", "name").text()},
        "server": {"kind": engine["tool"].text(), "version": engine["tool_version"].text()},
        "hardware": {
            "stated_device": engine.at("accelerator", "model").text(),
            "stated_devices": engine.at("accelerator", "count").count(),
        },
    }


def is_mlenergy(document: Document) -> bool:
    """Whether ``document`` is a ``results.json`` of the ML.ENERGY benchmark."""
    return document.form == "json" and document.head.has("steady_state_energy_per_token", "steady_state_duration")


def parse_mlenergy(document: Document, choice: Choice) -> Recording:
    """What the benchmark states: GPU joules of its steady state, and the latencies of all requests."""
    root, tool = document.root, "ML.ENERGY"
    statements = stated_of(root, tool)
    why = "GPU boards, over ML.ENERGY's steady state"
    statements.add("energy.device_j_tok", root["steady_state_energy_per_token"], "J/tok", reason=why)
    statements.add("energy.device_j", root["steady_state_energy"], "J", reason=why)
    energy, duration = root["steady_state_energy"].option(), root["steady_state_duration"].option()
    if energy is not None and duration:
        power = Part(energy / duration, f"{document.name}: steady_state_energy / steady_state_duration")
        statements.add("power.device_w", power, "W", reason=why)
    return Recording(
        tool=tool,
        options={**options_of(root), **_slots(root)},
        model={"name": root["model_id"].text()},
        server={"kind": "vllm"},
        hardware={"stated_device": root["gpu_model"].text(), "stated_devices": root["num_gpus"].count()},
        stated=statements.figures,
        warnings=(
            "ML.ENERGY's joules are of GPU boards: no host, no fans, no conversion",
            "its requests have no start times: no window can be found, its summary only",
            *statements.left_out,
        ),
    )


def _slots(root: Part) -> dict[str, Any]:
    slots = int(root["max_num_seqs"].option() or 0)
    return {"slots": slots} if slots else {}
