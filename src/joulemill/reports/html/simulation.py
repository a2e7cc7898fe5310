"""The day of a simulated run on one page: offline, nothing fetched, every text from outside escaped.

Plots are drawn by uPlot (MIT), which the monitor's page brings, and which is written into this one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import numpy as np

from joulemill.reports.html.page import rendered, safe
from joulemill.reports.svg.simulation import duration_curve
from joulemill.reports.text.simulation import change, figure_of, kept, requests_line, rows
from joulemill.wording import digits, interval, percent, quantity, title

#: Columns of a series that the page draws.
DRAWN = (
    "t_s",
    "device_w",
    "node_w",
    "site_w",
    "output_tok_s",
    "prefill_tok_s",
    "cached_tok_s",
    "decode_req",
    "waiting_req",
    "utilization",
)
PLOTS = (
    ("power", "Power, W"),
    ("tokens", "Tokens, tok/s"),
    ("requests", "Requests"),
    ("state", "Use and active constraint"),
)
#: Constraint → its color in the stripe.
COLORS = {
    "idle": "--line",
    "demand": "--measured",
    "max_num_seqs": "--declared",
    "kv_capacity": "--calibrated",
    "power": "--bind",
    "replicas": "--datasheet",
    "throughput": "--modelled",
}


def render(document: Mapping[str, Any], series: Mapping[str, Mapping[str, Any]], headline: str) -> str:
    """The whole page of ``document``; ``series``: policy → columns over time."""
    vendor = files("joulemill") / "monitor" / "web" / "static" / "vendor"
    view = _view(document, headline) | {
        "data": safe(_data(document, series)),
        "plot_js": safe((vendor / "uPlot.iife.min.js").read_text("utf-8")),
        "plot_css": safe((vendor / "uPlot.min.css").read_text("utf-8")),
        "duration_picture": safe(duration_curve(document["power"]["duration_w"])),
    }
    return rendered("day.html.j2", view)


def _view(document: Mapping[str, Any], headline: str) -> dict[str, Any]:
    return {
        "headline": headline,
        "subtitle": _subtitle(document),
        "doubts": document["doubts"],
        "tiles": _tiles(document),
        "plots": PLOTS,
        "policies": _policies(document),
        "policy_note": "Changes are against the run without a policy, which had the same requests. "
        + _window(document),
        "constraints": [{"name": title(name), "color": COLORS[name]} for name in document["constraints"]],
        "rows": list(rows(document)),
        "parts": _parts(document),
        "closure": f"The meter less the parts: {document['energy']['closure_j']:.1e} J.",
        "latencies": _latencies(document),
        "requests": requests_line(document),
        "notes": document["notes"],
        "widest": f"{document['energy']['scope']} scope",
    }


def _subtitle(document: Mapping[str, Any]) -> str:
    d = document["deployment"]
    cascade = document["quality"]["cascade"]
    first = f"; {cascade['model']} answers first on {cascade['devices_count']} of them" if cascade else ""
    scaled = "up to " if d["autoscale"] else ""
    replicas = "1 replica" if d["replicas"] == 1 else f"{scaled}{d['replicas']} replicas"
    return (
        f"{replicas} on {d['devices']} devices{first}, {d['profile']}, {d['precision_used']}; router "
        f"{d['router']}, idle replicas {d['rest']}; seed {d['seed']}"
    )


def _tiles(document: Mapping[str, Any]) -> list[dict[str, str]]:
    scope = document["energy"]["scope"]
    energy = figure_of(document["energy"][f"{scope}_j_tok"])
    power, latency, carbon = document["power"][f"{scope}_w"], document["latency"], document["carbon"]
    output = figure_of(document["output"]["rate_tok_s"])
    basis = str(energy.basis or "")
    ttft, tpot = (latency[k] for k in ("ttft_s", "tpot_s"))
    grid, money = figure_of(carbon["gco2e"]), figure_of(carbon["cost_currency"])
    return [
        _tile(f"energy per token, {scope}", quantity(energy.value, energy.unit), interval(energy), basis),
        _tile("output rate", quantity(output.value, output.unit), f"U {_u(document)}", basis),
        _tile(f"power, {scope}", quantity(power["mean"], "W"), f"peak {quantity(power['peak'], 'W')}", basis),
        _tile("TTFT p50", quantity(ttft["p50"], "s"), f"p99 {quantity(ttft['p99'], 's')}", basis),
        _tile("TPOT p50", quantity(tpot["p50"], "s"), f"p99 {quantity(tpot['p99'], 's')}", basis),
        _tile("carbon", quantity(grid.value, grid.unit), interval(grid) or (grid.reason or ""), str(grid.basis or "")),
        _tile(
            "energy cost",
            quantity(money.value, money.unit),
            interval(money) or (money.reason or ""),
            str(money.basis or ""),
        ),
    ]


def _u(document: Mapping[str, Any]) -> str:
    value = document["output"]["utilization"]["value"]
    return "unknown" if value is None else digits(value, 2)


def _tile(name: str, value: str, note: str, basis: str) -> dict[str, str]:
    return {"name": name, "value": value, "note": note, "basis": basis}


def _policies(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = document["policies"] or [{"policy": "none"}]
    first = listed[0]
    return [
        {"policy": p["policy"], "about": p.get("about", ""), "cells": _cells(p, first) if len(listed) > 1 else []}
        for p in listed
    ]


def _cells(p: Mapping[str, Any], first: Mapping[str, Any]) -> list[str]:
    return [
        quantity(p["window_w"], "W") if p["window_w"] is not None else "–",
        kept(p),
        change(p["output_tok"], first["output_tok"]),
        f"{p['rejected_req']:,.0f}, {p['deferred_req']:,.0f}",
        f"{quantity(p['ttft_p50_s'], 's')} / {quantity(p['ttft_p99_s'], 's')}",
        f"{quantity(p['tpot_p50_s'], 's')} / {quantity(p['tpot_p99_s'], 's')}",
        "–" if p["attained_ratio"] is None else percent(p["attained_ratio"], 1),
        change(p["energy_j"], first["energy_j"]),
        change(p["energy_j_tok"], first["energy_j_tok"]),
        change(p["cost_currency"], first["cost_currency"]),
        change(p["carbon_gco2e"], first["carbon_gco2e"]),
    ]


def _window(document: Mapping[str, Any]) -> str:
    limited = [e for e in document["events"] if e["limit_w"] is not None]
    if not limited:
        return ""
    return f"Power then: the mean during {limited[0]['name']}, whose limit is {quantity(limited[0]['limit_w'], 'W')}."


def _parts(document: Mapping[str, Any]) -> list[dict[str, str]]:
    parts = document["energy"]["parts_j"]
    total = sum(parts.values()) or 1.0
    return [
        {"name": _part_name(name), "value": quantity(joules, "J"), "share": percent(joules / total, 1)}
        for name, joules in parts.items()
    ]


def _part_name(name: str) -> str:
    """``idle_loaded_idle`` is what loaded replicas draw while they wait: idle, loaded."""
    kind, _, state = name.partition("_")
    return f"idle, {title(state.removesuffix('_idle'))}" if kind == "idle" else title(name)


def _latencies(document: Mapping[str, Any]) -> list[list[str]]:
    names = (("ttft_s", "TTFT"), ("tpot_s", "TPOT"), ("e2e_s", "end to end"), ("queue_s", "wait for a place"))
    cells = []
    for key, label in names:
        of = document["latency"][key]
        bounds = (of.get("interval") or {}).get("mean")
        between = f"{quantity(bounds[0], 's')}–{quantity(bounds[1], 's')}" if bounds else ""
        cells.append([label, *(quantity(of[p], "s") for p in ("mean", "p50", "p90", "p99")), between])
    return cells if any(row[-1] for row in cells) else [row[:-1] for row in cells]


def _data(document: Mapping[str, Any], series: Mapping[str, Mapping[str, Any]]) -> str:
    """What the script draws, as JSON that no text in it can end."""
    limits = [e for e in document["events"] if e["limit_w"] is not None]
    content = {
        "shown": document["policy"],
        "widest": document["energy"]["scope"],
        "start_s": document["start_s"],
        "duration_s": document["output"]["duration_s"],
        "events": document["events"],
        "limit": limits or None,
        "constraints": [[title(name), COLORS[name]] for name in document["constraints"]],
        "series": {policy: _drawn(columns, document) for policy, columns in series.items()},
    }
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _drawn(columns: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    kv_tok = document["limits"]["kv_tok"]
    replicas = document["deployment"]["replicas"]
    shown = {name: _rounded(columns[name]) for name in DRAWN}
    whole = np.asarray(columns["kv_tok"]) / (kv_tok * replicas) if kv_tok else np.full(len(columns["t_s"]), np.nan)
    shown["kv_share"] = _rounded(whole)
    shown["serving_share"] = _rounded(np.asarray(columns["serving_replicas"]) / replicas)
    shown["constraint"] = [int(c) for c in columns["constraint"]]
    return shown


def _rounded(values: Any) -> list[float | None]:
    """Four digits are all that a plot shows; what is not finite is a hole."""
    return [float(f"{v:.4g}") if v - v == 0.0 else None for v in np.asarray(values, dtype=np.float64).tolist()]
