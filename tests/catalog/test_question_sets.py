"""The bundled questions are answerable, and a user's file fails with the line at fault."""

from __future__ import annotations

import pytest

from joulemill.catalog.question_sets import load_questions, parse_questions
from joulemill.errors import InputError
from joulemill.ledger.quality import score_answer

RIGHT = {
    "arithmetic-01": "5",
    "sorting-02": "4, 7, 9",
    "facts-02": "H2O",
    "copying-04": "forty blue stones",
    "arithmetic-07": "It is 5.",
}
WRONG = {
    "arithmetic-01": "15",
    "sorting-02": "9, 7, 4",
    "facts-02": "NaCl",
    "copying-04": "forty stones",
    "arithmetic-07": "55",
}


def test_small_set_scores_right_and_wrong_answers() -> None:
    by_id = {q.id: q for q in load_questions("small")}
    assert {q.task for q in by_id.values()} == {"arithmetic", "copying", "sorting", "facts"}
    assert len(by_id) >= 32
    for known, answer in RIGHT.items():
        assert score_answer(answer, by_id[known]) == 1.0, known
    for known, answer in WRONG.items():
        assert score_answer(answer, by_id[known]) == 0.0, known


def test_defaults_of_a_users_line() -> None:
    (only,) = parse_questions('{"prompt": "2+2?", "answer": 4}\n\n', "mine.jsonl")
    assert (only.id, only.task, only.expected, only.scorer) == ("1", "mine", "4", "contains")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no questions"),
        ("{", "mine.jsonl line 1: not a JSON object"),
        ("[" * 100_000, "line 1"),
        ('{"prompt": "x"}', "'answer'"),
        (
            '{"prompt": "x", "answer": "y"}\n{"prompt": "x", "answr": "y", "answer": 1}',
            "line 2: unknown field 'answr'",
        ),
        ('{"prompt": "x", "answer": "y", "max_tokens": "many"}', "whole number"),
        ('{"id": 1, "prompt": "x", "answer": "y"}\n{"id": 1, "prompt": "x", "answer": "y"}', "same 'id'"),
    ],
)
def test_faults_name_their_line(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_questions(text, "mine.jsonl")


def test_missing_file_says_what_to_give() -> None:
    with pytest.raises(InputError, match="give a JSONL file"):
        load_questions("no/such.jsonl")
