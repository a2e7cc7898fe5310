"""Every parser as a function of bytes that raises nothing but JoulemillError, with inputs that it understands."""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import tomllib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path

from joulemill.catalog.devices import load_device
from joulemill.catalog.gguf_models import model_of_header
from joulemill.catalog.model_files import model_from_config, parse_config
from joulemill.catalog.question_sets import load_questions
from joulemill.catalog.sites import load_site_file
from joulemill.errors import InputError, JoulemillError
from joulemill.formats.gguf import parse_gguf_bytes
from joulemill.importers.lm_eval import load_lm_eval
from joulemill.importers.opening import import_files
from joulemill.importers.recording import Choice
from joulemill.meters.meter import MeterContext, parse_spec
from joulemill.meters.replay import open_meter as open_replay
from joulemill.monitor.config import DiscoverConfig, load_config
from joulemill.monitor.discovery.config_sources import of_pods, of_prometheus
from joulemill.monitor.discovery.config_text import config_text
from joulemill.monitor.discovery.prometheus_store import scraped
from joulemill.monitor.discovery.targets import targets_of
from joulemill.physics.model.facts import architecture_facts
from joulemill.recording.writer import read_run, write_run
from joulemill.servers.boundary import read_json
from joulemill.servers.metrics import parse_metrics
from joulemill.servers.transcript import Transcript
from tests.fuzz import plans_traffic
from tests.fuzz.mutation import mutated
from tests.support import foreign_results
from tests.support.gguf_files import FIRST, LLAMA, REST, write
from tests.support.model_configs import CONFIGS
from tests.support.parsers import PARSERS, SEEDS
from tests.support.paths import ROOT
from tests.support.run_folders import run_of_everything

CORPUS = ROOT / "tests" / "corpus"
Parser = Callable[[bytes], object]
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None


def _of_file(load: Callable[[Path], object], suffix: str) -> Parser:
    """``load`` of a file with the bytes."""

    def feed(data: bytes) -> object:
        with tempfile.NamedTemporaryFile(dir=_MEMORY, suffix=suffix) as file:
            file.write(data)
            file.flush()
            return load(Path(file.name))

    return feed


def config_json(data: bytes) -> object:
    """A model's config.json."""
    architecture, precision = model_from_config(parse_config(data), approximate=len(data) % 2 == 0)
    return architecture_facts(architecture, precision)


def gguf(data: bytes) -> object:
    """A GGUF file."""
    return model_of_header(parse_gguf_bytes(data), Path("x.gguf"), approximate=len(data) % 2 == 0)


def metrics_page(data: bytes) -> object:
    """A server's /metrics."""
    return parse_metrics(data.decode("utf-8", "replace"))


def sse(data: bytes) -> object:
    """A streamed answer, in two pieces."""
    half = len(data) // 2
    transcript = Transcript(
        dispatched_mono_s=1.0,
        first_byte_mono_s=1.5,
        end_mono_s=9.0,
        http_status=200,
        arrivals=[(2.0, data[:half]), (3.0, data[half:])],
        prompt_byte=400,
        max_tok=64,
        secrets=("sk-secret",),
    )
    answer = transcript.answer()
    assert "sk-secret" not in repr(answer)
    assert answer.output_tok is None or 0 <= answer.output_tok <= 10_000
    return answer


def _document(data: bytes) -> object:
    """A JSON body as sources read it: what is none is the source's failure."""
    try:
        return read_json(data)
    except ValueError as fault:
        raise InputError(str(fault)) from None


def discovery(data: bytes) -> object:
    """A discovery document: HTTP SD, file SD or Kubernetes."""
    return targets_of(_document(data), DiscoverConfig(http_sd_url="http://127.0.0.1:1/sd", port=8000))


def config_written(data: bytes) -> object:
    """What `monitor config` takes, as pods and as Prometheus's: whatever is written is a configuration."""
    document, faults = _document(data), []
    for reader in (of_pods, of_prometheus):
        try:
            return tomllib.loads(config_text(reader(document, "it"), (), "it"))
        except InputError as fault:
            faults.append(fault)
    raise faults[0]


def store_answer(data: bytes) -> object:
    """A Prometheus-compatible store's answer to a range of foreign_results."""
    return scraped(_document(data), {}, (0.0, 1e10))


@cache
def _run() -> tuple[Path, dict[str, bytes]]:
    folder = Path(tempfile.mkdtemp(dir=_MEMORY)) / "run"
    run = run_of_everything()
    write_run(folder, replace(run, requests=run.requests[:12], readings=run.readings[:30]))
    return folder, {p.name: p.read_bytes() for p in sorted(folder.iterdir())}


def run_folder(data: bytes) -> object:
    """One file of a run folder, its name on the first line, read with the rest as it was."""
    folder, intact = _run()
    name, _, content = data.partition(b"\n")
    file = next((n for n in intact if n.encode() == name), "requests.jsonl")
    (folder / file).write_bytes(content)
    try:
        try:
            return read_run(folder)
        finally:
            _replayed(folder)
    finally:
        (folder / file).write_bytes(intact[file])


