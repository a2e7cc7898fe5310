"""A model of the catalog: its architecture, its number formats, and where both come from."""

from __future__ import annotations

from dataclasses import dataclass

from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import Precision


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A model as found.

    name                  the catalog's name, or the path's
    published_parameters  total that its publisher states, None where unknown; ``source`` says where
    aliases               other names of the same architecture
    approximations        what the architecture or the precision leaves out or assumes
    """

    name: str
    architecture: Architecture
    precision: Precision
    aliases: tuple[str, ...] = ()
    published_parameters: int | None = None
    source: str = ""
    approximations: tuple[str, ...] = ()
