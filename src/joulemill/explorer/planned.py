"""A plan on the page: a file's text planned once, then with one limit after another moved."""

from __future__ import annotations

import tomllib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from threading import Lock
from typing import Any

from joulemill.api.planning import FleetPlan, plan
from joulemill.errors import InputError
from joulemill.explorer.asking import names_a_file
from joulemill.explorer.copying import of_plan
from joulemill.units import parse_quantity

#: Texts of plans that are kept solved, so that a moved limit needs no new predictions.
MOST_PLANS = 8
#: Limits of a site that the page moves.
LIMITS = ("it_power_limit", "facility_power_limit", "cooling_limit")
#: Keys and endings that name files, which a page must not make the server open.
_FILE_KEYS = ("trace", "site_file", "inventory", "calibration")
_FILE_ENDINGS = (".json", ".jsonl", ".gguf", ".toml", ".csv", ".parquet")
_PATHS = ("/", "./", "../", "~", "\\")
#: Keys whose values are names of the catalog.
_NAME_KEYS = ("model", "device", "draft", "small", "alternative")
_MOST_CHANGES = 20
_PARTS = ("status", "basis", "objective", "output", "power", "constraints", "shortage", "notes")


class Plans:
    """Solved plans by their text. One is solved at a time."""

    def __init__(self) -> None:
        self._solved: OrderedDict[str, FleetPlan] = OrderedDict()
        self._lock = Lock()

    def document(self, text: str, name: str, changes: Sequence[str]) -> dict[str, Any]:
        """What the page shows of the plan in the file ``name`` with ``changes``.

        Raises InputError, as ``joulemill plan`` does.
        """
        if len(changes) > _MOST_CHANGES:
            raise InputError(f"{len(changes)} changes; the page moves {_MOST_CHANGES} limits at most")
        with self._lock:
            base = self._base(text)
            solved = base.what_if(*changes) if changes else base
        document = solved.to_dict()
        rows = list(solved._rows())
        return {
            "line": repr(solved)[1:-1],
            "sentences": [says for name, says in rows if name in ("worth", "short")],
            "limits": list(limits_of(_tables(text))),
            "changes": list(changes),
            **{k: document[k] for k in _PARTS},
            "replicas": [{k: v for k, v in r.items() if not isinstance(v, (list, dict))} for r in document["replicas"]],
            "flows": flows_of(document),
            "copy": vars(of_plan(name, changes)),
        }

    def _base(self, text: str) -> FleetPlan:
        if text in self._solved:
            self._solved.move_to_end(text)
            return self._solved[text]
        tables = _tables(text)
        refuse_files(tables)
        solved = self._solved[text] = plan(tables, extras=False)
        while len(self._solved) > MOST_PLANS:
            self._solved.popitem(last=False)
        return solved


def _tables(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as fault:
        raise InputError(f"the plan is no TOML: {fault}") from None


def refuse_files(tables: Any, key: str = "") -> None:
    """Raises InputError where a table names a file."""
    if isinstance(tables, Mapping):
        for name, value in tables.items():
            refuse_files(value, str(name))
    elif isinstance(tables, list):
        for value in tables:
            refuse_files(value, key)
    elif isinstance(tables, str) and _is_file(tables, key):
        raise InputError(f"{key}: {tables[:80]!r} names a file; the page reads none, `joulemill plan` does")


def _is_file(text: str, key: str) -> bool:
    named = key in _NAME_KEYS and names_a_file(text)
    return named or key in _FILE_KEYS or text.startswith(_PATHS) or text.lower().endswith(_FILE_ENDINGS)


def flows_of(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Which demand is served where: output tokens per second from each demand to each site, means over the plan."""
    flows: dict[tuple[str, str], float] = {}
    for row in document["replicas"]:
        for demand, rate_tok_s in row["classes"].items():
            flows[demand, row["site"]] = flows.get((demand, row["site"]), 0.0) + rate_tok_s
    return [{"demand": d, "site": s, "rate_tok_s": rate_tok_s} for (d, s), rate_tok_s in flows.items()]


def limits_of(tables: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Limits that can be moved: the name that a change has, and the value [W]."""
    for site in tables.get("site", ()):
        for key in LIMITS:
            if isinstance(site.get(key), str) and site.get("name"):
                value_w = parse_quantity(site[key], "W", name=key)
                yield {"change": f"site.{site['name']}.{key}", "value_w": value_w}
