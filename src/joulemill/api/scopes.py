"""One quantity at scopes that nest: device ⊂ node ⊂ site. They overlap, so they are never added."""

from __future__ import annotations

from dataclasses import dataclass

from joulemill.figure import Figure


@dataclass(frozen=True)
class ByScope:
    """A quantity of all devices, of their nodes (host, fans and conversion included), and of the site (with PUE)."""

    device: Figure
    node: Figure
    site: Figure
