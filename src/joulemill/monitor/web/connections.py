"""Open connections of the page's server, so that nobody can hold them all without asking anything.

A connection is half open while no request of it is being answered: it has sent no whole header yet, or it rests
between two requests. It may stay so for ``HEADER_S``; where there are more of them than ``most``, the oldest goes. So
those that ask are served, however many others only stand. An answer that nobody takes ends after ``SEND_S``.
"""

from __future__ import annotations

import asyncio
import resource
from collections import OrderedDict
from contextlib import suppress
from typing import Any

from joulemill.monitor.web.access import App, Message, Receive, Scope, Send

#: A header comes whole within this time, and a connection rests at most so long between requests [s] (assumed).
HEADER_S = 10.0
#: So long may one part of an answer wait to be taken [s] (assumed).
SEND_S = 30.0
#: Half-open connections at once (assumed): far more than clients that really ask have at any moment.
MOST_HALF_OPEN = 512
WANTED_FILES = 65_536
_Peer = tuple[str, int]


def more_files() -> int:
    """Raise this process's bound of open files as far as it may, and say what it is now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    wanted = WANTED_FILES if hard == unlimited else min(hard, WANTED_FILES)
    if soft != unlimited and soft < wanted:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
    return WANTED_FILES if soft == unlimited else soft


class Connections:
    """Half-open connections, oldest first, and the application with the answers' time bound."""

    def __init__(self, app: App, loop: asyncio.AbstractEventLoop, most: int = MOST_HALF_OPEN) -> None:
        self._app, self._loop, self._most = app, loop, most
        self._transports: dict[_Peer, asyncio.BaseTransport] = {}
        self._half: OrderedDict[_Peer, asyncio.TimerHandle] = OrderedDict()
        self._ending = False

    def end(self) -> None:
        """The server ends: event streams do at once, and what is still asked later is given up without a word."""
        self._ending = True
        if (ending := getattr(self._app, "ending", None)) is not None:
            ending.set()

    def opened(self, transport: asyncio.BaseTransport) -> None:
        """A connection was made."""
        if (peer := _peer(transport)) is not None:
            self._transports[peer] = transport
            self._rests(peer)

    def closed(self, transport: asyncio.BaseTransport) -> None:
        """A connection has ended."""
        if (peer := _peer(transport)) is not None:
            self._transports.pop(peer, None)
            self._works(peer)

    def _rests(self, peer: _Peer) -> None:
        if peer not in self._transports:
            return
        self._half[peer] = self._loop.call_later(HEADER_S, self._end, peer)
        while len(self._half) > self._most:
            self._end(next(iter(self._half)))

    def _works(self, peer: _Peer) -> None:
        if (timer := self._half.pop(peer, None)) is not None:
            timer.cancel()

    def _end(self, peer: _Peer) -> None:
        self._works(peer)
        transport = self._transports.get(peer)
        if isinstance(transport, asyncio.Transport):
            transport.abort()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: one request, during which its connection is not half open."""
        client = scope.get("client")
        peer = (str(client[0]), int(client[1])) if client else ("", 0)

        async def taken(message: Message) -> None:
            try:
                async with asyncio.timeout(SEND_S):
                    await send(message)
            except TimeoutError:
                self._end(peer)
                raise ConnectionAbortedError("the client does not read the response") from None

        self._works(peer)
        try:
            await self._app(scope, receive, taken)
        except ConnectionAbortedError:
            return
        except asyncio.CancelledError:
            if not self._ending:
                raise
            self._end(peer)
            await asyncio.sleep(0)  # so that the connection is known to be gone, and nobody misses its answer
        finally:
            self._rests(peer)


def _peer(transport: asyncio.BaseTransport) -> _Peer | None:
    name: Any = transport.get_extra_info("peername")
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None


def protocol(connections: Connections) -> type[asyncio.Protocol]:
    """uvicorn's HTTP/1.1 by h11 (headers bounded to 64 KB), which tells ``connections`` what comes and goes."""
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Told(H11Protocol):
        """One connection."""

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            connections.opened(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.closed(self.transport)
            super().connection_lost(exc)

    return Told
