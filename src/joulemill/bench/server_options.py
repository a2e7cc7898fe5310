"""What a user states of a server that is driven: headers, extra fields of the body, what it serves. Checked here.

A header's value may be a secret: it is sent to the server's own address alone, and never written down.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from joulemill.errors import InputError

#: Headers that the client or HTTP itself sets: another value would break the measurement or the exchange.
_OURS = {
    *["host", "content-length", "content-type", "transfer-encoding", "connection", "accept-encoding", "expect"],
    *["te", "upgrade", "trailer"],
}
#: Fields of the body that the measurement itself decides.
_FIELDS = {"messages", "prompt", "model", "stream", "stream_options", "max_tokens", "n", "best_of"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}", re.ASCII)
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e\t]{0,8190}[\x21-\x7e])?", re.ASCII)
FROM_ENVIRONMENT = "env:"
MAX_BODY_CHARS = 64 << 10


def parse_headers(texts: Sequence[str], environ: Mapping[str, str] = os.environ) -> tuple[tuple[str, str], ...]:
    """``NAME=VALUE`` texts as pairs; a VALUE ``env:VARIABLE`` is taken from the environment. Raises InputError."""
    return tuple(_header(text, environ) for text in texts)


def _header(text: str, environ: Mapping[str, str]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not _TOKEN.fullmatch(name):
        raise InputError("`headers`: write NAME=VALUE, e.g. `headers` X-Tenant=lab, or X-Key=env:VARIABLE for a secret")
    if name.lower() in _OURS:
        raise InputError(f"`headers` {name}: the client sets this one itself; leave it out")
    if name.lower() == "authorization":
        raise InputError("`headers` Authorization: put the key into JOULEMILL_API_KEY; flags end in process lists")
    if value.startswith(FROM_ENVIRONMENT):
        variable = value.removeprefix(FROM_ENVIRONMENT)
        value = environ.get(variable, "")
        if not value:
            raise InputError(f"`headers` {name}: the environment has no {variable!r}, or it is empty")
    if not _VALUE.fullmatch(value):
        raise InputError(f"`headers` {name}: its value must be printable ASCII on one line, and not empty")
    return name, value


def parse_extra_body(text: str | None) -> dict[str, Any]:
    """A JSON text as fields for each request's JSON. Raises InputError for what is not an object, or is ours."""
    if text is None:
        return {}
    wrong = "`extra_body`: write a JSON object, e.g. '{\"top_k\": 1}'"
    if len(text) > MAX_BODY_CHARS:
        raise InputError(f"`extra_body`: is longer than {MAX_BODY_CHARS} characters")
    try:
        body = json.loads(text, parse_constant=_no_number)
        json.dumps(body, allow_nan=False).encode()
    except RecursionError:
        raise InputError(f"{wrong} (it is nested too deep)") from None
    except ValueError as fault:
        raise InputError(f"{wrong} ({fault})") from None
    if not isinstance(body, dict):
        raise InputError(wrong)
    ours = sorted(_FIELDS & body.keys())
    if ours:
        raise InputError(f"`extra_body`: {', '.join(ours)} is set by the load itself; leave it out")
    return body


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def read_architecture(path: Path | None) -> dict[str, Any] | None:
    """The config.json that says what an alias stands for: a file, or a folder that holds one.

    It is read and understood before the run, since the run's report needs it. Raises InputError where it cannot be.
    """
    if path is None:
        return None
    from joulemill.catalog.models import find_model

    file = path / "config.json" if path.is_dir() else path
    if file.suffix == ".gguf":
        raise InputError(f"`architecture` {path}: give the model's config.json; a GGUF is for `gguf`")
    if not file.is_file():
        raise InputError(f"`architecture` {path}: there is no such file; give the model's config.json")
    find_model(path)
    config: dict[str, Any] = json.loads(file.read_bytes())
    return config


def check_precision(text: str | None) -> str | None:
    """``text`` as it was stated, once it is known to mean something. Raises InputError."""
    if text is None:
        return None
    from joulemill.catalog.model_names import GGUF_BITS, QUANTIZATIONS, precision_of_spec

    word = text.strip().lower().replace("_", "-")
    if not word:
        raise InputError("`precision`: write what is served, e.g. bf16, fp8, awq or 'bf16 experts=mxfp4'")
    if word not in QUANTIZATIONS and word not in GGUF_BITS:
        precision_of_spec(text)
    return text
