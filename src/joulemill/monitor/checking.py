"""A configuration tried before it is used: every meter is opened and every page read once; what is dead is named."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator

import aiohttp

from joulemill.catalog.server_dialects import dialect
from joulemill.errors import JoulemillError
from joulemill.monitor.config import MonitorConfig, TargetConfig
from joulemill.monitor.opening import check_owners, close_all, open_targets
from joulemill.servers.metrics import look


def faults(config: MonitorConfig) -> list[str]:
    """One line for each target or meter that does not answer, or that offers nothing. Raises InputError for a SPEC."""
    return [*asyncio.run(_pages(config)), *_meters(config)]


def _meters(config: MonitorConfig) -> Iterator[str]:
    results = open_targets(config.target)
    try:
        check_owners({f"target {n!r}": [m.channels() for m in r.meters] for n, r in results.items()})
    finally:
        close_all(results.values())
    for name, result in results.items():
        yield from (f"target {name!r}: meter {spec}: {why}" for spec, why in result.dead)


async def _pages(config: MonitorConfig) -> list[str]:
    async with aiohttp.ClientSession() as session:
        return [f for f in await asyncio.gather(*(_page(t, session, config.timeout_s) for t in config.target)) if f]


async def _page(target: TargetConfig, session: aiohttp.ClientSession, timeout_s: float) -> str | None:
    token = os.environ.get(target.token_env or "")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    where = f"target {target.name!r}: {target.metrics_url}"
    try:
        kind = dialect(target.dialect) if target.dialect else None
        answer = await look(session, target.metrics_url, kind, headers=headers, timeout_s=timeout_s)
    except JoulemillError as fault:
        return f"{where}: {fault}"
    if answer.sample.error is not None:
        return f"{where}: {answer.sample.error}"
    lacks = "output_tok_total" not in answer.sample.values
    return f"{where}: the page has no counter of output tokens" if lacks else None
