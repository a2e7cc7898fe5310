"""What open contexts take of a target's idle power: what unloading its model would return while boards stay powered."""

from __future__ import annotations

from joulemill.catalog.devices import catalog_device
from joulemill.errors import InputError


def open_context_w(device: str | None, devices_count: int | None) -> float | None:
    """Watts of ``devices_count`` boards with a model loaded beyond what they draw bare; None where not known."""
    if not device:
        return None
    try:
        board = catalog_device(device)
    except InputError:
        return None
    if board.resting_w is None or board.bare_w is None:
        return None
    return (board.resting_w - board.bare_w) * (devices_count or 1)
