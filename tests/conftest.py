"""What holds for every test, and how tests share a machine where they run side by side (pytest-xdist, `make test`).

A property holds however long its examples take on a busy machine. Side by side, the tests of a file stay together on
one worker (`--dist loadfile`), so that what they share is made once. Files that take longest begin first, so that no
worker is left alone with one at the end: those of the real server, then those marked ``slow``, then those that wait.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.support.counterparts import agent as agent  # fixtures of many files, made where they are asked for
from tests.support.counterparts import bmc as bmc
from tests.support.web import web as web

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

#: Markers of what takes long, longest first.
RANKS = ("embedded", "slow", "apart")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In the same order on every worker; one process alone keeps the order in which it was asked."""
    if hasattr(config, "workerinput"):
        rank_of_file: dict[str, int] = {}
        for item in items:
            file = item.nodeid.split("::")[0]
            rank_of_file[file] = min(rank_of_file.get(file, len(RANKS)), _rank(item))
        items.sort(key=lambda item: rank_of_file[item.nodeid.split("::")[0]])


def _rank(item: pytest.Item) -> int:
    return next((i for i, name in enumerate(RANKS) if item.get_closest_marker(name)), len(RANKS))


@pytest.fixture
def few_combinations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies of levers combine the strongest three, not nine: for tests of views and words, not of the choice."""
    monkeypatch.setattr("joulemill.decisions.levers.study.MOST_COMBINED", 3)
