"""``joulemill monitor config``: a monitor.toml from Prometheus's targets or Kubernetes' pods, on stdout."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from joulemill.errors import InputError


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
    from joulemill.api.monitoring import monitor_config

    if args.checked is not None or not (args.from_prometheus or args.from_pods):
        raise InputError(
            "monitor config: say --from-prometheus URL|FILE, or --from-pods FILE (kubectl get pods -o json)"
        )
    sys.stdout.write(monitor_config(prometheus=args.from_prometheus, pods=args.from_pods, dcgm=args.dcgm))
    return 0
