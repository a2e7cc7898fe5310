"""The ceilings of a measured run, the binding one, Φ and U. Pure.

Capacities come from this machine's micro-benchmark (embedded server) or from the catalog's datasheet (``--device``),
intensities from the architecture at the run's own load, power and cooling from the site, the rest from the load.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulemill.analysis.intensity import Intensity
from joulemill.errors import InputError
from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.account import Account
from joulemill.ledger.latency import Targets
from joulemill.ledger.manifest import MachineLimits, Manifest, StatedDevice
from joulemill.ledger.record import RunRecord
from joulemill.ledger.serving_state import Room, overload, room, waiting_ratio
from joulemill.ledger.window import Loop, load_shape
from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.site import Site, it_limit_figure
from joulemill.physics.model.precision import FORMATS, Format
from joulemill.physics.production import ceilings as plant
from joulemill.physics.production.ceilings import BindingValue, CeilingValue
from joulemill.physics.production.token_production import phi_figure, utilization_figure
from joulemill.physics.serving.shard import arithmetic_class
from joulemill.wording import percent

RATE = "tok/s"
#: A slot counts as kept busy from this share of the window on; below it the load, not the server, set the rate.
BUSY_RATIO = 0.95
#: Ceilings of the hardware itself: Φ is measured against the least of these, not against demand or a target.
IDEAL = ("compute", "memory_bandwidth", "kv_capacity", "interconnect")


@dataclass(frozen=True, slots=True)
class RunCeilings:
    """All ceilings, what binds, and the two factors of the production function."""

    ceilings: tuple[CeilingValue, ...]
    binding: BindingValue
    phi: Figure
    utilization: Figure
    full_load_tok_s: Figure


def run_ceilings(
    record: RunRecord, account: Account, cost: Intensity, node_j_tok: Figure, site: Site | None
) -> RunCeilings:
    """Every ceiling of the run in tok/s; unknown ones with their reason."""
    capacity = capacities(record.manifest, cost)
    held = room(record, account.window)
    achieved = account.output_rate
    ceilings = (
        plant.compute_ceiling(capacity["compute"], cost.work_flop_tok, "peaks of its dtypes ÷ work of an output token"),
        plant.memory_bandwidth_ceiling(
            capacity["memory"], cost.traffic_byte_tok, "read rate ÷ bytes an output token moves"
        ),
        _sequences_ceiling("kv_capacity", held, cost, capacity),
        CeilingValue("interconnect", unknown(RATE, _link_reason(record.manifest))),
        plant.power_ceiling(_site_limit(site, "power"), node_j_tok),
        plant.cooling_ceiling(_site_limit(site, "cooling"), node_j_tok),
        _latency_ceiling(account, achieved),
        _demand_ceiling(record, account, cost, capacity),
    )
    bound = plant.binding(ceilings, achieved)
    full = full_load(record, account, cost, held)
    ideal = [c.rate_tok_s for c in ceilings if c.name in IDEAL and c.rate_tok_s.value is not None]
    least = min(ideal, key=lambda f: f.value or 0.0) if ideal else unknown(RATE, "no ceiling of the hardware is known")
    return RunCeilings(ceilings, bound, phi_figure(full, least), utilization(record, account, full), full)


def capacities(manifest: Manifest, cost: Intensity) -> dict[str, Figure]:
    """Compute [FLOP/s] and memory bandwidth [byte/s]: of this machine if measured, else of the device that is named."""
    if manifest.machine_ceilings is not None:
        return _measured(manifest.machine_ceilings, cost.arithmetic)
    if manifest.device is not None:
        return _datasheet(manifest.device, cost.parts)
    why = "the server's hardware is unknown: name it with --device (see `joulemill show device`)"
    return {"compute": unknown("FLOP/s", why), "memory": unknown("byte/s", why)}


def _measured(limits: MachineLimits, arithmetic: str | None) -> dict[str, Figure]:
    # GGUF's quantized weights are multiplied as int8 blocks; full-precision weights as float32 products.
    wide = arithmetic in ("fp32", "bf16")
    compute = limits.compute_flop_s if wide else limits.compute_int8_flop_s
    return {
        "compute": compute.figure().scaled(1.0, "FLOP/s"),
        "memory": limits.memory_bandwidth_byte_s.figure().scaled(1.0, "byte/s"),
    }


def _datasheet(device: StatedDevice, parts: Sequence[tuple[Format, float]]) -> dict[str, Figure]:
    from joulemill.catalog.stated_device import count_in, device_in

    try:
        sheet, count = device_in(device), count_in(device)
    except InputError as fault:  # of another version of the catalog, or of a file that the run did not keep
        return {"compute": unknown("FLOP/s", str(fault)), "memory": unknown("byte/s", str(fault))}
    source = f"{count} x {sheet.name}, datasheet"
    try:
        compute = Figure(_peak_flop_s(sheet, parts) * count, "FLOP/s", Basis.DATASHEET, source=source)
    except InputError as fault:  # a device of the user's own without a peak that is wide enough
        compute = unknown("FLOP/s", str(fault))
    band = sheet.memory_bandwidth_byte_s
    return {"compute": compute, "memory": Figure(band * count, "byte/s", Basis.DATASHEET, source=source)}


def _peak_flop_s(device: Device, parts: Sequence[tuple[Format, float]]) -> float:
    """Datasheet peak at which the parts of a token multiply, one after another; in 16 bits where no part is known."""
    used = parts or ((FORMATS["bf16"], 1.0),)
    return sum(flop for _, flop in used) / sum(flop / arithmetic_class(form, device)[1] for form, flop in used)


def _sequences_ceiling(name: str, held: Room | None, cost: Intensity, capacity: Mapping[str, Figure]) -> CeilingValue:
    """Little's law: so many sequences at once, each at the speed of one that has the machine to itself."""
    if held is None:
        return CeilingValue(name, unknown(RATE, "the server does not say how many sequences its cache holds"))
    count = Figure(held.sequences_count, "sequences", Basis.DECLARED, source=held.source)
    alone = [
        plant.compute_ceiling(capacity["compute"], cost.lone_flop_tok).rate_tok_s,
        plant.memory_bandwidth_ceiling(capacity["memory"], cost.lone_byte_tok).rate_tok_s,
    ]
    known = [f for f in alone if f.value is not None]
    if not known:
        return CeilingValue(name, unknown(RATE, alone[0].reason or "the speed of one sequence is unknown"), count)
    fastest = min(known, key=lambda f: f.value or 0.0)
    evidence = f"{_at_once(held)}, each as fast as one that has the machine to itself: an upper bound"
    return CeilingValue(name, fastest.scaled(held.sequences_count, RATE), count, None, evidence)


