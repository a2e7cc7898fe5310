from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulated.readings import channel

from joulemill.figure import Basis
from joulemill.ledger.energy import EnergyResult
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.ledger.scopes import compose, scope_energy

WINDOW = (0.0, 10.0)


def rapl(name: str, scope: Scope, includes: tuple[str, ...] = ()) -> Channel:
    return channel(f"rapl:{name}", meter="rapl", device=name, scope=scope, includes=includes)


def gpu(n: int, **facts: object) -> Channel:
    return channel(f"nvml:GPU-{n}:energy", meter="nvml", device=f"GPU-{n}", **facts)


def result(c: Channel, energy_j: float | None, half_j: float = 0.0) -> EnergyResult:
    gone = (Finding(Reason.NO_READINGS, c.id, "gone", fatal=True),)
    refused = energy_j is None
    return EnergyResult(
        subject=c.id,
        start_s=WINDOW[0],
        end_s=WINDOW[1],
        energy_j=energy_j,
        low_j=None if energy_j is None else energy_j - half_j,
        high_j=None if energy_j is None else energy_j + half_j,
        basis=None if refused else c.basis,
        kind="counter",
        reading_count=0 if refused else 20,
        findings=gone if refused else (),
    )


def scopes(joules: dict[Channel, float | None], expected: dict[Scope, int] | None = None, half_j: float = 0.0):
    results = {c.id: result(c, j, half_j) for c, j in joules.items()}
    refusals = {i: r.findings for i, r in results.items() if r.energy_j is None}
    composed = compose(joules, refusals, expected)
    return composed, {s: scope_energy(c, results, WINDOW) for s, c in composed.items()}


def codes(thing) -> set[Reason]:
    return {f.code for f in thing.findings}


PACKAGE, DRAM = rapl("package-0", Scope.CPU), rapl("dram-0", Scope.MEMORY)
PSYS = rapl("psys", Scope.NODE, ("rapl:package-0", "rapl:dram-0"))


def test_a_rapl_tree_is_160_or_110_and_never_270() -> None:
    _, energies = scopes({PACKAGE: 100.0, DRAM: 10.0, PSYS: 160.0})
    assert energies[Scope.NODE].energy_j == 160.0
    assert energies[Scope.CPU].energy_j == 100.0 and energies[Scope.MEMORY].energy_j == 10.0
    composed, energies = scopes({PACKAGE: 100.0, DRAM: 10.0})
    assert energies[Scope.NODE].energy_j == 110.0
    assert "fans and conversion" in composed[Scope.NODE].missing and not composed[Scope.NODE].complete
    undeclared = replace(PSYS, includes=())
    assert scopes({PACKAGE: 100.0, DRAM: 10.0, undeclared: 160.0})[1][Scope.NODE].energy_j == 160.0
    as_cpu = replace(PSYS, scope=Scope.CPU)
    assert scopes({PACKAGE: 100.0, DRAM: 10.0, as_cpu: 160.0})[1][Scope.NODE].energy_j == 160.0


def test_cores_are_inside_their_package() -> None:
    core, uncore = rapl("core-0", Scope.CPU), rapl("uncore-0", Scope.CPU)
    package = rapl("package-0", Scope.CPU, (core.id, uncore.id))
    _, energies = scopes({core: 60.0, package: 100.0, uncore: 20.0}, {Scope.CPU: 1})
    assert energies[Scope.CPU].energy_j == 100.0 and Reason.OVERLAP in codes(energies[Scope.CPU])


def test_two_packages_and_eight_boards_add_up_to_a_node_that_says_what_it_lacks() -> None:
    joules = {gpu(i): 1000.0 for i in range(8)} | {rapl(f"package-{i}", Scope.CPU): 50.0 for i in range(2)}
    composed, energies = scopes(joules, {Scope.DEVICE: 8, Scope.CPU: 2})
    assert energies[Scope.NODE].energy_j == pytest.approx(8100.0)
    assert composed[Scope.NODE].coverage == "node: devices + cpu packages measured; dram, fans and conversion missing"
    assert Reason.PARTIAL in codes(energies[Scope.NODE])
    assert energies[Scope.SITE].energy_j is None and Reason.NO_METER in codes(energies[Scope.SITE])


def test_a_missing_board_refuses_devices_and_node() -> None:
    _, energies = scopes({gpu(i): 1000.0 for i in range(7)}, {Scope.DEVICE: 8})
    for scope in (Scope.DEVICE, Scope.NODE):
        assert energies[scope].energy_j is None and Reason.MISSING_DEVICE in codes(energies[scope])


