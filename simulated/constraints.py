"""Cases whose binding constraint is known because they were built so; also the rows of the confusion table.

A queueing model of a server makes each: t(B) = max(weights + B·own, …) seconds a step, so that how the rate answers to
more sequences is a derivative of the model and not of the diagnosis. Nothing here asks the code under test.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from joulemill.decisions.evidence import Evidence
from joulemill.figure import Basis, Figure
from joulemill.physics.production.ceilings import CeilingValue

H = 0.08  # half width of a ceiling's interval, relative


def known(value: float, half_ratio: float = H) -> Figure:
    return Figure(value, "tok/s", Basis.MODELLED, low=value * (1 - half_ratio), high=value * (1 + half_ratio))


@dataclass(frozen=True)
class made:
    """One case: ``may`` are answers that are not wrong either (undecided, where the evidence is thin on purpose)."""

    name: str
    truth: str
    evidence: Evidence
    may: tuple[str, ...] = ("undecided",)


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A device: FLOP/s, byte/s of memory, byte/s of links; and what a token costs it."""

    flop_s: float = 1.0e15
    byte_s: float = 3.0e12
    link_byte_s: float = float("inf")
    weight_byte: float = 16e9
    own_byte: float = 0.2e9
    flop_tok: float = 16e9
    link_byte_tok: float = 0.0

    def ceilings_tok_s(self, batch: float) -> dict[str, float]:
        found = {
            "compute": self.flop_s / self.flop_tok,
            "memory_bandwidth": self.byte_s * batch / (self.weight_byte + batch * self.own_byte),
        }
        if self.link_byte_tok:
            found["interconnect"] = self.link_byte_s / self.link_byte_tok
        return found

    def rate_tok_s(self, batch: float) -> float:
        """Parts overlap only partly: a smooth minimum, as of a real device."""
        return float(sum(v**-4.0 for v in self.ceilings_tok_s(batch).values()) ** -0.25)


def run_of(machine: Machine, batch: float, efficiency: float = 0.7, **facts: Any) -> Evidence:
    """A closed loop that keeps ``batch`` sequences decoding, at ``efficiency`` of the ceilings."""
    ceilings = tuple(CeilingValue(n, known(v)) for n, v in machine.ceilings_tok_s(batch).items())
    lift = 1.01
    slope = np.log(machine.rate_tok_s(batch * lift) / machine.rate_tok_s(batch / lift)) / np.log(lift**2)
    answer = Figure(
        float(slope), "1", Basis.MEASURED, low=max(float(slope) - 0.1, 0.0), high=min(float(slope) + 0.1, 1.0)
    )
    given: dict[str, Any] = {
        "concurrency_count": batch,
        "in_flight_count": batch,
        "decoding_count": batch,
        "load_elasticity": answer,
    }
    rate = Figure(efficiency * machine.rate_tok_s(batch), "tok/s", Basis.MEASURED)
    return Evidence(achieved_tok_s=rate, ceilings=ceilings, **{**given, **facts})


LONG = Machine(own_byte=4e9)  # long contexts: each sequence's own cache is most of the traffic
DENSE = Machine(flop_tok=160e9)  # long prompts: each output token carries ten times the arithmetic
LINKED = Machine(link_byte_s=5e10, link_byte_tok=5e7)
PLAIN = Machine()


