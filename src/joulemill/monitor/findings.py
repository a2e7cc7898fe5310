"""The ledger's findings of one scope, as the monitor carries them to page, /metrics, store and bill. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from joulemill.ledger.findings import Finding, Reason
from joulemill.monitor.snapshot import MeterFinding

#: Subjects named in one text; the rest are counted.
NAMED = 4
#: Codes that count things, so that the text says which are there.
COUNTED = (Reason.MISSING_DEVICE, Reason.UNEXPECTED_DEVICE)
#: What is told beside a figure that stands, on the page and in alerts; any other caveat has widened the interval.
TELLING = frozenset(r.value for r in (Reason.DISAGREEMENT, Reason.AMBIGUOUS_DEVICES, Reason.FELL_BACK, Reason.CONFLICT))


def meter_findings(
    scope: str, findings: Sequence[Finding], *, boards: Sequence[str], refused: bool
) -> list[MeterFinding]:
    """One line for each code. ``boards``: names of those that are metered; ``refused``: the scope has no joules."""
    by_code: dict[Reason, list[Finding]] = {}
    for finding in findings:
        by_code.setdefault(finding.code, []).append(finding)
    refusing = [c for c, same in by_code.items() if any(f.fatal for f in same) or c is Reason.UNEXPECTED_DEVICE]
    return [
        MeterFinding(scope, code.value, _text(same, boards), refused=refused and code in refusing)
        for code, same in by_code.items()
    ]


def _text(same: Sequence[Finding], boards: Sequence[str]) -> str:
    first = same[0]
    subjects = list(dict.fromkeys(f.subject for f in same))
    text = f"{listed(subjects)}: {first.detail}"
    if first.code in COUNTED and boards and boards[0] not in text:
        text += f": {listed(boards, 16)}"
    return text


def listed(names: Sequence[str], most: int = NAMED) -> str:
    """Names joined, the first ``most`` of them; the rest are counted.

    >>> listed(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
