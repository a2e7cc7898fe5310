"""The page's server inside the monitor's own loop, and who may be served."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from joulemill.errors import InputError

LOG = logging.getLogger("joulemill.monitor")
#: Open streams get this long to end [s].
GRACE_S = 1


def listen_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:9477`` as host and port. Raises InputError for anything else."""
    host, _, port = text.rpartition(":")
    if not port.isdigit() or not 0 <= int(port) < 65536:
        raise InputError(f"--listen {text}: write HOST:PORT, e.g. 127.0.0.1:9477")
    return host.strip("[]") or "127.0.0.1", int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach ``host``."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_open(host: str, token: str | None) -> None:
    """Refuse to be open to others without a token. Raises InputError with what to do."""
    if not is_loopback(host) and not token:
        raise InputError(
            f"--listen {host}: others could read it; name an environment variable that holds a token with --token-env, "
            "or listen on 127.0.0.1"
        )


async def serve(app: Any, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve ``app`` until ``stop``. Raises InputError where the address is taken."""
    import socket

    import uvicorn

    class Server(uvicorn.Server):
        """Signals are the monitor's own business."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as fault:
        listener.close()
        raise InputError(f"--listen {host}:{port}: {fault.strerror}; choose another port") from None
    # Access logs would hold what people search for; faults are logged.
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S, lifespan="off"
    )
    server = Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    await asyncio.wait([serving, asyncio.ensure_future(stop.wait())], return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    await serving
