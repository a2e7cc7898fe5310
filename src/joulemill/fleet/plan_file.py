"""A plan's file → tables whose names are known: one clear error that names table, key and line."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from joulemill.catalog.devices import find_device, load_device
from joulemill.catalog.idle_states import STATES
from joulemill.catalog.models import find_model
from joulemill.catalog.nodes import find_node
from joulemill.catalog.serving import profile_of
from joulemill.catalog.sites import load_site_file
from joulemill.errors import InputError
from joulemill.files import read_bytes, text_of
from joulemill.fleet.inventory import Inventory, listed_inventory
from joulemill.fleet.pue import facility_lines
from joulemill.fleet.tables import (
    GOALS,
    DemandTable,
    ModelOffer,
    ObjectiveTable,
    PlanTables,
    PoolTable,
    SiteTable,
)
from joulemill.fleet.toml_lines import Lines, key_lines
from joulemill.prediction.precision import precision_named
from joulemill.suggestions import meant

KINDS: dict[str, type[BaseModel]] = {
    "site": SiteTable,
    "pool": PoolTable,
    "model": ModelOffer,
    "demand": DemandTable,
    "objective": ObjectiveTable,
}
#: Table, its number among those of its name, and key.
Place = tuple[str, int, str]
#: Raises InputError at a key of an entry, with a text.
Refuse = Callable[[str, str], None]
LISTED = ("site", "pool", "model", "demand")
#: pydantic's kinds of faults in plain words.
PLAIN = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "int_parsing": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "finite_number": "must be a finite number",
    "tuple_type": "must be a list",
    "dict_type": "must be a table",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "string_too_short": "must not be empty",
    "too_short": "needs at least one",
}
#: The largest plan that is read; a list of 8,760 hours is some 60 kB.
MOST_BYTE = 64 << 20


@dataclass(frozen=True)
class PlanFile:
    """A plan's tables, and the folder that its paths are from.

    changed   what was set in place of what the file says, in words;  set_texts  the same as written
    inventory what runs today; None: that is not stated
    """

    tables: PlanTables
    folder: Path
    source: str
    changed: tuple[str, ...] = ()
    set_texts: tuple[str, ...] = ()
    inventory: Inventory | None = None


def load_plan(
    path: Path, changes: Sequence[str] = (), inventory: Callable[[Path], Inventory] = listed_inventory
) -> PlanFile:
    """Read a plan's file, with ``changes`` such as ``site.oslo.it_power_limit=30MW`` in place of what it says.

    inventory   reads what runs today from the file that the plan names
    Raises InputError that names file, line, table and key.
    """
    data = read_bytes(path, MOST_BYTE)
    try:
        text = text_of(data)
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as fault:
        raise InputError(f"{path}: {fault}") from None
    lines = key_lines(text)
    return plan_of(tables, folder=path.parent, source=str(path), lines=lines, changes=changes, inventory=inventory)


def plan_of(
    tables: Mapping[str, Any],
    *,
    folder: Path,
    source: str = "plan",
    lines: Lines | None = None,
    changes: Sequence[str] = (),
    inventory: Callable[[Path], Inventory] = listed_inventory,
) -> PlanFile:
    """The same of tables as they come out of a TOML file. Raises InputError."""
    own = {k: _copied(v) for k, v in tables.items()}
    replaced = [_change(own, text) for text in changes]
    changed = tuple(words for words, _ in replaced)
    places = {place: f"`changes` {text}" for (_, place), text in zip(replaced, changes, strict=True)}
    checker = _Checker(source, lines or {}, places)
    for key in own:
        if key not in PlanTables.model_fields:
            checker.refuse(key, 0, "", f"unknown key {key!r}; {meant(key, PlanTables.model_fields)}")
    for kind in LISTED:
        checker.tables(own, kind)
    _site_files(own, folder, checker)
    checker.keys("objective", 0, own.get("objective", {}), ObjectiveTable)
    try:
        read = PlanTables.model_validate(own)
    except ValidationError as fault:
        raise checker.fault(fault, own) from None
    _check_names(read, checker, folder)
    named = read.objective.inventory
    running = None if named is None else inventory(folder / named)
    return PlanFile(read, folder, source, changed, tuple(changes), running)


def _copied(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _copied(v) for k, v in value.items()}
    return [_copied(v) for v in value] if isinstance(value, (list, tuple)) else value


class _Checker:
    """Messages with their place."""

    def __init__(self, source: str, lines: Lines, changes: Mapping[Place, str]) -> None:
        self.source, self.lines, self.changes = source, lines, changes

    def refuse(self, kind: str, number: int, key: str, text: str, name: str = "") -> None:
        """Raise InputError at a key."""
        raise InputError(f"{self._place(kind, number, key)}: {self._whose(kind, number, name)}{text}")

    def tables(self, own: Mapping[str, Any], kind: str) -> None:
        """Every ``[[kind]]``: a list of tables whose keys are known and whose names differ."""
        entries = own.get(kind, [])
        if not isinstance(entries, list) or not all(isinstance(e, Mapping) for e in entries):
            self.refuse("", 0, kind, f"{kind}: write each as a table of its own, under [[{kind}]]")
        names: set[str] = set()
        for number, entry in enumerate(entries):
            self.keys(kind, number, entry, KINDS[kind])
            name = str(entry.get("name", ""))
            if name in names and kind != "model":
                self.refuse(kind, number, "name", "has the name of another one", name)
            names.add(name)

    def keys(self, kind: str, number: int, entry: Any, of: type[BaseModel]) -> None:
        """Raise InputError for a key that is none of the table's."""
        if not isinstance(entry, Mapping):
            self.refuse("", 0, kind, f"{kind} must be a table, [{kind}]")
        for key in entry:
            if key not in of.model_fields:
                text = f"unknown key {key!r}; {meant(key, of.model_fields)}"
                self.refuse(kind, number, key, text, str(entry.get("name", "")))

    def fault(self, fault: ValidationError, own: Mapping[str, Any]) -> InputError:
        """The first thing that pydantic refused, in plain words and with its line."""
        first = fault.errors(include_url=False)[0]
        loc = [*first["loc"]]
        kind, number = str(loc[0]) if loc else "", 0
        rest = loc[1:]
        if kind in LISTED and rest and isinstance(rest[0], int):
            number, rest = rest[0], rest[1:]
        key = ".".join(str(p) for p in rest if isinstance(p, str))
        text = PLAIN.get(first["type"], "").format(**first.get("ctx", {})) or str(first["msg"])
        text = text.removeprefix("Value error, ")
        if first["type"] == "literal_error":
            key = str(rest[0])
            text = f"cannot be {first['input']!r}; {meant(str(first['input']), GOALS)}"
        if first["type"] in PLAIN and first["type"] != "missing":
            text = f"is {first['input']!r:.60}; it {text}"
        if kind in LISTED and not rest and first["type"] in ("missing", "too_short"):
            return InputError(f"{self.source}: [[{kind}]] is missing: a plan needs at least one")
        entry = own.get(kind, {})
        entry = entry[number] if isinstance(entry, list) and number < len(entry) else entry
        name = str(entry.get("name", "")) if isinstance(entry, Mapping) else ""
        word = f"{key} " if key else ""
        separator = (
            ": " if key and not text.startswith(("is ", "cannot be ", "must", "has ", "needs ", "takes ")) else ""
        )
        place = self._place(kind, number, key.split(".")[0])
        return InputError(
            f"{place}: {self._whose(kind, number, name)}{word.rstrip() + separator if separator else word}{text}"
        )

    def _place(self, kind: str, number: int, key: str) -> str:
        if (kind, number, key) in self.changes:
            return self.changes[kind, number, key]
        line = self.lines.get((kind, number, key)) or self.lines.get((kind, number, ""))
        return f"{self.source}, line {line}" if line else self.source

    @staticmethod
    def _whose(kind: str, number: int, name: str) -> str:
        if kind in LISTED:
            return f"{kind} {name!r}: " if name else f"[[{kind}]] number {number + 1}: "
        return f"[{kind}] " if kind else ""


