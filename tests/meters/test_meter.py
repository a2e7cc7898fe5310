from __future__ import annotations

import logging

import pytest

from joulemill.errors import InputError
from joulemill.meters.meter import MeterContext, parse_spec


def test_a_spec_is_taken_apart() -> None:
    spec = parse_spec("prometheus:http://h:9400/metrics?a=b,dialect=dcgm")
    assert (spec.name, spec.target, spec.options) == (
        "prometheus",
        "http://h:9400/metrics?a=b",
        {"dialect": "dcgm"},
    )


def test_a_comma_in_a_path_stays() -> None:
    assert parse_spec("file:a,b.csv,unit=kW").target == "a,b.csv"


@pytest.mark.parametrize(
    ("text", "says"),
    [(":x", "name is missing"), ("rapl:scope=psys,scope=package", "given twice")],
)
def test_a_malformed_spec_is_refused(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_spec(text)


def test_unknown_options_are_refused_and_known_ones_named() -> None:
    with pytest.raises(InputError, match=r"no option scop; it takes scope"):
        parse_spec("rapl:scop=psys").only("scope")
    with pytest.raises(InputError, match="use one of package, psys"):
        parse_spec("rapl:scope=core").option("scope", "package", ("package", "psys"))
    with pytest.raises(InputError, match="'psys' is not understood"):
        parse_spec("rapl:psys").without_target()


def test_a_notice_is_logged_where_nobody_takes_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "joulemill.meters"):
        MeterContext().notice("100 % of it")
    assert caplog.messages == ["100 % of it"]
