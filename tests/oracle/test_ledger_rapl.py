"""A RAPL tree as a server writes it, through the whole ledger: package 100 J, dram 10 J, psys 160 J in the window.

The right answers are arithmetic; the wrong one, 270 J, is what adding overlapping zones gives.
"""

from __future__ import annotations

import numpy as np
import pytest
from simulated.runs import closed_loop

from joulemill.figure import Basis
from joulemill.ledger.account import account
from joulemill.ledger.record import Channel, Quantity, Reading, RunRecord, Scope
from tests.support.manifests import manifest_of

#: energy_uj of intel-rapl wraps here on many servers: 262143.328850 J.
RANGE_J = 262143.328850
#: The load's window is 59.75 s (25.25 to 85.0 s): these powers make 100, 10 and 160 J in it.
WINDOW_S = 59.75
JOULES = {"package-0": 100.0, "core-0": 70.0, "dram-0": 10.0, "psys": 160.0}


def zone(name: str, scope: Scope, includes: tuple[str, ...] = ()) -> Channel:
    inside = tuple(f"rapl:{i}" for i in includes)
    return Channel(
        id=f"rapl:{name}",
        meter="rapl",
        device=name,
        scope=scope,
        quantity=Quantity.ENERGY,
        basis=Basis.MEASURED,
        resolution=6.1e-5,
        update_period_s=1e-3,
        max_range=RANGE_J,
        rel_error=0.02,
        includes=inside,
    )


PACKAGE = zone("package-0", Scope.CPU, ("core-0",))
CORE = zone("core-0", Scope.CPU)
DRAM = zone("dram-0", Scope.MEMORY)
PSYS = zone("psys", Scope.NODE, ("package-0", "core-0", "dram-0"))


def readings(c: Channel) -> list[Reading]:
    """Half a second apart, in whole microjoules, and each counter wraps 40 s into the run."""
    power = JOULES[c.device] / WINDOW_S
    t = np.arange(0.0, 90.5, 0.5)
    joules = np.round((RANGE_J - 40.0 * power + power * t) % RANGE_J, 6)
    return [Reading(c.id, float(x), 1.7e9 + float(x), float(v)) for x, v in zip(t, joules, strict=True)]


def energies(*channels: Channel):
    requests = tuple(closed_loop(4, 60, 25.0))
    raw = tuple(r for c in channels for r in readings(c))
    return account(
        RunRecord(
            manifest=manifest_of({"options": {"concurrency": 4}}), channels=channels, readings=raw, requests=requests
        )
    ).scopes


def test_a_platform_meter_is_the_node() -> None:
    scopes = energies(PACKAGE, CORE, DRAM, PSYS)
    assert scopes[Scope.NODE].energy.value == pytest.approx(160.0, abs=1e-4)
    assert scopes[Scope.CPU].energy.value == pytest.approx(100.0, abs=1e-4)
    assert scopes[Scope.MEMORY].energy.value == pytest.approx(10.0, abs=1e-4)


def test_without_one_the_node_is_no_sum_of_parts_and_says_what_they_lack() -> None:
    scopes = energies(PACKAGE, CORE, DRAM)
    node = scopes[Scope.NODE]
    assert scopes[Scope.CPU].energy.value == pytest.approx(100.0, abs=1e-4) and node.energy.value is None
    assert node.composition.missing == ("devices", "fans and conversion")
    assert "partial_coverage" in node.energy.reason and "110 J" in node.energy.reason


def test_the_stated_error_of_the_sensor_is_in_the_interval() -> None:
    package = energies(PACKAGE, DRAM)[Scope.CPU]
    assert package.energy.high - package.energy.value == pytest.approx(0.02 * 100.0, rel=0.02)