def _site_files(own: dict[str, Any], folder: Path, checker: _Checker) -> None:
    """What a ``site_file`` states, where the plan itself does not."""
    for number, entry in enumerate(own.get("site", [])):
        named = entry.get("site_file")
        if named is None:
            continue
        try:
            stated = load_site_file(folder / str(named))
        except InputError as fault:
            checker.refuse("site", number, "site_file", str(fault), str(entry.get("name", "")))
        values = {
            k: getattr(stated, k, None) for k in SiteTable.model_fields if getattr(stated, k, None) not in (None, ())
        }
        texts = {
            k: f"{v} W" if k.endswith("_limit") else list(v) if isinstance(v, tuple) else v for k, v in values.items()
        }
        if any(k in entry for k in ("pue_curve", "pue_by_hour")):
            texts.pop("pue", None)
        own["site"][number] = texts | dict(entry)


def _check_names(tables: PlanTables, checker: _Checker, folder: Path) -> None:
    """Raise InputError for a site, device, node, state or model that nobody knows."""
    sites = [s.name for s in tables.site]
    for number, site in enumerate(tables.site):
        _check_site(site, tables, partial(checker.refuse, "site", number, name=site.name))
    for number, pool in enumerate(tables.pool):
        _check_pool(pool, sites, folder, partial(checker.refuse, "pool", number, name=pool.name))
    for number, model in enumerate(tables.model):
        refuse = partial(checker.refuse, "model", number, name=model.name)
        _check_model(model, folder, refuse)
    for number, demand in enumerate(tables.demand):
        refuse = partial(checker.refuse, "demand", number, name=demand.name)
        _check_demand(demand, tables, refuse)
        if demand.trace is not None and not (folder / demand.trace).is_file():
            refuse("trace", f"trace: there is no file {str(folder / demand.trace)!r}")