def _replayed(folder: Path) -> None:
    with suppress(JoulemillError):
        open_replay(parse_spec(f"replay:{folder}"), MeterContext())


def imported(data: bytes) -> object:
    """A result file of another tool, by its content; its name on the first line."""
    name, _, content = data.partition(b"\n")
    suffix = ".csv" if b"csv" in name else ".yaml" if b"yaml" in name else ".json"

    def load(path: Path) -> object:
        record = import_files([path], Choice(1))
        for stated in record.manifest.stated or ():
            assert stated.value is not None and 0.0 <= stated.value < math.inf, stated
        return record

    return _of_file(load, suffix)(content)


TARGETS: dict[str, Parser] = {
    "config_json": config_json,
    "gguf": gguf,
    "metrics_page": metrics_page,
    "sse": sse,
    "discovery": discovery,
    "config_written": config_written,
    "store_answer": store_answer,
    "run_folder": run_folder,
    "imported": imported,
    "site_toml": _of_file(load_site_file, ".toml"),
    "monitor_toml": _of_file(load_config, ".toml"),
    "device_toml": _of_file(load_device, ".toml"),
    "questions": _of_file(lambda path: load_questions(str(path)), ".jsonl"),
    "lm_eval": _of_file(load_lm_eval, ".json"),
    **{name: _of_file(load, suffix) for name, (load, suffix) in plans_traffic.LOADS.items()},
    **PARSERS,
}


def _json(*documents: object) -> tuple[bytes, ...]:
    return tuple(json.dumps(d).encode() for d in documents)


def _gguf() -> tuple[bytes, ...]:
    folder = Path(tempfile.mkdtemp(dir=_MEMORY))
    try:
        data = write(folder / "tiny.gguf", LLAMA, FIRST + REST).read_bytes()
    finally:
        shutil.rmtree(folder)
    return (data, data[: len(data) - 2 * 1288])


def _stream() -> tuple[bytes, ...]:
    def event(document: object) -> bytes:
        return b"data: " + json.dumps(document).encode() + b"\n\n"

    usage = {"prompt_tokens": 7, "completion_tokens": 4, "prompt_tokens_details": {"cached_tokens": 2}}
    return (
        event({"choices": [{"delta": {"content": "Hello"}, "finish_reason": None}]})
        + event({"choices": [{"delta": {"content": " world"}, "finish_reason": "length"}]})
        + event({"choices": [], "usage": usage, "timings": {"prompt_n": 7, "predicted_n": 4}})
        + b"data: [DONE]\n\n",
        event({"error": {"message": "bad Bearer sk-secret", "code": 500}}),
    )


def _pages() -> tuple[bytes, ...]:
    vllm = (
        '# TYPE vllm:generation_tokens counter\nvllm:generation_tokens_total{engine="0",model_name="m"} 1234.0\n'
        'vllm:num_requests_running{model_name="m"} 3\nvllm:time_to_first_token_seconds_bucket{le="0.1"} 4\n'
        'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1.0\nprocess_start_time_seconds 1.7e9\n'
    )
    return (vllm.encode(), b"llamacpp:tokens_predicted_total 12\nllamacpp:prompt_tokens_total 7\n")


def _discovered() -> tuple[bytes, ...]:
    pod = {
        "metadata": {
            "name": "p1",
            "namespace": "n",
            "labels": {"app": "vllm"},
            "annotations": {"prometheus.io/port": "8000"},
        },
        "status": {"podIP": "10.0.0.7", "phase": "Running"},
        "spec": {"containers": [{"ports": [{"containerPort": 8000, "name": "http"}]}]},
    }
    piece = {
        "metadata": {"name": "s", "namespace": "n"},
        "ports": [{"port": 8000, "name": "http"}],
        "endpoints": [{"addresses": ["10.0.0.8"], "conditions": {"ready": True}}],
    }
    return _json(
        [{"targets": ["10.0.0.1:8000"], "labels": {"model": "m", "site": "s", "__metrics_path__": "/metrics"}}],
        {"kind": "PodList", "items": [pod]},
        {"kind": "EndpointSliceList", "items": [piece]},
    )


def _config_sources() -> tuple[bytes, ...]:
    container = {
        "image": "vllm/vllm-openai",
        "args": ["--model", "Qwen/Qwen3-8B", "--port=8001"],
        "resources": {"limits": {"nvidia.com/gpu": "2"}},
        "env": [{"name": "MODEL", "value": "m"}],
        "ports": [{"containerPort": 8001, "name": "http"}],
    }
    pod = {
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", "annotations": {"prometheus.io/port": "8001"}},
        "spec": {"nodeName": "gpu-1", "containers": [container]},
        "status": {"podIP": "10.0.0.7", "phase": "Running"},
    }
    page = {"scrapePool": "vllm", "scrapeUrl": "http://10.0.0.7:8000/metrics", "labels": {"job": "vllm", "pod": "p"}}
    exporter = {"scrapePool": "dcgm", "scrapeUrl": "http://10.0.0.7:9400/metrics", "labels": {"node": "gpu-1"}}
    return _json({"items": [pod, pod]}, {"data": {"activeTargets": [page, exporter]}})


