"""A model's ``config.json`` read with care: size, encoding, depth and kinds are checked before anything is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemill.catalog.nearby_files import unreadable
from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.hf_config import architecture_from_config
from joulemill.physics.model.precision import Precision
from joulemill.physics.model.quantization_config import precision_from_config

#: No model's config is near this size; the largest published ones list every module of a quantized model.
MAX_CONFIG_BYTE = 4 << 20
#: Nesting below which no reader of ours recurses too deep.
MAX_DEPTH = 64
#: Fields of one config, and values in all of its lists and objects.
MAX_FIELDS, MAX_VALUES = 4096, 200_000
#: Fields that other files of a model's folder have, and what to give instead.
_OTHER_FILES = {
    "peft_type": "describes an adapter (LoRA or the like), not a model: give the config.json of its base model",
    "_class_name": "is of a diffusers pipeline, which makes no tokens: no language model is described in it",
    "_diffusers_version": "is of a diffusers pipeline, which makes no tokens: no language model is described in it",
    "tokenizer_class": "describes a tokenizer: give the config.json of the same folder",
    "weight_map": "lists where the weights are: give the config.json of the same folder",
}


def read_config(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``. Raises InputError that names the file and says what is wrong with it."""
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is no regular file; give the path of a config.json")
    try:
        with path.open("rb") as file:
            data = file.read(MAX_CONFIG_BYTE + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {unreadable(path, error)}") from error
    return parse_config(data, str(path))


def parse_config(data: bytes, name: str = "config.json") -> dict[str, Any]:
    """The JSON object in ``data``; ``name`` is said in errors. Raises InputError."""
    if len(data) > MAX_CONFIG_BYTE:
        raise InputError(f"{name} is larger than {MAX_CONFIG_BYTE >> 20} MB: it is no model config")
    try:
        config = json.loads(data)
    except RecursionError:
        raise InputError(f"{name} is nested too deep to be a model config") from None
    except ValueError as error:
        raise InputError(f"{name} is not JSON: {str(error)[:200]}") from None
    if not isinstance(config, dict):
        raise InputError(f"{name} is not a model config: it must be a JSON object")
    other = next((what for field, what in _OTHER_FILES.items() if field in config and "model_type" not in config), None)
    if other is not None or not config:
        raise InputError(f"{name} {other or 'is empty: give the config.json of the model'}")
    _check_extent(config, name)
    return config


def _check_extent(config: dict[str, Any], name: str) -> None:
    """Refuse what is deeper or larger than any model's config."""
    if len(config) > MAX_FIELDS:
        raise InputError(f"{name} has {len(config)} fields: it is no model config")
    level: list[Any] = [config]
    count = 0
    for _ in range(MAX_DEPTH):
        count += sum(len(v) for v in level)
        if count > MAX_VALUES:
            raise InputError(f"{name} holds more than {MAX_VALUES} values: it is no model config")
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise InputError(f"{name} is nested more than {MAX_DEPTH} deep: it is no model config")


def model_from_config(config: Mapping[str, Any], *, approximate: bool = False) -> tuple[Architecture, Precision]:
    """What a published config describes, with what the engines take for fields that it leaves out.

    Raises InputError where it is not understood (``approximate``: as far as it can be) or contradicts itself.
    """
    architecture = architecture_from_config(config, approximate=approximate, assume=True)
    return architecture, precision_from_config(config)
