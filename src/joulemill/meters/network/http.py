"""A thin HTTP transport for meters: one kept connection, credentials from the environment only, TLS verified.

Synchronous, since each meter has a thread of its own. Knows nothing of what it fetches. An exchange is bounded as a
whole, in time and in size: a server that sends a byte a second, or without end, holds nobody.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from joulemill.errors import InputError, MachineError
from joulemill.formats.json_text import loads

#: A whole exchange: name, connection, TLS, question, answer [s].
TIMEOUT_S = 10.0
#: The longest answer that is read: a page of a hundred boards has some hundred thousand bytes.
MAX_BYTE = 16 * 2**20
_CHUNK_BYTE = 2**16


@dataclass(frozen=True, slots=True)
class HttpReply:
    """An HTTP answer with status 2xx; ``sized`` where its length was stated, so that it is known to be whole."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    sized: bool = True

    def json(self) -> Any:
        """The body as JSON. Raises ValueError, also where it is nested without measure."""
        return loads(self.body)


#: An HTTP Date has whole seconds: the moment lies within this of their middle [s].
DATE_HALF_S = 0.5


def date_half_s(answer: HttpReply) -> float:
    """Half of what a ``Date`` leaves open: its whole second, and one more where the server makes it once a second."""
    return 2 * DATE_HALF_S if "uvicorn" in answer.headers.get("server", "").lower() else DATE_HALF_S


def clock_ahead_s(answer: HttpReply, wall_s: float) -> float | None:
    """How far the server's clock is ahead of ``wall_s`` by its ``Date``, to ``date_half_s``; None without one."""
    try:
        return parsedate_to_datetime(answer.headers["date"]).timestamp() + date_half_s(answer) - wall_s
    except (KeyError, ValueError, OverflowError, TypeError, OSError):  # none, or what is no date
        return None


class HttpError(OSError):
    """The other side answered, but not with what was asked; ``status`` is its status code."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, or a user with a password; from the environment."""

    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)

    @staticmethod
    def of(environ: Mapping[str, str], family: str) -> Credentials:
        """``JOULEMILL_<FAMILY>_TOKEN``, or ``…_USER`` and ``…_PASSWORD``; empty where they are not set."""
        head = f"JOULEMILL_{family.upper()}_"
        return Credentials(
            environ.get(head + "USER", ""), environ.get(head + "PASSWORD", ""), environ.get(head + "TOKEN", "")
        )

    def headers(self) -> dict[str, str]:
        """An ``Authorization`` header, or none."""
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        if self.user:
            pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}


class _Timed:
    """A socket whose reads and writes share one deadline, however many there are; open as long as one reads from it."""

    def __init__(self, sock: socket.socket, until_s: float) -> None:
        self._socket, self.until_s = sock, until_s
        self._readers, self._closing = 0, False

    def read_into(self, buffer: Any) -> int:
        self._socket.settimeout(_left_s(self.until_s))
        return self._socket.recv_into(buffer)

    def sendall(self, data: bytes) -> None:
        self._socket.settimeout(_left_s(self.until_s))
        self._socket.sendall(data)

    def makefile(self, *_: Any, **__: Any) -> io.BufferedReader:
        """What an answer is read from."""
        self._readers += 1
        return io.BufferedReader(_BoundedReader(self), _CHUNK_BYTE)

    def let_go(self) -> None:
        """A reader has ended."""
        self._readers -= 1
        if self._closing and self._readers <= 0:
            self._socket.close()

    def close(self) -> None:
        """Close, once nobody reads any more."""
        self._closing = True
        if self._readers <= 0:
            self._socket.close()


class _BoundedReader(io.RawIOBase):
    def __init__(self, timed: _Timed) -> None:
        super().__init__()
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._timed.read_into(buffer)

    def close(self) -> None:
        if not self.closed:
            self._timed.let_go()
        super().close()


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError(f"no whole answer within {TIMEOUT_S:g} s")
    return left_s


class _Connection(http.client.HTTPConnection):
    """One connection, with or without TLS, every exchange of which ends by its deadline."""

    def __init__(self, host: str, port: int | None, tls: ssl.SSLContext | None) -> None:
        self.default_port = 443 if tls is not None else 80  # of this object, so that the Host header is right
        super().__init__(host, port)
        self._tls, self.until_s = tls, 0.0

    def connect(self) -> None:
        """Connect to the first of the host's addresses that answers."""
        plain = socket.create_connection((self.host, self.port), _left_s(self.until_s))
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            plain.settimeout(_left_s(self.until_s))
            sock = plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise
        self.sock: Any = _Timed(sock, self.until_s)

    def begin(self, until_s: float) -> None:
        """An exchange that ends by ``until_s``."""
        self.until_s = until_s
        if isinstance(self.sock, _Timed):
            self.sock.until_s = until_s


