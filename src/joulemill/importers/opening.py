"""Which tool wrote a file, by what is in it; and the way from files to a record."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from joulemill.errors import InputError
from joulemill.files import read_bytes
from joulemill.formats.documents import Document, parse_document
from joulemill.importers import (
    aiperf,
    aisimulate,
    codecarbon,
    genai_perf,
    guidellm,
    inference_perf,
    summaries,
    vllm_bench,
)
from joulemill.importers.joining import AddedFacts, to_record
from joulemill.importers.recording import Choice, Recording
from joulemill.importers.srt_slurm import PowerPackage, is_manifest, manifest_in, open_package
from joulemill.ledger.record import RunRecord


class Tool(NamedTuple):
    """A tool whose files can be read; ``parse`` takes the documents of one run."""

    name: str
    recognizes: Callable[[Document], bool]
    parse: Callable[[Sequence[Document], Choice], Recording]


def _single(name: str, parse: Callable[[Document, Choice], Recording]) -> Callable[..., Recording]:
    def parse_one(documents: Sequence[Document], choice: Choice) -> Recording:
        if len(documents) > 1:
            raise InputError(f"{name} writes one file per run; import {len(documents)} files one by one")
        return parse(documents[0], choice)

    return parse_one


TOOLS = (
    Tool("GuideLLM", guidellm.recognizes, _single("GuideLLM", guidellm.parse)),
    # GenAI-Perf first: its summary has the fields by which an old AIPerf summary is known.
    Tool("GenAI-Perf", genai_perf.recognizes, _single("GenAI-Perf", genai_perf.parse)),
    Tool("AIPerf", aiperf.recognizes, aiperf.parse),
    Tool("AISimulate", aisimulate.recognizes, aisimulate.parse),
    Tool("inference-perf", inference_perf.recognizes, inference_perf.parse),
    Tool("ML.ENERGY", summaries.is_mlenergy, _single("ML.ENERGY", summaries.parse_mlenergy)),
    Tool("InferenceX", summaries.is_inferencex, _single("InferenceX", summaries.parse_inferencex)),
    Tool("llm-d Benchmark Report", summaries.is_llmd, _single("llm-d", summaries.parse_llmd)),
    Tool("vllm bench serve", vllm_bench.recognizes, _single("vllm bench serve", vllm_bench.parse)),
    Tool("CodeCarbon", codecarbon.recognizes, _single("CodeCarbon", codecarbon.parse)),
)


def import_files(
    paths: Sequence[Path], choice: Choice, meter_file: str | None = None, added: AddedFacts | None = None
) -> RunRecord:
    """The record of the run that ``paths`` (files of one run, of one tool) tell of. Raises InputError.

    A power package of srt-slurm is its folder or its manifest, alone: it names its results and its samples itself.
    """
    paths = [manifest_in(p) for p in paths]
    documents = [parse_document(p.name, read_bytes(p)) for p in paths]
    if any(is_manifest(d) for d in documents):
        if len(documents) > 1:
            raise InputError("a power package of srt-slurm names its result itself: give its folder alone")
        if meter_file is not None:
            raise InputError("a power package of srt-slurm has its own samples: leave `meter_file` out")
        return _of_package(open_package(paths[0], documents[0], choice), choice, added or AddedFacts())
    results = [d for d in documents if not _is_telemetry(d)]
    telemetry = [p for p, d in zip(paths, documents, strict=True) if _is_telemetry(d)]
    if telemetry and meter_file is None:
        meter_file = str(telemetry[0])
    if not results:
        raise InputError(f"{paths[0]}: is a meter's file; give it as `meter_file` beside a file with requests")
    return to_record(parse_documents(results, choice), results, meter_file, added or AddedFacts())


def _of_package(package: PowerPackage, choice: Choice, added: AddedFacts) -> RunRecord:
    """The record of a benchmark whose power srt-slurm kept; joules only where the package may be trusted."""
    recording = parse_documents([package.result], replace(choice, part=None))
    recording = replace(recording, warnings=(*package.warnings, *recording.warnings))
    return to_record(recording, [package.result, package.manifest], package.meter_file, added)


def parse_documents(documents: Sequence[Document], choice: Choice) -> Recording:
    """What ``documents`` tell. Raises InputError where no tool, or more than one, wrote them."""
    tools = {tool_of(d).name: tool_of(d) for d in documents}
    if len(tools) > 1:
        raise InputError(f"files of {' and '.join(tools)}: import the files of one tool at a time")
    (tool,) = tools.values()
    recording, notes = tool.parse(documents, choice), [n for d in documents for n in d.notes]
    return replace(recording, warnings=(*notes, *recording.warnings)) if notes else recording


def tool_of(document: Document) -> Tool:
    """The tool that wrote ``document``. Raises InputError where none is known to write such a file."""
    tool = next((t for t in TOOLS if t.recognizes(document)), None)
    if tool is None:
        known = ", ".join(t.name for t in TOOLS)
        raise InputError(f"{document.name}: not a result file that is known; there are readers for {known}")
    return tool


def _is_telemetry(document: Document) -> bool:
    return document.form in ("json", "jsonl") and document.head.has("telemetry_data", "gpu_uuid")
