"""Settings of several values in one text, as options take them: ``min=1,max=8,target=16``. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulemill.errors import InputError
from joulemill.suggestions import meant


def parse_fields(text: str, known: Sequence[str], name: str, *, needed: Sequence[str] = ()) -> Mapping[str, str]:
    """``key=value`` pairs, joined by commas. InputError names the option ``name`` and what is wrong with it.

    >>> dict(parse_fields("min=1, tokens=lognormal:800:p90=2000", ("min", "tokens"), "--x"))
    {'min': '1', 'tokens': 'lognormal:800:p90=2000'}
    """
    fields: dict[str, str] = {}
    for part in text.split(","):
        key, equals, value = (x.strip() for x in part.partition("="))
        if not equals or not value:
            raise InputError(f"{name}: {part.strip()[:40]!r} is no key=value; it takes {', '.join(known)}")
        if key not in known:
            raise InputError(f"{name}: unknown key {key[:40]!r}; {meant(key, known)}")
        if key in fields:
            raise InputError(f"{name}: {key} is given twice")
        fields[key] = value
    missing = [key for key in needed if key not in fields]
    if missing:
        raise InputError(f"{name}: {' and '.join(missing)} must be given, e.g. {missing[0]}=…")
    return fields
