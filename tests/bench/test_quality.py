"""Asking questions: the limit of an answer, and a cascade, whose last answer counts."""

from __future__ import annotations

import asyncio

import pytest

from joulemill.bench import quality
from joulemill.bench.options import BenchOptions
from joulemill.ledger.quality import Question
from joulemill.ledger.record import QualityAnswer, RequestOutcome, RequestRecord
from joulemill.servers.client import Answer, Ask, Endpoint

FIRST, SECOND = Endpoint(url="http://first", model="one"), Endpoint(url="http://second", model="two")
QUESTIONS = (Question("a", "t", "easy", "5", "exact", 20), Question("b", "t", "hard", "7", "exact", 21))


class Notes:
    def __init__(self) -> None:
        self.requests: list[RequestRecord] = []
        self.answers: list[QualityAnswer] = []

    def request(self, record: RequestRecord) -> None:
        self.requests.append(record)

    def quality(self, answer: QualityAnswer) -> None:
        self.answers.append(answer)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, int]]:
    """The first model knows the easy one and rambles on the hard one; the second knows both."""
    seen: list[tuple[str, str, int]] = []

    async def ask(session: object, endpoint: Endpoint, what: Ask) -> Answer:
        seen.append((endpoint.model, what.text, what.max_tok))
        rambles = endpoint is FIRST and what.text == "hard"
        text = "well" if rambles else {"easy": "5", "hard": "7"}[what.text]
        reason = "length" if rambles else "stop"
        return Answer(
            outcome=RequestOutcome.OK,
            dispatched_mono_s=1.0,
            first_byte_mono_s=1.1,
            first_token_mono_s=1.1,
            last_token_mono_s=1.2,
            end_mono_s=1.2,
            chunk_mono_s=(1.1,),
            text=text,
            prompt_tok=9,
            cached_tok=0,
            output_tok=3,
            reasoning_tok=None,
            finish_reason=reason,
            http_status=200,
            error=None,
            retry_after_s=None,
        )

    monkeypatch.setattr(quality, "ask", ask)
    return seen


def test_a_cascade_asks_again_what_did_not_end_and_keeps_both_requests(asked: list[tuple[str, str, int]]) -> None:
    notes = Notes()
    right = asyncio.run(quality.ask_questions(None, FIRST, QUESTIONS, notes, second=SECOND))
    assert right == 2 and sorted(asked) == [("one", "easy", 20), ("one", "hard", 21), ("two", "hard", 21)]
    assert {a.question_id: a.answer for a in notes.answers} == {"a": "5", "b": "7"}
    assert {r.id for r in notes.requests} == {"quality:a", "quality:b:first", "quality:b"}
    assert sum(r.output_tok or 0 for r in notes.requests) == 9  # what the first wrote in vain was paid for as well


def test_alone_the_first_is_asked_once_within_its_budget(asked: list[tuple[str, str, int]]) -> None:
    notes = Notes()
    assert asyncio.run(quality.ask_questions(None, FIRST, QUESTIONS, notes, limit_ratio=0.5)) == 1
    assert sorted(asked) == [("one", "easy", 10), ("one", "hard", 11)]


def test_nothing_is_asked_where_no_set_or_a_stated_accuracy_is_given() -> None:
    assert quality.asker(BenchOptions(quality=None)) is None
    assert quality.asker(BenchOptions(quality="small", quality_stated={"accuracy": 0.5})) is None
    assert quality.asker(BenchOptions(quality="small")) is not None
