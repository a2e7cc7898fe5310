"""A configuration tried before it is used: every meter is opened and read once, and every page; what is dead is named.

A board whose readings are a vendor's blank, and a number of boards other than the one stated, keep a target from being
metered as surely as a meter that does not answer.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import aiohttp

from joulemill.catalog.server_dialects import dialect
from joulemill.errors import JoulemillError
from joulemill.ledger.findings import Finding, Reason
from joulemill.ledger.record import Quantity, Reading, Scope
from joulemill.ledger.scopes import compose
from joulemill.meters.meter import Meter
from joulemill.monitor.config import DiscoverConfig, MonitorConfig, StoreConfig, TargetConfig
from joulemill.monitor.config_checks import page_of
from joulemill.monitor.discovery.documents import discovered
from joulemill.monitor.discovery.prometheus_store import StoreReader
from joulemill.monitor.opening import AT_ONCE, OpenedMeters, check_owners, close_all, open_targets
from joulemill.servers.boundary import reason_of
from joulemill.servers.metrics import look


def faults(config: MonitorConfig) -> list[str]:
    """One line for each target or meter that does not answer, or that offers nothing. Raises InputError for a SPEC."""
    return [*asyncio.run(_answers(config)), *_meters(config)]


def _meters(config: MonitorConfig) -> Iterator[str]:
    results = open_targets(config.target)
    try:
        check_owners({f"target {n!r}": [m.channels() for m in r.meters] for n, r in results.items()})
        with ThreadPoolExecutor(AT_ONCE) as pool:
            read = list(pool.map(lambda t: _unread(t, results[t.name]), config.target))
    finally:
        close_all(results.values())
    for name, result in results.items():
        yield from (f"target {name!r}: meter {spec}: {why}" for spec, why in result.dead)
    for target, reasons in zip(config.target, read, strict=True):
        yield from (f"target {target.name!r}: {why}" for why in reasons)


def _unread(target: TargetConfig, opened: OpenedMeters) -> list[str]:
    """Why what one reading of its meters shows could not be summed, by the ledger's rule."""
    channels = [c for m in opened.meters for c in m.channels() if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
    failed: dict[str, tuple[Finding, ...]] = {}
    for r in (r for meter in opened.meters for r in _readings(meter)):
        if r.value is None:
            failed[r.channel] = (Finding(Reason.READ_FAILED, r.channel, r.error or "no value", fatal=True),)
        else:
            failed.pop(r.channel, None)
    expected = {} if target.devices_count is None else {Scope.DEVICE: target.devices_count}
    metered = {c.scope for c in channels}
    findings = [
        f for s, made_of in compose(channels, failed, expected).items() if s in metered for f in made_of.findings
    ]
    return list(dict.fromkeys(f.text for f in findings if f.fatal))


def _readings(meter: Meter) -> tuple[Reading, ...]:
    try:
        return tuple(meter.read())
    except Exception as fault:  # a sensor may fail in any way; the others are still tried
        return tuple(Reading(c.id, 0.0, 0.0, None, reason_of(fault)) for c in meter.channels())


async def _answers(config: MonitorConfig) -> list[str]:
    """What is wrong with the sources of targets, and with the pages of those that they and the file name."""
    async with aiohttp.ClientSession() as session:
        sources = await asyncio.gather(*(_source(d, session) for d in config.discover))
        store = [] if config.store is None else await _store(config.store, session)
        named = {page_of(t.metrics_url): t for targets_of_source, _ in sources for t in targets_of_source}
        targets = list(({page_of(t.metrics_url): t for t in config.target} | named).values())
        pages = await asyncio.gather(*(_page(t, session, config.timeout_s) for t in targets))
    return [*(f for _, wrong in sources for f in wrong), *store, *(f for f in pages if f)]


async def _source(asked: DiscoverConfig, session: aiohttp.ClientSession) -> tuple[tuple[TargetConfig, ...], list[str]]:
    try:
        document = await discovered(asked, session)
    except JoulemillError as fault:
        return (), [f"[[discover]] {fault}"]
    fault_line = document.fault_line(f"[[discover]] {asked.where}")
    nothing = [] if document.targets else [f"[[discover]] {asked.where}: names no target"]
    return document.targets, [fault_line] if fault_line else nothing


async def _store(asked: StoreConfig, session: aiohttp.ClientSession) -> list[str]:
    try:
        scraped = await StoreReader(asked).read(session, time.time())
    except JoulemillError as fault:
        return [f"[store] {fault}"]
    return [] if scraped else [f"[store] {asked.url}: has no series of a known server (match: {asked.match!r})"]


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
