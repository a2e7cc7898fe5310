"""The page's server inside the monitor's own loop, and who may be served."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from joulemill.errors import InputError
from joulemill.monitor.web.access import StreamLimits, is_loopback
from joulemill.monitor.web.connections import MOST_HALF_OPEN, Connections, more_files, protocol

LOG = logging.getLogger("joulemill.monitor")
#: Open streams get this long to end [s].
GRACE_S = 1
#: How often it is looked whether the server answers [s].
STARTED_S = 0.01
#: Connections that wait to be taken.
BACKLOG = 1024
_FORM = "write HOST:PORT, e.g. 127.0.0.1:9477 or [::1]:9477"


def listen_address(text: str) -> tuple[str, int]:
    """``127.0.0.1:9477`` or ``[::1]:9477`` as host and port. Raises InputError for anything else."""
    host, colon, port = text.strip().rpartition(":")
    whole = port.isascii() and port.isdigit() and len(port) < 6 and 0 <= int(port) < 65536
    bare_v6 = ":" in host and not (host.startswith("[") and host.endswith("]"))
    if not colon or not whole or bare_v6 or not host.isascii():
        raise InputError(f"--listen {text}: {_FORM}")
    return host.removeprefix("[").removesuffix("]") or "127.0.0.1", int(port)


def shown(host: str, port: int) -> str:
    """The address as one can open it."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def check_open(host: str, token: str | None) -> None:
    """Refuse to be open to others without a token. Raises InputError with what to do."""
    if not is_loopback(host) and not token:
        raise InputError(
            f"--listen {host}: others could read it; name an environment variable that holds a token with --token-env, "
            "or listen on 127.0.0.1"
        )


def listen_at(host: str, port: int) -> socket.socket:
    """A socket at the address, which nobody else can take. Raises InputError where it is taken, or is none."""
    try:
        family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, proto)
    except OSError as fault:
        raise InputError(f"--listen {host}:{port}: {fault.strerror}; {_FORM}") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as fault:
        listener.close()
        raise InputError(f"--listen {host}:{port}: {fault.strerror}; choose another port") from None
    return listener


def _bounded(app: Any, loop: asyncio.AbstractEventLoop) -> Connections:
    """Half-open connections and event streams as the bound of open files allows."""
    files = more_files()
    if hasattr(app, "limits"):
        of_all = min(app.limits.of_all, files // 2)
        app.limits = StreamLimits(min(app.limits.of_client, max(of_all // 4, 1)), of_all)
    return Connections(app, loop, max(min(MOST_HALF_OPEN, files // 6), 8))


async def serve(app: Any, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve ``app`` until ``stop``. Raises InputError where the address is taken."""
    await serve_on(app, listen_at(host, port), stop)


async def serve_on(
    app: Any, listener: socket.socket, stop: asyncio.Event, ready: Callable[[str], None] | None = None
) -> None:
    """Serve ``app`` at ``listener`` until ``stop``; ``ready`` is told the address once it answers."""
    import uvicorn

    class Server(uvicorn.Server):
        """Signals are the monitor's own business."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    connections = _bounded(app, asyncio.get_running_loop())
    # Access logs would hold what people search for; faults are logged. Forwarded addresses are not believed: limits
    # are by the peer that we see. Requests that are none are not told either: anybody could fill the log with them.
    config = uvicorn.Config(
        connections,
        http=protocol(connections),
        ws="none",
        interface="asgi3",
        proxy_headers=False,
        server_header=False,
        log_level="error",
        access_log=False,
        timeout_graceful_shutdown=GRACE_S,
        lifespan="off",
        loop="none",
    )
    server = Server(config)
    serving = asyncio.ensure_future(server.serve(sockets=[listener]))
    stopping = asyncio.ensure_future(stop.wait())
    while ready is not None and not serving.done() and not server.started:
        await asyncio.sleep(STARTED_S)
    if ready is not None and server.started:
        ready(shown(*listener.getsockname()[:2]))
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    connections.end()
    server.should_exit = True
    stopping.cancel()
    await serving
