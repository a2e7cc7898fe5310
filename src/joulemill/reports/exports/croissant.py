"""Croissant 1.1 (MLCommons) for a published set of run folders: files with checksums, records, fields. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joulemill.errors import InputError

#: What a dataset must say and only its publisher knows (Croissant 1.1, dataset-level required properties).
REQUIRED = ("name", "description", "license", "url", "creator", "datePublished")
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "conformsTo": "dct:conformsTo",
    "dct": "http://purl.org/dc/terms/",
    "recordSet": "cr:recordSet",
    "field": "cr:field",
    "source": "cr:source",
    "fileObject": "cr:fileObject",
    "extract": "cr:extract",
    "column": "cr:column",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
}
#: Fields of the two tables that others want: name, type, meaning with unit.
_FIELDS: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "requests": (
        ("id", "sc:Text", "the request"),
        ("phase", "sc:Text", "warmup, load or quality"),
        ("scheduled_mono_s", "sc:Float", "when the load plan wanted it sent [s, monotonic]"),
        ("dispatched_mono_s", "sc:Float", "when it was sent [s, monotonic]"),
        ("first_token_mono_s", "sc:Float", "first token [s, monotonic]"),
        ("last_token_mono_s", "sc:Float", "last token [s, monotonic]"),
        ("outcome", "sc:Text", "how it ended"),
        ("prompt_tok", "sc:Integer", "prompt tokens by the server's usage"),
        ("output_tok", "sc:Integer", "output tokens by the server's usage"),
    ),
    "readings": (
        ("channel", "sc:Text", "what was read; channels.jsonl has its scope, quantity and unit"),
        ("t_mono_s", "sc:Float", "when [s, monotonic]"),
        ("t_wall_s", "sc:Float", "when [s, Unix time]"),
        ("value", "sc:Float", "the reading; null where it failed"),
    ),
}


@dataclass(frozen=True, slots=True)
class PublishedFile:
    """A file of the set: ``path`` relative to where it is published."""

    path: str
    size_byte: int
    sha256: str


def croissant(about: Mapping[str, str], files: Sequence[PublishedFile]) -> str:
    """The JSON-LD of the set. Raises InputError where what only the publisher knows is not told."""
    missing = [k for k in REQUIRED if not about.get(k)]
    if missing:
        raise InputError(f"Croissant needs {', '.join(missing)}: give each as --about {missing[0]}=TEXT")
    document: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        **{k: about[k] for k in REQUIRED if k != "creator"},
        "creator": {"@type": "sc:Organization", "name": about["creator"]},
        "distribution": [_file(f, about["url"]) for f in files],
        "recordSet": [r for f in files if (r := _records(f)) is not None],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def _file(file: PublishedFile, url: str) -> dict[str, str]:
    kind = "application/jsonlines" if file.path.endswith(".jsonl") else "application/json"
    return {
        "@type": "cr:FileObject",
        "@id": file.path,
        "name": file.path,
        "contentUrl": f"{url.rstrip('/')}/{file.path}",
        "contentSize": f"{file.size_byte} B",
        "encodingFormat": kind,
        "sha256": file.sha256,
    }


def _records(file: PublishedFile) -> dict[str, Any] | None:
    table = file.path.rsplit("/", 1)[-1].removesuffix(".jsonl")
    if table not in _FIELDS or not file.size_byte:
        return None
    name = file.path.removesuffix(".jsonl")
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{name}/{column}",
                "name": column,
                "description": meaning,
                "dataType": kind,
                "source": {"fileObject": {"@id": file.path}, "extract": {"column": column}},
            }
            for column, kind, meaning in _FIELDS[table]
        ],
    }
