"""Reads discovery documents from where they are: a file, an HTTP address, a Kubernetes API."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import tomllib
from pathlib import Path
from typing import Any

import aiohttp

from joulemill.errors import InputError
from joulemill.monitor.config import DiscoverConfig, TargetConfig
from joulemill.monitor.discovery import targets_of

MOST_BYTE = 32 << 20
TIMEOUT_S = 10.0


async def discovered(asked: DiscoverConfig, session: aiohttp.ClientSession) -> list[TargetConfig]:
    """The targets that ``asked`` tells of now. Raises InputError that names the source and what is wrong."""
    if asked.file is not None:
        document = await asyncio.to_thread(_file, asked.file)
    else:
        document = await _http(asked, session)
    return targets_of(document, asked)


def _file(path: Path) -> Any:
    """A JSON list, or a TOML file with a list ``groups`` of the same form."""
    try:
        text = path.read_text("utf-8")
        return tomllib.loads(text).get("groups") if path.suffix == ".toml" else json.loads(text)
    except OSError as fault:
        raise InputError(f"{path}: cannot be read: {fault.strerror}") from None
    except ValueError as fault:
        raise InputError(f"{path}: {fault}") from None


async def _http(asked: DiscoverConfig, session: aiohttp.ClientSession) -> Any:
    try:
        async with (
            asyncio.timeout(TIMEOUT_S),
            session.get(asked.where, headers=_headers(asked), ssl=_tls(asked), allow_redirects=False) as answer,
        ):
            if answer.status != 200:
                raise InputError(f"{asked.where}: answered {answer.status}")
            body = await answer.content.read(MOST_BYTE)
            while not answer.content.at_eof() and len(body) < MOST_BYTE:
                body += await answer.content.read(MOST_BYTE)
        return json.loads(body)
    except TimeoutError:
        raise InputError(f"{asked.where}: no answer within {TIMEOUT_S:g} s") from None
    except (aiohttp.ClientError, OSError, ValueError) as fault:
        raise InputError(f"{asked.where}: {type(fault).__name__}: {fault}"[:300]) from None


def _headers(asked: DiscoverConfig) -> dict[str, str]:
    token = os.environ.get(asked.source_token_env or "")
    if asked.source_token_file is not None:
        token = asked.source_token_file.read_text("utf-8").strip()  # read each time: Kubernetes renews it
    return {"Accept": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})


def _tls(asked: DiscoverConfig) -> ssl.SSLContext | bool:
    return True if asked.ca_file is None else ssl.create_default_context(cafile=str(asked.ca_file))
