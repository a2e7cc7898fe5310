"""What the catalog knows of a device, a model or a site, every fact with unit, basis and source.

Each function returns a document (JSON-able: kind, name, label, facts, notes); ``show`` prints any of them.
A fact is {parameter, value, unit, basis, source, note}; an unknown one has value None and says why in its note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulemill.catalog.devices import device_aliases, device_facts, device_names, find_device
from joulemill.catalog.idle_states import idle_ladder
from joulemill.catalog.model_entry import ModelEntry
from joulemill.catalog.nodes import node_of
from joulemill.catalog.sites import SECOND_PER_HOUR, load_site, reference_pues
from joulemill.errors import InputError
from joulemill.figure import Figure
from joulemill.physics.hardware.device import Device, balance_flop_byte
from joulemill.physics.hardware.node import Node, share_power
from joulemill.physics.hardware.site import Site, it_limit_figure
from joulemill.physics.model.facts import architecture_facts
from joulemill.reports.text.architecture import doubt
from joulemill.reports.text.page import add_row, plain_table, prose
from joulemill.units import JOULE_PER_KWH, parse_quantity

if TYPE_CHECKING:
    from rich.console import Console

Document = dict[str, Any]
#: Of one device in the list of all.
MOST_ALIASES = 3


def _fact(parameter: str, value: Any, unit: str, basis: str | None, source: str, note: str = "") -> dict[str, Any]:
    return {"parameter": parameter, "value": value, "unit": unit, "basis": basis, "source": source, "note": note}


def _of_figure(parameter: str, figure: Figure) -> dict[str, Any]:
    basis = None if figure.basis is None else figure.basis.value
    return _fact(parameter, figure.value, figure.unit, basis, figure.source or "", figure.reason or "")


def device_document(name: str) -> Document:
    """A device of the catalog (any spelling) or of a TOML file, and the power of its node at idle and at TDP.

    Raises InputError for an unknown name or a bad file.
    """
    device = find_device(name)
    own = name.endswith(".toml")
    facts = (
        _own_facts(device, name)
        if own
        else [_fact(f.parameter, float(f.value), f.unit, f.basis, f.source, f.note) for f in device_facts(name)]
    )
    known = {f["parameter"] for f in facts}
    facts += [
        _fact(p, None, "W", None, "", "not published or not found")
        for p in ("tdp", "idle", "loaded_idle")
        if p not in known
    ]
    widest = next((t for t in ("bf16", "fp16", "fp32") if t in device.peak_flop_s), None)
    if widest is not None:
        balance = balance_flop_byte(device, widest)
        facts.append(_fact(f"balance_{widest}", balance, "flop/byte", "modelled", "peak ÷ memory bandwidth"))
    facts += [] if own else [*_idle_facts(name), *_node_facts(device, node_of(name))]
    return {
        "kind": "device",
        "name": device.name,
        "label": f"{device.label} ({device.vendor}, {device.kind})",
        "facts": facts,
        "aliases": [] if own else list(device_aliases(device.name)),
        "notes": [] if own else [f"also read as: {', '.join(device_aliases(device.name))} (the catalog's own list)"],
    }


def _idle_facts(name: str) -> list[dict[str, Any]]:
    """The rungs of the idle ladder that the device's own facts leave out, and what it takes to wake from them."""
    rows = []
    for state in idle_ladder(name):
        word = state.name.replace("-", "_")
        if state.name not in ("bare", "loaded"):
            rows.append(_of_figure(f"idle_{word}", state.power_w))
        named = (("time", state.wake_s), ("energy", state.wake_j))
        rows += [_of_figure(f"wake_{what}_{word}", f) for what, f in named if f.value]
    return rows


def device_rows() -> list[dict[str, Any]]:
    """Every device of the catalog in a row: its name, kind, memory and power limit with source, and its aliases."""
    return [_device_row(name) for name in device_names()]


def _device_row(name: str) -> dict[str, Any]:
    kept = {f.parameter: f for f in device_facts(name)}
    row: dict[str, Any] = {"name": name, "kind": find_device(name).kind}
    for parameter in ("memory", "tdp"):
        f = kept.get(parameter)
        row[parameter] = (
            _fact(parameter, None, "W", None, "", "not published or not found")
            if f is None
            else _fact(parameter, float(f.value), f.unit, f.basis, f.source, f.note)
        )
    return {**row, "aliases": list(device_aliases(name))}


