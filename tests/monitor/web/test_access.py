"""Who may ask the monitor, over its application and over real sockets. Also run against the lowest allowed versions."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the monitor extra is not installed")

from joulemill.errors import InputError
from joulemill.monitor.web import access, connections
from joulemill.monitor.web.access import Guard, Guesses, StreamLimits, client_of, is_loopback
from joulemill.monitor.web.app import create_app
from joulemill.monitor.web.server import check_open, listen_address, serve, shown
from tests.support.synthetic import Moving

PROTECTED = ("/", "/metrics", "/api/snapshot", "/api/series", "/events", "/api/levers?target=x", "/openapi.json")
#: What other frameworks were fooled by: each says, to a rebuilt address, that the path is an open one.
POISON = (
    b"x/static/?",
    b"x/static/#",
    b"x/signin?",
    b"h\\static\\",
    b"a@b/static/?",
    b"[::1]/static/?",
    b"127.0.0.1/static/?",
    b"x/healthz?y=",
    b"x%2fstatic%2f?",
    b"x:80/static/?",
)


async def asked(
    app: Any,
    path: str,
    headers: list[tuple[bytes, bytes]] | None = None,
    *,
    client: str = "10.0.0.1",
    method: str = "GET",
    body: bytes = b"",
) -> tuple[int, dict[str, str], bytes]:
    """One request as an ASGI server would hand it on; the answer's start and body."""
    where, _, query = path.partition("?")
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": where,
        "raw_path": where.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": headers if headers is not None else [(b"host", b"127.0.0.1")],
        "client": (client, 1),
        "server": ("127.0.0.1", 80),
    }
    sent: list[Any] = []
    given = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return given.pop() if given else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    async with asyncio.timeout(60):
        await app(scope, receive, send)
    start = next(m for m in sent if m["type"] == "http.response.start")
    told = {bytes(k).decode(): bytes(v).decode() for k, v in start["headers"]}
    return start["status"], told, b"".join(m.get("body", b"") for m in sent)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulemill.monitor.web.access.GUESS_DELAY_S", 0.0)
    monkeypatch.setattr("joulemill.monitor.web.app.GUESS_DELAY_S", 0.0)


@pytest.mark.finding("F1")
@pytest.mark.parametrize("path", PROTECTED)
def test_no_host_header_opens_what_the_token_closes(path: str) -> None:
    async def run() -> None:
        app = create_app(Moving(), token="s3cret")
        for host in POISON:
            status, headers, body = await asked(app, path, [(b"host", host)])
            assert status == (303 if path == "/" else 401), host
            assert b"targets" not in body and headers["x-frame-options"] == "DENY"
            assert headers.get("location", "/signin") == "/signin"
        for also in (b"x-forwarded-prefix", b"x-forwarded-host", b"x-original-url", b"x-rewrite-url"):
            status, _, _ = await asked(app, path, [(b"host", b"h"), (also, b"/static/")])
            assert status in (401, 303)

    asyncio.run(run())


