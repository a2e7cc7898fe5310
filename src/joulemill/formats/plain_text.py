"""What a server says, made fit to be kept and shown: no secret of ours in it, no half character, bounded. Pure.

A server may send back the key that it was asked with, in an error, an event of a stream or any field: everything
textual of an answer passes here before it reaches a record, a file or a terminal.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote

#: A key or a header's value may be a word such as "1", which would blank out all text: what is shorter is no secret.
#: Assumed.
LEAST_KEY_CHARS, LEAST_SECRET_CHARS = 4, 6
MAX_NAME_CHARS = 256
_HALF = re.compile("[\ud800-\udfff]")
BLANK = "[key]"


def secrets_of(api_key: str | None, headers: Iterable[tuple[str, str]] = ()) -> tuple[str, ...]:
    """What must not be repeated: the key, and values of headers that can be secrets.

    Each also as JSON and URLs spell it. The longest come first, so that none leaves a part of another behind.
    """
    plain = [api_key] if api_key and len(api_key) >= LEAST_KEY_CHARS else []
    for _, value in headers:
        if len(value) >= LEAST_SECRET_CHARS:
            plain.append(value)
        plain += [word for word in value.split() if len(word) >= LEAST_SECRET_CHARS]
    spelled = [s for text in plain for s in (text, json.dumps(text)[1:-1], quote(text, safe=""))]
    return tuple(sorted(dict.fromkeys(spelled), key=len, reverse=True))


def plain_text(text: str, secrets: tuple[str, ...] = (), limit: int | None = None) -> str:
    """``text`` without ``secrets`` and lone surrogates, at most ``limit`` characters long."""
    for secret in secrets:
        text = text.replace(secret, BLANK)
    if not text.isascii():
        text = _HALF.sub("\ufffd", text)
    return text if limit is None or len(text) <= limit else text[: limit - 1] + "…"


def plain_name(value: object, secrets: tuple[str, ...] = ()) -> str | None:
    """A name or version that a server states; None where it states none."""
    return None if value is None else plain_text(str(value)[: 4 * MAX_NAME_CHARS], secrets, MAX_NAME_CHARS)
