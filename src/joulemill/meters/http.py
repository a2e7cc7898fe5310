"""A thin HTTP transport for meters: one kept connection, credentials from the environment only, TLS verified.

Synchronous, since each meter has a thread of its own. Knows nothing of what it fetches.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from joulemill.errors import InputError, MachineError

TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer with status 2xx."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON. Raises ValueError."""
        return json.loads(self.body)


#: An HTTP Date has whole seconds: the moment lies within this of their middle [s].
DATE_HALF_S = 0.5


def clock_ahead_s(answer: Answer, wall_s: float) -> float | None:
    """How far the server's clock is ahead of ``wall_s`` by its ``Date``, to ``DATE_HALF_S``; None where it sends none.

    Raises ValueError where it is no date.
    """
    date = answer.headers.get("date")
    return None if date is None else parsedate_to_datetime(date).timestamp() + DATE_HALF_S - wall_s


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


class HttpSource:
    """One server. Safe to use from one thread at a time; ``close`` from any."""

    def __init__(
        self, url: str, headers: Mapping[str, str] | None = None, *, ca: str = "", verify: bool = True
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(f"{url!r} is not an address such as http://host:9400/metrics")
        if parts.username or parts.password:
            raise InputError(f"the address of {parts.hostname} holds a password; put it into the environment instead")
        self.host, self.path = parts.hostname, parts.path + (f"?{parts.query}" if parts.query else "")
        self.headers = dict(headers or {})
        self._where = (parts.hostname, parts.port)
        self._shown = parts.hostname if parts.port is None else f"{parts.hostname}:{parts.port}"
        self._context = _tls(ca, verify) if parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None
        self._lock = threading.Lock()

    def get(self, path: str) -> Answer:
        """GET ``path``. Raises OSError (HttpError for any status but 2xx)."""
        return self.ask("GET", path)

    def ask(self, method: str, path: str, body: Any = None) -> Answer:
        """One exchange; a kept connection that the server has closed meanwhile is opened once more."""
        payload = None if body is None else json.dumps(body).encode()
        headers = {"Accept": "*/*", **self.headers} | ({"Content-Type": "application/json"} if payload else {})
        with self._lock:
            fresh = self._connection is None
            try:
                return self._exchange(method, path, payload, headers)
            except (http.client.HTTPException, ConnectionError) as error:
                self._drop()
                if fresh:
                    raise OSError(f"{method} {self._shown}{path}: {type(error).__name__} {error}") from error
                return self._exchange(method, path, payload, headers)
            except OSError as error:
                if not isinstance(error, HttpError):
                    self._drop()
                raise

    def close(self) -> None:
        """End the connection."""
        with self._lock:
            self._drop()

    def _exchange(self, method: str, path: str, payload: bytes | None, headers: dict[str, str]) -> Answer:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request(method, path or "/", body=payload, headers=headers)
        response = self._connection.getresponse()
        data = response.read()
        if not 200 <= response.status < 300:
            raise HttpError(f"{method} {self._shown}{path}: HTTP {response.status} {response.reason}", response.status)
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, data)

    def _connect(self) -> http.client.HTTPConnection:
        host, port = self._where
        if self._context is not None:
            return http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=self._context)
        return http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)

    def _drop(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


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
