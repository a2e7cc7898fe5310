"""Reads discovery documents from where they are: a file, an HTTP address, a Kubernetes API."""

from __future__ import annotations

import os
import ssl
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from joulemill.errors import InputError
from joulemill.formats.plain_text import secrets_of
from joulemill.monitor.config import DiscoverConfig
from joulemill.monitor.config_checks import keys_checked
from joulemill.monitor.discovery.targets import Discovery, targets_of
from joulemill.servers.boundary import body_of, from_source, read_in_thread, read_json

MOST_BYTE = 32 << 20
TIMEOUT_S = 10.0
#: A document that waits for a reading thread is given up after this time [s] (assumed).
READ_S = 30.0


async def discovered(asked: DiscoverConfig, session: aiohttp.ClientSession) -> Discovery:
    """What ``asked`` tells of now. Raises JoulemillError, and nothing else, that names the source."""
    if asked.file is not None:
        return await from_source(asked.where, read_in_thread(_of_file, asked), READ_S)
    headers = await from_source(asked.where, read_in_thread(_headers, asked), TIMEOUT_S)
    hidden = secrets_of(None, headers.items())
    body = await from_source(asked.where, _http(asked, session, headers), TIMEOUT_S, hidden)
    return await from_source(asked.where, read_in_thread(_of_body, body, asked), READ_S)


def _of_body(body: bytes, asked: DiscoverConfig) -> Discovery:
    return targets_of(read_json(body), asked)


def _of_file(asked: DiscoverConfig) -> Discovery:
    return targets_of(_file(asked.file or Path()), asked)


def _file(path: Path) -> Any:
    """A JSON list, or a TOML file with a list ``groups`` of the same form."""
    try:
        # a pipe in its place would be waited for, and a reading thread with it
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ValueError("it is no file")
            body = file.read(MOST_BYTE + 1)
        if len(body) > MOST_BYTE:
            raise ValueError(f"it is longer than {MOST_BYTE} bytes")
        return _groups(body, path) if path.suffix == ".toml" else read_json(body)
    except OSError as fault:
        raise InputError(f"{path}: cannot be read: {fault.strerror}") from None
    except RecursionError:
        raise InputError(f"{path}: it is nested too deep") from None
    except ValueError as fault:
        raise InputError(f"{path}: {fault}") from None


def _groups(body: bytes, path: Path) -> Any:
    table = tomllib.loads(body.decode("utf-8"))
    keys_checked(table, ("groups",), str(path))
    return table.get("groups")


async def _http(asked: DiscoverConfig, session: aiohttp.ClientSession, headers: Mapping[str, str]) -> bytes:
    async with session.get(asked.where, headers=headers, ssl=_tls(asked), allow_redirects=False) as answer:
        if answer.status != 200:
            raise InputError(f"{asked.where}: answered {answer.status}")
        return await body_of(answer, MOST_BYTE)


def _headers(asked: DiscoverConfig) -> dict[str, str]:
    token = os.environ.get(asked.source_token_env or "")
    if asked.source_token_file is not None:
        token = asked.source_token_file.read_text("utf-8").strip()  # read each time: Kubernetes renews it
    return {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})


def _tls(asked: DiscoverConfig) -> ssl.SSLContext | bool:
    return True if asked.ca_file is None else ssl.create_default_context(cafile=str(asked.ca_file))
