"""PUE as a ratio of two measured sums: by hand, with its bounds, and every case in which it must not be told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.figure import Basis, Figure, unknown
from joulemill.monitor.accounting.pue import at_site, it_energy, power_of, pue, used_pue
from joulemill.monitor.accounting.totals import Totals
from joulemill.monitor.snapshot import Interval, ScopeEnergy, SiteFacts, TargetFacts


def joules(
    scope: str, j: float, half: float | None = 0.0, basis: str = "measured", covered: float = 1.0
) -> ScopeEnergy:
    return ScopeEnergy(scope, j, half, basis, covered)


def made(site: ScopeEnergy | None, *nodes: ScopeEnergy | None, rack: ScopeEnergy | None = None) -> Figure:
    energy = {e.scope: e for e in (site, rack) if e is not None}
    return pue(energy, *it_energy({f"n{i}": n for i, n in enumerate(nodes)}))


def test_by_hand_with_bounds_of_both_intervals() -> None:
    found = made(joules("site", 1300.0, 13.0), joules("node", 600.0, 6.0), joules("node", 400.0, 4.0))
    assert found.value == pytest.approx(1.3) and found.basis is Basis.MEASURED
    assert found.low == pytest.approx(1287 / 1010) and found.high == pytest.approx(1313 / 990)


@given(
    st.floats(1.0, 3.0), st.floats(0.0, 0.2), st.floats(0.0, 0.2), st.lists(st.floats(1e2, 1e7), min_size=1, max_size=9)
)
def test_a_truth_within_both_intervals_lies_within_the_bounds(
    truth: float, site_off: float, node_off: float, nodes: list[float]
) -> None:
    it = sum(nodes)
    seen = [joules("node", n * (1 + node_off), n * (1 + node_off) * 0.25) for n in nodes]
    found = made(joules("site", truth * it * (1 - site_off), truth * it * (1 - site_off) * 0.3), *seen)
    if found.known:
        assert found.low <= truth * (1 + 1e-9) and truth <= found.high * (1 + 1e-9)
    else:
        assert "does not cover all of them" in (found.reason or "")


@pytest.mark.parametrize(
    ("site", "nodes", "told"),
    [
        (None, [joules("node", 9)], "gave no joules"),
        (joules("site", 13, covered=0.6), [joules("node", 9)], "covers 60 % of the stretch"),
        (joules("site", 13, basis="declared"), [joules("node", 9)], "are declared, not measured"),
        (joules("site", 13), [], "no target is at this site"),
        (joules("site", 13), [joules("node", 9), None], "n1 has no meter of its whole node"),
        (joules("site", 13), [joules("node", 9, covered=0.9)], "n0 is not metered all of the time"),
        (joules("site", 13), [joules("node", 9, basis="modelled")], "n0 has a node that is not measured"),
        (joules("site", 13), [None] * 5, "n0, n1, n2 and 2 more"),
        (joules("site", 13), [joules("node", 0.0)], "cannot be distinguished from 0"),
        (joules("site", 13), [joules("node", 2.0, 3.0)], "cannot be distinguished from 0"),
        (joules("site", 800.0, 10.0), [joules("node", 1000.0, 10.0)], "does not cover all of them"),
    ],
)
def test_a_part_never_passes_for_the_whole(
    site: ScopeEnergy | None, nodes: list[ScopeEnergy | None], told: str
) -> None:
    found = made(site, *nodes)
    assert found.value is None and found.low is None and told in (found.reason or "")


def test_racks_tell_of_it_that_nobody_watches() -> None:
    node, site = joules("node", 1000.0, 10.0), joules("site", 2600.0, 10.0)
    assert made(site, node, rack=joules("rack", 1050.0, 10.0)).value == pytest.approx(2.6)
    assert "not all IT is watched" in (made(site, node, rack=joules("rack", 2000.0, 10.0)).reason or "")
    assert "the whole site is not" in (made(None, node, rack=joules("rack", 1050.0)).reason or "")


def test_a_measured_pue_stands_before_a_declared_one() -> None:
    facts, measured = SiteFacts(site="s", pue_ratio=1.3), Figure(1.21, "1", Basis.MEASURED, low=1.2, high=1.22)
    assert used_pue(facts, measured) is measured
    fallen = used_pue(facts, unknown("1", "a hole"))
    assert (fallen.value, fallen.basis, fallen.reason) == (1.3, Basis.DECLARED, "a hole")
    assert used_pue(SiteFacts(site="s"), unknown("1", "a hole")).value is None
    assert used_pue(SiteFacts(site="s"), None).reason == "neither metered nor declared"


def test_node_joules_at_the_site_with_both_errors_and_the_weaker_basis() -> None:
    seen = Interval(
        target="a", start_s=0.0, end_s=10.0, observed=True, energy={"node": joules("node", 1000.0, 30.0, covered=0.8)}
    )
    site = at_site(seen, Figure(1.25, "1", Basis.MEASURED, low=1.2, high=1.3)).energy["site"]
    assert (site.energy_j, site.basis, site.covered_ratio) == (1250.0, "measured", 0.8)
    assert site.half_width_j == pytest.approx(1250 * (0.03**2 + 0.04**2) ** 0.5)
    declared = at_site(seen, Figure(1.25, "1", Basis.DECLARED)).energy["site"]
    assert (declared.basis, declared.half_width_j) == ("modelled", None)  # nobody knows how far off a declared one is
    assert at_site(seen, unknown("1", "?")).energy == seen.energy
    own = Interval(
        target="a", start_s=0.0, end_s=10.0, observed=True, energy={**seen.energy, "site": joules("site", 7.0)}
    )
    assert at_site(own, Figure(1.25, "1", Basis.MEASURED)) is own


def test_carbon_is_of_each_time_s_own_pue() -> None:
    totals = Totals(facts=TargetFacts("a", "m", "s"), since_s=0.0)
    site = SiteFacts(site="s", pue_ratio=1.5, carbon_g_kwh=360.0, price_kwh=0.36, currency="EUR")
    seen = Interval(target="a", start_s=0.0, end_s=10.0, observed=True, energy={"node": joules("node", 1e6)})
    for ratio in (Figure(1.2, "1", Basis.MEASURED), Figure(1.5, "1", Basis.DECLARED)):
        totals.add(at_site(seen, ratio))
    state = totals.state(site, up=True, reason=None)
    assert state.carbon_g == pytest.approx(2.7e6 / 3.6e6 * 360) and state.cost == pytest.approx(0.27)
    assert state.energy_j["site", "", "measured"] == pytest.approx(1.2e6)
    alone = Totals(facts=TargetFacts("a", "m", "s"), since_s=0.0)
    alone.add(seen)
    assert alone.state(site, up=True, reason=None).carbon_g is None  # no PUE stood: unknown, not the node's alone


def test_power_is_of_the_covered_part() -> None:
    assert power_of(joules("site", 300.0, 6.0, covered=0.5), 60.0) == (10.0, 0.2)
    assert power_of(joules("site", 300.0, None), 60.0) == (5.0, None)
    assert power_of(joules("site", 0.0, covered=0.0), 60.0) == (None, None)
