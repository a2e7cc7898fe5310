"""Where what others send is taken in: a page, a discovery document, a store's answer, a meter's opening.

Whatever goes wrong inside becomes a ``ServerError`` that names the source, so that no source can hurt another, whatever
it thought of: there is no list of exceptions to keep complete. What is long work happens in threads of its own, never
in the event loop, and whoever does it keeps to a budget of processor time.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

import aiohttp

from joulemill.errors import JoulemillError, ServerError
from joulemill.formats.plain_text import plain_text

T = TypeVar("T")
#: Processor time that reading one page or document may take [s] (assumed; a busy vLLM's page takes 0.01).
PARSE_S = 1.0
#: Threads that read pages and documents (assumed): readers keep to their budgets, so four are never all lost.
READERS = 4
MOST_REASON_CHARS = 300


def reason_of(fault: BaseException) -> str:
    """``fault`` as one bounded line without control characters."""
    text = _words(fault)
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * MOST_REASON_CHARS])
    return " ".join(shown.split())[:MOST_REASON_CHARS].encode("utf-8", "replace").decode()


def _words(fault: BaseException) -> str:
    """What happened, in words; the type's name where the exception has none that a reader knows."""
    if isinstance(fault, aiohttp.ClientConnectorError):
        number = fault.os_error.errno
        why = os.strerror(number).lower() if number and number > 0 else str(fault.os_error)
        return f"cannot connect to {fault.host}:{fault.port} ({why})"
    if isinstance(fault, aiohttp.ServerDisconnectedError):
        return "the server closed the connection before it had answered"
    plain = isinstance(fault, (JoulemillError, ValueError)) and str(fault)
    return str(fault) if plain else f"{type(fault).__name__}: {fault}"


async def from_source(
    where: str, work: Awaitable[T], within_s: float | None = None, secrets: tuple[str, ...] = ()
) -> T:
    """What ``work`` makes of a source. Raises JoulemillError, and nothing else, whatever happens in it.

    An error that is ours stands as it is; all else becomes a ServerError that begins with ``where``. ``secrets`` are
    what the source was told: an error may hold its words, and is told without them.
    """
    try:
        return await _from_source(where, work, within_s)
    except JoulemillError as fault:
        reason = plain_text(str(fault), secrets)
        if reason == str(fault):
            raise
    raise ServerError(reason)


async def _from_source(where: str, work: Awaitable[T], within_s: float | None) -> T:
    try:
        async with asyncio.timeout(within_s):
            return await work
    except JoulemillError:
        raise
    except TimeoutError as fault:
        late = f"no answer within {within_s:g} s" if within_s is not None else reason_of(fault)
        raise ServerError(f"{where}: {late}") from None
    except Exception as fault:
        raise ServerError(f"{where}: {reason_of(fault)}") from fault


async def read_in_thread(reader: Callable[..., T], *arguments: object) -> T:
    """``reader(*given)`` in one of the threads for that."""
    return await asyncio.get_running_loop().run_in_executor(_readers(), reader, *arguments)


@cache
def _readers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(READERS, "joulemill reader")


class Budget:
    """Processor time of this thread that is left for one thing. Raises ValueError where it is spent."""

    def __init__(self, most_s: float = PARSE_S) -> None:
        self._most_s, self._until_s = most_s, time.thread_time() + most_s

    def check(self) -> None:
        """Say so now and then; costs a microsecond."""
        if time.thread_time() > self._until_s:
            raise ValueError(f"reading it takes more than {self._most_s:g} s of processor time")


#: Values and members of one JSON document (assumed): a list of 10,000 pods has 1.5 million, and 100 bytes of memory
#: each is what Python needs for the smallest.
MOST_JSON_ITEMS = 2_000_000


def read_json(body: bytes, most_items: int = MOST_JSON_ITEMS) -> Any:
    """A JSON document. Raises ValueError for what is none, is too deep, or has more than ``most_items`` members."""
    items_count = body.count(b",") + body.count(b"[") + body.count(b"{")
    if items_count > most_items:
        raise ValueError(f"a document of {items_count} members, at most {most_items} are read")
    try:
        return json.loads(body)
    except RecursionError:
        raise ValueError("a document that is nested too deep") from None


async def body_of(answer: aiohttp.ClientResponse, most_byte: int) -> bytes:
    """The body of ``answer``. Raises ValueError where it is longer than ``most_byte``."""
    parts: list[bytes] = []
    size_byte = 0
    while part := await answer.content.readany():
        parts.append(part)
        size_byte += len(part)
        if size_byte > most_byte:
            raise ValueError(f"the answer is longer than {most_byte} bytes")
    return b"".join(parts)