def test_a_board_whose_reads_failed_is_not_left_out_silently() -> None:
    _, energies = scopes({gpu(0): 1000.0, gpu(1): None})
    assert energies[Scope.DEVICE].energy_j is None and energies[Scope.NODE].energy_j is None


def test_one_board_reported_per_slice_is_one_board() -> None:
    slices = {replace(gpu(0), id=f"dcgm:GPU-0:mig-{i}"): 1000.0 for i in range(7)}
    _, energies = scopes(slices, {Scope.DEVICE: 1})
    assert energies[Scope.DEVICE].energy_j == 1000.0 and Reason.DUPLICATE_CHANNEL in codes(energies[Scope.DEVICE])


def test_counter_beats_gauge_and_the_gauge_stands_in() -> None:
    power = replace(gpu(0), id="nvml:GPU-0:power", quantity=Quantity.POWER)
    assert scopes({power: 990.0, gpu(0): 1000.0})[1][Scope.DEVICE].energy_j == 1000.0
    _, energies = scopes({power: 990.0, gpu(0): None})
    assert energies[Scope.DEVICE].energy_j == 990.0 and Reason.FELL_BACK in codes(energies[Scope.DEVICE])


def test_two_meters_that_name_boards_alike_count_each_once() -> None:
    dcgm = {replace(gpu(i), id=f"dcgm:GPU-{i}", meter="dcgm"): 1010.0 for i in range(3)}
    _, energies = scopes({gpu(0): 1000.0, gpu(1): None} | dcgm)
    assert energies[Scope.DEVICE].energy_j == pytest.approx(1010.0 * 2 + 1010.0)  # dcgm sorts first; each board once


def test_meters_that_name_things_differently_are_not_summed_unless_told() -> None:
    bmc = channel("redfish:GPU1", meter="redfish", device="GPU1", quantity=Quantity.POWER)
    both = {gpu(0): 1000.0, bmc: 1200.0}
    for expected in (None, 2, 3):  # one board under two names, or two: nobody can tell
        assert scopes(both, expected and {Scope.DEVICE: expected})[1][Scope.DEVICE].energy_j is None
    assert Reason.AMBIGUOUS_DEVICES in codes(scopes(both)[1][Scope.DEVICE])
    composed, energies = scopes(both, {Scope.DEVICE: 1}, half_j=10.0)
    assert energies[Scope.DEVICE].energy_j == 1000.0 and energies[Scope.DEVICE].high_j == 1200.0
    assert Reason.DISAGREEMENT in codes(energies[Scope.DEVICE])
    assert composed[Scope.DEVICE].alternatives == (("redfish:GPU1",),)


def test_boards_of_two_meters_with_other_uuids_are_parts() -> None:
    other = {replace(gpu(i), id=f"dcgm:GPU-{i}", meter="dcgm"): 100.0 for i in (4, 5)}
    for expected in (None, {Scope.DEVICE: 4}):
        assert scopes({gpu(0): 100.0, gpu(1): 100.0} | other, expected)[1][Scope.DEVICE].energy_j == 400.0
    assert scopes({gpu(0): 100.0, gpu(1): 100.0} | other, {Scope.DEVICE: 2})[1][Scope.DEVICE].energy_j is None


def indexed(meter: str, count: int) -> list[Channel]:
    return [channel(f"{meter}:{i}:energy", meter=meter, device=str(i)) for i in range(count)]


def test_indexes_that_two_meters_use_are_the_same_boards_only_where_so_many_are_expected() -> None:
    both = dict.fromkeys([*indexed("a", 4), *indexed("b", 4)], 100.0)
    assert scopes(both, {Scope.DEVICE: 4})[1][Scope.DEVICE].energy_j == 400.0
    for expected in (None, {Scope.DEVICE: 8}):
        _, energies = scopes(both, expected)
        assert energies[Scope.DEVICE].energy_j is None
        assert Reason.AMBIGUOUS_DEVICES in codes(energies[Scope.DEVICE])


def test_one_board_under_its_uuid_and_its_index_is_never_two() -> None:
    both = {gpu(0): 100.0, gpu(1): 100.0} | dict.fromkeys(indexed("smi", 2), 101.0)
    assert scopes(both, {Scope.DEVICE: 2})[1][Scope.DEVICE].energy_j == 200.0
    for expected in (None, {Scope.DEVICE: 4}):
        assert scopes(both, expected)[1][Scope.DEVICE].energy_j is None


