"""``joulemill.watch``: running servers metered continuously, with no load of its own."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joulemill.api.results import Result
from joulemill.monitor.checking import faults
from joulemill.monitor.config import MonitorConfig, load_config
from joulemill.monitor.config_checks import notices
from joulemill.monitor.demo import demo
from joulemill.monitor.discovery.config_reading import config_from
from joulemill.monitor.snapshot import Snapshot
from joulemill.monitor.summary import document, lines
from joulemill.monitor.watching import WatchOptions
from joulemill.monitor.watching import watch as watched


@dataclass(frozen=True, repr=False)
class MonitorResult(Result):
    """What is known of every target, meter and site when the watching ended."""

    snapshot: Snapshot

    @property
    def any_up(self) -> bool:
        """Whether at the end any target could be scraped."""
        return any(t.up for t in self.snapshot.targets)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill monitor --json``."""
        state = document(self.snapshot)
        return state if isinstance(state, dict) else {}

    def text(self) -> str:
        """A line for each target, meter and site."""
        return "\n".join(lines(self.snapshot))

    def _line(self) -> str:
        up = sum(t.up for t in self.snapshot.targets)
        return f"{up} of {len(self.snapshot.targets)} targets up"

    def _rows(self) -> Iterable[tuple[str, str]]:
        for line in lines(self.snapshot):
            name, _, text = line.partition(": ")
            yield name, text


@dataclass(frozen=True)
class ConfigCheck:
    """A configuration tried once: how much it names, and a line for each target and meter that does not answer.

    ``notices``: what it names and nothing describes, so that figures that need it stay unknown.
    """

    targets: int
    meters: int
    sites: int
    faults: tuple[str, ...]
    notices: tuple[str, ...] = ()


def watch(config: str | Path | MonitorConfig, **options: Any) -> MonitorResult:
    """Scrape servers and read meters, account joules and tokens by interval, until told to end (SIGINT, SIGTERM).

    config     a TOML file, read again at SIGHUP; or a ``MonitorConfig``
    listen     HOST:PORT of the page and /metrics;  token   that they ask for
    store      SQLite file of the history, at most ``store_max_byte`` long; single intervals for ``raw_days``
    takeover   take over a history that another monitor writes;  otlp   also export by OTLP
    duration_s, once   end after this time; end when each target was scraped twice
    tell       hears what a user must see
    """
    if isinstance(config, MonitorConfig):
        return MonitorResult(watched(config, WatchOptions(**options)))
    path = Path(config)
    return MonitorResult(watched(load_config(path), WatchOptions(**options), lambda: load_config(path)))


def watch_demo(**options: Any) -> MonitorResult:
    """Watch the embedded server under a light load; the arguments are those of ``watch``."""
    with demo() as config:
        return MonitorResult(watched(config, WatchOptions(**options)))


def check_config(path: str | Path) -> ConfigCheck:
    """Try a configuration once. Raises InputError where it is none."""
    config = load_config(Path(path))
    meters = sum(len(t.meters) for t in config.target)
    return ConfigCheck(
        len(config.target), meters, len(config.site), tuple(faults(config)), tuple(notices(config, os.environ))
    )


def monitor_config(*, prometheus: str | None = None, pods: str | None = None, dcgm: Sequence[str] = ()) -> str:
    """A configuration as TOML, from what there is.

    prometheus   address or file of its /api/v1/targets;  pods   file that ``kubectl get pods -A -o json`` writes
    dcgm         pages of dcgm-exporters: which pod has which boards
    """
    return config_from(prometheus, pods, dcgm)
