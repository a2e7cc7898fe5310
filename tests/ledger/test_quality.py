"""Scorers against hand-judged answers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.errors import InputError
from joulemill.ledger.quality import SCORERS, Question, check_question, score_answer


def question(scorer: str, expected: str) -> Question:
    return Question("q", "t", "prompt", expected, scorer)


@pytest.mark.parametrize(
    ("scorer", "expected", "answer", "right"),
    [
        ("exact", "Paris", " paris. ", 1.0),
        ("exact", "Paris", "It is Paris", 0.0),
        ("contains", "Paris", "The capital is Paris.", 1.0),
        ("contains", "art", "The start", 0.0),
        ("contains", "quiet harbour", "'Quiet  harbour'", 1.0),
        ("choice", "B", "The answer is B.", 1.0),
        ("choice", "B", "(C) is right, not B", 0.0),
        ("choice", "A", "no letter", 0.0),
        ("numeric", "1234.5", "about 1,234.5 watts", 1.0),
        ("numeric", "5", "2 + 3 = 5", 0.0),
        ("numeric", "5", "none", 0.0),
        ("regex", r"\b(8|[Ee]ight)\b", "Eight legs", 1.0),
        ("regex", r"^8$", "18", 0.0),
    ],
)
def test_scorers(scorer: str, expected: str, answer: str, right: float) -> None:
    assert score_answer(answer, question(scorer, expected)) == right


def test_no_answer_is_not_a_wrong_answer() -> None:
    assert score_answer(None, question("exact", "x")) is None


@given(st.sampled_from(sorted(set(SCORERS) - {"regex"})), st.text(max_size=200))
def test_any_text_scores_zero_or_one(scorer: str, answer: str) -> None:
    assert score_answer(answer, question(scorer, "7")) in (0.0, 1.0)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (Question("q", "t", "p", "x", "magic"), "unknown scorer"),
        (Question("q", "t", " ", "x"), "must not be empty"),
        (Question("q", "t", "p", "seven", "numeric"), "must be a number"),
        (Question("q", "t", "p", "(", "regex"), "not valid"),
        (Question("q", "t", "p", "x", max_tok=0), "at least 1"),
    ],
)
def test_a_question_that_cannot_be_scored(bad: Question, says: str) -> None:
    with pytest.raises(InputError, match=says):
        check_question(bad)
