"""The report document as JSON and back, and its JSON Schema: all three from the dataclasses, so they cannot part."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any

from joulemill.analysis.report import SCHEMA_VERSION, AttributionReport, Report, TaskQuality
from joulemill.errors import InputError
from joulemill.jsonable import plain

if TYPE_CHECKING:
    from pydantic import TypeAdapter


def report_document(report: Report) -> dict[str, Any]:
    """The report as JSON types; members that the document leaves out where they are None are left out."""
    members: dict[str, Any] = plain(report)
    attribution, scores = members["energy"]["attribution"], members["quality"]["by_task"].values()
    for table, kind in ((attribution, AttributionReport), *((s, TaskQuality) for s in scores)):
        for name in [f.name for f in fields(kind) if "omit_none" in f.metadata and table[f.name] is None]:
            del table[name]
    return members


def to_json(report: Report) -> str:
    """The report as one JSON document, ending in a newline. The same report gives the same bytes."""
    return json.dumps(report_document(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> Report:
    """Read a report document back. Raises InputError for anything that is not one of a version we know."""
    from pydantic import ValidationError

    try:
        raw = json.loads(text)
    except (ValueError, RecursionError) as fault:
        raise InputError(f"not a report: {fault}; give the JSON that `joulemill report RUN --json` prints") from fault
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if version is None:
        raise InputError(
            "not a report (it has no schema_version); give the JSON that `joulemill report RUN --json` prints"
        )
    if not isinstance(version, str) or version.split(".")[0] != SCHEMA_VERSION.split(".")[0]:
        own = " (the run.json of a run? Give its folder)" if isinstance(raw, dict) and "options" in raw else ""
        raise InputError(
            f"report schema version {version!r} is not readable here; this is version {SCHEMA_VERSION}{own}"
        )
    try:
        return _schema().validate_python(raw)
    except RecursionError:
        raise InputError("not a report: it is nested too deeply") from None
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise InputError(f"not a valid report: {where}: {first['msg']} ({fault.error_count()} faults)") from fault


@cache
def _schema() -> TypeAdapter[Report]:
    """Made once: it takes longer than reading the report."""
    from pydantic import TypeAdapter

    return TypeAdapter(Report)


def schema() -> dict[str, Any]:
    """The JSON Schema of the report document."""
    schema_document = _schema().json_schema()
    schema_document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema_document["title"] = f"Joulemill energy-to-token report {SCHEMA_VERSION}"
    return schema_document
