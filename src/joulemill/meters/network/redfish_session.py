"""Speaks to one Redfish service: logs in, asks for resources, logs out. Knows nothing of what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from joulemill.meters.network.http import Credentials, HttpError, HttpSource

Resource = Mapping[str, Any]
#: Answers to a link that leads nowhere.
ABSENT = (404, 405, 410, 501)
#: Resources that an opening asks for at most.
MAX_RESOURCES = 1000


class Session:
    """Speaks to one service; logs in anew once where a session has run out."""

    def __init__(self, source: HttpSource, credentials: Credentials, auth: str) -> None:
        self._source, self._credentials, self._auth = source, credentials, auth
        self._own: str | None = None
        self._asked_count = 0
        self.opened = False

    def begin(self) -> None:
        """Log in. A service without sessions gets basic authentication."""
        if self._auth == "none" or not (self._credentials.user or self._credentials.token):
            return
        if self._auth == "session" and not self._credentials.token:
            body = {"UserName": self._credentials.user, "Password": self._credentials.password}
            try:
                answer = self._source.ask("POST", "/redfish/v1/SessionService/Sessions", body)
            except HttpError as error:
                if error.status not in (404, 405, 501):
                    raise
            else:
                self._source.headers["X-Auth-Token"] = answer.headers.get("x-auth-token", "")
                self._own = answer.headers.get("location")
                return
        self._source.headers.update(self._credentials.headers())

    def get(self, path: str) -> Resource:
        """A resource. Raises OSError, or ValueError where it is no JSON object or no path."""
        if not path.startswith("/") or not path.isprintable():  # a line's end in a link would be a header of ours
            raise ValueError(f"{path[:80]!r} is no path of the service")
        self._asked_count += 1
        if self._asked_count > MAX_RESOURCES and not self.opened:
            raise ValueError(f"its tree has more than {MAX_RESOURCES} resources")
        try:
            answer = self._source.get(path)
        except HttpError as error:
            if error.status != 401 or self._own is None:
                raise
            self._own = None
            self._source.headers.pop("X-Auth-Token", None)
            self.begin()
            answer = self._source.get(path)
        resource = answer.json()
        if not isinstance(resource, dict):
            raise ValueError(f"{path} is no Redfish resource")
        return resource

    def end(self) -> None:
        """Log out and hang up."""
        if self._own is not None:
            path = "/" + self._own.split("://", 1)[-1].split("/", 1)[-1] if "://" in self._own else self._own
            self._own = None
            with suppress(OSError):  # it runs out by itself
                self._source.ask("DELETE", path)
        self._source.close()


def forgiving(get: Callable[[str], Resource]) -> Callable[[str], Resource]:
    """``get`` for what a BMC may link to and not have: such a resource is empty."""

    def got(path: str) -> Resource:
        try:
            return get(path)
        except HttpError as error:
            if error.status not in ABSENT:
                raise
            return {}

    return got
