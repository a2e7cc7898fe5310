"""A model of the catalog: its architecture, its number formats, and where both come from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from joulemill.catalog.model_names import (
    QUANTIZATIONS,
    precision_of_spec,
    requantized,
)
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

    def with_precision(self, name: str) -> ModelEntry:
        """The same model re-quantized: ``bf16``, ``fp8``, ``nvfp4``, ``int4`` … or a spec, ``"bf16 experts=fp8"``."""
        if " " in name.strip():
            return replace(self, precision=precision_of_spec(name))
        wanted = name.strip().lower()
        if wanted == "fp4" and self.precision.experts.arithmetic == "fp4":
            return self
        named = QUANTIZATIONS.get(wanted.replace("_", "-"), wanted)
        precision, assumed = requantized(self.architecture, self.precision, named)
        return replace(self, precision=precision, approximations=(*self.approximations, *assumed))
