"""The levers of a measured run as cards of its page; a plain sentence where its deployment is not known well enough."""

from __future__ import annotations

from html import escape
from pathlib import Path

from joulemill.analysis.levers_of_run import question_of_run
from joulemill.decisions.levers.case import Settings
from joulemill.errors import JoulemillError
from joulemill.ledger.record import RunRecord
from joulemill.prediction.levers import levers_answer
from joulemill.reports.html.levers import cards

ROLES = ("draft", "small", "alternative", "to")


def lever_cards(path: Path, record: RunRecord | None = None) -> list[dict[str, str]]:
    """{title, body} cards of the run folder at ``path``, their markup safe; none for what is not a folder.

    record   the folder's run as it is shown, where that is at another site
    """
    if not path.is_dir():
        return []
    try:
        question, report = question_of_run(path, None, record)
        return cards(levers_answer(question, dict.fromkeys(ROLES), Settings(), frozenset()), report)
    except JoulemillError as fault:  # the page of a run never fails for what is only predicted beside it
        told = f"No levers could be predicted for this run: {fault}. `joulemill levers RUN` takes these options."
        return [{"title": "Levers", "body": f"<p>{escape(told)}</p>"}]
