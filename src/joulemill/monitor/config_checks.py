"""A configuration's tables before they become values: keys, names, devices, models and sites, in plain words.

Every message names the target or site by its name, never by its place in the file, and says what to write instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from joulemill.catalog.devices import find_device
from joulemill.catalog.models import find_model, model_names
from joulemill.catalog.server_dialects import dialect
from joulemill.catalog.site_dialect import KEYS as SITE_KEYS
from joulemill.catalog.site_dialect import SPELLINGS
from joulemill.catalog.sites import load_site_file, site_file
from joulemill.errors import InputError
from joulemill.suggestions import nearest

#: A model's name this near to a cataloged one is a slip (assumed).
NEAR_RATIO = 0.88
#: pydantic's kinds of faults in plain words; ``{x}`` are its own facts.
PLAIN = {
    "missing": "is missing",
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "dict_type": 'must be a table such as {{ tenant = "research" }}',
    "tuple_type": "must be a list",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "too_short": "must have {min_length} values, not {actual_length}",
    "too_long": "must have {max_length} values, not {actual_length}",
    "string_too_short": "must not be empty",
    "string_pattern_mismatch": "must be a http:// or https:// address without a password",
    "model_type": "must be a table",
}


def keys_checked(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Raise InputError for a key of ``table`` that is not ``known``, with the nearest one."""
    keys = list(known)
    for key in table:
        if key not in keys:
            near = nearest(key, keys)
            hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(keys)}"
            raise InputError(f"{where}: unknown key {key!r}; {hint}")


def fields_checked(table: Mapping[str, Any], model: type[BaseModel], where: str) -> None:
    """Raise InputError for a key of ``table`` that ``model`` lacks, and for true or false where it has no switch."""
    keys_checked(table, model.model_fields, where)
    for key, value in table.items():
        if isinstance(value, bool) and model.model_fields[key].annotation is not bool:
            raise InputError(f"{where}: {key} must not be {str(value).lower()}: it is no switch")


def notices(config: Any, environment: Mapping[str, str]) -> list[str]:
    """What ``config`` names and nothing describes: told at the start, since the figures that need it stay unknown."""
    described = {s.name for s in config.site}
    lines = [
        f"target {t.name!r}: no [[site]] is called {t.site!r}: its PUE, carbon and cost stay unknown"
        for t in config.target
        if t.site not in described and t.site != "default"
    ]
    owners: list[tuple[str, Any, tuple[str, ...]]] = [(f"target {t.name!r}", t, ("token_env",)) for t in config.target]
    owners += [(f"[[discover]] {d.where}", d, ("token_env", "source_token_env")) for d in config.discover]
    owners += [] if config.store is None else [("[store]", config.store, ("token_env",))]
    for where, owner, keys in owners:
        for key in keys:
            variable = getattr(owner, key)
            if variable is not None and not environment.get(variable):
                lines.append(f"{where}: {key}: the environment has no {variable}, so no token is sent")
    return lines


def named(kind: str, table: Any, place: int) -> str:
    """How messages call an entry: by its name, else by its place."""
    name = table.get("name") if isinstance(table, Mapping) else None
    return f"{kind} {name!r}" if isinstance(name, str) and name else f"[[{kind}]] number {place + 1}"


