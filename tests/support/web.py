"""A small HTTP server that tests fill: pages by path, each a text, bytes, JSON value, or a function of the request."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


class Request:
    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.method, self.path, self.headers = handler.command, handler.path, handler.headers
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length", 0) or 0))


#: (status, headers, body)
Reply = tuple[int, dict[str, str], Any]
Page = str | bytes | dict[str, Any] | Callable[[Request], Reply]


class Web:
    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[str] = []
        self.url = ""

    def reply(self, request: Request) -> Reply:
        self.asked.append(f"{request.method} {request.path}")
        page = self.pages.get(request.path, self.pages.get(request.path.split("?")[0]))
        if page is None:
            return 404, {}, "not here"
        return page(request) if callable(page) else (200, {}, page)


@contextmanager
def serving(tls: Any = None) -> Iterator[Web]:
    web = Web()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            status, headers, body = web.reply(Request(self))
            data = json.dumps(body).encode() if isinstance(body, dict | list) else body
            data = data.encode() if isinstance(data, str) else data
            self.send_response_only(status)
            for key, value in {"Date": self.date_time_string(), **headers}.items():
                if value:  # a page leaves out the date by an empty one
                    self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_DELETE = do_GET

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    web.url = f"http{'s' if tls else ''}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def web() -> Iterator[Web]:
    """A page server of its own for each test."""
    with serving() as server:
        yield server