class HttpSource:
    """One server. Safe to use from one thread at a time; ``close`` from any.

    host    its name, as a device's name is made of it;  shown  with the port, for messages
    """

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, *, ca: str = "", verify: bool = True
    ) -> None:
        try:
            parts = urlsplit(url)
            where = (parts.hostname or "", parts.port)
        except ValueError as error:  # a port of five million, half an IPv6 address
            raise InputError(f"{url!r} is not an address such as http://host:9400/metrics: {error}") from error
        if parts.scheme not in ("http", "https") or not where[0]:
            raise InputError(f"{url!r} is not an address such as http://host:9400/metrics")
        if parts.username or parts.password:
            raise InputError(f"the address of {parts.hostname} holds a password; put it into the environment instead")
        self.host, self.path = where[0], parts.path + (f"?{parts.query}" if parts.query else "")
        self.headers = dict(headers or {})
        self._where = where
        self.shown = self.host if where[1] is None else f"{self.host}:{where[1]}"
        self._context = _tls(ca, verify) if parts.scheme == "https" else None
        self._connection: _Connection | None = None
        self._lock = threading.Lock()

    def get(self, path: str) -> HttpReply:
        """GET ``path``. Raises OSError (HttpError for any status but 2xx)."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: Any = None) -> HttpReply:
        """One exchange; a kept connection that the server has closed meanwhile is opened once more."""
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "*/*", **self.headers} | ({"Content-Type": "application/json"} if payload else {})
        until_s = time.monotonic() + TIMEOUT_S
        with self._lock:
            kept = self._connection is not None
            try:
                try:
                    return self._exchange(method, path, payload, headers, until_s)
                except (http.client.HTTPException, ConnectionError):
                    self._drop()
                    if not kept:
                        raise
                    return self._exchange(method, path, payload, headers, until_s)
            except HttpError:
                raise
            except (OSError, ValueError, http.client.HTTPException) as error:
                self._drop()
                if isinstance(error, ssl.SSLError):
                    raise  # what to do about it is another thing
                raise OSError(f"{method} {self.shown}{_short(path)}: {_what(error)}") from error

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._drop()

    def _exchange(
        self, method: str, path: str, payload: bytes | None, headers: dict[str, str], until_s: float
    ) -> HttpReply:
        if self._connection is None:
            self._connection = _Connection(*self._where, self._context)
        self._connection.begin(until_s)
        self._connection.request(method, path or "/", body=payload, headers=headers)
        response = self._connection.getresponse()
        sized = response.length is not None or response.chunked
        data = _bounded(response)
        if not 200 <= response.status < 300:
            raise HttpError(f"{method} {self.shown}{_short(path)}: HTTP {_status(response.status)}", response.status)
        return HttpReply(response.status, {k.lower(): v for k, v in response.getheaders()}, data, sized)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _bounded(response: http.client.HTTPResponse) -> bytes:
    """The whole body. Raises OSError where it is longer than any that a meter needs."""
    if (response.length or 0) > MAX_BYTE:
        raise OSError(f"the answer has {response.length} bytes, more than {MAX_BYTE // 2**20} MiB")
    chunks, size_byte = [], 0
    while chunk := response.read(_CHUNK_BYTE):
        chunks.append(chunk)
        size_byte += len(chunk)
        if size_byte > MAX_BYTE:
            raise OSError(f"the answer is longer than {MAX_BYTE // 2**20} MiB")
    if response.length:  # what Content-Length promised and did not come
        raise http.client.IncompleteRead(b"", response.length)
    return b"".join(chunks)


def _short(path: str) -> str:
    return path if len(path) <= 100 else f"{path[:97]}…"


def _status(status: int) -> str:
    """The status with its own phrase: what the other side calls it may repeat a password."""
    try:
        return f"{status} {http.HTTPStatus(status).phrase}"
    except ValueError:
        return f"{status}"


def _what(error: Exception) -> str:
    """What went wrong; nothing that the other side wrote, since that may repeat a password."""
    if isinstance(error, TimeoutError):
        return f"no whole answer within {TIMEOUT_S:g} s"
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut off"
    if isinstance(error, http.client.HTTPException) and not isinstance(error, http.client.InvalidURL):
        if type(error) is http.client.HTTPException:  # its text is Python's own: "got more than 100 headers"
            return f"{error}, the answer is not HTTP"
        return f"{type(error).__name__}, the answer is not HTTP"
    text = "".join(c if c.isprintable() else "?" for c in str(error)[:200])
    return text if type(error) is OSError else f"{type(error).__name__} {text}"


def _tls(ca: str, verify: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise InputError(f"ca={ca}: cannot be read as certificates: {error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def unreachable(what: str, error: Exception, hint: str) -> MachineError:
    """The error for a source that cannot be opened, with what to do."""
    if isinstance(error, HttpError) and error.status in (401, 403):
        hint = "set the credentials in the environment: " + hint
    if isinstance(error, ssl.SSLError):
        hint = "give the certificate's authority with ca=FILE, or verify=no for a self-signed one that you trust"
    return MachineError(f"{what} cannot be read ({error}); {hint}")
