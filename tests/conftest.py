"""What holds for every test, and how tests share a machine where they run side by side (pytest-xdist, `make test`).

A property holds however long its examples take on a busy machine. Side by side, the tests of a file stay together on
one worker, so that what they share is made once; with two exceptions:

* tests marked ``embedded`` follow one another in one group: the threads of the real server wait for each other at every
  layer, so two of them on few CPUs slow each other down far more than twofold;
* tests of a file marked ``apart`` share nothing and mostly wait: each goes to whichever worker is free.

What takes longest begins first, so that no worker is left alone with it at the end.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tests.support.counterparts import agent as agent  # fixtures of many files, made where they are asked for
from tests.support.counterparts import bmc as bmc

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

REAL_SERVER = "real-server"


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in a hook of the same name
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not hasattr(config, "workerinput"):
        return
    items.sort(key=_rank)
    for item in items:
        group = _group(item)
        if group is not None:
            item.add_marker(pytest.mark.xdist_group(group))


def _rank(item: pytest.Item) -> int:
    """The real server first, then long tests, then those that wait; all others as they were collected."""
    order = [name for name in ("embedded", "slow", "apart") if item.get_closest_marker(name)]
    return {"embedded": 0, "slow": 1, "apart": 2}[order[0]] if order else 3


def _group(item: pytest.Item) -> str | None:
    """The tests that run on one worker, one after another; None: this one may run anywhere."""
    if item.get_closest_marker("embedded"):
        return REAL_SERVER
    return None if item.get_closest_marker("apart") else item.nodeid.split("::")[0]
