"""Question sets for quality: the small one that ships with Joulemill, and the user's own JSONL.

One JSON object a line: ``{"prompt": …, "answer": …}`` and, as wanted, ``"scorer"`` (contains, exact, choice, numeric,
regex), ``"id"``, ``"task"``, ``"max_tokens"``. ``small.jsonl`` is our own work (arithmetic, copying, sorting, facts).
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from joulemill.errors import InputError
from joulemill.files import text_of
from joulemill.ledger.quality import Question, check_question

SMALL = "small"
_KNOWN = {"prompt", "answer", "scorer", "id", "task", "max_tokens"}


def load_questions(name_or_path: str) -> tuple[Question, ...]:
    """The questions of a set: ``"small"`` or the path of a JSONL file. Raises InputError with the line at fault."""
    if name_or_path == SMALL:
        text = (files("joulemill.catalog") / "data" / "quality" / "small.jsonl").read_text(encoding="utf-8")
        return parse_questions(text, SMALL)
    path = Path(name_or_path)
    try:
        text = text_of(path.read_bytes())
    except (OSError, ValueError) as fault:
        raise InputError(
            f"`quality` {name_or_path}: cannot be read ({fault}); give a JSONL file of questions, or 'small'"
        ) from fault
    return parse_questions(text, path.name)


def parse_questions(text: str, origin: str) -> tuple[Question, ...]:
    """Questions of a JSONL text; ``origin`` names it in errors and as the default task."""
    questions = [
        _question(line, f"{origin} line {number}", Path(origin).stem, number)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip()
    ]
    if not questions:
        raise InputError(f"{origin}: holds no questions; write one JSON object per line with 'prompt' and 'answer'")
    if len({q.id for q in questions}) != len(questions):
        raise InputError(f"{origin}: two questions have the same 'id'; make them unique")
    return tuple(questions)


def _question(line: str, where: str, task: str, number: int) -> Question:
    try:
        row: Any = json.loads(line)
    except (ValueError, RecursionError) as fault:
        raise InputError(f"{where}: not a JSON object ({fault})") from fault
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str) or "answer" not in row:
        raise InputError(f"{where}: needs at least a text 'prompt' and an 'answer'")
    if unknown := set(row) - _KNOWN:
        raise InputError(f"{where}: unknown field {sorted(unknown)[0]!r}; known: {', '.join(sorted(_KNOWN))}")
    max_tok = row.get("max_tokens", 32)
    if not isinstance(max_tok, int) or isinstance(max_tok, bool):
        raise InputError(f"{where}: max_tokens must be a whole number")
    return check_question(
        Question(
            id=str(row.get("id", number)),
            task=str(row.get("task", task)),
            prompt=row["prompt"],
            expected=str(row["answer"]),
            scorer=str(row.get("scorer", "contains")),
            max_tok=max_tok,
        )
    )
