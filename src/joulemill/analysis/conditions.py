"""What the figures of a run depend on: model, hardware, server, load, software, time. Pure.

The names within a part are open: servers, importers and versions to come add their own. Those that Joulemill reads are
named by properties, so that no reader of a report looks them up by text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from typing_extensions import TypeAliasType

#: One fact as JSON: a text, a number, a flag, unknown, or a list or table of such.
Fact = TypeAliasType("Fact", "str | bool | int | float | list[Fact] | dict[str, Fact] | None")
Facts = Mapping[str, Fact]


@dataclass(frozen=True)
class Conditions:
    """Facts by part; ``started`` is the time of the run as ISO 8601, UTC.

    model      name, precision, file, weight_byte, sha256 …
    hardware   device (``2 x h100``), cpu, cpus, memory_byte …: of the client's machine all but the device
    server     kind, version, url, embedded, slots …
    load       text, start, command; ``mean requests in flight``, ``mean output [tok]`` … as the run was
    software   versions that bear on the figures
    """

    model: Facts = field(default_factory=dict)
    hardware: Facts = field(default_factory=dict)
    server: Facts = field(default_factory=dict)
    load: Facts = field(default_factory=dict)
    software: Facts = field(default_factory=dict)
    started: str | None = None

    def parts(self) -> dict[str, Facts]:
        """The five tables by name, in the order of the document."""
        return {
            "model": self.model,
            "hardware": self.hardware,
            "server": self.server,
            "load": self.load,
            "software": self.software,
        }

    def text(self, part: str, name: str) -> str | None:
        """A fact as text; None where it is not said."""
        fact = self.parts()[part].get(name)
        return None if fact is None or fact in ("", [], {}) else str(fact)

    @property
    def model_name(self) -> str | None:
        """What was served."""
        return self.text("model", "name")

    @property
    def device(self) -> str | None:
        """The accelerator and how many, else the CPU of an embedded server."""
        return self.text("hardware", "device")

    @property
    def embedded(self) -> bool | None:
        """Whether the server was Joulemill's own; None where that is not said."""
        embedded = self.server.get("embedded")
        return embedded if isinstance(embedded, bool) else None

    @property
    def load_text(self) -> str:
        """How the requests arrived and how long they were, in words."""
        return self.text("load", "text") or ""

    def load_mean(self, name: str) -> float | None:
        """A mean of the load as it was, e.g. ``requests in flight``, ``output [tok]``; None where it is not said."""
        mean = self.load.get(f"mean {name}")
        return float(mean) if isinstance(mean, int | float) else None