def entries(tables: Mapping[str, Any], kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(how it is called, entry) of every ``[[kind]]``. Raises InputError where it is no list of tables."""
    table = tables.get(kind, ())
    if not isinstance(table, list | tuple) or not all(isinstance(x, Mapping) for x in table):
        raise InputError(f"{kind}: write each as a table of its own, under [[{kind}]]")
    for place, entry in enumerate(table):
        yield named(kind, entry, place), entry


def site_values(entry: Mapping[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """A ``[[site]]`` as values, from the one dialect of sites; ``site_file`` brings those of a file, ours win."""
    own = {k: v for k, v in entry.items() if k != "site_file"}
    keys_checked(entry, [*SITE_KEYS, *SPELLINGS, "site_file"], where)
    stated = site_file(own, where=where)
    values = {k: getattr(stated, k) for k in SITE_KEYS if getattr(stated, k) not in (None, ())}
    if "pue_basis" not in own:
        values.pop("pue_basis", None)
    if "site_file" in entry:
        if not isinstance(entry["site_file"], str) or not entry["site_file"]:
            raise InputError(f'{where}: site_file must be the path of a site file, such as "site.toml"')
        file = load_site_file(folder / entry["site_file"])
        values = {k: getattr(file, k) for k in SITE_KEYS if getattr(file, k) not in (None, ())} | values
    if "name" not in values:
        raise InputError(f"{where}: name is missing")
    return values


def targets_checked(targets: Sequence[Any], sites: Sequence[str]) -> None:
    """Raise InputError for a device, model, dialect or site of a target that nobody knows."""
    for t in targets:
        where = f"target {t.name!r}"
        if t.device is not None:
            _known(find_device, t.device, where)
        if t.dialect is not None:
            _known(dialect, t.dialect, where)
        _model(t, where)
        if sites and t.site not in sites and t.site != "default":
            near = nearest(t.site, sites)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(sites)}"
            raise InputError(f"{where}: no [[site]] is called {t.site!r}; {hint}")
    _apart(targets)


def _known(find: Any, name: str, where: str) -> None:
    try:
        find(name)
    except InputError as fault:
        raise InputError(f"{where}: {fault}") from None


def _model(t: Any, where: str) -> None:
    """A model is needed where a device is stated: ceilings are computed of both. Else a near miss is a slip."""
    if t.own_model:
        return
    try:
        find_model(t.model)
        return
    except InputError as fault:
        reason = str(fault)
    near = nearest(t.model, model_names(), least_ratio=NEAR_RATIO)
    if t.device is not None or near:
        raise InputError(f"{where}: {reason}; say own_model = true for a model of your own, which has no ceilings")


def page_of(url: str) -> str:
    """What two spellings of one page have in common."""
    return url.rstrip("/").lower().replace("//localhost:", "//127.0.0.1:")


def _apart(targets: Sequence[Any]) -> None:
    """Two targets that name one SPEC would count its joules twice; those that name one page, its tokens."""
    first: dict[str, str] = {}
    pages: dict[str, str] = {}
    for t in targets:
        other = pages.setdefault(page_of(t.metrics_url), t.name)
        if other != t.name:
            raise InputError(
                f"targets {other!r} and {t.name!r} name the same metrics page {t.metrics_url}; its tokens would be "
                "counted twice: give each server its own page, or keep one of the two"
            )
        for spec in t.meters:
            other = first.setdefault(spec, t.name)
            if other != t.name and spec != "auto":
                raise InputError(
                    f"targets {other!r} and {t.name!r} name the same meter {spec}; two meters read the same thing: "
                    "give each its own boards, e.g. with gpus=0+1+2+3 and gpus=4+5+6+7 in the SPECs"
                )


def plain(fault: ValueError, tables: Mapping[str, Any] | None = None) -> str:
    """The first thing that a model refused, as "which: what", in plain words."""
    if not isinstance(fault, ValidationError):
        return str(fault)
    first = fault.errors(include_url=False)[0]
    text = PLAIN.get(first["type"], "").format(**first.get("ctx", {})) or str(first["msg"])
    if first["type"] in ("extra_forbidden",):
        text = "is not known"
    shown = "" if first["type"] in ("missing", "value_error", "extra_forbidden") else f" ({first['input']!r:.60})"
    where = _where(first["loc"], tables or {})
    return f"{where}{text.removeprefix('Value error, ')}{shown}"


def _where(loc: Sequence[int | str], tables: Mapping[str, Any]) -> str:
    """The place of a fault: "target 'chat-0': metrics_url "."""
    parts = list(loc)
    words = []
    if len(parts) > 1 and isinstance(parts[1], int):
        kind, place = str(parts[0]), int(parts[1])
        known = tables.get(kind, ())
        words = [named(kind, known[place], place) if place < len(known) else kind]
        parts = parts[2:]
    field = ".".join(str(p) for p in parts if not isinstance(p, int))
    head = f"{words[0]}: " if words else ""
    return f"{head}{field} " if field else head