def _check_site(site: SiteTable, tables: PlanTables, refuse: Refuse) -> None:
    try:
        lines = facility_lines(site)
    except InputError as fault:
        refuse("pue_curve", str(fault))
    if len(lines) > 1 and min(site.price_by_hour_currency_kwh or (0.0,)) < 0.0:
        refuse("price_by_hour_currency_kwh", "a negative price needs one PUE, in place of pue_curve")
    others = {s.currency for s in tables.site if s.currency} - {site.currency}
    if site.currency and others:
        refuse("currency", f"currency {site.currency!r} beside {min(others)!r}: a plan adds money up, so state one")


def _check_model(model: ModelOffer, folder: Path, refuse: Refuse) -> None:
    released = _resolved(lambda name: find_model(_path(name, folder), approximate=True), model.name, "name", refuse)
    _resolved(profile_of, model.engine, "engine", refuse)
    for name in model.precisions:
        _resolved(
            partial(precision_named, model.name, released.architecture, released.precision), name, "precisions", refuse
        )
    for name in model.kv_dtypes:
        _resolved(released.precision.with_kv, name, "kv_dtypes", refuse)


def _check_pool(pool: PoolTable, sites: Sequence[str], folder: Path, refuse: Refuse) -> None:
    _known(pool.site, sites, "site", refuse)
    find = (lambda name: load_device(folder / name)) if pool.device.endswith(".toml") else find_device
    _resolved(find, pool.device, "device", refuse)
    if pool.node is not None:
        _resolved(find_node, pool.node, "node", refuse)
    for state in pool.unused:
        _known(state, STATES, "unused", refuse)


def _check_demand(demand: DemandTable, tables: PlanTables, refuse: Refuse) -> None:
    models, sites = [m.name for m in tables.model], [s.name for s in tables.site]
    for key, names, known in (
        ("model", (demand.model,), models),
        ("models", demand.models, models),
        ("home", (demand.home,), sites),
        ("sites", demand.sites, sites),
    ):
        for name in names:
            if name is not None:
                _known(name, known, key, refuse)
    target = demand.quality_target
    best = max((best_quality(m) for m in tables.model), default=float("-inf"))
    if target is not None and best < target:
        text = f"the best of them scores {best:g}" if best > float("-inf") else "no [[model]] states its quality"
        refuse("quality_target", f"no model meets the quality target {target:g}; {text}")


def best_quality(model: ModelOffer) -> float:
    """A model's highest stated score; minus infinity where none is stated."""
    stated = model.quality.values() if isinstance(model.quality, dict) else [model.quality]
    return max((q for q in stated if q is not None), default=float("-inf"))


def _path(name: str, folder: Path) -> str:
    """A model's or device's own file is named from the plan's folder."""
    return str(folder / name) if name.endswith((".json", ".gguf", ".toml")) else name


def _known(name: str, known: Iterable[str], key: str, refuse: Refuse) -> None:
    names = list(known)
    if name not in names:
        refuse(key, f"{key} {name!r} is not known; {meant(name, names)}")


def _resolved(find: Callable[[str], Any], name: str, key: str, refuse: Refuse) -> Any:
    try:
        return find(name)
    except InputError as fault:
        refuse(key, str(fault))


def _change(own: dict[str, Any], text: str) -> tuple[str, Place]:
    """Put ``kind.name.key=value`` into the tables; what it says, in words, and where it stands."""
    path, equals, written = text.partition("=")
    kind, _, rest = path.strip().partition(".")
    if not equals or kind not in KINDS or not rest:
        raise InputError(f"`changes` {text}: write it like site.NAME.KEY=VALUE, or objective.KEY=VALUE")
    name, _, key = rest.rpartition(".")
    value = _value(written.strip())
    if kind == "objective":
        own.setdefault("objective", {})[rest] = value
        return f"objective {rest} = {written.strip()}", (kind, 0, rest)
    entries = [e for e in own.get(kind, []) if isinstance(e, dict)]
    number, entry = next(((i, e) for i, e in enumerate(entries) if e.get("name") == name), (0, None))
    if entry is None:
        raise InputError(
            f"`changes` {text}: no {kind} is called {name!r}; {meant(name, [str(e.get('name')) for e in entries])}"
        )
    if key not in KINDS[kind].model_fields:
        raise InputError(f"`changes` {text}: a {kind} has no {key!r}; {meant(key, KINDS[kind].model_fields)}")
    entry[key] = value
    return f"{kind} {name}: {key} = {written.strip()}", (kind, number, key)


def _value(written: str) -> Any:
    """A TOML value, or the text itself where it is none: 30MW needs no quotes."""
    try:
        return tomllib.loads(f"x = {written}")["x"]
    except ValueError:
        return written
