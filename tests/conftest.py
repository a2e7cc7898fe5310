"""What holds for every test, and how tests share a machine where they run side by side (pytest-xdist, `make test`).

A property holds however long its examples take on a busy machine. Side by side, the tests of a file stay together on
one worker (`--dist loadfile`), so that what they share is made once. Files that take longest begin first, so that no
worker is left alone with one at the end: those of the real server, then those marked ``slow``, then those that wait.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.support.counterparts import agent as agent  # fixtures of many files, made where they are asked for
from tests.support.counterparts import bmc as bmc
from tests.support.web import web as web

settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

#: Markers of what takes long, longest first.
RANKS = ("embedded", "slow", "apart")


def pytest_configure(config: pytest.Config) -> None:
    """Each worker compiles its share of the test files first: a fresh clone's are compiled once, not by each."""
    worker = getattr(config, "workerinput", None)
    if worker is None or sys.dont_write_bytecode:
        return
    folders = [config.rootpath / argument for argument in config.args]
    files = sorted(file for folder in folders if folder.is_dir() for file in folder.rglob("test_*.py"))
    for file in files[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        if not _compiled(file):
            with contextlib.suppress(Exception, pytest.skip.Exception):  # collection meets it again, and reports it
                importlib.import_module(".".join(file.relative_to(config.rootpath).with_suffix("").parts))


def _compiled(file: Path) -> bool:
    made = (file.parent / "__pycache__").glob(f"{file.stem}.{sys.implementation.cache_tag}-pytest-*.pyc")
    return any(m.stat().st_mtime >= file.stat().st_mtime for m in made)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Thousands of items that all stay: looking for garbage among them is a third of the time to collect them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


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


@pytest.fixture
def short_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prompts are sized by three short questions: for real servers and tests of other things than prompts' lengths."""
    phases = importlib.import_module("joulemill.bench.load.phases")  # `joulemill.bench` is a function, too
    monkeypatch.setattr(phases, "CALIBRATION_WORDS", (4, 12, 32))
    monkeypatch.setattr(phases, "CALIBRATION_TOK", 2)
