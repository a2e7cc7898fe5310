"""``joulemill.bench``: drive a server, meter it, keep the run in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from joulemill.api.inputs import api_key as key_of_environment
from joulemill.api.inputs import keep_grid, site_of
from joulemill.api.runs import Run, open_run
from joulemill.bench.machine.microbenchmark import measure_ceilings
from joulemill.bench.options import BenchOptions
from joulemill.bench.preflight import announced, check_before
from joulemill.bench.progress import NullProgress, Progress
from joulemill.bench.quality import asker
from joulemill.bench.run import RunContext, run_measure
from joulemill.bench.server_options import check_precision, parse_extra_body, parse_headers, read_architecture
from joulemill.catalog.question_sets import load_questions
from joulemill.catalog.stated_device import stated_device
from joulemill.errors import InputError
from joulemill.importers.lm_eval import PREFIX, load_lm_eval
from joulemill.ledger.manifest import MachineLimits, StatedDevice, part_of
from joulemill.recording.reader import read_run
from joulemill.suggestions import meant

#: Options that are files.
_PATHS = frozenset({"trace", "gguf", "draft_gguf", "second_gguf", "out"})
_LENGTHS = frozenset({"input_tokens", "output_tokens"})
#: Fields of the options that are filled here, from arguments of other names or forms.
_DERIVED = frozenset({"site_path", "quality_stated", "architecture_path"})

__all__ = ["BenchOptions", "Progress", "bench", "bench_options", "grid_kept", "machine_ceilings", "measure"]


def bench(
    *,
    url: str | None = None,
    model: str | None = None,
    concurrency: int | None = None,
    rate_req_s: float | None = None,
    duration_s: float | None = None,
    input_tokens: int | str = 128,
    output_tokens: int | str = 64,
    meters: Sequence[str] = ("auto",),
    device: str | None = None,
    devices: int | None = None,
    site: str | Path | None = None,
    quality: str | None = "small",
    out: str | Path | None = None,
    api_key: str | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Run:
    """Drive a server, meter it, find the active constraint; the run is kept in a folder and returned.

    url, model       an OpenAI-compatible server; without ``url`` the embedded llama.cpp server is started
    concurrency      requests in flight of a closed loop (default 4); ``rate_req_s`` makes it an open loop
    duration_s       length of the load after its warm-up (default 60)
    input_tokens, output_tokens   a number, or a distribution: "64-256", "normal:128:32" …
    meters           SPECs of meters;  device, devices   hardware of the server, for its ceilings
    site             a site file (TOML): PUE, limits, carbon, price
    quality          "small", a JSONL file of questions, "lm-eval:FILE" (results of lm-evaluation-harness), or None
    out              run folder (default: a new one under ``runs/``)
    api_key          of the server (default: from JOULEMILL_API_KEY or OPENAI_API_KEY); it is never written down
    progress         hears how the run goes on
    …                any other field of ``BenchOptions``: warmup_s, idle_s, requests, trace, slo_ttft_s, slo_tpot_s,
                     seed, precision …

    Raises InputError for what cannot be asked, ServerError where the server was never usable, MachineError for what
    this machine lacks. A server that fails in the middle ends the run early: see ``status``.
    """
    asked = bench_options(
        url=url,
        model=model,
        concurrency=concurrency,
        rate_req_s=rate_req_s,
        duration_s=duration_s,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        meters=meters,
        device=device,
        devices=devices,
        site=site,
        quality=quality,
        out=out,
        **options,
    )
    folder = measure(asked, progress, api_key)
    grid_kept(folder)
    return open_run(folder)


def bench_options(**arguments: Any) -> BenchOptions:
    """The arguments of ``bench``, checked: files are read, so that a wrong one ends it before anything runs."""
    options = dict(arguments)
    _refuse_unknown(options)
    architecture, site = options.pop("architecture", None), options.pop("site", None)
    options |= {name: Path(v) for name, v in options.items() if name in _PATHS and v is not None}
    options |= {name: str(v) for name, v in options.items() if name in _LENGTHS}
    options |= _quality(options.pop("quality", "small"))
    options["device"] = _device(options.pop("device", None), options.pop("devices", None))
    if "meters" in options:
        meters = options["meters"]
        options["meters"] = (meters,) if isinstance(meters, str) else tuple(meters)
    options["headers"] = parse_headers(_pairs(options.get("headers") or ()))
    options["extra_body"] = parse_extra_body(_as_text(options.get("extra_body")))
    options["precision"] = check_precision(options.get("precision"))
    place = None if architecture is None else Path(architecture)
    at = None if site is None else Path(site)
    return BenchOptions(
        site_path=at, site=site_of(at), architecture_path=place, architecture=read_architecture(place), **options
    )


def measure(options: BenchOptions, progress: Progress | None = None, api_key: str | None = None) -> Path:
    """Run ``options``: what ``bench`` does before it opens the run. The run's folder."""
    check_before(options)
    display = progress or NullProgress()
    ceilings = machine_ceilings(options, display)
    display.note(announced(options))
    around = RunContext(machine_ceilings=ceilings, ask_quality=asker(options), api_key=api_key or key_of_environment())
    return run_measure(options, display, around)


def grid_kept(folder: Path) -> None:
    """Ask the grid of the run's site, where one is named, and keep the answer in the run's folder."""
    record = read_run(folder)
    if record.status != "interrupted":  # who stops a run does not wait for the grid's answer
        keep_grid(folder, record)


def machine_ceilings(options: BenchOptions, display: Progress) -> MachineLimits | None:
    """This machine's own limits, measured where the server will be ours; None where it is elsewhere."""
    if options.url is not None:
        return None
    display.phase("ceilings", None)
    return part_of(MachineLimits, measure_ceilings(options.threads))


def _quality(name: str | None) -> dict[str, Any]:
    """What is asked, and the accuracy that a file states instead."""
    if name is None:
        return {"quality": None}
    if name.startswith(PREFIX):
        return {"quality": name, "quality_stated": load_lm_eval(Path(name.removeprefix(PREFIX)))}
    load_questions(name)
    return {"quality": name}


def _device(name: str | None, devices: int | None) -> StatedDevice | None:
    if name is not None:
        return stated_device(name, devices)
    if devices is not None:
        raise InputError(f"`devices` {devices} says how many: name them with `device` too")
    return None


def _pairs(headers: Mapping[str, str] | Sequence[str]) -> list[str]:
    return [f"{name}={value}" for name, value in headers.items()] if isinstance(headers, Mapping) else list(headers)


def _as_text(body: Mapping[str, Any] | str | None) -> str | None:
    return body if body is None or isinstance(body, str) else json.dumps(dict(body))


def _refuse_unknown(options: dict[str, Any]) -> None:
    known = ({f.name for f in fields(BenchOptions)} - _DERIVED) | {"devices"}
    stray = next((name for name in options if name not in known), None)
    if stray is not None:
        raise InputError(f"bench has no argument {stray!r}; {meant(stray, sorted(known))}")