def _cases() -> list[made]:
    found: list[made] = []
    for batch in (1.0, 4.0, 16.0):
        alone = run_of(PLAIN, batch).load_elasticity
        if batch == 1.0:  # nothing ran together, so only the architecture tells, and less surely
            slope = alone.value or 0.0
            alone = Figure(slope, "1", Basis.MODELLED, low=max(slope - 0.25, 0.0), high=min(slope + 0.25, 1.0))
        seen = run_of(PLAIN, batch, 0.7, load_elasticity=alone, slots_count=64.0, waiting_ratio=0.0)
        found.append(made(f"few requests: {batch:.0f} in flight", "demand", seen))
        queue: dict[str, Any] = {"waiting_ratio": 1.0, "waiting_count": batch * 3, "running_count": batch}
        four = {"in_flight_count": batch * 4, "concurrency_count": batch * 4}
        starved = run_of(PLAIN, batch, 0.7, slots_count=batch, load_elasticity=alone, **queue, **four)
        found.append(made(f"slots: {batch:.0f} of {batch * 4:.0f} served", "kv_capacity", starved))
        open_loop = run_of(PLAIN, batch, closed=False, concurrency_count=None, served_ratio=1.0, waiting_ratio=0.0)
        found.append(made(f"open loop below saturation: {batch:.0f} in flight", "demand", open_loop))
    for batch in (8.0, 32.0, 64.0):
        found.append(made(f"long contexts, batch {batch:.0f}", "memory_bandwidth", run_of(LONG, batch)))
        found.append(made(f"long prompts, batch {batch:.0f}", "compute", run_of(DENSE, batch * 16)))
        found.append(made(f"slow links, batch {batch:.0f}", "interconnect", run_of(LINKED, batch * 2)))
        overload = run_of(DENSE, batch * 16, closed=False, served_ratio=0.6, waiting_ratio=0.0)
        found.append(made(f"open loop beyond saturation, batch {batch:.0f}", "compute", overload))
    for share in (0.2, 0.5, 0.9):
        base = run_of(DENSE, 256.0)
        found.append(made(f"throttled by power {share:.0%}", "power", replace(base, throttle_power_ratio=share)))
        found.append(made(f"throttled by heat {share:.0%}", "cooling", replace(base, throttle_thermal_ratio=share)))
        found.append(made(f"neighbours take {share:.0%}", "host_cpu", replace(base, others_ratio=max(share, 0.3))))
        late = replace(base, client_reasons=(f"used {share:.0%} more than a core",))
        found.append(made(f"late client {share:.0%}", "client", late))
        missed = replace(base, attained_ratio=1 - share)
        found.append(made(f"targets missed by {share:.0%}", "latency", missed))
        preempted = run_of(PLAIN, 32.0, preemptions_count=share * 100, kv_use_ratio=0.97, waiting_ratio=share)
        found.append(made(f"preemption, {share * 100:.0f} times", "kv_capacity", preempted))
        full = run_of(PLAIN, 32.0, kv_use_ratio=0.9 + share / 10, waiting_ratio=0.6 + share / 3, waiting_count=8.0)
        found.append(made(f"cache {0.9 + share / 10:.0%} full, requests wait", "kv_capacity", full))
        cut = run_of(PLAIN, 8.0, cut_ratio=share)
        found.append(made(f"answers cut by the context {share:.0%}", "kv_capacity", cut))
        refused = run_of(PLAIN, 8.0, closed=False, served_ratio=1 - share, refused_ratio=share, waiting_ratio=0.0)
        found.append(made(f"requests refused {share:.0%}", "kv_capacity", refused))
    for draw in (0.97, 0.99, 1.0):
        seen = replace(run_of(DENSE, 256.0), limit_use_ratio=draw)
        found.append(made(f"draws {draw:.0%} of its limit", "power", seen))
        calm = replace(run_of(DENSE, 256.0), limit_use_ratio=draw - 0.3, throttle_power_ratio=0.0, attained_ratio=1.0)
        found.append(made(f"draws {draw - 0.3:.0%} of its limit", "compute", calm))
    for threads in (1.0, 2.0, 4.0):
        slow = replace(DENSE, flop_s=DENSE.flop_s * threads / 8)
        seen = replace(run_of(slow, 64.0), threads_count=threads, cpus_count=8.0, server_cpu_ratio=threads / 8 * 0.98)
        found.append(made(f"{threads:.0f} threads of 8 CPUs", "host_cpu", seen))
    site = run_of(PLAIN, 16.0)
    rate = site.achieved_tok_s.value or 0.0
    for name in ("power", "cooling"):
        limit = CeilingValue(name, known(rate * 1.01))
        found.append(made(f"the site's {name}", name, replace(site, ceilings=(*site.ceilings, limit))))
    blind = Evidence(
        achieved_tok_s=known(100.0), concurrency_count=8.0, load_elasticity=Figure(0.02, "1", Basis.MEASURED)
    )
    found.append(made("saturated server, hardware unknown", "undecided", blind))
    idle = replace(run_of(DENSE, 256.0, 0.3), utilization_ratio=0.3, waiting_ratio=0.9)
    found.append(made("device idle while requests wait", "host_cpu", idle))
    return found


