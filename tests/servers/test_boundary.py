"""What a source's failure is called: words that a reader knows, in one bounded line."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from joulemill.errors import ServerError
from joulemill.servers.boundary import from_source, reason_of
from tests.support.programs import free_port


def test_a_refused_connection_is_said_in_words() -> None:
    port = free_port()

    async def ask() -> None:
        async with aiohttp.ClientSession() as session:
            await from_source("the page", session.get(f"http://127.0.0.1:{port}/metrics"))

    with pytest.raises(ServerError, match=rf"the page: cannot connect to 127.0.0.1:{port} \(connection refused\)"):
        asyncio.run(ask())


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (ValueError("answered 404"), "answered 404"),
        (ValueError(), "ValueError: "),
        (KeyError("k"), "KeyError: 'k'"),
        (aiohttp.ServerDisconnectedError(), "the server closed the connection before it had answered"),
    ],
)
def test_a_reason_is_in_words_where_there_are_any(fault: Exception, says: str) -> None:
    assert reason_of(fault) == says.strip()
