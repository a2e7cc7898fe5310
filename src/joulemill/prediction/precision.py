"""Model names and precision words of a table → architecture and precision.

A name is looked up in a directory of ``config.json`` files first (``Org--Name.json``), then in the
catalog. The word for
the weights ("fp8", "bfloat16", "fp4") picks among what that model is served in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from joulemill.catalog.model_files import model_from_config, read_config
from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import BF16, Precision, format_named, uniform

ResolvedModel = tuple[Architecture, Precision, tuple[str, ...]]
Resolver = Callable[[str, str, str], ResolvedModel]

#: Families whose 8-bit releases scale by block of 128 × 128.
BLOCK_SCALED = ("qwen", "deepseek", "minimax", "glm", "kimi", "zai-org", "zhipu")


def resolver(models: Path | None = None) -> Resolver:
    """A lookup that remembers what it has found; ``models``: directory of config files, searched first."""

    @cache
    def base(name: str) -> ResolvedModel:
        local_model = None if models is None else _in_directory(models, name)
        return local_model or _in_catalog(name)

    @cache
    def resolve(name: str, precision: str, kind: str) -> ResolvedModel:
        architecture, native, notes = base(name)
        return architecture, precision_named(name, architecture, native, precision, kind), notes

    return resolve


def _in_directory(models: Path, name: str) -> ResolvedModel | None:
    path = models / (name.replace("/", "--") + ".json")
    return load_config(path) if path.is_file() else None


def load_config(path: Path) -> ResolvedModel:
    """Architecture and precision of a ``config.json``; InputError where it is none or not understood."""
    try:
        architecture, precision = model_from_config(read_config(path))
    except InputError as error:
        raise InputError(f"{path}: cannot be read as a model's config.json ({error})") from error
    return architecture, precision, architecture.approximations


def _in_catalog(name: str) -> ResolvedModel:
    from joulemill.catalog.models import find_model

    model = find_model(name)
    return model.architecture, model.precision, tuple(model.architecture.approximations)


def precision_named(name: str, architecture: Architecture, native: Precision, word: str, kind: str = "") -> Precision:
    """The precision that ``word`` means for this model; empty or "native": as released.

    ``kind`` says more where a table has it ("fp8_block"). InputError for an unknown word.
    """
    word = word.strip().lower()
    if word in ("", "native", "auto", native.name):
        return native
    if word in ("fp8", "float8", "fp8_e4m3"):
        return _eight_bit(name, architecture, native, kind)
    if word in ("fp4", "nvfp4", "mxfp4"):
        return _four_bit(name, native, word)
    if word in ("int4", "w4a16", "awq", "gptq") and native.experts.name.startswith("int4"):
        return native
    return uniform(format_named(word).name)


def _eight_bit(name: str, architecture: Architecture, native: Precision, kind: str) -> Precision:
    if native.experts.element_byte <= 1.1 and native.dense.element_byte <= 1.1 and "fp8" in native.name:
        return native
    block = kind == "fp8_block" or (architecture.is_moe and any(f in name.lower() for f in BLOCK_SCALED))
    return uniform("fp8_block" if block else "fp8")


def _four_bit(name: str, native: Precision, word: str) -> Precision:
    if native.experts.name.startswith(("mxfp4", "nvfp4")):
        return native
    form = uniform("mxfp4" if word == "mxfp4" else "nvfp4")
    if any(f in name.lower() for f in BLOCK_SCALED) and "32b" not in name.lower():
        return replace(form, attention=BF16, state=BF16)
    return form
