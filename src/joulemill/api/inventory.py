"""Today's fleet from a monitor's history: the model servers that it saw last, each one replica."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemill.api.history import open_history
from joulemill.fleet.inventory import Inventory, SeenReplica, listed_inventory

#: Servers whose last interval ended within this of the newest one [s] run today (assumed).
TODAY_S = 900.0
_SQLITE = b"SQLite format 3\x00"


def inventory_at(path: Path) -> Inventory:
    """What runs today: a monitor's history (SQLite), or a CSV file. InputError for what is neither."""
    return _seen_last(path) if _is_history(path) else listed_inventory(path)


def _is_history(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError:
        return False


def _seen_last(path: Path) -> Inventory:
    """The servers that a history saw last."""
    with open_history(path) as history:
        targets = history.targets()
    ended = [t["last_end_s"] for t in targets if t["last_end_s"] is not None]
    newest_s = max(ended, default=0.0)
    running = [t for t in targets if t["last_end_s"] is not None and t["last_end_s"] >= newest_s - TODAY_S]
    until = datetime.datetime.fromtimestamp(newest_s, datetime.UTC).isoformat(" ", "minutes") if ended else "never"
    note = f"inventory: {len(running)} of {len(targets)} servers of {path.name}, as last seen {until}"
    return Inventory(seen=[_seen(t["name"], t["facts"]) for t in running], notes=[note])


def _seen(name: str, facts: Mapping[str, Any]) -> SeenReplica:
    return SeenReplica(
        name=name,
        site=facts["site"],
        model=facts["model"],
        device=facts["device"],
        devices=facts["devices_count"],
        deployment=facts["labels"].get("deployment"),
    )
