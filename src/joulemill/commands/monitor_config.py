"""``joulemill monitor config``: a monitor.toml from Prometheus's targets or Kubernetes' pods, on stdout."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joulemill.errors import InputError, ServerError

#: A document or page may be so long.
MOST_BYTE = 32 << 20
TARGETS_PATH = "/api/v1/targets"
CREDENTIALS = "JOULEMILL_PROMETHEUS_TOKEN, or JOULEMILL_PROMETHEUS_USER and JOULEMILL_PROMETHEUS_PASSWORD"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options after the word ``config``."""
    group = parser.add_argument_group("a configuration from what you have (`joulemill monitor config …`, on stdout)")
    group.add_argument(
        "--from-prometheus", metavar="URL|FILE", help="Prometheus's /api/v1/targets, or HTTP service discovery"
    )
    group.add_argument("--from-pods", metavar="FILE|-", help="what `kubectl get pods -A -o json` writes")
    group.add_argument(
        "--dcgm",
        metavar="URL|FILE",
        action="append",
        default=[],
        help="a dcgm-exporter's page: which pod has which boards; may be named several times",
    )


def asked(args: argparse.Namespace) -> bool:
    """Whether the command line asks for a configuration. Raises InputError where it does so in part."""
    options = args.from_prometheus or args.from_pods or args.dcgm
    if args.config != Path("config"):
        if options:
            raise InputError("--from-prometheus, --from-pods and --dcgm come after the word config: monitor config …")
        return False
    return bool(options) or not args.config.exists()


def run(args: argparse.Namespace) -> int:
    """Print the configuration."""
    from joulemill.monitor.discovery.config_sources import Named, of_pods, of_prometheus, safe
    from joulemill.monitor.discovery.config_text import config_text

    if args.checked is not None or not (args.from_prometheus or args.from_pods):
        raise InputError(
            "monitor config: say --from-prometheus URL|FILE, or --from-pods FILE (kubectl get pods -o json)"
        )
    parts = []
    if args.from_prometheus:
        parts.append(of_prometheus(_json(args.from_prometheus, TARGETS_PATH), args.from_prometheus))
    if args.from_pods:
        parts.append(of_pods(_json(args.from_pods, ""), args.from_pods))
    boards = tuple(b for where in args.dcgm for b in _boards(where))
    named = Named(*(tuple(x for p in parts for x in getattr(p, k)) for k in ("pages", "exporters", "passed")))
    sources = " and ".join(safe(x.partition("?")[0]) for x in (args.from_prometheus, args.from_pods) if x)
    sys.stdout.write(config_text(named, boards, sources))
    return 0


def _boards(where: str) -> tuple[Any, ...]:
    from joulemill.formats.prometheus_text import parse_exposition
    from joulemill.monitor.discovery.config_sources import boards_of, plain_url

    text = _read(where, "/metrics").decode("utf-8", "replace")
    try:
        samples = parse_exposition(text, lambda name: name.startswith("DCGM_FI_"))
    except ValueError as fault:
        raise InputError(f"--dcgm {where}: {fault}") from None
    address = _address(where, "/metrics") if _is_url(where) else None
    boards = boards_of(samples, plain_url(address))
    if not boards:
        raise InputError(f"--dcgm {where}: no dcgm-exporter's page: no DCGM_FI_ sample with a UUID")
    return boards


def _json(where: str, path: str) -> Any:
    from joulemill.servers.boundary import read_json

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
    from joulemill.meters.network.http import Credentials, HttpSource

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
