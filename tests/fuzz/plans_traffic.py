"""Files of `plan`, `simulate` and `predict` that somebody else wrote: plans, site events, traces, sweeps, scales."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from joulemill.api.simulation_sweep import load_sweep
from joulemill.fleet.plan_file import load_plan
from joulemill.importers.events_file import load_events
from joulemill.importers.traffic_files import TrafficFile, read_traffic
from joulemill.importers.workload_files import workload_in
from joulemill.prediction.scale_file import load_scales
from tests.support.paths import EXAMPLES


def _traffic(path: Path) -> TrafficFile:
    """A trace, whose requests are in order and have tokens, whatever the file says."""
    file = read_traffic(path)
    traffic = file.traffic
    assert traffic.requests_count > 0 and (traffic.arrival_ns >= 0).all()
    assert (traffic.input_tok > 0).all() and (traffic.output_tok > 0).all()
    return file


def _load_config(path: Path) -> object:
    """A configuration of a load generator, which may configure nothing."""
    return workload_in(path)


#: Target → how its file is read, and the file's ending.
LOADS: dict[str, tuple[Callable[[Path], object], str]] = {
    "plan_toml": (load_plan, ".toml"),
    "events_toml": (load_events, ".toml"),
    "traffic": (_traffic, ".jsonl"),
    "load_config": (_load_config, ".json"),
    "sweep_toml": (load_sweep, ".toml"),
    "scales_toml": (load_scales, ".toml"),
}
_SITE = b"""start = "06:00"
policies = ["cap", "clock"]
deferrable = "40%"
[site]
outdoor_c = [1,2,3,4,5,6,7,8,9,10,11,12,12,11,10,9,8,7,6,5,4,3,2,1]
carbon_gco2e_kwh = 300
fixed_share = "20%"
[[event]]
start = "4h"
duration = "3h"
site_limit = "30 kW"
cooling_limit = "25 kW"
pue = 1.3
"""
_MOONCAKE = (
    b'{"timestamp": 0, "input_length": 1030, "output_length": 5, "hash_ids": [7, 8, 9], "block_size": 512}\n' * 2
)
_AZURE = (
    b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n2023-11-16 18:15:50.99,396,109\n"
)
_SESSIONS = b"time_s,input_tokens,output_tokens,session,delay\n0,100,20,a,0\n4,30,10,a,2000\n1,7,7,,0\n"
_LOADS = (
    b'{"profile": "poisson", "rate": [2, 5], "max_seconds": 20, "data": "prompt_tokens=300,output_tokens=40"}',
    b'{"spec": {"profile": {"kind": "concurrent", "streams": [3]}, "data": [{"prompt_tokens": 9, "output_tokens": 4, '
    b'"turns": 3, "delay": 2}], "constraints": [{"kind": "max_requests", "count": 9}]}}',
    b'{"dataset": {"isl": {"mean": 9, "stddev": 2}, "osl": 4, "turns": {"mean": 2}, "turnDelay": 5}, '
    b'"phases": [{"name": "a", "type": "gamma", "rate": 3, "duration": "1m"}]}',
    b'{"load": {"type": "constant", "stages": [{"rate": 1, "duration": 9}]}, "data": {"shared_prefix": {}}}',
)
_SCALES = b"""schema = "joulemill-scales-1"
made_from = ["rows.csv"]
[[cell]]
model = "m"
device = "h100"
devices = 8
precision = "fp8"
engine = "vllm"
kind = "aggregated"
[cell.tpot_s]
rows = 12
concurrency = 16.0
scale = 1.1
stderr_ln = 0.1
slope = 0.02
slope_stderr = 0.01
within_ln = 0.2
z_80 = 1.3
"""


def _examples(folder: str, *names: str) -> tuple[bytes, ...]:
    return tuple((EXAMPLES / folder / f"{name}.toml").read_bytes() for name in names)


SEEDS: dict[str, tuple[bytes, ...]] = {
    "plan_toml": _examples("plan", "lab", "enterprise", "campus"),
    "events_toml": (_SITE, *_examples("simulate", "demand_response", "heat_wave", "night")),
    "traffic": (_MOONCAKE, _AZURE, _SESSIONS),
    "load_config": _LOADS,
    "sweep_toml": _examples("simulate", "sweep"),
    "scales_toml": (_SCALES,),
}
