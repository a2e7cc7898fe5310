"""The report document as JSON and back, and its JSON Schema: all three from the dataclasses, so they cannot part."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import Any

from joulemill.analysis.report import SCHEMA_VERSION, Report
from joulemill.errors import InputError

#: What JSON has as it stands; asked first, because a run folder holds millions of them.
_AS_IS = frozenset({str, int, bool, type(None)})


def plain(value: Any) -> Any:
    """``value`` as JSON types. NaN and infinities become null: JSON has neither, and unknown is null."""
    if type(value) in _AS_IS:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        members = ((name, getattr(value, name), omitted) for name, omitted in _members(type(value)))
        return {name: plain(member) for name, member, omitted in members if member is not None or not omitted}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, Enum):
        return value.value
    return value


@cache
def _members(kind: type) -> tuple[tuple[str, bool], ...]:
    """Fields of a dataclass, and whether the document leaves each out where it is None."""
    return tuple((f.name, "omit_none" in f.metadata) for f in dataclasses.fields(kind))


def to_json(report: Report) -> str:
    """The report as one JSON document, ending in a newline. The same report gives the same bytes."""
    return json.dumps(plain(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def from_json(text: str) -> Report:
    """Read a report document back. Raises InputError for anything that is not one of a version we know."""
    from pydantic import TypeAdapter, ValidationError

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
        return TypeAdapter(Report).validate_python(raw)
    except RecursionError:
        raise InputError("not a report: it is nested too deeply") from None
    except ValidationError as fault:
        first = fault.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise InputError(f"not a valid report: {where}: {first['msg']} ({fault.error_count()} faults)") from fault


def schema() -> dict[str, Any]:
    """The JSON Schema of the report document."""
    from pydantic import TypeAdapter

    schema_document = TypeAdapter(Report).json_schema()
    schema_document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema_document["title"] = f"Joulemill energy-to-token report {SCHEMA_VERSION}"
    return schema_document
