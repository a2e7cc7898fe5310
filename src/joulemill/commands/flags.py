"""Arguments of the Python API and their flags: the one place where a message's `argument` becomes a --flag."""

from __future__ import annotations

import os
import re

from joulemill.errors import InputError

#: Argument → flag, where the flag is not the argument's own name without its unit.
_FLAGS = {
    "input_lengths": "--input-tokens",
    "output_lengths": "--output-tokens",
    "output_spread_ratio": "--output-spread",
    "context_tok": "--context",
    "headers": "--header",
    "slots": "--max-num-seqs",
    "kv_type": "--kv-dtype",
    "architecture_path": "--architecture",
    "trace_speed_ratio": "--speed",
    "trace_input_scale_ratio": "--input-scale",
    "trace_output_scale_ratio": "--output-scale",
    "speed_ratio": "--speed",
    "volume_ratio": "--volume",
    "input_scale_ratio": "--input-scale",
    "output_scale_ratio": "--output-scale",
    "shared_prefix_tok": "--shared-prefix",
    "cache_prompt": "--no-prompt-cache",
    "until_ratio": "--until",
    "cached_ratio": "--cached",
    "clock_ratio": "--clock-lock",
    "clock_hz": "--clock-lock",
    "meters": "--meter",
    "changes": "--set",
    "least_attained": "--attain",
}
#: Units that an argument's name ends in, and a flag's does not.
_UNITS = ("_req_s", "_s", "_w", "_tok")
_ARGUMENT = re.compile(r"`([a-z][a-z0-9_]*)(?:=([^`]*))?`")


def flag_of(argument: str) -> str:
    """The flag of an argument.

    >>> flag_of("power_cap_w"), flag_of("max_num_seqs"), flag_of("until_ratio")
    ('--power-cap', '--max-num-seqs', '--until')
    """
    unit = next((u for u in _UNITS if argument.endswith(u)), "")
    return _FLAGS.get(argument) or "--" + argument.removesuffix(unit).replace("_", "-")


def in_flags(message: str) -> str:
    """``message`` with each `argument` as its flag, and each `argument=value` as flag and value.

    >>> in_flags("`tp` is 3; give `devices=6`, or `approximate=True`")
    '--tp is 3; give --devices 6, or --approximate'
    """
    return _ARGUMENT.sub(_in_flags, message)


def _in_flags(match: re.Match[str]) -> str:
    flag, value = flag_of(match[1]), match[2]
    return flag if value in (None, "True") else f"{flag} {value}"


def page_token(variable: str | None) -> str | None:
    """The access token of a page, from the environment variable of ``--token-env``. InputError where it has none."""
    token = os.environ.get(variable) if variable else None
    if variable and not token:
        raise InputError(f"--token-env {variable}: the environment has no such variable, or it is empty")
    return token
