"""Who may ask the monitor: pure ASGI, in front of everything else, errors and unknown paths included.

Decided on the connection's own facts (``scope["path"]``, the raw headers), never on an address that is rebuilt from
headers: what the router answers is what was allowed. Without a token loopback names alone are answered (a page
elsewhere must not reach the monitor by another name); with one, everything but the sign-in wants it:
``Authorization: Bearer``, or the cookie that the sign-in sets. Wrong tokens cost time, and after some of them the
client is not heard for a while.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

LOG = logging.getLogger("joulemill.monitor")
COOKIE = "joulemill_session"
#: Reached without a token: the sign-in and what it is drawn with.
OPEN_PATHS, OPEN_BELOW = ("/signin", "/healthz"), "/static/"
STREAM_PATH = "/events"
#: A body holds a token at most.
MOST_BODY_BYTE = 4096
#: A wrong token is answered after this time [s]; after so many in the window [s] the client is not heard (assumed).
GUESS_DELAY_S, MOST_GUESSES, GUESS_WINDOW_S = 0.5, 10, 60.0
#: Clients whose guesses are remembered at most (assumed).
MOST_CLIENTS = 10_000
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_OWN = [(k.encode(), v.encode()) for k, v in HEADERS.items()]
_NAMES = frozenset(k for k, _ in _OWN)


def is_loopback(host: str) -> bool:
    """Whether ``host`` (a name or an address, without port) is this machine's alone: localhost, 127/8, ::1."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]")).is_loopback
    except ValueError:
        return False


def session(token: str, key: bytes) -> bytes:
    """What the cookie holds: it says nothing of the token and ends with the process."""
    return hmac.new(key, token.encode(), hashlib.sha256).hexdigest().encode()


def client_of(scope: Scope) -> str:
    """Whom limits are for: the peer's address, of IPv6 the network (/64) that one subscriber has."""
    host = str((scope.get("client") or ("",))[0])
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(ipaddress.ip_network(f"{host}/64", strict=False)) if address.version == 6 else host


class Guesses:
    """Wrong tokens by client, of the last ``GUESS_WINDOW_S``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._wrong: OrderedDict[str, deque[float]] = OrderedDict()

    def wait_s(self, client: str) -> float:
        """How long this client is not heard [s]; 0 where it is."""
        wrong = self._wrong.get(client)
        if wrong is None or len(wrong) < MOST_GUESSES:
            return 0.0
        return max(wrong[0] + GUESS_WINDOW_S - self._clock(), 0.0)

    def wrong(self, client: str) -> None:
        """One more wrong token of this client."""
        wrong = self._wrong.setdefault(client, deque(maxlen=MOST_GUESSES))
        wrong.append(self._clock())
        self._wrong.move_to_end(client)
        if len(wrong) == MOST_GUESSES and self.wait_s(client) > 0:
            LOG.warning("%d wrong tokens from %s: its requests are refused for a while", MOST_GUESSES, client)
        while len(self._wrong) > MOST_CLIENTS:
            self._wrong.popitem(last=False)


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Event streams at once: of one client, and of all."""

    of_client: int = 100
    of_all: int = 1000


class Guard:
    """ASGI: lets a request pass, or answers it itself; every answer carries our headers.

    ``ending``: set where the server ends, so that event streams do.
    """

    def __init__(
        self,
        app: App,
        token: str | None,
        key: bytes,
        guesses: Guesses,
        limits: StreamLimits | None = None,
        *,
        ending: asyncio.Event | None = None,
        most_body_byte: int = MOST_BODY_BYTE,
    ) -> None:
        self._app, self._token, self._key = app, token, key
        self._most_body_byte = most_body_byte
        self._guesses, self.limits = guesses, limits or StreamLimits()
        self.ending = ending or asyncio.Event()
        self._streams: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request: refused, or passed on. Whatever is no plain HTTP request is not taken."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept = [h for h in message.get("headers") or () if bytes(h[0]).lower() not in _NAMES]
                message["headers"] = [*kept, *_OWN]
            await send(message)

        refusal = await self._refusal(scope)
        if refusal is not None:
            await _answer(guarded, *refusal)
        elif scope["path"] == STREAM_PATH:
            await self._stream(scope, receive, guarded)
        else:
            await self._app(scope, receive, guarded)

    async def _stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = client_of(scope)
        open_count = self._streams.get(client, 0)
        if open_count >= self.limits.of_client or sum(self._streams.values()) >= self.limits.of_all:
            await _answer(send, 429, "too many event streams are open", {"retry-after": "30"})
            return
        self._streams[client] = open_count + 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._streams[client] -= 1
            if not self._streams[client]:
                del self._streams[client]

    async def _refusal(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        if _stated_byte(scope) > self._most_body_byte:
            return 413, "nothing so long is taken here", {"connection": "close"}
        if self._token is None:
            if not _loopback_name(scope):
                return 403, "only this machine's own names are answered without a token", {}
            return None
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(OPEN_BELOW) or self._has_session(scope):
            return None
        token = _bearer(scope)
        if token is None:
            return _unknown(path)
        return await self._checked(token, client_of(scope))

    def _has_session(self, scope: Scope) -> bool:
        mine = session(self._token or "", self._key)
        return any(hmac.compare_digest(cookie, mine) for cookie in _cookies(scope))

    async def _checked(self, token: bytes, client: str) -> tuple[int, str, dict[str, str]] | None:
        if wait_s := self._guesses.wait_s(client):
            return 429, "too many wrong tokens; wait", {"retry-after": str(int(wait_s) + 1)}
        if hmac.compare_digest(token, (self._token or "").encode()):
            return None
        self._guesses.wrong(client)
        await asyncio.sleep(GUESS_DELAY_S)
        return 401, "a token is needed", {"www-authenticate": "Bearer"}


def _unknown(path: str) -> tuple[int, str, dict[str, str]]:
    if path == "/":
        return 303, "", {"location": "/signin"}
    return 401, "a token is needed", {"www-authenticate": "Bearer"}


def _headers(scope: Scope, name: bytes) -> list[bytes]:
    return [bytes(value) for key, value in scope["headers"] if bytes(key).lower() == name]


def _stated_byte(scope: Scope) -> int:
    stated = _headers(scope, b"content-length")
    return int(stated[0]) if stated and stated[0].isdigit() and len(stated[0]) < 20 else 0


def _loopback_name(scope: Scope) -> bool:
    named = _headers(scope, b"host")
    if len(named) != 1:
        return False
    text = named[0].decode("latin-1").lower()
    host, colon, port = text.rpartition(":")
    if colon and port.isascii() and port.isdigit() and (host.endswith("]") or ":" not in host):
        text = host
    return is_loopback(text)


def _bearer(scope: Scope) -> bytes | None:
    for value in _headers(scope, b"authorization"):
        kind, _, token = value.partition(b" ")
        if kind.lower() == b"bearer":
            return token.strip()
    return None


def _cookies(scope: Scope) -> list[bytes]:
    """Every value under our cookie's name, a few at most."""
    pairs = [p.strip().partition(b"=") for h in _headers(scope, b"cookie")[:8] for p in h.split(b";")[:64]]
    return [value for name, _, value in pairs if name == COOKIE.encode()][:4]


async def _answer(send: Send, status: int, error: str, headers: dict[str, str]) -> None:
    body = b"" if status == HTTPStatus.SEE_OTHER else json.dumps({"error": error}).encode()
    head = {"content-type": "application/json", "content-length": str(len(body)), **headers}
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [(k.encode(), v.encode("latin-1")) for k, v in head.items()],
        }
    )
    await send({"type": "http.response.body", "body": body})
