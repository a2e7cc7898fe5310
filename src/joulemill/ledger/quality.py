"""Scoring of verifiable answers: is what the model wrote right? Pure; every score is 0.0 or 1.0.

Scorers, by name:
  exact     the answer, stripped of case, spaces and end punctuation, equals the expected text
  contains  the expected text stands in the answer as whole words
  choice    the first stand-alone letter A–J of the answer is the expected letter
  numeric   the first number of the answer equals the expected number (relative 1e-6)
  regex     the expected pattern matches somewhere in the answer (Python syntax)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from joulemill.errors import InputError

_NUMBER = re.compile(r"[-+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
_LETTER = re.compile(r"\b([A-J])\b")


@dataclass(frozen=True, slots=True)
class Question:
    """One verifiable question. ``max_tok`` bounds the answer's length in tokens."""

    id: str
    task: str
    prompt: str
    expected: str
    scorer: str = "contains"
    max_tok: int = 32


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s.+-]", " ", text.lower()).split()).strip(" .")


def _exact(answer: str, expected: str) -> bool:
    return _plain(answer) == _plain(expected)


def _contains(answer: str, expected: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(_plain(expected))}(?!\w)", _plain(answer)) is not None


def _choice(answer: str, expected: str) -> bool:
    match = _LETTER.search(answer)
    return match is not None and match.group(1) == expected.strip().upper()


def _numeric(answer: str, expected: str) -> bool:
    match = _NUMBER.search(answer)
    if match is None:
        return False
    got, want = float(match.group().replace(",", "")), float(expected.replace(",", ""))
    return abs(got - want) <= 1e-6 * max(1.0, abs(want))


def _regex(answer: str, expected: str) -> bool:
    return re.search(expected, answer) is not None


SCORERS: Mapping[str, Callable[[str, str], bool]] = {
    "exact": _exact,
    "contains": _contains,
    "choice": _choice,
    "numeric": _numeric,
    "regex": _regex,
}


def check_question(question: Question) -> Question:
    """The question itself, if it can be scored at all; else InputError saying what to mend."""
    if question.scorer not in SCORERS:
        raise InputError(
            f"question {question.id!r}: unknown scorer {question.scorer!r}; use one of {', '.join(SCORERS)}"
        )
    if not question.prompt.strip() or not question.expected.strip():
        raise InputError(f"question {question.id!r}: prompt and answer must not be empty")
    if question.max_tok < 1:
        raise InputError(f"question {question.id!r}: max_tokens must be at least 1")
    if question.scorer == "numeric" and _NUMBER.fullmatch(question.expected.strip()) is None:
        raise InputError(f"question {question.id!r}: a numeric answer must be a number, not {question.expected!r}")
    if question.scorer == "regex":
        _compiled(question)
    return question


def _compiled(question: Question) -> re.Pattern[str]:
    try:
        return re.compile(question.expected)
    except re.error as fault:
        raise InputError(
            f"question {question.id!r}: the pattern {question.expected!r} is not valid: {fault}"
        ) from fault


def score_answer(answer: str | None, question: Question) -> float | None:
    """1.0 right, 0.0 wrong, None where there was no answer to score (the request failed)."""
    if answer is None:
        return None
    return 1.0 if SCORERS[question.scorer](answer, question.expected) else 0.0
