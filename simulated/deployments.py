"""Runs as the production function would make them, for what this machine cannot show: devices, links, power limits.

A deployment drawn at random is predicted; a whole record follows from it: requests, energy counter, power limit and
throttle counter, the server's page. What binds is told by the prediction's own derivatives (d ln rate / d ln capacity),
which the diagnosis never sees: it gets the record alone, through the same analysis as any measured run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from joulemill.analysis.run import diagnosis_of
from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model
from joulemill.catalog.nodes import node_of
from joulemill.catalog.serving import rates
from joulemill.decisions.diagnosis import Diagnosis
from joulemill.errors import InputError
from joulemill.ledger.manifest import Manifest, ModelDescription, RunOptions, StatedDevice
from joulemill.ledger.record import Channel, Phase, Quantity, Reading, RequestRecord, RunRecord, ServerSample
from joulemill.physics.production.prediction import Prediction, predict
from joulemill.physics.serving.deployment import Deployment, Parallelism
from joulemill.physics.serving.workload import Workload
from simulated.readings import EPOCH_S, channel, reading
from simulated.runs import request

RATES = rates("vllm")
PLACES = (
    ("meta-llama/Llama-3.1-8B-Instruct", "h100", 1),
    ("meta-llama/Llama-3.1-8B-Instruct", "b200", 1),
    ("meta-llama/Llama-3.1-8B-Instruct", "a100", 2),
    ("meta-llama/Llama-3.1-70B-Instruct", "h100", 4),
    ("Qwen/Qwen3-32B", "h100", 2),
    ("Qwen/Qwen3-32B", "h200", 1),
    ("Qwen/Qwen3-30B-A3B", "h100", 1),
    ("Qwen/Qwen3-8B", "b200", 1),
    ("Qwen/Qwen3-14B", "a100", 8),
)
START_S, LEAST_S = 25.0, 40.0
#: Limits of a board over its TDP, which is the highest that a driver takes; most boards run at it.
CAP_RATIOS = (1.0, 1.0, 1.0, 0.6, 0.45)
#: From here a resource has the rate; below the other, more sequences give nothing worth it.
CLEAR, FLAT = 0.6, 0.15
#: From here a power limit has the rate: what it holds down is the compute that would have it otherwise.
HELD = 0.3
#: A clock below this part of the highest is one that a counter of throttling counts.
THROTTLED_CLOCK = 0.999


@dataclass(frozen=True)
class Made:
    """A record and its truth: elasticities by the diagnosis' names; ``truth`` None where none is clear."""

    label: str
    record: RunRecord
    elasticity: dict[str, float]
    truth: str | None


def drawn_runs(count: int, seed: int) -> Iterator[Made]:
    """``count`` draws, the same for the same seed, less those that do not fit.

    Each draw has a generator of its own: a change of the physics changes the record of a draw, never which others are
    drawn, so that tables before and after are of the same deployments.
    """
    for k in range(count):
        rng = np.random.default_rng((seed, k))
        name, deployment, load = _drawn(rng)
        with suppress(InputError):
            yield _made(name, deployment, load, bool(rng.random() < 0.4), rng)


def _drawn(rng: np.random.Generator) -> tuple[str, Deployment, Workload]:
    name, device, tensor = PLACES[rng.integers(len(PLACES))]
    entry, board = find_model(name), find_device(device)
    cap_w = float(rng.choice(CAP_RATIOS)) * (board.tdp_w or 0.0)
    if rng.random() < 0.5 and tensor > 1:  # badly joined: what crosses has to go through the host
        board = replace(board, link_bandwidth_byte_s=(board.link_bandwidth_byte_s or 0.0) / 60.0)
    deployment = Deployment(
        architecture=entry.architecture,
        precision=entry.precision,
        device=board,
        parallelism=Parallelism(tensor),
        node=node_of(device),
        power_cap_w=cap_w,
    )
    load = Workload(
        input_tok=float(rng.choice([64, 512, 4000, 16000])),
        output_tok=float(rng.choice([32, 128, 512])),
        concurrency=float(round(2 ** rng.uniform(0, 8.5))),
    )
    return name, deployment, load


def _made(name: str, deployment: Deployment, load: Workload, queued: bool, rng: np.random.Generator) -> Made:
    seen = predict(deployment, load, RATES, lambda _: 0.1)
    lone = predict(deployment, replace(load, concurrency=1.0), RATES, lambda _: 0.1)
    asked = load.concurrency or 1.0
    waiting = max(asked - seen.batch.concurrency, (asked if queued else 0.0))
    truth, bent = _truth(seen, waiting > 0.5)
    label = f"{name} on {deployment.device_count:.0f} × {deployment.device.name}, batch {seen.batch.concurrency:.0f}"
    return Made(label, _record(name, deployment, load, (seen, lone, waiting), rng), bent, truth)


