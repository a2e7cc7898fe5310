"""Manifests from the members of a ``run.json``, as a run folder would hold them."""

from __future__ import annotations

from collections.abc import Mapping

from joulemill.ledger.manifest import Manifest, document, part_of
from joulemill.ledger.record import RunRecord


def manifest_of(members: Mapping[str, object]) -> Manifest:
    """The manifest of a file with these members."""
    return part_of(Manifest, members)


def members_of(record: RunRecord) -> dict[str, object]:
    """The members of the file of a record's manifest, to change and to give to ``manifest_of``."""
    return document(record.manifest)
