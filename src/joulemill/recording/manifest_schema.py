"""``run.json`` to and from the manifest: what its members may hold, checked by pydantic when a run is read.

The kinds and bounds are those of the manifest's own dataclasses (``ledger.manifest``), so the two cannot part. Members
may be absent or null; what is there must be of its kind. Members that this version does not know are kept as they are.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields
from functools import cache
from typing import Annotated, Any, NotRequired, Required, Union, get_args, get_origin, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from joulemill.errors import InputError
from joulemill.ledger.manifest import Bounds, Manifest, ManifestPart, Table, part_of

_OWN = {f.name for f in fields(ManifestPart)}


def manifest_in(members: Table, where: str) -> Manifest:
    """The manifest that ``members`` of a file are. Raises InputError, naming the member, for one of another kind."""
    try:
        _schema().validate_python(dict(members))
    except ValidationError as fault:
        first = fault.errors(include_url=False, include_input=False)[0]
        member = ".".join(str(p) for p in first["loc"])
        raise InputError(f"{where}: {member}: {first['msg']}; is the file damaged?") from None
    return part_of(Manifest, members)


@cache
def _schema() -> TypeAdapter[Any]:
    return TypeAdapter(_table(Manifest))


def _table(kind: type[ManifestPart]) -> Any:
    """The members of a part as a table that pydantic checks: those without a default must be there."""
    hints = get_type_hints(kind, include_extras=True)
    known = [f for f in fields(kind) if f.name not in _OWN]
    required = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
    members = {f.name: (Required if f.name in required else NotRequired)[_kind(hints[f.name])] for f in known}
    typed_dict: Any = TypedDict
    return typed_dict(kind.__name__, members, total=False)


def _kind(hint: Any) -> Any:
    """What pydantic is to hold a member to: nothing is converted, but whole numbers may stand for others."""
    if get_origin(hint) in (Union, types.UnionType):
        return Union[tuple(_kind(a) for a in get_args(hint))]  # noqa: UP007
    if get_origin(hint) is Annotated:
        number, *bounds = get_args(hint)
        within = next(b for b in bounds if isinstance(b, Bounds))
        return Annotated[number, Field(ge=within.low, le=within.high, strict=True)]
    if get_origin(hint) is tuple:
        return list[_kind(get_args(hint)[0])]  # type: ignore[misc]
    if get_origin(hint) in (Mapping, dict):
        return _mapping(get_args(hint)[1])
    if isinstance(hint, type) and issubclass(hint, ManifestPart):
        return _table(hint)
    return Annotated[hint, Field(strict=True)] if hint in (str, bool, int) else Any if hint is object else hint


def _mapping(value: Any) -> Any:
    # Not `strict`, which pydantic 2.8 cannot apply here; JSON has no other mapping.
    return dict[str, Any] if value is object else dict[str, _kind(value)]  # type: ignore[misc]
