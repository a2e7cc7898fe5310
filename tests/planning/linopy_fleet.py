"""A plan's program written down a second time in linopy, from what its file states.

The columns are those of ``predict_many``; nothing else is taken from the planner. Sites, pools, models and classes are
in the words of docs/planning.md, by hour.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import linopy
import numpy as np
import pandas as pd
import xarray as xr

import joulemill as jm
from joulemill.catalog.idle_states import idle_ladder
from joulemill.catalog.nodes import node_of
from joulemill.physics.hardware.node import share_power

HOURS = pd.RangeIndex(24, name="hour")


def number(text: str) -> float:
    """ "36 kW" → 36000."""
    value, unit = text.split()
    return float(value) * {"k": 1e3, "m": 1e-3}.get(unit[0] if len(unit) > 1 else "", 1.0)


class Fleet:
    """The program, in linopy's words. Watts, tokens a second, devices."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.tables, self.model = tables, linopy.Model()
        self.columns = self._columns()
        self.served = self._variable("served", [d["name"] for d in tables["demand"]], "demand")
        self.bought = self._bought()
        self.power = {site["name"]: self._site(site) for site in tables["site"]}
        for demand in tables["demand"]:
            self._demand(demand)

    def optimum(self) -> float:
        """Of the goal: currency a second, or tokens a second by their worth."""
        if self.tables["objective"]["goal"] == "least_cost":
            self.model.add_objective(self._cost())
        else:
            worth = {d["name"]: d.get("weight_ratio", 1.0) for d in self.tables["demand"]}
            self.model.add_objective((self.served * _by(worth, "demand")).sum() / 24, sense="max")
            grams = sum(self._feed_sum(s, _hourly(s, "carbon", "gco2e_kwh") / 1e3) for s in self.tables["site"])
            limit = self.tables["objective"]["carbon_limit_tco2e_day"] * 1e6
            self.model.add_constraints(grams <= limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.model.solve(solver_name="highs", output_flag=False)
        return float(self.model.objective.value)

    def _variable(self, name: str, index: Sequence[Any], dim: str, upper: Any = np.inf) -> linopy.Variable:
        coords = [pd.Index(index, name=dim), HOURS]
        return self.model.add_variables(lower=0.0, upper=upper, coords=coords, name=name)

    def _columns(self) -> pd.DataFrame:
        """A row for each operating point that meets its class's target, and the variable of its replicas."""
        offers = {m["name"]: m for m in self.tables["model"]}
        rows = [
            {
                "pool": pool["name"],
                "site": pool["site"],
                "demand": demand["name"],
                "slo": demand.get("slo_tpot", "1e9 s"),
            }
            | {"model": demand["model"], "device": pool["device"], "devices": tp, "tp": tp, "concurrency": n}
            | {"precision": precision, "power_cap_w": cap}
            | {k: demand[k] for k in ("input_tokens", "output_tokens")}
            for pool in self.tables["pool"]
            for demand in self.tables["demand"]
            if pool["site"] in demand.get("sites", [pool["site"]])
            for offer in [offers[demand["model"]]]
            for tp in offer["tp"]
            for precision in offer.get("precisions", ["bf16"])
            for cap in [None, *(number(c) for c in offer.get("power_caps", ()))]
            for n in offer["concurrency"]
        ]
        asked = pd.DataFrame(rows)
        figures = jm.predict_many(asked.drop(columns=["pool", "site", "demand", "slo"]))
        asked[["rate", "watts", "tpot"]] = figures[["rate_tok_s", "node_power_w", "tpot_s"]]
        good = asked[asked["tpot"] <= asked["slo"].map(number)].reset_index(drop=True)
        good.index.name = "column"
        self.replicas = self._variable("replicas", good.index, "column")
        return good

    def _bought(self) -> linopy.Variable:
        """Devices to buy: no more than are offered, than the budget pays, than racks hold."""
        pools = self.tables["pool"]
        names = pd.Index([p["name"] for p in pools], name="pool")
        offered = np.array([p.get("purchasable_count", 0) for p in pools], dtype=float)
        bought = self.model.add_variables(lower=0.0, upper=offered, coords=[names], name="bought")
        price = _by({p["name"]: p.get("price_currency_device", 0) for p in pools}, "pool")
        if "budget_currency" in self.tables["objective"]:
            self.model.add_constraints((bought * price).sum() <= self.tables["objective"]["budget_currency"])
        for site in self.tables["site"]:
            for pool in pools if "racks_count" in site else ():
                if pool["site"] == site["name"] and "devices_per_rack" in pool:
                    room = site["racks_count"] * pool["devices_per_rack"] - pool["owned_count"]
                    self.model.add_constraints(bought.sel(pool=pool["name"]) <= room)
        return bought

    def _of(self, what: str, **where: str) -> Any:
        """Σ what · replicas, by hour, over the columns where ``where``."""
        mask = np.ones(len(self.columns), dtype=bool)
        for key, value in where.items():
            mask &= (self.columns[key] == value).to_numpy()
        here = self.columns[mask]
        return (self.replicas.sel(column=here.index) * xr.DataArray(here[what], dims="column")).sum("column")

    def _site(self, site: Mapping[str, Any]) -> Any:
        """IT power by hour, below every limit; each pool's devices serve or are unused."""
        watts = self._of("watts", site=site["name"])
        for pool in self.tables["pool"]:
            if pool["site"] != site["name"]:
                continue
            unused = self._variable(f"unused {pool['name']}", [pool["name"]], "pool").sel(pool=pool["name"])
            devices = self._of("devices", pool=pool["name"]) + unused - self.bought.sel(pool=pool["name"])
            self.model.add_constraints(devices == pool["owned_count"])
            watts = watts + unused * _unused_w(pool)
        limit = number(site["it_power_limit"]) * _by_hour(site.get("power_by_hour_ratio", [1.0] * 24))
        self.model.add_constraints(watts <= limit)
        if "cooling_limit" in site:
            share = _by_hour(site.get("cooling_by_hour_ratio", [1.0] * 24))
            self.model.add_constraints(watts <= number(site["cooling_limit"]) * share)
        feed = self.model.add_variables(lower=0.0, coords=[HOURS], name=f"feed {site['name']}")
        for slope, base in _pue_lines(site):
            self.model.add_constraints(feed >= slope * watts + base)
        if "facility_power_limit" in site:
            shape = _by_hour(site.get("power_by_hour_ratio", [1.0] * 24))
            self.model.add_constraints(feed <= number(site["facility_power_limit"]) * shape)
        return feed

    def _demand(self, demand: Mapping[str, Any]) -> None:
        """What is served is made; all of it, or its floor; a share may wait, a share may move."""
        name = demand["name"]
        served = self.served.sel(demand=name)
        self.model.add_constraints(served <= self._of("rate", demand=name))
        if demand["rate"] == "unlimited":
            return
        asked = number(demand["rate"]) * _by_hour(demand.get("by_hour_ratio", [1.0] * 24))
        if self.tables["objective"]["goal"] == "most_tokens":
            self.model.add_constraints(served <= asked)
            self.model.add_constraints(served >= demand.get("least_ratio", 0.0) * asked)
            return
        share = demand.get("shift_ratio", 0.0)
        later, sooner = (
            self.model.add_variables(lower=0.0, upper=most, coords=[HOURS], name=f"{what} {name}")
            for what, most in (("later", share * asked), ("sooner", np.inf if share else 0.0))
        )
        self.model.add_constraints(served + later - sooner == asked)
        self.model.add_constraints(later.sum() - sooner.sum() == 0)
        for site in self.tables["site"] if "home" in demand else ():
            if site["name"] != demand["home"]:
                away = self._of("rate", demand=name, site=site["name"])
                self.model.add_constraints(away <= demand["move_ratio"] * asked)

    def _feed_sum(self, site: Mapping[str, Any], each: xr.DataArray) -> Any:
        """Σ over the hours of feed power · each."""
        return (self.power[site["name"]] * each).sum()

    def _cost(self) -> Any:
        """Currency a second: energy as a mean over the day, and purchases over five years."""
        energy = sum(self._feed_sum(s, _hourly(s, "price", "currency_kwh") / 3.6e6 / 24) for s in self.tables["site"])
        price = _by({p["name"]: p.get("price_currency_device", 0) for p in self.tables["pool"]}, "pool")
        return energy + (self.bought * (price / (5 * 365 * 86400.0))).sum()


def _by(values: Mapping[str, float], dim: str) -> xr.DataArray:
    return xr.DataArray(list(values.values()), coords=[pd.Index(list(values), name=dim)])


def _by_hour(values: Sequence[float]) -> xr.DataArray:
    return xr.DataArray(values, coords=[HOURS])


def _hourly(site: Mapping[str, Any], what: str, unit: str) -> xr.DataArray:
    return _by_hour(site.get(f"{what}_by_hour_{unit}") or [site[f"{what}_{unit}"]] * 24)


def _pue_lines(site: Mapping[str, Any]) -> Sequence[tuple[Any, float]]:
    """Slope and base [W] of the facility's power: a line through the two points of the curve, or the PUE."""
    if "pue" in site:
        return [(site["pue"], 0.0)]
    if "pue_by_hour" in site:
        return [(_by_hour(site["pue_by_hour"]), 0.0)]
    (x0, y0), (x1, y1) = [(a * number(site["it_power_limit"]), a * p) for a, p in site["pue_curve"]]
    y0, y1 = (y * number(site["it_power_limit"]) for y in (y0, y1))
    return [((y1 - y0) / (x1 - x0), y0 - (y1 - y0) / (x1 - x0) * x0)]


def _unused_w(pool: Mapping[str, Any]) -> float:
    """Watts of an unused device at the plug, with its share of a full node."""
    if pool["unused"] == "off":
        return 0.0
    node = node_of(pool["device"])
    board_w = next(s.power_w.value for s in idle_ladder(pool["device"]) if s.name == "bare")
    assert board_w is not None
    return (
        float(share_power(np.array([board_w * node.device_count]), node.device_count, node).node_w[0])
        / node.device_count
    )
