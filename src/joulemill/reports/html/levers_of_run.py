"""The levers of a measured run as cards of its page; a plain sentence where its deployment is not known well enough."""

from __future__ import annotations

from pathlib import Path

from joulemill.analysis.levers_of_run import question_of_run
from joulemill.analysis.measurement import Measurement
from joulemill.analysis.report import Report
from joulemill.analysis.run import report_of
from joulemill.decisions.levers.case import Settings
from joulemill.errors import JoulemillError
from joulemill.prediction.levers import levers_answer
from joulemill.reports.html.levers import cards
from joulemill.reports.html.page import Card, part

ROLES = ("draft", "small", "alternative", "to")


def lever_cards(path: Path, run: Measurement | None = None, report: Report | None = None) -> list[Card]:
    """{title, body} cards of the run folder at ``path``, their markup safe; none for what is not a folder.

    run, report   of the folder, where they are at hand; at another site they may be
    """
    if not path.is_dir():
        return []
    try:
        question, run = question_of_run(path, None, run)
        return cards(levers_answer(question, dict.fromkeys(ROLES), Settings(), frozenset()), report or report_of(run))
    except JoulemillError as fault:  # the page of a run never fails for what is only predicted beside it
        reason = f"No levers could be predicted for this run: {fault}. `joulemill levers RUN` takes these options."
        return [{"title": "Levers", "body": part("paragraphs", [reason])}]
