"""Today's fleet from a monitor's history: the model servers that it saw last, each one replica."""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from joulemill.api.history import open_history
from joulemill.fleet.inventory import Inventory, SeenReplica, listed_inventory

#: Servers that answered within this of the newest answer [s] run today (assumed).
TODAY_S = 900.0
_SQLITE = b"SQLite format 3\x00"
#: Each server with the start of the last five minutes in which it answered.
_LAST_SEEN = (
    "SELECT name, facts, max(start_s) FROM target JOIN bucket ON bucket.of = target.id "
    "WHERE observed_s > 0 GROUP BY target.id ORDER BY name"
)


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
        _, rows = history.sql(_LAST_SEEN)
    newest_s = max((seen_s for _, _, seen_s in rows), default=0.0)
    running = [(name, json.loads(facts)) for name, facts, seen_s in rows if seen_s > newest_s - TODAY_S]
    until = datetime.datetime.fromtimestamp(newest_s, datetime.UTC).isoformat(" ", "minutes") if rows else "never"
    note = f"inventory: {len(running)} of {len(rows)} servers of {path.name}, as last seen {until} UTC"
    return Inventory(seen=[_replica_of(name, facts) for name, facts in running], notes=[note])


def _replica_of(name: str, facts: Mapping[str, Any]) -> SeenReplica:
    return SeenReplica(
        name=name,
        site=facts["site"],
        model=facts["model"],
        device=facts["device"],
        devices=facts["devices_count"],
        deployment=facts["labels"].get("deployment"),
    )
