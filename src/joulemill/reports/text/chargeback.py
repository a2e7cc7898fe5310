"""A bill of energy, carbon and money as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from joulemill.reports.text.page import add_row, plain_table, prose
from joulemill.wording import digits, percent

if TYPE_CHECKING:
    from rich.console import Console

DASH = "–"
#: Amounts below this are said to be below it.
LEAST_SHOWN = 1e-3
#: Column of the document → its heading, where all rows agree a line below the table.
SHARED = {"scope": "scope", "basis": "basis"}


def show(rows: Sequence[Mapping[str, Any]], by: str, console: Console) -> None:
    """Print the rows: aligned, three digits, a dash for what is not known."""
    if not rows:
        prose(console, "No joules are known in this time.")
        return
    money = next((str(r["currency"]) for r in rows if r["currency"]), "cost")
    differing = [name for name in SHARED if len({r[name] for r in rows}) > 1]
    headings = ("day", by, "kWh", "Mtok", "J/tok", "kg CO2e", money, "share", *(SHARED[n] for n in differing))
    table = plain_table(*headings, right={2, 3, 4, 5, 6, 7}, fold=1)
    for r in rows:
        carbon_kg = None if r["carbon_g"] is None else r["carbon_g"] / 1e3
        amounts = (r["energy_kwh"], r["output_tok"] / 1e6, r["j_tok"], carbon_kg, r["cost"])
        share = DASH if r["share_ratio"] is None else percent(r["share_ratio"], 1)
        add_row(table, str(r["day_utc"]), str(r["key"]), *map(_amount, amounts), share, *(r[n] for n in differing))
    console.print(table)
    agreed = [f"{SHARED[name]}: {rows[0][name]}" for name in SHARED if name not in differing]
    if agreed:
        prose(console, "; ".join(agreed))


def _amount(value: float | None) -> str:
    if value is None:
        return DASH
    if 0 < abs(value) < LEAST_SHOWN:
        return f"<{LEAST_SHOWN}"
    return digits(value)
