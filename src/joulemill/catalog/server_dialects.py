"""Server dialects: how each LLM server names the quantities that ``ledger.record.ServerSample`` holds. One TOML each.

Servers differ in names, not in behavior, so a new server is a new file in ``dialects/``, not a class. This file
loads and checks them; ``servers.metrics`` applies them.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from joulemill.errors import InputError
from joulemill.suggestions import meant

COUNTERS = (
    "prompt_tok_total",
    "prompt_computed_tok_total",
    "prompt_cached_tok_total",
    "output_tok_total",
    "preemptions_total",
    "spec_draft_tok_total",
    "spec_accepted_tok_total",
    "prefill_s_total",
    "decode_s_total",
    "requests_total",
    "ttft_s_total",
    "ttft_count_total",
    "tpot_s_total",
    "tpot_count_total",
)
GAUGES = ("running_req", "waiting_req", "kv_use_ratio", "kv_capacity_tok")
OPERATIONS = ("sum", "mean", "difference", "product")
_TERM = re.compile(r"^(?P<series>[a-zA-Z_]\w*)(?:\{(?P<label>\w+)=(?P<value>[^{}]+)\})?(?:@(?P<read>\w+))?$")


@dataclass(frozen=True, slots=True)
class DialectTerm:
    """One series: its name without prefix and ``_total``; a label that must hold a value; a label to read instead."""

    series: str
    label: str | None = None
    value: str | None = None
    read: str | None = None


@dataclass(frozen=True, slots=True)
class QuantitySource:
    """One way to get a quantity. sum, mean: over all series of all terms. difference: first less the others.

    product: the first summed over its series, times the others' largest (a block size, the same in every engine).
    """

    operation: str
    terms: tuple[DialectTerm, ...]


@dataclass(frozen=True, slots=True)
class DialectQuantity:
    """One canonical name, whether it counts up or goes up and down, and the ways to get it, best first."""

    name: str
    kind: str
    ways: tuple[QuantitySource, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """One server's names. ``keep``: where a series has this label, only this value counts (rank 0 of many).

    ``start``: what stands before the series' names on a page that has a prefix of its own (``ray_vllm_``, or nothing);
    None: the prefix with a colon or an underscore.
    """

    name: str
    prefix: str
    source: str
    quantities: tuple[DialectQuantity, ...]
    keep: Mapping[str, str] = field(default_factory=dict)
    start: str | None = None

    @property
    def starts(self) -> tuple[str, ...]:
        """What may stand before a series' name."""
        return (f"{self.prefix}:", f"{self.prefix}_") if self.start is None else (self.start,)

    def series(self) -> frozenset[str]:
        """Every series that the dialect can use, without prefix and ``_total``."""
        return frozenset(t.series for q in self.quantities for w in q.ways for t in w.terms)


@cache
def dialects() -> tuple[Dialect, ...]:
    """All dialects that Joulemill knows, by name."""
    folder = resources.files("joulemill.catalog") / "data" / "dialects"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    return tuple(read_dialect(f.read_text(encoding="utf-8"), f.name) for f in files)


def dialect(name: str) -> Dialect:
    """The dialect called ``name``. Raises InputError naming those that there are."""
    for entry in dialects():
        if entry.name == name:
            return entry
    raise InputError(f"there is no server dialect {name!r}; {meant(name, [d.name for d in dialects()])}")


def read_dialect(text: str, origin: str) -> Dialect:
    """A dialect from TOML. Raises InputError that names ``origin`` and what is wrong in it."""
    try:
        table = tomllib.loads(text)
        parsed = Dialect(
            name=table["name"],
            prefix=table["prefix"],
            source=table["source"],
            quantities=tuple(_quantity(q, origin) for q in table["quantity"]),
            keep=dict(table.get("keep", {})),
        )
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{origin}: not TOML: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{origin}: lacks or garbles {error}; see the other files in dialects/") from None
    return parsed


def _quantity(row: Mapping[str, Any], origin: str) -> DialectQuantity:
    name, kind = row["name"], row["kind"]
    if (kind == "counter" and name not in COUNTERS) or (kind == "gauge" and name not in GAUGES):
        raise InputError(f"{origin}: {name!r} is no {kind} of ours; counters: {COUNTERS}, gauges: {GAUGES}")
    if kind not in ("counter", "gauge"):
        raise InputError(f"{origin}: {name}: kind {kind!r} is neither 'counter' nor 'gauge'")
    return DialectQuantity(name, kind, tuple(_way(way, f"{origin}: {name}") for way in row["ways"]))


def _way(row: Mapping[str, Any], origin: str) -> QuantitySource:
    if len(row) != 1 or next(iter(row)) not in OPERATIONS:
        raise InputError(f"{origin}: a way is one of {OPERATIONS}, not {dict(row)}")
    ((operation, terms),) = row.items()
    return QuantitySource(operation, tuple(_term(term, origin) for term in terms))


def _term(text: str, origin: str) -> DialectTerm:
    match = _TERM.match(text)
    if match is None:
        raise InputError(f"{origin}: {text!r} is no term; write series, series{{label=value}} or series@label")
    return DialectTerm(**match.groupdict())
