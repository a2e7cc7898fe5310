"""The parser of server-sent events: the standard's rules, and that cutting the bytes changes nothing."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.formats.sse import EventTooLongError, SseEvent, SseParser


def events(pieces: list[bytes]) -> list[SseEvent]:
    parser = SseParser()
    return [e for piece in pieces for e in parser.feed(piece)] + parser.finish()


#: From the WHATWG standard's own examples (HTML, 9.2.6 "Interpreting an event stream").
EXAMPLES = [
    (b"data: YHOO\ndata: +2\ndata: 10\n\n", [b"YHOO\n+2\n10"]),
    (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [b"first event", b"second event", b" third event"],
    ),
    (b"data:test\n\ndata: test\n\n", [b"test", b"test"]),
    (b"data\n\ndata\ndata\n\n", [b"", b"\n"]),
]


@pytest.mark.parametrize(("stream", "expected"), EXAMPLES)
def test_the_standards_examples(stream: bytes, expected: list[bytes]) -> None:
    assert [e.data for e in SseParser().feed(stream)] == expected


def test_kinds_marks_and_strange_fields() -> None:
    stream = b"\xef\xbb\xbfevent: add\ndata: 1\n\nretry: 10\n\ndata: 2\n\nerror: {}\n\n"
    assert SseParser().feed(stream) == [SseEvent(b"1", b"add"), SseEvent(b"2"), SseEvent(b"{}", b"error")]


def test_the_last_event_may_lack_its_blank_line() -> None:
    assert events([b"data: [DONE]"]) == [SseEvent(b"[DONE]")]
    assert events([b"data: [DONE]\n"]) == [SseEvent(b"[DONE]")]
    assert events([b""]) == []


line = st.sampled_from(
    [b'data: {"a": 1}', b"data:x", b"", b": ping", b"event: e", b"data: \xe2\x82\xac", b"junk", b"data: a:b"]
)
ending = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(line, ending), max_size=30), st.lists(st.integers(0, 400), max_size=20))
def test_any_cutting_gives_the_same_events(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(text + end for text, end in lines)
    bounds = [0, *sorted(min(c, len(stream)) for c in cuts), len(stream)]
    whole = events([stream])
    assert events([stream[a:b] for a, b in itertools.pairwise(bounds)]) == whole
    assert events([stream[i : i + 1] for i in range(len(stream))]) == whole


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(junk: bytes) -> None:
    assert events([junk]) == events([junk[i : i + 1] for i in range(len(junk))])


@pytest.mark.parametrize("stream", [b"data: " + b"x" * 200, b"x" * 200, b"data: xxxxxxxxx\n" * 30])
def test_an_endless_event_is_refused(stream: bytes) -> None:
    parser = SseParser(limit_byte=100)

    def feed_all() -> None:
        for i in range(len(stream)):
            parser.feed(stream[i : i + 1])

    with pytest.raises(EventTooLongError):
        feed_all()


def test_many_short_events_are_no_long_one() -> None:
    parser = SseParser(limit_byte=100)
    assert sum(len(parser.feed(b"data: " + b"x" * 90 + b"\n\n")) for _ in range(50)) == 50


def test_comments_and_unknown_fields_do_not_add_up_to_a_long_event() -> None:
    parser = SseParser(limit_byte=100)
    for _ in range(100):
        assert parser.feed(b": keep-") == [] and parser.feed(b"alive\n") == []