def _at_once(held: Room) -> str:
    """``8 slots of the server``; ``153 sequences (23,296 tokens of cache …)``."""
    if held.sequences_count == int(held.sequences_count) and not held.source[0].isdigit():
        return f"{held.sequences_count:.0f} {held.source}"
    return f"{held.sequences_count:.3g} sequences ({held.source})"


def _link_reason(manifest: Manifest) -> str:
    return (
        "one device: nothing crosses a link"
        if manifest.device_count == 1
        else "traffic between devices is not measured"
    )


def _site_limit(site: Site | None, which: str) -> Figure:
    if site is None:
        return unknown("W", "no site is stated: give --site FILE")
    if which == "power":
        return it_limit_figure(site)
    if site.cooling_limit_w is None:
        return unknown("W", "no cooling limit is stated in the site file")
    return Figure(site.cooling_limit_w, "W", Basis.DECLARED, source="site")


def _latency_ceiling(account: Account, achieved: Figure) -> CeilingValue:
    targets: Targets = account.latency.targets
    if not targets.stated:
        return CeilingValue("latency", unknown(RATE, "no latency target is stated: give --slo-ttft or --slo-tpot"))
    attained = account.latency.attained_ratio
    if attained is None or achieved.value is None:
        return CeilingValue("latency", unknown(RATE, "no request of the window can be judged"))
    if attained >= BUSY_RATIO:
        why = f"targets met by {percent(attained, 1)} of requests at this load; a sweep finds the load where they fail"
        return CeilingValue("latency", unknown(RATE, why))
    evidence = (
        f"only {percent(attained, 1)} of requests met their targets; the rate that did meets them is an upper bound"
    )
    return CeilingValue("latency", account.good_rate, evidence=evidence)


def _demand_ceiling(
    record: RunRecord, account: Account, cost: Intensity, capacity: Mapping[str, Figure]
) -> CeilingValue:
    shape = load_shape(record.manifest.asked)
    if shape.loop is Loop.CLOSED:
        kept = Room(float(shape.concurrency), "requests kept in flight") if shape.concurrency else None
        return _sequences_ceiling("demand", kept, cost, capacity)
    window = account.window
    if window is None or cost.load is None:
        return CeilingValue("demand", unknown(RATE, "no tokens in the window"))
    offered = [r for r in record.requests if r.phase == "load" and window.start_s <= r.scheduled_mono_s < window.end_s]
    rate = Figure(len(offered) / window.duration_s, "req/s", Basis.MEASURED, source="requests scheduled in the window")
    tokens = Figure(cost.load.output_tok, "tok/req", Basis.MEASURED, source="usage")
    return plant.demand_ceiling(rate, tokens, "requests that the schedule asked for × their output tokens")


def full_load(record: RunRecord, account: Account, cost: Intensity, held: Room | None) -> Figure:
    """The rate at full load: the window's rate where the server had no room left, or more was due than it served."""
    rate, load, window = account.output_rate, cost.load, account.window
    if rate.value is None or load is None or window is None:
        return unknown(RATE, "no rate was measured")
    waited = waiting_ratio(record, window)
    if overload(record, window) is not None or (waited is not None and waited >= BUSY_RATIO):
        return rate
    if held is not None:
        busy = load.in_flight_count / held.sequences_count
        if busy >= BUSY_RATIO:
            return rate
        slots = held.source == "slots of the server"
        what = (
            f"the server's {held.sequences_count:.0f} slots were in use" if slots else f"{_at_once(held)} were in use"
        )
        return unknown(RATE, f"only {percent(busy)} of {what}: load it with more concurrency")
    if load_shape(record.manifest.asked).loop is Loop.CLOSED:
        return unknown(RATE, "the server does not say how much it can hold: a sweep of concurrency finds its full load")
    return unknown(RATE, "an open loop that the server keeps up with does not show the full load")


def utilization(record: RunRecord, account: Account, full: Figure) -> Figure:
    """U over the whole load phase, ramp and drain included: its mean rate ÷ the rate at full load, at most 1."""
    phase = record.phase("load")
    if full.value is None or phase is None:
        return unknown("1", full.reason or "no load phase")
    end = phase.end_mono_s or max(
        (r.end_mono_s or phase.start_mono_s for r in record.requests), default=phase.start_mono_s
    )
    seconds = max([end, *(r.end_mono_s or end for r in record.requests if r.phase == "load")]) - phase.start_mono_s
    tokens = sum(r.output_tok or 0 for r in record.requests if r.phase == "load")
    if seconds <= 0 or not tokens:
        return unknown("1", "no tokens in the load phase")
    period = Figure(tokens / seconds, RATE, Basis.MEASURED, source="all output tokens of the load phase ÷ its length")
    return utilization_figure(period, full).mapped(lambda u: min(u, 1.0), "1")