CASES = _cases()


# --- machines drawn at random: the truth is the model's own derivative ---------------------------------------
def slopes(machine: Machine, batch: float) -> dict[str, float]:
    """d ln rate / d ln of each capacity, and of the batch as ``load``: by central differences."""

    def slope(more: tuple[Machine, float], less: tuple[Machine, float]) -> float:
        return float(np.log(more[0].rate_tok_s(more[1]) / less[0].rate_tok_s(less[1])) / np.log(1.02))

    up, down = 1.02**0.5, 1.02**-0.5
    found = {"load": slope((machine, batch * up), (machine, batch * down))}
    for name, field in (("compute", "flop_s"), ("memory_bandwidth", "byte_s"), ("interconnect", "link_byte_s")):
        value = getattr(machine, field)
        if np.isfinite(value):
            more, less = (replace(machine, **{field: value * f}) for f in (up, down))
            found[name] = slope((more, batch), (less, batch))
    return found


def drawn(rng: np.random.Generator) -> tuple[made, bool]:
    """A random device under a random closed loop, seen with noise; and whether one constraint binds it clearly.

    Clearly: 0.7 of the rate's answer, or three quarters of it for a part of the machine where load has no more to give.
    """
    links = rng.random() < 0.4
    machine = Machine(
        flop_s=10 ** rng.uniform(13.5, 15.5),
        byte_s=10 ** rng.uniform(11.5, 13.0),
        link_byte_s=10 ** rng.uniform(9.5, 11.5) if links else float("inf"),
        weight_byte=10 ** rng.uniform(8.5, 11.0),
        own_byte=10 ** rng.uniform(6.0, 9.5),
        flop_tok=10 ** rng.uniform(8.8, 11.5),
        link_byte_tok=10 ** rng.uniform(6.0, 8.5) if links else 0.0,
    )
    batch = float(round(10 ** rng.uniform(0.31, 2.5)))
    bent = slopes(machine, batch)
    hardware = max((n for n in bent if n != "load"), key=lambda n: bent[n])
    clear = bent["load"] >= 0.7 or (bent["load"] <= 0.15 and bent[hardware] >= 0.75)
    truth = "load" if bent["load"] >= (0.7 if clear else 0.4) else hardware
    queue = rng.random() < 0.5
    seen = run_of(machine, batch, rng.uniform(0.4, 0.9), **(_queued(batch, rng) if queue else {"waiting_ratio": 0.0}))
    slope = float(np.clip((seen.load_elasticity.value or 0.0) + rng.normal(0, 0.1), 0, 1))
    answer = Figure(slope, "1", Basis.MEASURED, low=max(slope - 0.2, 0.0), high=min(slope + 0.2, 1.0))
    ceilings = tuple(
        replace(c, rate_tok_s=known((c.rate_tok_s.value or 0.0) * float(np.exp(rng.normal(0, 0.1)))))
        for c in seen.ceilings
    )
    name = {"load": "kv_capacity" if queue else "demand"}.get(truth, truth)
    return made("drawn", name, replace(seen, load_elasticity=answer, ceilings=ceilings)), clear


def _queued(batch: float, rng: np.random.Generator) -> dict[str, Any]:
    """Twice to eight times the sequences that fit are asked for."""
    many = batch * rng.uniform(2.0, 8.0)
    return {
        "slots_count": batch,
        "in_flight_count": many,
        "concurrency_count": many,
        "running_count": batch,
        "waiting_ratio": float(rng.uniform(0.9, 1.0)),
        "waiting_count": many - batch,
    }


def drawn_cases(count: int, seed: int, *, clear: bool) -> list[made]:
    """``count`` of them, clear ones or close calls, the same for the same seed."""
    rng = np.random.default_rng(seed)
    found: list[made] = []
    while len(found) < count:
        case, is_clear = drawn(rng)
        if is_clear is clear:
            found.append(case)
    return found
