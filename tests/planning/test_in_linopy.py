"""Two plans written down a second time in linopy, from what their files state, have the same optimum.

The columns are those of ``predict_many``; nothing else is taken from the planner. Sites, pools, models and classes are
in the words of docs/planning.md, by hour.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence

import pytest

import joulemill as jm

DAY = [
    0.4,
    0.3,
    0.3,
    0.3,
    0.4,
    0.6,
    0.9,
    1.2,
    1.4,
    1.5,
    1.5,
    1.5,
    1.4,
    1.5,
    1.5,
    1.4,
    1.3,
    1.2,
    1.1,
    1.0,
    0.9,
    0.7,
    0.6,
    0.5,
]
PRICES = [0.05 + 0.01 * (h % 7) for h in range(24)]
NIGHT = [0.25 if h < 6 else 0.1 for h in range(24)]

#: The least cost of serving all, with purchases, a share that may wait, and one that may move.
CHEAPEST = f"""
objective = {{goal = "least_cost", budget_currency = 900000}}
site = [
  {{name = "oslo", it_power_limit = "40 kW", cooling_limit = "36 kW", pue = 1.1, racks_count = 2,
    cooling_by_hour_ratio = {[1 - 0.02 * h for h in range(24)]},
    price_by_hour_currency_kwh = {PRICES}, power_by_hour_ratio = {[1 - 0.01 * h for h in range(24)]}}},
  {{name = "paris", it_power_limit = "60 kW", facility_power_limit = "65 kW", pue = 1.4, price_currency_kwh = 0.16}},
]
pool = [
  {{name = "oslo-h100", site = "oslo", device = "h100", owned_count = 8, purchasable_count = 40, unused = "bare",
    price_currency_device = 30000, devices_per_rack = 16}},
  {{name = "paris-h200", site = "paris", device = "h200", owned_count = 9, unused = "off"}},
]
model = [
  {{name = "Qwen/Qwen3-32B", precisions = ["bf16", "fp8"], power_caps = ["500 W"], tp = [2],
    concurrency = [8, 32, 64]}},
  {{name = "Qwen/Qwen3-8B", tp = [1], concurrency = [16, 64, 128]}},
]
demand = [
  {{name = "chat", model = "Qwen/Qwen3-32B", rate = "12 ktok/s", by_hour_ratio = {DAY}, input_tokens = 900,
    output_tokens = 300, slo_tpot = "35 ms", home = "paris", move_ratio = 0.3}},
  {{name = "files", model = "Qwen/Qwen3-8B", rate = "30 ktok/s", input_tokens = 2000, output_tokens = 200,
    shift_ratio = 0.5}},
]
"""
#: Most tokens by their worth, under a feed, a PUE that depends on load, and carbon; a floor for one class.
MOST = f"""
objective = {{goal = "most_tokens", carbon_limit_tco2e_day = 0.04}}
site = [
  {{name = "oslo", it_power_limit = "20 kW", facility_power_limit = "24 kW", pue_curve = [[0.3, 1.3], [1.0, 1.25]],
    carbon_gco2e_kwh = 30}},
  {{name = "paris", it_power_limit = "24 kW", pue_by_hour = {[1.2 + 0.01 * h for h in range(24)]},
    carbon_by_hour_gco2e_kwh = {[400 * n for n in NIGHT]}}},
]
pool = [
  {{name = "oslo-h100", site = "oslo", device = "h100", owned_count = 24, unused = "off"}},
  {{name = "paris-h200", site = "paris", device = "h200", owned_count = 24, unused = "bare"}},
]
model = [
  {{name = "Qwen/Qwen3-32B", precisions = ["fp8"], power_caps = ["450 W"], tp = [1, 2], concurrency = [16, 64, 96]}},
  {{name = "Qwen/Qwen3-8B", tp = [1], concurrency = [64, 128]}},
]
demand = [
  {{name = "chat", model = "Qwen/Qwen3-32B", rate = "14 ktok/s", by_hour_ratio = {DAY}, input_tokens = 900,
    output_tokens = 300, slo_tpot = "40 ms", least_ratio = 0.8}},
  {{name = "batch", model = "Qwen/Qwen3-8B", rate = "unlimited", input_tokens = 500, output_tokens = 500,
    weight_ratio = 0.2, sites = ["paris"]}},
]
"""


@pytest.mark.parametrize("text", [CHEAPEST, MOST])
def test_the_same_program_in_linopy_has_the_same_optimum(text: str) -> None:
    from tests.planning.linopy_fleet import Fleet  # linopy is long to import

    tables = tomllib.loads("\n".join(_joined(text)))
    plan = jm.plan(tables, extras=False)
    assert plan.value == pytest.approx(Fleet(tables).optimum(), rel=1e-6)
    assert sum(p.active for p in plan.constraints) >= 3  # it is no trivial plan


def _joined(text: str) -> Sequence[str]:
    """TOML's inline tables take one line each."""
    return text.replace(",\n    ", ", ").replace(",\n   ", ", ").splitlines()
