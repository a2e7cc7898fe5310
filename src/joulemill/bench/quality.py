"""Asking the quality set: each question once, scored, recorded; after the load, so it disturbs no energy window."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Protocol

from joulemill.bench.load.records import record_of_answer
from joulemill.bench.options import BenchOptions
from joulemill.catalog.question_sets import load_questions
from joulemill.ledger.quality import Question, score_answer
from joulemill.ledger.record import QualityAnswer, RequestRecord
from joulemill.servers.client import Answer, Ask, Endpoint, ask


def asker(options: BenchOptions) -> Callable[[object, Endpoint, Notebook, Endpoint | None], Awaitable[int]] | None:
    """What asks the question set of ``options``; None where none is wanted, or its result is stated."""
    if options.quality is None or options.quality_stated is not None:
        return None
    questions = load_questions(options.quality)

    def asked(session: object, endpoint: Endpoint, notebook: Notebook, second: Endpoint | None) -> Awaitable[int]:
        return ask_questions(
            session,
            endpoint,
            questions,
            notebook,
            concurrency=options.at_once,
            limit_ratio=options.answer_ratio,
            second=second,
        )

    return asked


class Notebook(Protocol):
    """Where answers are kept: the run folder's writer, or a list in tests."""

    def request(self, record: RequestRecord) -> None:
        """Keep one request."""

    def quality(self, answer: QualityAnswer) -> None:
        """Keep one scored answer."""


async def ask_questions(
    session: object,
    endpoint: Endpoint,
    questions: Sequence[Question],
    notebook: Notebook,
    *,
    concurrency: int = 4,
    timeout_s: float = 60.0,
    limit_ratio: float = 1.0,
    second: Endpoint | None = None,
    advance: Callable[[], None] = lambda: None,
) -> int:
    """Ask every question (greedy, at most ``concurrency`` at a time); returns how many were answered right.

    limit_ratio   share of each question's limit of tokens that its answer may have
    second        asked in turn where the first answer did not end by itself: a cascade, whose last answer counts

    A request that fails is kept as unanswered (score None): it is not a wrong answer, and it is counted.
    """
    gate = asyncio.Semaphore(max(1, concurrency))
    right = 0

    async def one(question: Question) -> None:
        nonlocal right
        async with gate:
            most_tok = max(1, math.ceil(limit_ratio * question.max_tok))
            asked = Ask(text=question.prompt, max_tok=most_tok, timeout_s=timeout_s, ignore_eos=False)
            answer = await ask(session, endpoint, asked)  # type: ignore[arg-type]
            if second is not None and answer.finish_reason != "stop":
                notebook.request(replace(_record(question, answer), id=f"quality:{question.id}:first"))
                answer = await ask(session, second, asked)  # type: ignore[arg-type]
        kept = _answer(question, answer)
        notebook.request(_record(question, answer))
        notebook.quality(kept)
        right += kept.score == 1.0
        advance()

    await asyncio.gather(*(one(q) for q in questions))
    return right


def _answer(question: Question, answer: Answer) -> QualityAnswer:
    # An answer that the token limit cut off is still an answer; one without text is not.
    text = answer.text if answer.text else None
    return QualityAnswer(
        request_id=f"quality:{question.id}",
        task=question.task,
        question_id=question.id,
        scorer=question.scorer,
        expected=question.expected,
        answer=text,
        score=score_answer(text, question),
    )


def _record(question: Question, answer: Answer) -> RequestRecord:
    record = record_of_answer(f"quality:{question.id}", "quality", answer)
    return replace(record, asked_output_tok=question.max_tok)
