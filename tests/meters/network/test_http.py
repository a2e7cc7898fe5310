from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.formats.json_text import loads
from joulemill.meters.meter import MeterContext
from joulemill.meters.network import http
from joulemill.meters.network.http import HttpError, HttpReply, HttpSource, clock_ahead_s
from joulemill.meters.opening import open_meters
from tests.support.raw_server import Send, raw_server
from tests.support.surroundings import HandClock
from tests.support.web import serving


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT_S", 0.4)
    monkeypatch.setattr(http, "MAX_BYTE", 2**20)


def drip(head: bytes) -> Callable[[Send], None]:
    """``head``, then a byte each 50 ms: no wait for a byte is ever long."""

    def answer(send: Send) -> None:
        send(head)
        for _ in range(200):
            time.sleep(0.05)
            send(b"a")

    return answer


@pytest.mark.finding("F7")
@pytest.mark.usefixtures("hasty")
@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-Slow: ",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_a_byte_now_and_then_holds_nobody(head: bytes) -> None:
    with raw_server(drip(head)) as url:
        source, begin_s = HttpSource(url), time.monotonic()
        with pytest.raises(OSError, match=r"127\.0\.0\.1:\d+/metrics: no whole answer within 0\.4 s"):
            source.get("/metrics")
        assert time.monotonic() - begin_s < 5
        source.close()


@pytest.mark.finding("F7")
@pytest.mark.usefixtures("hasty")
def test_a_slow_page_is_a_meter_that_does_not_open() -> None:
    with (
        raw_server(drip(b"HTTP/1.1 200 OK\r\n\r\n")) as url,
        pytest.raises(MachineError, match="no whole answer within"),
    ):
        open_meters([f"prometheus:{url}"], MeterContext(environ={}))


def endless(send: Send) -> None:
    send(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        send(b"# a comment\n" * 5000)


@pytest.mark.finding("F7")
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (endless, "longer than 1 MiB"),
        (lambda send: send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\nx"), "99999999999 bytes"),
        (lambda send: send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx"), "was cut off"),
        (lambda send: send(b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 200 + b"\r\n"), "more than 100 headers"),
        (lambda send: send(b"HTTP/1.1 200 " + b"x" * 100_000), "LineTooLong"),
        (lambda send: send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "127"),
        (lambda send: send(b"\x00\x01\x02"), "127"),
        (lambda send: None, "127"),
    ],
)
def test_an_answer_without_bound_or_of_no_sense_is_an_error(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[Send], None], says: str
) -> None:
    monkeypatch.setattr(http, "MAX_BYTE", 2**20)
    with raw_server(answer) as url:
        source = HttpSource(url)
        with pytest.raises(OSError, match=says) as caught:
            source.get("/metrics")
        assert len(str(caught.value)) < 400
        source.close()


def test_a_reason_is_short_and_has_no_control_characters() -> None:
    with raw_server(lambda send: send(b"HTTP/1.1 500 \x1b[2J" + b"x" * 1000 + b"\r\nContent-Length: 0\r\n\r\n")) as url:
        with pytest.raises(HttpError) as caught:
            HttpSource(url).get("/metrics")
        assert "\x1b" not in str(caught.value) and len(str(caught.value)) < 200


@pytest.mark.finding("F15")
@pytest.mark.parametrize(
    "head",
    [b"HTTP/1.1 401 bad bmc-secret\r\nContent-Length: 0\r\n\r\n", b"bmc-secret\r\n\r\n", b"HTTP/1.1 bmc-secret x\r\n"],
)
def test_a_password_that_is_sent_back_is_not_told(head: bytes) -> None:
    with raw_server(lambda send: send(head)) as url, pytest.raises(OSError) as caught:
        HttpSource(url, {"Authorization": "Bearer bmc-secret"}).get("/metrics")
    assert "bmc-secret" not in str(caught.value)


def test_a_kept_connection_that_was_closed_is_opened_again() -> None:
    with serving() as web:
        web.pages["/a"] = lambda _: (200, {"Connection": "close"}, "x")
        source = HttpSource(web.url)
        assert [source.get("/a").body for _ in range(3)] == [b"x"] * 3
        source.close()


@pytest.mark.parametrize("url", ["http://h:99999999/x", "http://[::1/x", "ftp://h/x", "h:9400", "http://", "-x"])
def test_what_is_no_address_is_the_users_to_mend(url: str) -> None:
    with pytest.raises(InputError, match="not an address"):
        HttpSource(url)


@pytest.mark.parametrize("url", ["http://a..b/x", "http://127.0.0.1:1/\u00e9", "http://127.0.0.1:1/a b"])
def test_an_address_that_cannot_be_asked_is_an_error_of_the_source(url: str) -> None:
    source = HttpSource(url)
    with pytest.raises(OSError):
        source.get(source.path)


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 01 Jan 99999999999 00:00:00 GMT", "Mon, 99 Foo 2026 99:00:00 GMT"]
)
def test_a_date_that_is_none_tells_nothing(date: str) -> None:
    assert clock_ahead_s(HttpReply(200, {"date": date} if date else {}, b""), 0.0) is None


@pytest.mark.finding("F32")
def test_json_beyond_measure() -> None:
    assert loads("1" * 400) == float("inf") and loads("12") == 12 and isinstance(loads("12"), int)
    for text in ("[" * 200_000, '{"a":' * 200_000, b"\xff", "", "1 2"):
        with pytest.raises(ValueError):
            loads(text)


BOARD = b'DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="GPU-a"} '


@pytest.mark.parametrize("page", [BOARD + b"300.5\n" + BOARD + b"3", BOARD + b"3"])
def test_a_page_that_ends_in_the_middle_of_a_number_is_no_page(page: bytes) -> None:
    context = MeterContext(environ={}, clock=HandClock().clock, notice=lambda _: None)
    cut = raw_server(lambda send: send(b"HTTP/1.1 200 OK\r\n\r\n" + page))
    with cut as url, pytest.raises(MachineError, match="was cut off: its last line has no end"):
        open_meters([f"prometheus:{url}"], context)
    with raw_server(lambda send: send(b"HTTP/1.1 200 OK\r\n\r\n" + page + b"00.5\n")) as url:
        assert [r.value for r in open_meters([f"prometheus:{url}"], context)[0].read()] == [300.5]
