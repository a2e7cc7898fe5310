"""Events files: times of day and since the start, what each key means, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.importers.events_file import load_events, parse_events
from tests.support.paths import EXAMPLES

EVENT = {"start": "12:00", "duration": "3h", "cut": "25%"}


def test_times_of_day_count_from_the_start_and_durations_from_nothing() -> None:
    events = parse_events({"start": "06:30", "event": [EVENT, EVENT | {"start": "4h"}, EVENT | {"start": "05:30"}]})
    assert [(e.start_s, e.end_s) for e in events.events] == [
        (5.5 * 3600, 8.5 * 3600),
        (4 * 3600, 7 * 3600),
        (23 * 3600, 26 * 3600),
    ]


def test_every_key_arrives_in_si_units() -> None:
    table = {
        "policies": ["cap", "shift"],
        "deferrable": "30%",
        "site": {
            "carbon_gco2e_kwh": 360,
            "price_currency_kwh": [0.36] * 24,
            "outdoor_c": list(range(24)),
            "fixed_share": 0.2,
        },
        "event": [EVENT | {"site_limit": "30 kW", "cooling_limit": "25 kW", "pue": 1.5, "outdoor_c": 38, "load": "5%"}],
    }
    events = parse_events(table)
    (event,) = events.events
    assert (event.cut_ratio, event.site_limit_w, event.cooling_limit_w) == (0.25, 30e3, 25e3)
    assert (event.pue_ratio, event.outdoor_c, event.load_ratio) == (1.5, 38.0, 0.05)
    assert events.carbon_gco2e is not None and events.price_currency is not None and events.outdoor_c is not None
    assert events.carbon_gco2e.values[0] == pytest.approx(1e-4)  # 360 g a kWh
    assert events.price_currency.values[0] == pytest.approx(1e-7)
    assert events.outdoor_c.at(np.array([0.0, 3600.0, 90000.0])).tolist() == [0.0, 1.0, 1.0]
    assert (events.policies, events.deferrable_ratio, events.fixed_ratio) == (("cap", "shift"), 0.3, 0.2)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"evnt": []}, "unknown key 'evnt'; did you mean event"),
        ({"start": "25:00"}, "time of day"),
        ({"start": "6"}, "time of day"),
        ({"policies": ["capp"]}, "did you mean cap"),
        ({"policies": "cap"}, "list of names"),
        ({"site": {"outdoor_c": [1, 2]}}, "24 numbers"),
        ({"site": {"outdoor_c": 300}}, "from -60 to 60"),
        ({"event": [{"start": "12:00"}]}, "event 1: has no duration"),
        ({"event": [{"start": "12:00", "duration": "3h"}]}, "event 1: changes nothing"),
        ({"event": [EVENT | {"cut": 25}]}, "event 1: cut"),
        ({"event": [EVENT | {"cut": "0%"}]}, "event 1: .*between 0 and 1"),
        ({"event": [EVENT | {"duration": "3"}]}, "event 1: duration.*no unit"),
        ({"event": [EVENT | {"pue": 0.9}]}, "event 1: pue"),
        ({"event": {"start": "1"}}, "tables"),
        ({"site": 3}, "table"),
        ({"start": "²:00"}, "start = '²:00' is not a time of day"),
        ({"start": "9" * 5000 + ":00"}, "start = '9+' is not a time of day"),
    ],
)
def test_what_cannot_be_is_refused_with_its_key(table: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says) as refused:
        parse_events(table)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "e.toml"
    path.write_text("start = ")
    with pytest.raises(InputError, match="events file"):
        load_events(path)
    with pytest.raises(InputError, match="cannot be read"):
        load_events(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "path",
    [EXAMPLES / "simulate" / f"{name}.toml" for name in ("demand_response", "heat_wave", "night")],
    ids=lambda p: p.name,
)
def test_the_examples_are_read(path: Path) -> None:
    events = load_events(path)
    assert events.events and len(events.policies) >= 4


def test_an_autoscaler_can_stand_in_the_file() -> None:
    rule = parse_events({"autoscale": {"min": 2, "max": 6, "target": 16, "patience": "2min"}}).autoscale
    assert rule is not None
    assert (rule.least_count, rule.most_count, rule.target_req, rule.patience_s) == (2, 6, 16.0, 120.0)
    assert parse_events({}).autoscale is None
    for wrong, says in (
        ({"max": 4}, "target must be given"),
        ({"most": 4}, "unknown key 'most'"),
        (5, "must be a table"),
    ):
        with pytest.raises(InputError, match=says):
            parse_events({"autoscale": wrong})
