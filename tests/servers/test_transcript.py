"""Reading raw arrivals as an answer: hand-written streams of several servers, and rubbish."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.ledger.record import RequestOutcome
from joulemill.servers.transcript import Transcript, error_text


def chunk(delta: dict[str, object], finish: str | None = None, **more: object) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": finish}], **more}).encode() + b"\n\n"


def usage(**more: object) -> bytes:
    return (
        b"data: "
        + json.dumps({"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 4, **more}}).encode()
        + b"\n\n"
    )


USAGE = usage(prompt_tokens_details={"cached_tokens": 2})
DONE = b"data: [DONE]\n\n"


def read(*arrivals: tuple[float, bytes], ended: bool = True) -> Transcript:
    return Transcript(
        dispatched_mono_s=1.0,
        first_byte_mono_s=1.5,
        end_mono_s=9.0 if ended else None,
        http_status=200,
        arrivals=list(arrivals),
    )


def test_times_counts_and_text() -> None:
    answer = read(
        (2.0, chunk({"role": "assistant", "content": ""})),
        (3.0, chunk({"content": "Hello"})),
        (4.0, chunk({"content": " wor"}) + chunk({"content": "ld"})),
        (5.0, chunk({}, "length") + USAGE + DONE),
    ).answer()
    assert answer.outcome is RequestOutcome.OK and answer.error is None
    assert answer.text == "Hello world"
    assert (answer.first_token_mono_s, answer.last_token_mono_s, answer.chunk_mono_s) == (3.0, 4.0, (3.0, 4.0, 4.0))
    assert (answer.prompt_tok, answer.cached_tok, answer.output_tok) == (7, 2, 4)  # 3 chunks, 4 tokens
    assert answer.finish_reason == "length"


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_is_a_first_token_but_no_text(name: str) -> None:
    counted = usage(completion_tokens_details={"reasoning_tokens": 3})
    answer = read((3.0, chunk({name: "hm"})), (4.0, chunk({"content": "Yes"}, "stop") + counted + DONE)).answer()
    assert (answer.first_token_mono_s, answer.text, answer.reasoning_tok) == (3.0, "Yes", 3)


def test_completions_have_text_and_llamacpp_timings_have_the_cache() -> None:
    stream = b'data: {"choices":[{"text":" a","finish_reason":null}]}\n\n'
    last = b'data: {"choices":[{"text":"","finish_reason":"length"}],"timings":{"cache_n":5}}\n\n'
    answer = read((3.0, stream), (4.0, last + usage() + DONE)).answer()
    assert (answer.outcome, answer.text, answer.cached_tok) == (RequestOutcome.OK, " a", 5)


def test_the_last_usage_wins_where_every_chunk_has_one() -> None:
    def running(n: int) -> bytes:
        return chunk({"content": "x"}, usage={"prompt_tokens": 3, "completion_tokens": n})

    answer = read((2.0, running(1)), (3.0, running(2)), (4.0, running(3) + chunk({}, "length") + DONE)).answer()
    assert answer.output_tok == 3


CASES = {
    "cut": ([chunk({"content": "a"})], RequestOutcome.CUT_SHORT),
    "finish_without_done": ([chunk({"content": "a"}, "stop"), USAGE], RequestOutcome.OK),
    "done_without_finish": ([chunk({"content": "a"}), USAGE, DONE], RequestOutcome.OK),
    "no_usage": ([chunk({"content": "a"}, "stop"), DONE], RequestOutcome.NO_USAGE),
    "null_usage": ([chunk({"content": "a"}, "stop", usage=None), DONE], RequestOutcome.NO_USAGE),
    "no_tokens": ([chunk({}, "stop"), DONE], RequestOutcome.NO_TOKENS),
    "error": (
        [chunk({"content": "a"}), b'data: {"error": {"message": "CUDA error"}}\n\n', DONE],
        RequestOutcome.HTTP_ERROR,
    ),
    "old_llamacpp_error": ([b'error: {"code":500,"message":"slot failed"}\n\n'], RequestOutcome.HTTP_ERROR),
    "not_json": ([b"data: <html>\n\n", DONE], RequestOutcome.CUT_SHORT),
    "a_list": ([b"data: [1, 2]\n\n", DONE], RequestOutcome.CUT_SHORT),
    "empty": ([b""], RequestOutcome.CUT_SHORT),
    "negative_usage": (
        [chunk({"content": "a"}, "stop", usage={"prompt_tokens": 1, "completion_tokens": -4}), DONE],
        RequestOutcome.NO_USAGE,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_outcomes(name: str) -> None:
    stream, outcome = CASES[name]
    answer = read((2.0, b"".join(stream))).answer()
    assert answer.outcome is outcome
    assert (answer.error is None) == (outcome is RequestOutcome.OK)


def test_tokens_that_show_no_text_still_count() -> None:
    answer = read((2.0, chunk({}, "length") + USAGE + DONE)).answer()
    assert (answer.outcome, answer.output_tok, answer.first_token_mono_s) == (RequestOutcome.OK, 4, None)


def test_a_cancelled_request_keeps_what_had_come() -> None:
    answer = read((3.0, chunk({"content": "Hel"})), (4.0, chunk({"content": "lo"})), ended=False).answer()
    assert answer.outcome is RequestOutcome.CANCELLED
    assert (answer.text, answer.chunk_mono_s, answer.end_mono_s) == ("Hello", (3.0, 4.0), None)


def test_a_fault_after_a_whole_answer_is_none_of_it() -> None:
    raw = read((3.0, chunk({"content": "a"}, "stop") + USAGE + DONE))
    raw.fail(RequestOutcome.TIMEOUT, "the end of the body never came")
    assert raw.answer().outcome is RequestOutcome.OK
    raw = read((3.0, chunk({"content": "a"}, "stop")))
    raw.fail(RequestOutcome.TIMEOUT, "no complete answer within 1 s")
    assert raw.answer().outcome is RequestOutcome.TIMEOUT


shapes = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "delta", "usage", "content", "finish_reason", "timings", "text"]), inner
        )
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.sampled_from(["choices", "usage", "timings", "error", "x"]), shapes))
def test_any_json_is_survived(message: dict[str, object]) -> None:
    answer = read((2.0, b"data: " + json.dumps(message).encode() + b"\n\n" + DONE)).answer()
    assert answer.output_tok is None or answer.output_tok >= 0


@given(st.binary(max_size=200))
def test_any_bytes_are_survived(junk: bytes) -> None:
    assert read((2.0, junk)).answer().outcome is not RequestOutcome.OK


def test_pieces_give_the_same_answer_and_pause() -> None:
    raw = read(*[(float(i), chunk({"content": "x"})) for i in range(200)], (300.0, chunk({}, "stop") + USAGE + DONE))
    steps = list(raw.read_pieces())
    assert steps[-1] == raw.answer()
    assert len(steps) > 5 and set(steps[:-1]) == {None}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": {"message": "no such model", "code": 404}}', "no such model"),
        (b'{"error": "busy"}', "busy"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (b"plain\n  text", "plain text"),
        (b"", ""),
    ],
)
def test_the_servers_own_words(body: bytes, text: str) -> None:
    assert error_text(body) == text
    assert len(error_text(b"x" * 100_000)) <= 300
