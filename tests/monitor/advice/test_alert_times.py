"""Since when alerts stand: first seen, kept while they stand, forgotten with them."""

from __future__ import annotations

from joulemill.monitor.advice.alert_times import AlertTimes
from joulemill.monitor.advice.alerts import Alert, alerts
from tests.support.synthetic import fleet


def test_an_alert_stands_since_it_was_first_seen_and_begins_anew_when_it_comes_back() -> None:
    times = AlertTimes()
    down, idle = Alert("page", "down", "a", "refused"), Alert("info", "idle", "a", "draws 260 W")
    assert times.due(10.0)
    times.look([down], 100.0)
    times.look([Alert("page", "down", "a", "another reason"), idle], 110.0)
    assert times.since_s == {("down", "a"): 100.0, ("idle", "a"): 110.0} and not times.due(10.0)
    times.look([idle], 120.0)
    times.look([down, idle], 130.0)
    assert times.since_s == {("down", "a"): 130.0, ("idle", "a"): 110.0}


def test_a_snapshot_hands_the_times_to_its_alerts() -> None:
    found = {(a.kind, a.subject): a.since_s for a in alerts(fleet(12))}
    assert found["down", "chat-10"] is not None and found["idle", "chat-6"] is None