def _truth(seen: Prediction, waits: bool) -> tuple[str | None, dict[str, float]]:
    bent = {m.resource: m.elasticity_ratio for m in seen.sensitivities}
    found = {n: bent[n] for n in ("compute", "memory_bandwidth", "interconnect")}
    found["host_cpu"] = 1.0 - sum(found.values())
    more = max(bent["batch"], bent["kv_capacity"])
    found["kv_capacity" if waits else "demand"] = more
    found["power"] = bent["power_limit"]
    # Under a deep cap even bytes wait for joules: more sequences share them, and more watts give more as well.
    if more >= CLEAR:
        return (("kv_capacity" if waits else "demand") if found["power"] < HELD else None), found
    if found["power"] >= HELD:
        most = max(found["memory_bandwidth"], found["interconnect"])
        return ("power" if more <= FLAT and found["power"] > most else None), found
    machine = max(("compute", "memory_bandwidth", "interconnect", "host_cpu"), key=lambda n: found[n])
    return (machine if more <= FLAT and found[machine] >= CLEAR else None), found


def _record(
    name: str,
    deployment: Deployment,
    load: Workload,
    at: tuple[Prediction, Prediction, float],
    rng: np.random.Generator,
) -> RunRecord:
    """``at``: the prediction at this load, of one request alone, and how many wait."""
    seen, lone, waiting = at
    running = max(round(seen.batch.concurrency), 1)
    rate, tokens, prompt = seen.rate_tok_s.value or 1.0, int(load.output_tok), int(load.input_tok)
    whole_s = running * tokens / rate
    ttft_s = min(seen.ttft_s.value or 0.0, 0.5 * whole_s)
    held_s = whole_s * waiting / running  # Little: as long as those before it take
    rounds = int(np.ceil(max(LEAST_S, 6 * (whole_s + held_s)) / whole_s))
    requests = _loop(running, rounds, (held_s, ttft_s, whole_s), tokens, prompt, rng)
    end_s = max(r.end_mono_s or 0.0 for r in requests)
    alone_s = (lone.tpot_s.value or 0.01) * (tokens - 1)
    calibrated = [
        replace(
            request(k, 20.0 + k, 20.1 + k, 20.1 + k + alone_s * float(rng.normal(1, 0.01)), tokens, prompt),
            id=f"c{k}",
            phase="calibrate",
        )
        for k in range(3)
    ]
    channels, rows = _meters(deployment, seen, end_s)
    page = {
        "waiting_req": float(round(waiting)),
        "running_req": float(running),
        "kv_use_ratio": min(running / max(seen.batch.most_req, 1.0), 1.0),
        "preemptions_total": 0.0,
    }
    return RunRecord(
        manifest=Manifest(
            options=RunOptions(concurrency=running + round(waiting), loop="closed"),
            model=ModelDescription(name=name),
            device=StatedDevice(name=deployment.device.name, kind="gpu", count=int(deployment.device_count)),
        ),
        channels=channels,
        readings=rows,
        requests=(*calibrated, *requests),
        phases=tuple(Phase(n, a, EPOCH_S + a, b) for n, a, b in (("idle", 0.0, 19.0), ("load", START_S, end_s))),
        server=tuple(ServerSample(t, EPOCH_S + t, page) for t in np.arange(START_S, end_s, max(1.0, whole_s / 4))),
    )


def _loop(
    running: int, rounds: int, times_s: tuple[float, float, float], tokens: int, prompt: int, rng: np.random.Generator
) -> list[RequestRecord]:
    """``running`` places that serve one request after another, their starts spread over one service."""
    held_s, ttft_s, whole_s = times_s
    made = []
    for place in range(running):
        t = START_S + whole_s * place / running
        for _ in range(rounds):
            took_s = whole_s * float(rng.normal(1.0, 0.01))
            made.append(request(len(made), max(t - held_s, START_S), t + ttft_s, t + took_s, tokens, prompt))
            t += took_s
    return made


def _meters(deployment: Deployment, seen: Prediction, end_s: float) -> tuple[tuple[Channel, ...], tuple[Reading, ...]]:
    """Each board's energy counter, its limit, and the time that the limit held its clock below the highest."""
    count, tdp = int(deployment.device_count), deployment.power_cap_w or 0.0
    power = (seen.device_power_w.value or 0.0) / count
    throttled = float(seen.clock_ratio < THROTTLED_CLOCK)
    t = np.arange(0.0, end_s + 1.0, 0.5)
    busy = np.clip(t - START_S, 0.0, None)
    channels, rows = [], []
    for k in range(count):
        kinds = (
            ("energy", Quantity.ENERGY, 80.0 * t + (power - 80.0) * busy),
            ("limit", Quantity.POWER_LIMIT, 0 * t + tdp),
            ("throttle", Quantity.THROTTLE_POWER, busy * throttled),
        )
        for what, quantity, values in kinds:
            c = channel(f"nvml:{k}:{what}", device=f"GPU-{k}", quantity=quantity)
            channels.append(c)
            rows += [reading(c.id, x, v) for x, v in zip(t, values, strict=True)]
    return tuple(channels), tuple(rows)


def answered(made: Made) -> Diagnosis:
    """What the analysis says of the record alone."""
    return diagnosis_of(made.record)
