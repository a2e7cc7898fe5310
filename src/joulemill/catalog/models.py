"""Models by name: a Hub id, a plain name or a path to a ``config.json`` becomes an architecture and a precision.

The facts are rows in ``models/*.toml``. A name that is not known is an error with suggestions, never a near match.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from joulemill.catalog.model_entry import ModelEntry
from joulemill.catalog.model_files import model_from_config, read_config
from joulemill.catalog.model_names import (
    ReleaseName,
    leaves_out_towers,
    precision_of_spec,
    release_name,
    requantized,
    without_slips,
)
from joulemill.catalog.model_totals import stored_count, total_warnings
from joulemill.errors import InputError
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.hf_config import architecture_from_config
from joulemill.physics.model.precision import uniform
from joulemill.suggestions import nearest

#: Likeness from which a model is suggested: names are long, and one of another size is no slip but worth naming.
_NEAR_RATIO = 0.55


@dataclass(frozen=True, slots=True, kw_only=True)
class _ModelRow:
    """One model of the catalog before its architecture is built."""

    name: str
    aliases: tuple[str, ...]
    config: Mapping[str, Any]
    precision: str
    parameters: int | None
    source: str
    approximations: tuple[str, ...]
    release_of: str | None = None


def find_model(name_or_path: str | Path, *, approximate: bool = False) -> ModelEntry:
    """Find a model. A path to a ``config.json`` (or a folder with one) or a GGUF file is read; a name is looked up.

    ``approximate``: a file that is not understood is read as far as it can be (``architecture.doubts`` says what not).
    Raises InputError where a path does not hold a model that is understood, or the name is not known (with the nearest
    names).
    """
    path = Path(name_or_path)
    if path.suffix in (".json", ".gguf") or is_folder_of_model(path):
        return _from_path(path, approximate=approximate)
    return find_named_model(str(name_or_path))


def find_named_model(name: str) -> ModelEntry:
    """Find a model by its name alone: for names that a server or a file told, which must never open a file here.

    Raises InputError where the name is not known (with the nearest names).
    """
    asked = release_name(name)
    row = _row_of_name(name) or _row(asked)
    if row is None:
        raise InputError(_unknown(name, asked))
    entry = _entry(row)
    if leaves_out_towers(asked):
        entry = replace(entry, approximations=(*entry.approximations, "towers for images or sound are left out"))
    if asked.quantization is None or _is_quantized_release(row):
        return entry
    precision, assumed = requantized(entry.architecture, entry.precision, asked.quantization, asked.publisher)
    return replace(entry, precision=precision, approximations=(*entry.approximations, *assumed))


def model_names() -> tuple[str, ...]:
    """Names of all models in the catalog, releases of their own included."""
    return tuple(r.name for r in _rows())


def is_folder_of_model(path: Path) -> bool:
    """Whether a folder holds a ``config.json``."""
    try:
        return path.is_dir() and (path / "config.json").exists()
    except (OSError, ValueError):  # a name that can be no path
        return False


def _from_path(path: Path, *, approximate: bool) -> ModelEntry:
    file = path / "config.json" if path.is_dir() else path
    if file.suffix == ".gguf":
        from joulemill.catalog.gguf_models import read_gguf

        return read_gguf(file, approximate=approximate)
    try:
        architecture, precision = model_from_config(read_config(file), approximate=approximate)
    except InputError as error:
        raise InputError(f"{file}: {error}" if str(file) not in str(error) else str(error)) from None
    name = _name_of(path)
    published = _published(name)
    notes = (*architecture.approximations, *total_warnings(name, architecture, published, stored_count(file.parent)))
    return ModelEntry(
        name=name,
        architecture=architecture,
        precision=precision,
        aliases=(),
        published_parameters=published,
        source=str(file),
        approximations=notes,
    )


def _name_of(path: Path) -> str:
    """The model's name, from a folder, a file or the Hub's cache (``models--ORG--NAME/snapshots/REVISION``)."""
    folder = path if path.is_dir() else path.parent
    if folder.parent.name == "snapshots":
        return folder.parent.parent.name.removeprefix("models--").replace("--", "/")
    return folder.name if path.is_dir() or path.stem == "config" else path.stem.replace("--", "/")


def _published(name: str) -> int | None:
    try:
        row = _row(release_name(name))
    except InputError:
        return None
    return row.parameters if row else None


@cache
def _texts() -> tuple[str, ...]:
    folder = files("joulemill.catalog") / "data" / "models"
    return tuple(
        file.read_text(encoding="utf-8")
        for file in sorted(folder.iterdir(), key=lambda f: f.name)
        if file.name.endswith(".toml")
    )


@cache
def _rows() -> tuple[_ModelRow, ...]:
    return tuple(row for text in _texts() for row in _rows_in(text))


@cache
def _rows_in(text: str) -> list[_ModelRow]:
    return _rows_of(tomllib.loads(text))


@cache
def _row_of_name(name: str) -> _ModelRow | None:
    """The row that is called ``name`` to the letter: its own file alone is read."""
    for text in _texts():
        if f'"{name}"' in text:
            return next((row for row in _rows_in(text) if row.name == name), None)
    return None


def _rows_of(table: Mapping[str, Any]) -> list[_ModelRow]:
    rows: list[_ModelRow] = []
    for model in table["model"]:
        config = {**table.get("config", {}), **model["config"]}
        if "block_runs" in model:
            config["block_configs"] = _blocks(model["block_runs"])
        note, source = model.get("parameters_note"), model.get("source", table["source"])
        row = _ModelRow(
            name=model["name"],
            aliases=tuple(model.get("aliases", ())),
            config=config,
            precision=model.get("precision", "bf16"),
            parameters=model.get("parameters"),
            source=f"{source}{f'; {note}' if note else ''}",
            approximations=tuple(model.get("approximations", ())),
        )
        rows.append(row)
        rows += [_release(row, r) for r in model.get("release", ())]
    return rows


def _release(row: _ModelRow, release: Mapping[str, Any]) -> _ModelRow:
    return replace(
        row,
        name=release["name"],
        aliases=tuple(release.get("aliases", ())),
        precision=release["precision"],
        approximations=(*row.approximations, *release.get("approximations", ())),
        release_of=row.name,
    )


def _blocks(runs: list[list[int]]) -> list[dict[str, Any]]:
    """Layers of Nemotron NAS models from runs of [count, queries per key head or 0 for none, feed-forward width]."""
    blocks: list[dict[str, Any]] = []
    for count, share, width in runs:
        attention = {"n_heads_in_group": share, "no_op": not share}
        blocks += [{"attention": attention, "ffn": {"intermediate_size": width, "no_op": not width}}] * count
    return blocks


@cache
def _indexes() -> tuple[dict[str, _ModelRow], dict[str, _ModelRow], dict[str, list[tuple[ReleaseName, _ModelRow]]]]:
    """By publisher and full name (quantized releases), by name, by stem."""
    owned: dict[str, _ModelRow] = {}
    plain: dict[str, _ModelRow] = {}
    stems: dict[str, list[tuple[ReleaseName, _ModelRow]]] = {}
    for row in _rows():
        for alias in (row.name, *row.aliases):
            name = release_name(alias)
            if row.release_of is not None and name.quantization is not None:
                owned[f"{name.publisher}/{name.full}"] = row
                owned[f"/{name.full}"] = row
                continue
            plain.setdefault(name.full, row)
            plain.setdefault(name.plain, row)
            stems.setdefault(name.stem, []).append((name, row))
    return owned, plain, stems


def _row(asked: ReleaseName) -> _ModelRow | None:
    owned, plain, stems = _indexes()
    exact = owned.get(f"{asked.publisher}/{asked.full}") or plain.get(asked.full) or plain.get(asked.plain)
    if exact is not None:
        return exact
    near = [
        row
        for name, row in stems.get(asked.stem, ())
        # A date that differs from the alias's own is another model until the catalog says otherwise.
        if not name.dates or not asked.dates or name.dates == asked.dates
    ]
    distinct = {id(r): r for r in near}
    return next(iter(distinct.values())) if len(distinct) == 1 else None


def _is_quantized_release(row: _ModelRow) -> bool:
    return row.release_of is not None and release_name(row.name).quantization is not None


def _unknown(text: str, asked: ReleaseName) -> str:
    _, plain, stems = _indexes()
    close = nearest(without_slips(asked), [*stems, *plain], most=8, least_ratio=_NEAR_RATIO)
    names = list(dict.fromkeys((stems[c][0][1] if c in stems else plain[c]).name for c in close))[:4]
    hint = f"; did you mean {', '.join(names)}?" if names else ""
    return f"model {text[:120]!r} is not in the catalog{hint or '.'} Give its config.json to model it"


def _entry(row: _ModelRow) -> ModelEntry:
    architecture = _architecture(row.release_of or row.name)
    precision = uniform("bf16") if row.precision == "bf16" else precision_of_spec(row.precision)
    return ModelEntry(
        name=row.name,
        architecture=architecture,
        precision=precision,
        aliases=row.aliases,
        published_parameters=row.parameters,
        source=row.source,
        approximations=(*architecture.approximations, *row.approximations),
    )


@cache
def _architecture(name: str) -> Architecture:
    row = _row_of_name(name) or next(r for r in _rows() if r.name == name)
    built = architecture_from_config(row.config)
    return replace(built, name=row.name)
