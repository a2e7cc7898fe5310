"""For each constraint the measurement that would show it wrong, and for a pair the one that tells them apart. Pure."""

from __future__ import annotations

OVERTURNED_BY = {
    "client": "the same load from a second client machine gives the same rate and latencies",
    "power": "a higher power limit (or a lower one, within 5 %) leaves the rate unchanged",
    "cooling": "cooler air or faster fans leave clock and rate unchanged",
    "latency": "the rate of requests within their targets rises when the load rises",
    "kv_capacity": "twice the slots or cache leave the rate unchanged (joulemill sweep, probe)",
    "demand": "twice the load gives less than 1.2 times the tokens: joulemill sweep concurrency=… or rate=…",
    "compute": "shorter inputs at the same output leave the rate unchanged, or a lower clock does",
    "memory_bandwidth": "a smaller weight or KV type at the same batch leaves the time per token unchanged",
    "interconnect": "the same model on fewer devices has the same time per token",
    "host_cpu": "more server threads, pinned or undisturbed cores leave the rate unchanged",
}
_MEASUREMENT = {
    "client": "the same load from a second client",
    "power": "throttle counters and power limit of the device (meters nvml, amd), or a run at another limit",
    "cooling": "thermal throttle counters and temperatures of the device",
    "latency": "a sweep of the load with the targets stated",
    "kv_capacity": "a run with twice the slots (or cache) at the same load, and the server's metrics page",
    "demand": "a run at twice the load: joulemill sweep concurrency=…",
    "compute": "the ceilings of the machine: name the device (--device) and the model, or sweep the input's length",
    "memory_bandwidth": "the ceilings of the machine: name the device (--device) and the model, or another weight type",
    "interconnect": "the bytes that cross the links, or a run on fewer devices",
    "host_cpu": "the CPU time of the server's threads, and a run on a quiet machine",
}


def would_decide(first: str, second: str) -> str:
    """The measurement that tells the two likeliest apart."""
    one, other = _MEASUREMENT[first], _MEASUREMENT[second]
    return one if one == other or {first, second} == {"compute", "memory_bandwidth"} else f"{one}; or {other}"
