"""Joules that the metering itself took, where the CPU that it ran on was metered. Pure.

Metering's core-seconds × what a busy core-second of this run cost above idle. A core-second of sampling and one of
arithmetic do not draw the same, so the figure is modelled, within a factor of two (assumed).
"""

from __future__ import annotations

from collections.abc import Callable

from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.account import Account
from joulemill.ledger.record import MachineSample, RunRecord, Scope
from joulemill.ledger.window import Window

FACTOR = 2.0
#: Where the CPUs' other work changed by more than this share of the load's own between idle and load, what a
#: core-second cost cannot be told (assumed).
OTHERS_CHANGED = 0.25


def metering_j(record: RunRecord, account: Account) -> Figure:
    """Metering's joules in the window; unknown, with the reason, where this machine's CPU was not metered."""
    cores = _metering_cores(record)
    if account.window is None or cores is None:
        return unknown("J", "what metering took was not recorded")
    if not record.manifest.embedded:
        return unknown("J", "the server's machine is metered; metering itself may run on another")
    scope = next((s for s in (Scope.CPU, Scope.NODE) if s in account.scopes and account.scopes[s].energy.known), None)
    cpu = account.scopes[scope] if scope is not None and not _boards(account) else None
    if cpu is None or cpu.energy.value is None or cpu.idle_energy.value is None:
        return unknown("J", "the CPU's energy above idle is not known")
    busy_s = _busy_core_s(record, account.window)
    above_j = cpu.energy.value - cpu.idle_energy.value
    if busy_s is None or not busy_s > 0 or not above_j > 0:
        return unknown("J", "no difference in CPU utilization between idle and load was recorded")
    if _others_changed(record, account.window):
        return unknown("J", "other work on the CPUs changed between idle and load: a core-second's cost is not known")
    value = cores * account.window.duration_s * above_j / busy_s
    source = (
        f"metering's CPU time × {above_j / busy_s:.3g} J of a busy core-second above idle; factor {FACTOR:g} assumed"
    )
    return Figure(value, "J", Basis.MODELLED, low=value / FACTOR, high=value * FACTOR, source=source)


def _boards(account: Account) -> bool:
    """Whether accelerators are inside what the node figure would say of the CPU."""
    device = account.scopes.get(Scope.DEVICE)
    return device is not None and bool(device.composition.channels)


def _metering_cores(record: RunRecord) -> float | None:
    for event in record.events:
        cpu_s, elapsed_s = event.get("cpu_s"), event.get("elapsed_s")
        if event.get("kind") == "metering" and cpu_s is not None and elapsed_s:
            return float(cpu_s) / float(elapsed_s)
    return None


def _busy_core_s(record: RunRecord, window: Window) -> float | None:
    """Core-seconds in the window beyond those that an idle stretch of that length would have had."""
    cpus = record.manifest.cpus
    more = _more(record, window, lambda m: m.cpu_busy_ratio)
    return None if not cpus or more is None else more * float(cpus) * window.duration_s


def _others_changed(record: RunRecord, window: Window) -> bool:
    """Whether other processes' share of the CPUs changed so much that the load's own cannot be told from it."""
    own = _more(record, window, lambda m: m.own_cpu_ratio)
    busy = _more(record, window, lambda m: m.cpu_busy_ratio)
    return own is not None and busy is not None and abs(busy - own) > OTHERS_CHANGED * abs(own)


def _more(record: RunRecord, window: Window, of: Callable[[MachineSample], float | None]) -> float | None:
    """How much larger the mean of ``of`` is in the window than in the idle phase."""
    idle = record.phase("idle")
    loaded = _mean(record, window.start_s, window.end_s, of)
    calm = None if idle is None or idle.end_mono_s is None else _mean(record, idle.start_mono_s, idle.end_mono_s, of)
    return None if loaded is None or calm is None else loaded - calm


def _mean(record: RunRecord, start_s: float, end_s: float, of: Callable[[MachineSample], float | None]) -> float | None:
    shares = [share for m in record.machine if start_s < m.t_mono_s <= end_s and (share := of(m)) is not None]
    return sum(shares) / len(shares) if shares else None
