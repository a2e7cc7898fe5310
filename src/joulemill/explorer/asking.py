"""What the page asks about: texts by the names of ``predict``'s flags, and of a site file's keys behind ``site.``.

They are read by the command line's own parser, which the command hands in, so that a text means the same in both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from joulemill.api.catalog import device, model
from joulemill.catalog.sites import parse_site
from joulemill.errors import InputError
from joulemill.physics.hardware.site import Site
from joulemill.suggestions import meant

#: Flags of ``predict`` that the page has fields for; what names files is not among them.
FIELDS = (
    "model",
    "device",
    "devices",
    "tp",
    "dp",
    "ep",
    "precision",
    "kv-dtype",
    "engine",
    "concurrency",
    "rate",
    "input-tokens",
    "output-tokens",
    "output-spread",
    "cached",
    "max-num-seqs",
    "max-num-batched-tokens",
    "gpu-memory-utilization",
    "power-cap",
    "slo-ttft",
    "slo-tpot",
)
#: Keys of a site file that the page has fields for.
SITE_KEYS = (
    "pue",
    "it_power_limit",
    "facility_power_limit",
    "cooling_limit",
    "carbon_gco2e_kwh",
    "price_currency_kwh",
    "currency",
    "water_l_kwh",
)
#: What the page states of a day that is simulated.
DAY_KEYS = ("rate", "duration", "shape", "cut", "policy")
SITE, DAY = "site.", "day."
#: Keys whose values are numbers in a site file; the others are texts with a unit.
NUMBER_KEYS = ("pue", "carbon_gco2e_kwh", "price_currency_kwh", "water_l_kwh")
#: No field of a page is longer.
MOST_TEXT = 200
#: Flags → arguments of ``joulemill.predict``. InputError names the flag that is wrong.
Read = Callable[[Mapping[str, str]], dict[str, Any]]


class FieldError(InputError):
    """What is wrong, and the field of the page that it stands beside; ``field`` is empty where it is none alone."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True)
class Asked:
    """One deployment as the page states it: texts of flags, of site keys, of a day's keys; empty ones are left out."""

    flags: Mapping[str, str]
    site: Mapping[str, str]
    day: Mapping[str, str]

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """What tells it from others."""
        of_site = {SITE + k: v for k, v in self.site.items()}
        return tuple(sorted({**self.flags, **of_site, **{DAY + k: v for k, v in self.day.items()}}.items()))


def asked(pairs: Mapping[str, str]) -> Asked:
    """The texts of one deployment, checked for what a page may state. Raises FieldError."""
    parts: dict[str, dict[str, str]] = {"": {}, SITE: {}, DAY: {}}
    known = {"": FIELDS, SITE: SITE_KEYS, DAY: DAY_KEYS}
    for name, value in pairs.items():
        prefix = next((p for p in (SITE, DAY) if name.startswith(p)), "")
        key = name.removeprefix(prefix)
        if key not in known[prefix]:
            raise FieldError(f"no field {name[:MOST_TEXT]!r}; {meant(name[:MOST_TEXT], FIELDS)}")
        text = value.strip()
        if len(text) > MOST_TEXT or not text.isprintable():
            raise FieldError(f"longer than {MOST_TEXT} characters, or not printable", name)
        if text:
            parts[prefix][key] = text
    flags = parts[""]
    for name in ("model", "device"):
        if name not in flags:
            raise FieldError(f"name a {name}", name)
    return Asked(flags, parts[SITE], parts[DAY])


def arguments(question: Asked, read: Read, base: Site | None = None) -> dict[str, Any]:
    """Arguments of ``joulemill.predict``. Raises FieldError.

    ``base`` is the site that the page was started with; the page's own keys stand above it.
    """
    _check_names(question)
    try:
        stated = read(question.flags)
    except InputError as fault:
        raise FieldError(str(fault), field_named(str(fault))) from None
    return stated | {"site": _site(question.site, base)}


def names_a_file(text: str) -> bool:
    """Whether what should be a name of the catalog is, or could be, that of a file or folder."""
    is_path = text.count("/") > 1 or text.startswith((".", "/", "~", "\\")) or ":" in text
    return is_path or text.lower().endswith((".json", ".gguf", ".toml"))


def _check_names(question: Asked) -> None:
    """A model and a device are of the catalog: a page must not make the server open files."""
    for name, find in (("model", model), ("device", device)):
        text = question.flags[name]
        if names_a_file(text):
            raise FieldError(f"{text!r} names a file; the page takes names of the catalog", name)
        try:
            find(text)
        except InputError as fault:
            raise FieldError(str(fault), name) from None


def _site(stated: Mapping[str, str], base: Site | None) -> Site | None:
    if not stated:
        return base
    table: dict[str, Any] = {}
    for key, text in stated.items():
        table[key] = _number(key, text) if key in NUMBER_KEYS else text
    try:
        own = parse_site(table)
    except InputError as fault:
        raise FieldError(str(fault), SITE + next((k for k in stated if k in str(fault)), next(iter(stated)))) from None
    return own if base is None else _above(own, base)


def _above(own: Site, base: Site) -> Site:
    """``base`` with what the page states above it."""
    stated = {k: v for k, v in vars(own).items() if v is not None and k not in ("name", "pue_basis")}
    if own.pue_ratio is not None:
        stated["pue_basis"] = own.pue_basis
    return Site(**{**vars(base), **stated})


def _number(key: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise FieldError(f"{text!r} is not a number", SITE + key) from None


def field_named(message: str) -> str:
    """The field that a message of the command line names first; empty where it names none."""
    places = {f: message.find(f"--{f}") for f in FIELDS}
    named = [(at, -len(f), f) for f, at in places.items() if at >= 0]
    return min(named)[2] if named else ""