@pytest.mark.finding("F9")
@pytest.mark.parametrize("factor", [0.1, 0.5, 0.8, 1.2, 2.0, 10.0, 1000.0])
def test_a_counter_and_the_power_of_one_board_are_compared(factor: float) -> None:
    power = replace(gpu(0), id="nvml:GPU-0:power", quantity=Quantity.POWER)
    _, energies = scopes({gpu(0): 1000.0, power: factor * 1000.0}, half_j=10.0)
    for scope in (Scope.DEVICE, Scope.NODE):
        found = energies[scope]
        assert Reason.DISAGREEMENT in codes(found)
        refused = abs(factor - 1) > 0.25 * max(factor, 1)
        assert found.energy_j is None if refused else found.low_j <= factor * 1000.0 <= found.high_j
    _, alike = scopes({gpu(0): 1000.0, power: 1040.0}, half_j=10.0)
    assert Reason.DISAGREEMENT not in codes(alike[Scope.DEVICE])


def test_the_better_of_two_node_meters_is_used_and_agreement_is_silent() -> None:
    bmc = channel("ipmi:node", meter="ipmi", device="bmc", scope=Scope.NODE, quantity=Quantity.POWER)
    declared = channel("declared:node", meter="declared", device="node", scope=Scope.NODE, basis=Basis.DECLARED)
    _, energies = scopes({declared: 500.0, bmc: 510.0}, half_j=20.0)
    assert energies[Scope.NODE].energy_j == 510.0 and energies[Scope.NODE].basis is Basis.MEASURED
    assert Reason.DISAGREEMENT not in codes(energies[Scope.NODE])


def test_a_dead_node_meter_leaves_the_parts_and_says_so() -> None:
    bmc = channel("ipmi:node", meter="ipmi", device="bmc", scope=Scope.NODE)
    _, energies = scopes({bmc: None, PACKAGE: 100.0, DRAM: 10.0})
    assert energies[Scope.NODE].energy_j == 110.0 and Reason.FELL_BACK in codes(energies[Scope.NODE])


def test_a_module_holds_its_cpu_rail() -> None:
    grace = rapl("grace-0", Scope.CPU)
    module = replace(gpu(0), includes=(grace.id,))
    composed, energies = scopes({grace: 200.0, module: 900.0})
    assert energies[Scope.NODE].energy_j == 900.0 and energies[Scope.CPU].energy_j == 200.0
    assert "cpu packages" not in composed[Scope.NODE].missing


def test_a_mixture_is_as_good_as_its_worst_part() -> None:
    declared = channel("declared:cpu", meter="declared", device="cpu", scope=Scope.CPU, basis=Basis.DECLARED)
    _, energies = scopes({gpu(0): 1000.0, declared: 100.0})
    assert energies[Scope.NODE].basis is Basis.MODELLED


def test_expected_parts_that_nothing_meters() -> None:
    composed, energies = scopes({PACKAGE: 100.0}, {Scope.DEVICE: 0, Scope.MEMORY: 1})
    assert composed[Scope.NODE].missing == ("dram", "fans and conversion")
    assert energies[Scope.MEMORY].energy_j is None and Reason.MISSING_DEVICE in codes(energies[Scope.MEMORY])
    nothing, none = scopes({})
    assert none[Scope.NODE].energy_j is None and nothing[Scope.NODE].coverage == "node: not metered"


def test_errors_of_one_meter_add_and_of_two_meters_are_independent() -> None:
    joules = {gpu(0): 1000.0, gpu(1): 1000.0, PACKAGE: 100.0}
    _, energies = scopes(joules, half_j=30.0)
    assert energies[Scope.NODE].half_width_j == pytest.approx((60.0**2 + 30.0**2) ** 0.5)


@given(st.permutations([PACKAGE, DRAM, PSYS, gpu(0), gpu(1)]), st.floats(0.1, 1e6))
def test_order_does_not_matter_and_joules_scale(order: list[Channel], factor: float) -> None:
    known = {PACKAGE: 100.0, DRAM: 10.0, gpu(0): 500.0, gpu(1): 400.0, PSYS: 1300.0}
    _, energies = scopes({c: factor * known[c] for c in order})
    assert energies[Scope.NODE].energy_j == pytest.approx(factor * 1300.0)
    assert energies[Scope.DEVICE].energy_j == pytest.approx(factor * 900.0)


def test_more_boards_than_expected_refuse_and_are_named() -> None:
    composed, energies = scopes({gpu(0): 100.0, gpu(1): 110.0}, {Scope.DEVICE: 1})
    assert Reason.UNEXPECTED_DEVICE in codes(composed[Scope.DEVICE])
    assert energies[Scope.DEVICE].energy_j is None and "GPU-0, GPU-1" in energies[Scope.DEVICE].findings[-1].detail
