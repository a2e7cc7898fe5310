"""Chunks of work over processes or a Ray cluster: finished chunks are kept, a worker's death loses no other.

A chunk's result depends on the chunk alone, so it is the same bytes wherever and however often it is computed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any

from joulemill.errors import InputError, MachineError

#: Times that workers may die before it is given up: then it is the work that kills them.
MOST_DEATHS = 20
#: Chunks that wait in a pool for each worker, so that none is idle and a death costs little.
AHEAD = 2
Task = tuple[int, Any]
Work = Callable[[Any], str]


def finished(
    tasks: Sequence[Task], work: Work, *, workers: int | None = None, ray: str | None = None
) -> Iterator[tuple[int, str]]:
    """Number and result of every task, in the order in which they finish.

    workers   1: here; more: so many processes; None: as many as cores here, or in the cluster
    ray       "" for a local Ray, else the address of a cluster
    """
    if ray is not None:
        yield from _by_ray(tasks, work, workers, ray)
        return
    workers = workers or workers_here()
    if workers == 1:
        yield from ((number, work(content)) for number, content in tasks)
    else:
        yield from _by_processes(tasks, work, workers)


def workers_here() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _by_processes(tasks: Sequence[Task], work: Work, workers: int) -> Iterator[tuple[int, str]]:
    left = dict(tasks)
    deaths = 0
    while left:
        try:
            for number, result in _one_pool(list(left.items()), work, workers):
                del left[number]
                yield number, result
        except BrokenProcessPool as fault:
            deaths += 1
            if deaths > MOST_DEATHS:
                raise MachineError(
                    f"workers died {deaths} times; what is finished is kept. Use fewer `workers` if memory is short"
                ) from fault


def _one_pool(tasks: Sequence[Task], work: Work, workers: int) -> Iterator[tuple[int, str]]:
    """Results until all are there, or a worker dies (BrokenProcessPool); those that had finished come first."""
    waiting = iter(tasks)
    broken: BrokenProcessPool | None = None
    # Forked children of a program with threads can hang: workers start afresh.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        running: dict[Future[str], int] = {}
        for number, content in _next(waiting, workers * AHEAD):
            running[pool.submit(work, content)] = number
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                number = running.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool as fault:
                    broken = fault
                    continue
                yield number, result
                if broken is None:
                    for more, content in _next(waiting, 1):
                        running[pool.submit(work, content)] = more
    if broken is not None:
        raise broken


def _next(tasks: Iterator[Task], count: int) -> list[Task]:
    return list(islice(tasks, count))  # a zip with a range would take one task more, and lose it


def _by_ray(tasks: Sequence[Task], work: Work, workers: int | None, address: str) -> Iterator[tuple[int, str]]:
    try:
        import ray
    except ImportError:
        raise InputError("Ray is not installed: pip install 'joulemill[ray]'; or use `workers=N` without it") from None
    started = not ray.is_initialized()
    if started:
        local = {"num_cpus": workers or workers_here(), "include_dashboard": False}
        setting: dict[str, Any] = {"address": address} if address else local
        ray.init(log_to_driver=False, **setting)
    remote = ray.remote(max_retries=MOST_DEATHS)(work)
    waiting, running = iter(tasks), {}
    try:
        slots = workers or int(ray.cluster_resources().get("CPU", 1))
        for number, content in _next(waiting, max(slots, 1) * AHEAD):
            running[remote.remote(content)] = number
        while running:
            (ready, *_), _ = ray.wait(list(running))
            number = running.pop(ready)
            for more, content in _next(waiting, 1):
                running[remote.remote(content)] = more
            yield number, ray.get(ready)
    finally:
        if started:
            ray.shutdown()
