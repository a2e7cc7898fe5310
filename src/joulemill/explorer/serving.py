"""The page served until told to end (SIGINT, SIGTERM)."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from joulemill.explorer.app import PageSetting, create_app
from joulemill.monitor.extra import needed
from joulemill.monitor.web.server import check_open, listen_address, listen_at, serve_on


def serve(setting: PageSetting, listen: str, token: str | None, opened: Callable[[str], None]) -> None:
    """Serve the page at HOST:PORT; ``opened`` hears its address. InputError for an open address without a token."""
    host, port = listen_address(listen)
    check_open(host, token)
    needed()
    app = create_app(setting, token)
    listener = listen_at(host, port)

    async def serving() -> None:
        stop = asyncio.Event()
        for each in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(each, stop.set)
        await serve_on(app, listener, stop, opened)

    try:
        asyncio.run(serving())
    finally:
        listener.close()
