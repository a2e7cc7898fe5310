"""A monitor.toml from Prometheus's targets or Kubernetes' pods, wherever these are: an address, a file, stdin."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joulemill.errors import InputError, ServerError
from joulemill.formats.prometheus_text import parse_exposition
from joulemill.meters.network.http import Credentials, HttpSource
from joulemill.monitor.discovery.config_sources import NamedSources, boards_of, of_pods, of_prometheus, plain_url, safe
from joulemill.monitor.discovery.config_text import config_text
from joulemill.servers.boundary import read_json

#: A document or page may be so long.
MOST_BYTE = 32 << 20
TARGETS_PATH = "/api/v1/targets"
CREDENTIALS = "JOULEMILL_PROMETHEUS_TOKEN, or JOULEMILL_PROMETHEUS_USER and JOULEMILL_PROMETHEUS_PASSWORD"


def config_from(prometheus: str | None, pods: str | None, dcgm: Sequence[str] = ()) -> str:
    """The configuration as TOML.

    prometheus   address or file of /api/v1/targets, or of HTTP service discovery
    pods         what ``kubectl get pods -A -o json`` writes: a file, or "-" for stdin
    dcgm         pages of dcgm-exporters: which pod has which boards
    """
    parts = []
    if prometheus:
        parts.append(of_prometheus(_json(prometheus, TARGETS_PATH), prometheus))
    if pods:
        parts.append(of_pods(_json(pods, ""), pods))
    boards = tuple(b for where in dcgm for b in _boards(where))
    named = NamedSources(*(tuple(x for p in parts for x in getattr(p, k)) for k in ("pages", "exporters", "passed")))
    sources = " and ".join(safe(x.partition("?")[0]) for x in (prometheus, pods) if x)
    return config_text(named, boards, sources)


def _boards(where: str) -> tuple[Any, ...]:
    text = _read(where, "/metrics").decode("utf-8", "replace")
    try:
        samples = parse_exposition(text, lambda name: name.startswith("DCGM_FI_"))
    except ValueError as fault:
        raise InputError(f"`dcgm` {where}: {fault}") from None
    address = _address(where, "/metrics") if _is_url(where) else None
    boards = boards_of(samples, plain_url(address))
    if not boards:
        raise InputError(f"`dcgm` {where}: no dcgm-exporter's page: no DCGM_FI_ sample with a UUID")
    return boards


def _json(where: str, path: str) -> Any:
    try:
        return read_json(_read(where, path))
    except ValueError as fault:
        raise InputError(f"{where}: no JSON document: {' '.join(str(fault).split())[:200]}") from None


def _is_url(where: str) -> bool:
    return where.startswith(("http://", "https://"))


def _address(where: str, path: str) -> str:
    """``where`` with the usual ``path`` where it names none."""
    return where.rstrip("/") + path if urlsplit(where).path in ("", "/") and not urlsplit(where).query else where


def _read(where: str, path: str) -> bytes:
    if _is_url(where):
        return _fetched(_address(where, path))
    try:
        if where == "-":
            body = sys.stdin.buffer.read(MOST_BYTE + 1)
        else:
            with Path(where).open("rb") as file:
                body = file.read(MOST_BYTE + 1)
    except (OSError, ValueError) as fault:
        raise InputError(f"{where}: cannot be read: {getattr(fault, 'strerror', None) or fault}") from None
    if len(body) > MOST_BYTE:
        raise InputError(f"{where}: longer than {MOST_BYTE} bytes")
    return body


def _fetched(url: str) -> bytes:
    try:
        source = HttpSource(url, Credentials.of(os.environ, "prometheus").headers())
    except ValueError as fault:
        raise InputError(f"{url}: no address: {fault}") from None
    try:
        return source.get(source.path or "/").body
    except (OSError, ValueError) as fault:
        raise ServerError(f"{url}: {fault}; a password goes into {CREDENTIALS}", usage=True) from None
    finally:
        source.close()
