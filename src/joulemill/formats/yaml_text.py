"""YAML result files (llm-d writes them) as the plain values that JSON gives. The extra is ``joulemill[yaml]``."""

from __future__ import annotations

import json
from typing import Any

from joulemill.errors import InputError

#: Larger files are refused: the reader in Python takes about a second for each MiB.
MAX_BYTE = 32 << 20


def load_yaml(name: str, text: str) -> Any:
    """The one document in ``text`` as JSON values: dates become text, NaN and infinities null.

    Raises InputError where it is no YAML, holds aliases (a few lines of them can stand for gigabytes), is nested too
    deeply or too large, and where PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError:
        raise InputError(
            f"{name}: is YAML: pip install 'joulemill[yaml]', or write it as JSON first, e.g. with `yq -o=json`"
        ) from None
    if len(text) > MAX_BYTE:
        raise InputError(f"{name}: is larger than {MAX_BYTE >> 20} MiB of YAML; write it as JSON first")
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise InputError(f"{name}: holds YAML aliases, which are not followed; write it as JSON first")
        value = yaml.safe_load(text)
        return json.loads(json.dumps(value, default=str), parse_constant=lambda _: None)
    except RecursionError:
        raise InputError(f"{name}: is nested too deeply") from None
    except (yaml.YAMLError, ValueError, TypeError, OverflowError) as fault:
        problem = " ".join(str(fault).split())[:120]
        raise InputError(f"{name}: is not YAML ({''.join(c for c in problem if c.isprintable())})") from None