@pytest.mark.finding("F1")
def test_an_address_rebuilt_from_headers_is_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Starlette before 1.0.1 rebuilt it, whichever version is installed here."""
    from starlette.datastructures import URL
    from starlette.requests import HTTPConnection

    monkeypatch.setattr(HTTPConnection, "url", property(lambda self: URL("http://x/static/?/api/snapshot")))
    for path in ("/api/snapshot", "/metrics", "/events"):
        status, _, body = asyncio.run(asked(create_app(Moving(), token="s3cret"), path))
        assert status == 401 and b"targets" not in body


@pytest.mark.finding("F1")
@pytest.mark.parametrize(
    "path",
    [
        "/signin/../api/snapshot",
        "/static",
        "/static/../api/snapshot",
        "/static//api/snapshot",
        "/signin/api/snapshot",
        "//api/snapshot",
        "/API/snapshot",
        "/api/snapshot/",
        "/healthzx",
        "/static/%2e%2e/api/snapshot",
        "*",
        "",
    ],
)
def test_no_spelling_of_a_path_opens_another(path: str) -> None:
    status, headers, body = asyncio.run(asked(create_app(Moving(), token="s3cret"), path))
    assert status in (401, 404) and b"targets" not in body and "location" not in headers


@pytest.mark.finding("F1")
def test_the_sign_in_and_its_files_are_open_and_nothing_else_of_the_application_is() -> None:
    async def run() -> list[str]:
        app = create_app(Moving(), token="s3cret")
        inner: Any = app._app
        paths = sorted({getattr(r, "path", "") for r in inner.routes})
        return [p for p in paths if (await asked(app, p if p != "/static" else "/static/page.js"))[0] == 200]

    assert asyncio.run(run()) == ["/healthz", "/signin", "/static"]


def test_what_is_no_plain_request_is_refused() -> None:
    async def run() -> list[Any]:
        sent: list[Any] = []

        async def never(*_: Any) -> None:
            raise AssertionError

        async def send(message: Any) -> None:
            sent.append(message)

        guard = Guard(never, "t", b"k", Guesses())
        for kind in ("websocket", "lifespan", "webtransport"):
            await guard({"type": kind, "path": "/static/x", "headers": []}, never, send)  # type: ignore[arg-type]
        return sent

    assert asyncio.run(run()) == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.finding("F39")
def test_guesses_end_and_whoever_does_not_guess_is_heard(quick: None) -> None:
    async def run() -> None:
        app = create_app(Moving(), token="s3cret")

        async def bearer(token: bytes, client: str) -> int:
            return (await asked(app, "/metrics", [(b"authorization", b"Bearer " + token)], client=client))[0]

        answers = [await bearer(b"guess%d" % n, "10.0.0.9") for n in range(12)]
        assert answers == [401] * access.MOST_GUESSES + [429] * 2
        assert await bearer(b"s3cret", "10.0.0.9") == 429, "the right one tells nothing either"
        status, headers, _ = await asked(app, "/signin", client="10.0.0.9", method="POST", body=b"token=s3cret")
        assert status == 429 and 0 < int(headers["retry-after"]) <= access.GUESS_WINDOW_S + 1
        assert await bearer(b"s3cret", "10.0.0.10") == 200
        sent = [await asked(app, "/signin", client="10.0.0.11", method="POST", body=b"token=x") for _ in range(11)]
        assert [s for s, _, _ in sent] == [303] * 10 + [429]

    asyncio.run(run())


@pytest.mark.finding("F39")
def test_a_guess_takes_time_and_is_forgiven_after_a_while() -> None:
    now = [0.0]
    guesses = Guesses(lambda: now[0])
    for _ in range(access.MOST_GUESSES):
        assert guesses.wait_s("a") == 0
        guesses.wrong("a")
        now[0] += 1
    assert guesses.wait_s("a") == access.GUESS_WINDOW_S - access.MOST_GUESSES and guesses.wait_s("b") == 0
    now[0] += access.GUESS_WINDOW_S
    assert guesses.wait_s("a") == 0
    for n in range(access.MOST_CLIENTS + 5):
        guesses.wrong(str(n))
    assert len(guesses._wrong) == access.MOST_CLIENTS
    started = time.monotonic()
    app = create_app(Moving(), token="s3cret")
    assert asyncio.run(asked(app, "/metrics", [(b"authorization", b"Bearer x")]))[0] == 401
    assert time.monotonic() - started >= access.GUESS_DELAY_S * 0.99


def test_limits_are_by_peer_and_a_forwarded_address_is_none() -> None:
    assert client_of({"client": ("10.0.0.1", 5), "headers": [(b"x-forwarded-for", b"1.2.3.4")]}) == "10.0.0.1"
    assert client_of({"client": ("2001:db8::1", 5)}) == client_of({"client": ("2001:db8::2", 6)}) == "2001:db8::/64"
    assert client_of({"client": None}) == ""


@pytest.mark.finding("F40")
def test_this_machines_own_names_are_answered_and_no_other() -> None:
    async def run() -> None:
        app = create_app(Moving())
        for host in (
            "127.0.0.1:9477",
            "127.0.0.2",
            "127.8.9.1:80",
            "localhost",
            "LOCALHOST:1",
            "[::1]",
            "[::1]:9477",
            "::1",
        ):
            assert (await asked(app, "/api/snapshot", [(b"host", host.encode())]))[0] == 200, host
        for host in (
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80@evil",
            "localhost.evil:80",
            "0.0.0.0",
            "10.0.0.1",
            "127.1",
            "127.0.0.1:٣",
            "[::2]",
            "localhost/static/?",
            "2130706433",
        ):
            assert (await asked(app, "/api/snapshot", [(b"host", host.encode())]))[0] == 403, host
        assert (await asked(app, "/api/snapshot", []))[0] == 403
        assert (await asked(app, "/api/snapshot", [(b"host", b"localhost"), (b"host", b"evil")]))[0] == 403

    asyncio.run(run())


@pytest.mark.finding("F40")
def test_listen_takes_addresses_as_people_write_them_and_nothing_odd() -> None:
    assert listen_address("127.0.0.2:9477") == ("127.0.0.2", 9477)
    assert listen_address("[::1]:9477") == ("::1", 9477) and listen_address(":80") == ("127.0.0.1", 80)
    assert shown("::1", 9477) == "http://[::1]:9477" and shown("127.0.0.2", 1) == "http://127.0.0.2:1"
    for text in ("127.0.0.1:٣", "::1:9477", "9477", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:-1", "h:１", "[::1:80"):
        with pytest.raises(InputError, match="write HOST:PORT"):
            listen_address(text)
    for host in ("127.0.0.2", "::1", "localhost"):
        check_open(host, None)
    assert not is_loopback("0.0.0.0") and not is_loopback("::") and not is_loopback("localhost.example")
    with pytest.raises(InputError, match="--token-env"):
        check_open("0.0.0.0", None)


@contextmanager
def _files_at_most(count: int) -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


async def _served(app: Any, script: Any, host: str = "127.0.0.1") -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as free:
        free.bind((host, 0))
        port = free.getsockname()[1]
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app, host, port, stop))
    try:
        for _ in range(200):
            try:
                (await asyncio.open_connection(host, port))[1].close()
                break
            except OSError:
                await asyncio.sleep(0.01)
        await script(port)
    finally:
        stop.set()
        await serving


async def _get(port: int, request: bytes, host: str = "127.0.0.1") -> bytes:
    async with asyncio.timeout(60):
        reader, writer = await asyncio.open_connection(host, port)
        writer.write(request)
        found = await reader.read()
        writer.close()
        return found


def _request(path: str, host: str = "127.0.0.1", more: str = "") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n".encode()


@pytest.mark.finding("F1")
def test_over_a_socket_the_token_is_wanted_whatever_the_host_header_says() -> None:
    async def script(port: int) -> None:
        for path in ("/api/snapshot", "/metrics", "/events", "http://x/static/", "//static/../api/snapshot"):
            for host in ("x/static/?", "127.0.0.1"):
                answer = await _get(port, _request(path, host))
                assert answer.split(b" ", 2)[1] in (b"401", b"404", b"400"), (path, host, answer[:80])
        good = await _get(port, _request("/metrics", "x/static/?", "Authorization: Bearer s3cret\r\n"))
        assert good.startswith(b"HTTP/1.1 200") and b"joulemill_build_info" in good
        bad = await _get(port, _request("/metrics", "h", "Authorization: Bearer x\r\nX-Forwarded-For: 9.9.9.9\r\n"))
        assert bad.startswith(b"HTTP/1.1 401")

    asyncio.run(_served(create_app(Moving(), token="s3cret"), script))


@pytest.mark.finding("F40")
@pytest.mark.parametrize(("host", "named"), [("127.0.0.2", "127.0.0.2"), ("::1", "[::1]")])
def test_every_loopback_address_answers_its_own_name(host: str, named: str) -> None:
    async def script(port: int) -> None:
        assert (await _get(port, _request("/api/snapshot", f"{named}:{port}"), host)).startswith(b"HTTP/1.1 200")

    try:
        asyncio.run(_served(create_app(Moving()), script, host))
    except OSError as fault:
        pytest.skip(f"this machine has no {host}: {fault}")


@pytest.mark.finding("F20")
def test_half_open_connections_keep_nobody_out_and_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEADER_S", 1.5)
    monkeypatch.setattr(connections, "MOST_HALF_OPEN", 100)

    async def script(port: int) -> None:
        standing = []
        for _ in range(300):
            pair = await asyncio.open_connection("127.0.0.1", port)
            pair[1].write(b"GET /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")
            standing.append(pair)
        answer = await asyncio.wait_for(_get(port, _request("/healthz")), 2.0)
        assert answer.startswith(b"HTTP/1.1 200")
        for reader, writer in standing:
            async with asyncio.timeout(5):
                try:
                    writer.write(b"x")
                    assert await reader.read() == b""  # nothing is said to who asked nothing
                except ConnectionError:
                    pass
            writer.close()

    asyncio.run(_served(create_app(Moving()), script))


@pytest.mark.finding("F20")
def test_more_files_are_asked_for_and_bounds_follow_what_there_is() -> None:
    with _files_at_most(256):
        assert connections.more_files() > 256 or resource.getrlimit(resource.RLIMIT_NOFILE)[1] == 256
    app = create_app(Moving())
    assert app.limits == StreamLimits(100, 1000)


@pytest.mark.finding("F20")
def test_a_body_is_bounded_and_so_is_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("joulemill.monitor.web.app.BODY_S", 0.3)

    async def script(port: int) -> None:
        head = "POST /signin HTTP/1.1\r\nHost: h\r\nConnection: close\r\n"
        assert (await _get(port, f"{head}Content-Length: 99999999\r\n\r\n".encode())).startswith(b"HTTP/1.1 413")
        slow = await _get(port, f"{head}Content-Length: 20\r\n\r\ntok".encode())
        assert slow.startswith(b"HTTP/1.1 408")
        chunk = b"1000\r\n" + b"x" * 4096 + b"\r\n"
        long = await _get(port, f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + chunk * 3)
        assert long.startswith(b"HTTP/1.1 413")

    asyncio.run(_served(create_app(Moving(), token="s3cret"), script))


@pytest.mark.finding("F20")
def test_event_streams_are_bounded_by_client_and_in_all() -> None:
    async def run() -> None:
        held: list[asyncio.Task[Any]] = []

        async def stands(scope: Any, receive: Any, send: Any) -> None:
            await asyncio.Event().wait()

        guard = Guard(stands, None, b"k", Guesses(), StreamLimits(2, 3))

        async def opened(client: str) -> bool:
            task = asyncio.create_task(asked(guard, "/events", client=client))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            if task.done():
                assert task.result()[0] == 429
                return False
            held.append(task)
            return True

        assert [await opened(c) for c in "aaabbcc"] == [True, True, False, True, False, False, False]
        held[0].cancel()
        await asyncio.gather(held[0], return_exceptions=True)
        assert await opened("c") and not await opened("c")
        for task in held:
            task.cancel()
        await asyncio.gather(*held, return_exceptions=True)
        assert guard._streams == {}

    asyncio.run(run())


@pytest.mark.finding("F20")
def test_an_answer_that_nobody_takes_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SEND_S", 0.5)
    ended = asyncio.Event()

    async def endless(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})
        finally:
            ended.set()

    async def script(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(_request("/x"))
        await asyncio.wait_for(ended.wait(), 60)
        writer.close()

    asyncio.run(_served(endless, script))