def _store() -> tuple[bytes, ...]:
    series = {
        "metric": {"__name__": "vllm:generation_tokens_total", "instance": "10.0.0.1:8000", "model_name": "m"},
        "values": [[1.77e9 + i, str(100.0 * i)] for i in range(4)],
    }
    return _json({"status": "success", "data": {"resultType": "matrix", "result": [series, series]}})


def _results() -> tuple[bytes, ...]:
    lines = "\n".join(json.dumps(row) for row in foreign_results.aiperf_lines()).encode()
    vllm = {
        "backend": "vllm", "model_id": "m", "request_rate": "inf", "max_concurrency": 4, "duration": 10.0,
        "completed": 2, "total_input_tokens": 20, "total_output_tokens": 42, "output_throughput": 4.2,
        "mean_ttft_ms": 100.0, "ttfts": [0.1, 0.1], "itls": [[0.02] * 20] * 2, "output_lens": [21, 21],
        "input_lens": [10, 10],
        "start_times": [1.0, 2.0], "benchmark_start_time_unix": 1.7882504e9, "queue_times": [0.0, 0.1],
    }  # fmt: skip
    codecarbon = (
        b"timestamp,project_name,duration,emissions,energy_consumed,gpu_energy,cpu_energy,ram_energy,pue,tracking_mode\n"
        b"2026-01-01T00:00:00,x,100.0,0.1,0.012,0.01,0.001,0.001,1.2,machine\n"
    )
    inferencex = {
        "hw": "b200",
        "tp": 8,
        "conc": 64,
        "tput_per_gpu": 100.0,
        "output_tput_per_gpu": 50.0,
        "power_valid": 1,
        "power_metric_schema_version": 2,
        "joules_per_output_token": 0.7,
        "mean_ttft": 0.1,
        "framework": "vllm",
    }
    mlenergy = {
        "steady_state_energy_per_token": 0.3,
        "steady_state_duration": 60.0,
        "steady_state_energy": 3e4,
        "model_id": "m",
        "num_gpus": 1,
        "output_throughput": 1600.0,
    }
    theirs = (foreign_results.guidellm(), foreign_results.aiperf_summary(), foreign_results.aisimulate())
    documents = (*theirs, vllm, inferencex, mlenergy)
    return (*(b".json\n" + d for d in _json(*documents)), b".jsonl\n" + lines, b".csv\n" + codecarbon)


def _site_toml() -> tuple[bytes, ...]:
    return (
        b'name = "hall"\npue = 1.2\nit_power_limit = "40 kW"\ncarbon_gco2e_kwh = 300\nprice_currency_kwh = 0.15\n'
        b'currency = "EUR"\n',
        (ROOT / "examples" / "site.toml").read_bytes(),
    )


def _monitor_toml() -> tuple[bytes, ...]:
    return (
        b'period_s = 5\n[[site]]\nname = "hall"\npue = 1.2\nit_power_limit = "40 kW"\n'
        b'[[target]]\nname = "a"\nmodel = "Qwen/Qwen3-8B"\nsite = "hall"\ndevice = "h100"\ndevices_count = 4\n'
        b'metrics_url = "http://127.0.0.1:8000/metrics"\n'
        b'meters = ["prometheus:http://127.0.0.1:9400/metrics,gpus=0+1+2+3"]\n[target.labels]\ntenant = "t"\n',
        (ROOT / "examples" / "monitor.toml").read_bytes(),
    )


def _own() -> dict[str, tuple[bytes, ...]]:
    files = _run()[1]
    questions = {"id": "q", "task": "t", "prompt": "2+2?", "answer": "4", "scorer": "contains", "max_tokens": 8}
    lm_eval = {
        "results": {"gsm8k": {"exact_match,none": 0.5, "exact_match_stderr,none": 0.05}},
        "n-samples": {"gsm8k": {"effective": 100}},
        "group_subtasks": {"gsm8k": []},
    }
    device = b'kind = "gpu"\nmemory = "80 GiB"\nmemory_bandwidth = "2 TB/s"\npeak_bf16 = "989 Tflop/s"\ntdp = "700 W"\n'
    return {
        "config_json": _json(*CONFIGS),
        "gguf": _gguf(),
        "metrics_page": _pages(),
        "sse": _stream(),
        "discovery": _discovered(),
        "config_written": _config_sources(),
        "store_answer": _store(),
        "run_folder": tuple(name.encode() + b"\n" + data for name, data in files.items()),
        "imported": _results(),
        "site_toml": _site_toml(),
        "monitor_toml": _monitor_toml(),
        "device_toml": (device,),
        "questions": _json(questions),
        "lm_eval": _json(lm_eval),
        **plans_traffic.SEEDS,
        **SEEDS,
    }


@cache
def seeds_of(name: str) -> list[bytes]:
    """Inputs to mutate: the parser's own, and what failed before."""
    kept = sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else []
    return [*_own()[name], *(p.read_bytes() for p in kept)]


__all__ = ["CORPUS", "TARGETS", "mutated", "seeds_of"]
