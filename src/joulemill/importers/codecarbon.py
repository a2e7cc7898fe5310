"""CodeCarbon's ``emissions.csv``: one row a run, totals in kWh and kg.

Traps: where no sensor can be read CodeCarbon fills in constants (RAM by its size, CPU by load × TDP) and no column says
so: its energy is kept as declared whatever it was. Its ``*_energy`` columns are multiplied by the PUE of the row,
its ``*_power`` columns are not; the PUE is divided out here and stands alone. It knows nothing of tokens.
"""

from __future__ import annotations

from joulemill.errors import InputError
from joulemill.formats.documents import Document
from joulemill.formats.untrusted import Part
from joulemill.importers.recording import Choice, Recording, Statements
from joulemill.units import JOULE_PER_KWH
from joulemill.wording import percent

TOOL = "CodeCarbon"
_SCOPES = (("gpu_energy", "energy.device_j"), ("cpu_energy", "energy.cpu_j"), ("ram_energy", "energy.memory_j"))
_MAYBE = "CodeCarbon does not say whether it was a sensor or a constant"


def recognizes(document: Document) -> bool:
    """Whether ``document`` is an ``emissions.csv``."""
    return document.form == "csv" and document.head.has("duration", "emissions", "energy_consumed")


def parse(document: Document, choice: Choice) -> Recording:
    """The chosen row. Raises InputError where there are several and none is chosen."""
    rows = list(document.root.each())
    if choice.part is not None and not 1 <= choice.part <= len(rows):
        raise InputError(f"`part` {choice.part}: {document.name} holds {len(rows)} rows")
    if choice.part is None and len(rows) > 1:
        raise InputError(f"{document.name}: holds {len(rows)} runs; choose a row with `part`, from 1 to {len(rows)}")
    row = rows[(choice.part or 1) - 1]
    pue = row["pue"].number()
    if pue is not None and pue < 1:
        raise InputError(f"{row.where}.pue: {pue:g}; a PUE is at least 1")
    statements = _stated(row, pue or 1.0, pue is not None)
    return Recording(
        tool=TOOL,
        tool_version=row["codecarbon_version"].text(),
        hardware={
            "cpu": row["cpu_model"].text(),
            "stated_device": row["gpu_model"].text(),
            "tracking_mode": row["tracking_mode"].text(),
        },
        stated=statements.figures,
        warnings=(*statements.left_out, *_warnings(row, pue)),
    )


def _stated(row: Part, pue: float, is_measured: bool) -> Statements:
    statements = Statements(TOOL)
    duration = row["duration"].number(least=0.0)
    statements.add("window.duration_s", row["duration"], "s")
    for name, ours in _SCOPES:
        statements.add(ours, row[name], "J", JOULE_PER_KWH / pue, _MAYBE)
    node = row["energy_consumed"]
    statements.add("energy.node_j", node, "J", JOULE_PER_KWH / pue, f"sum of GPU, CPU and RAM; {_MAYBE}")
    if duration:
        statements.add("power.node_w", node, "W", JOULE_PER_KWH / pue / duration, f"energy over duration; {_MAYBE}")
    if is_measured:
        statements.add("site.pue", row["pue"], "1", reason="CodeCarbon's default is 1")
        if duration:
            statements.add("power.site_w", node, "W", JOULE_PER_KWH / duration, _MAYBE)
    statements.add("energy.carbon_gco2e", row["emissions"], "gCO2e", 1e3, "average grid of the place")
    return statements


def _warnings(row: Part, pue: float | None) -> tuple[str, ...]:
    texts = ["CodeCarbon's file tells no tokens: joules per token are unknown"]
    ram, whole = row["ram_energy"].number(), row["energy_consumed"].number()
    if ram and whole and 0 < ram <= whole:
        texts.append(
            f"{percent(ram / whole)} of its energy is RAM, which CodeCarbon takes from a constant per module or GB"
        )
    if pue is None:
        texts.append("the row has no PUE column (CodeCarbon before 2.2): taken as 1")
    elif pue == 1.0:
        texts.append("PUE 1 is CodeCarbon's default, not a statement about a site")
    else:
        texts.append(f"its energy columns hold a PUE of {pue:g}, its power columns do not; it is divided out here")
    if (row["tracking_mode"].text() or "machine") == "machine":
        texts.append("tracked in mode machine: other processes of the machine are in it")
    return tuple(texts)