def show_devices(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print ``device_rows``, the name first."""
    table = plain_table("name", "kind", "memory", "TDP", "also read as", right={2, 3}, fold=4)
    for r in rows:
        aliases = ", ".join(r["aliases"][:MOST_ALIASES])
        add_row(table, r["name"], r["kind"], _gib(r["memory"]), _amount(r["tdp"]), aliases)
    console.print(table)
    prose(console, "", "Sources and all other facts: joulemill show device NAME")


def _gib(fact: Mapping[str, Any]) -> str:
    return f"{parse_quantity(_amount(fact), 'B') / 2**30:.3g} GiB"


def _amount(fact: Mapping[str, Any]) -> str:
    return "unknown" if fact["value"] is None else f"{fact['value']:g} {fact['unit']}"


def _own_facts(device: Device, path: str) -> list[dict[str, Any]]:
    peaks = [_fact(f"peak_{t}", v, "flop/s", "declared", path) for t, v in device.peak_flop_s.items()]
    units = {"_byte_s": "byte/s", "_byte": "byte", "_w": "W", "_count": "count"}
    rest = [
        _fact(name.removesuffix(end), value, unit, "declared", path)
        for name, value in vars(device).items()
        if isinstance(value, (int, float))
        for end, unit in units.items()
        if name.endswith(end)
    ]
    return peaks + rest


def _node_facts(device: Device, node: Node) -> list[dict[str, Any]]:
    rows = []
    drawn = (("node_idle", device.idle_w), ("node_loaded_idle", device.loaded_idle_w), ("node_at_tdp", device.tdp_w))
    for parameter, draw_w in drawn:
        if draw_w is not None:
            power = share_power(draw_w, 1, node)
            between = f"{float(power.low_w):.4g} to {float(power.high_w):.4g} W; plug power per device, all alike"
            rows.append(_fact(parameter, float(power.node_w), "W", "modelled", f"node {node.name}", between))
    return rows


def model_document(entry: ModelEntry) -> Document:
    """A model by its architecture: parameters, cache, kinds of layer, what is approximated and what was not read."""
    architecture, source = entry.architecture, "the model's config"
    facts = architecture_facts(architecture, entry.precision)
    rows = [
        *_parameter_rows(facts, source),
        _fact("kv", facts["kv_byte_tok"], "byte/tok", "modelled", source, f"cache in {entry.precision.kv.name}"),
        _fact("state", facts["state_byte_req"], "byte/request", "modelled", source, "running state, of any length"),
        _fact("layers", architecture.layers, "count", "datasheet", source),
        *(_fact(f"layers_{kind}", count, "count", "datasheet", source) for kind, count in facts["layer_kinds"].items()),
        _fact("hidden", architecture.hidden, "count", "datasheet", source),
        _fact("vocabulary", architecture.vocabulary, "count", "datasheet", source),
        _fact("max_context", architecture.max_context, "tok", "datasheet", source),
    ]
    label = f"{architecture.name}{', mixture of experts' if architecture.is_moe else ''}"
    line = doubt(architecture)
    sources = (f"source: {entry.source}",) if entry.source else ()
    notes = list(dict.fromkeys((*((line,) if line else ()), *entry.approximations, *sources)))
    return {
        "kind": "model",
        "name": entry.name,
        "label": label,
        "architecture": facts,
        "facts": rows,
        "notes": notes,
    }


def _parameter_rows(facts: Document, source: str) -> list[dict[str, Any]]:
    return [
        _fact(name, facts[key], "count", "modelled", source, note)
        for name, key, note in (
            ("parameters", "parameters_count", ""),
            ("parameters_active", "active_parameters_count", "that one token passes"),
            ("parameters_multiplied", "multiplied_parameters_count", "2 flop each per token, without attention"),
            ("parameters_mtp", "mtp_parameters_count", "drafting layers, in none of the above"),
        )
    ]


def site_document(path: Path | str) -> Document:
    """A site file as it was understood, with what follows from it; reference PUEs where its own is unknown."""
    site = load_site(path)
    facts = [_stated(p, v, u, str(path)) for p, v, u in _site_rows(site)]
    facts[0]["basis"] = None if site.pue_ratio is None else site.pue_basis.value
    facts.append(_of_figure("it_limit_effective", it_limit_figure(site)))
    notes = [f"PUE {r.pue_ratio:g} would be the {r.name} ({r.source})" for r in reference_pues()]
    return {
        "kind": "site",
        "name": site.name,
        "label": str(path),
        "facts": facts,
        "notes": notes if site.pue_ratio is None else [],
    }


def _site_rows(site: Site) -> list[tuple[str, float | None, str]]:
    return [
        ("pue", site.pue_ratio, "1"),
        ("it_power_limit", site.it_power_limit_w, "W"),
        ("facility_power_limit", site.facility_power_limit_w, "W"),
        ("cooling_limit", site.cooling_limit_w, "W"),
        ("carbon", _times(site.carbon_gco2e_j, JOULE_PER_KWH), f"gCO2e/kWh ({site.carbon_kind or 'kind not stated'})"),
        ("embodied", _times(site.embodied_gco2e_s, SECOND_PER_HOUR), "gCO2e/h"),
        ("price", _times(site.price_currency_j, JOULE_PER_KWH), f"{site.currency or 'currency'}/kWh"),
        ("residual", _times(site.residual_currency_s, SECOND_PER_HOUR), f"{site.currency or 'currency'}/h"),
        ("water", _times(site.water_l_j, JOULE_PER_KWH), "l/kWh of IT energy"),
        ("grid_water", _times(site.grid_water_l_j, JOULE_PER_KWH), "l/kWh"),
    ]


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _stated(parameter: str, value: float | None, unit: str, source: str) -> dict[str, Any]:
    if value is None:
        return _fact(parameter, None, unit, None, source, "not stated")
    return _fact(parameter, value, unit, "declared", source)


def show(document: Document, console: Console) -> None:
    """Print the document as a table: parameter, value and unit, basis, source and note."""
    if not document.get("facts"):
        raise InputError(f"there are no facts about {document.get('name')}")
    prose(console, f"{document['name']}: {document['label']}", "")
    table = plain_table("", "", "", "", "", right={1}, fold=4)
    for f in document["facts"]:
        about = "; ".join(x for x in (f["source"], f["note"]) if x)
        add_row(table, f"  {f['parameter']}", _number(f["value"]), f["unit"], f["basis"] or "-", about)
    console.print(table)
    if document.get("notes"):
        prose(console, "", *document["notes"])


def _number(value: object) -> str:
    if value is None:
        return "unknown"
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
