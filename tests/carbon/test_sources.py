"""The grid's services, played by a local server with replies built after their documented shapes.

No reply here was recorded from the live services, which need an account or a network: Electricity Maps after the v3
portal (``zone``, ``carbonIntensity``, ``datetime``, ``emissionFactorType``, ``isEstimated``), WattTime after its v3
description (``meta.units`` lbs_co2_per_mwh, ``data[].point_time``), the UK after its published API definitions.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.carbon import replies
from joulemill.carbon.sources import fetch
from joulemill.catalog.sites import CarbonSource, carbon_source
from joulemill.errors import InputError, JoulemillError, ServerError
from joulemill.formats.untrusted import Part
from joulemill.physics.hardware.carbon import time_weighted
from tests.support.raw_server import raw_server

#: 2026-11-24T02:10:00Z to 02:40:00Z, and a present two hours later.
START, END, NOW = 1795486200.0, 1795488000.0, 1795495200.0
KWH = 3.6e6
MAPS = [
    {
        "zone": "DE",
        "carbonIntensity": 302,
        "datetime": "2026-11-24T02:00:00.000Z",
        "emissionFactorType": "lifecycle",
        "isEstimated": False,
        "updatedAt": "2026-11-24T03:00:00.000Z",
        "createdAt": "2026-11-21T02:00:00.000Z",
    },
    {
        "zone": "DE",
        "carbonIntensity": 310,
        "datetime": "2026-11-24T03:00:00.000Z",
        "emissionFactorType": "lifecycle",
        "isEstimated": True,
        "estimationMethod": "TIME_SLICER_AVERAGE",
    },
]
WATTTIME = {
    "meta": {
        "region": "CAISO_NORTH",
        "signal_type": "co2_moer",
        "units": "lbs_co2_per_mwh",
        "data_point_period_seconds": 300,
        "model": {"date": "2026-03-01"},
    },
    "data": [{"point_time": f"2026-11-24T02:{m:02d}:00+00:00", "value": 900.0 + m} for m in range(5, 45, 5)],
}
UK = {
    "data": [
        {
            "from": "2026-11-24T02:00Z",
            "to": "2026-11-24T02:30Z",
            "intensity": {"forecast": 140, "actual": 146, "index": "low"},
        },
        {
            "from": "2026-11-24T02:30Z",
            "to": "2026-11-24T03:00Z",
            "intensity": {"forecast": 176, "actual": None, "index": "moderate"},
        },
    ]
}
SECRETS = {"ELECTRICITYMAPS_TOKEN": "tok", "WATTTIME_USER": "me", "WATTTIME_PASSWORD": "pw"}


class Service:
    """Answers every path with what is set; keeps what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[int, Any]] = {}
        self.asked: list[tuple[str, dict[str, list[str]], dict[str, str]]] = []
        self.url = ""


@pytest.fixture
def service() -> Iterator[Service]:
    made = Service()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            split = urlsplit(self.path)
            made.asked.append((split.path, parse_qs(split.query), {k.lower(): v for k, v in self.headers.items()}))
            status, body = made.answers.get(split.path, (404, {"error": "no such path"}))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", str(body))
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


def ask(source: CarbonSource, now: float = NOW, **environment: str) -> replies.Signal:
    return fetch(source, START, END, now_s=now, environment=environment or SECRETS)


def mean_kwh(signal: replies.Signal) -> float:
    found = time_weighted(signal.points, START, END)
    assert found is not None
    return found.carbon_gco2e_j * KWH


def test_electricity_maps_average_with_its_caveats(service: Service) -> None:
    service.answers["/v3/carbon-intensity/history"] = (200, {"zone": "DE", "history": MAPS})
    signal = ask(CarbonSource("electricitymaps", "DE", url=service.url))
    assert signal.kind == "average" and mean_kwh(signal) == pytest.approx(302.0)
    assert signal.notes == ("emission factors lifecycle", "some values are the service's estimates")
    (_, query, headers) = service.asked[0]
    assert headers["auth-token"] == "tok"
    assert query == {"zone": ["DE"], "shouldUseFallbackCallerLookup": ["false"]}


def test_electricity_maps_of_an_older_run_asks_a_range(service: Service) -> None:
    service.answers["/v3/carbon-intensity/past-range"] = (200, {"zone": "DE", "data": MAPS})
    signal = ask(CarbonSource("electricitymaps", "DE", url=service.url, emission_factors="direct"), now=NOW + 9e5)
    assert mean_kwh(signal) == pytest.approx(302.0)
    query = service.asked[0][1]
    assert query["start"] == ["2026-11-24T02:00:00Z"] and query["end"] == ["2026-11-24T03:00:00Z"]
    assert query["emissionFactorType"] == ["direct"]


def test_a_zone_that_was_not_asked_for_is_refused(service: Service) -> None:
    service.answers["/v3/carbon-intensity/history"] = (200, {"zone": "FR", "history": MAPS})
    with pytest.raises(InputError, match="not DE"):
        ask(CarbonSource("electricitymaps", "DE", url=service.url))


def test_watttime_marginal_in_pounds_per_megawatt_hour(service: Service) -> None:
    """02:10 to 02:40 holds the values 910 … 935, mean 922.5 lb/MWh = 922.5 · 0.45359237 g/kWh."""
    service.answers |= {"/login": (200, {"token": "abc"}), "/v3/historical": (200, WATTTIME)}
    signal = ask(CarbonSource("watttime", "CAISO_NORTH", url=service.url))
    assert signal.kind == "marginal" and mean_kwh(signal) == pytest.approx(922.5 * 0.45359237)
    assert service.asked[0][2]["authorization"] == "Basic " + base64.b64encode(b"me:pw").decode()
    assert service.asked[1][2]["authorization"] == "Bearer abc"
    assert service.asked[1][1]["signal_type"] == ["co2_moer"]


def test_watttime_with_a_token_does_not_log_in(service: Service) -> None:
    service.answers["/v3/historical"] = (200, WATTTIME)
    ask(CarbonSource("watttime", "CAISO_NORTH", url=service.url), WATTTIME_TOKEN="given")
    assert [a[0] for a in service.asked] == ["/v3/historical"]
    assert service.asked[0][2]["authorization"] == "Bearer given"


def test_the_percentile_index_is_no_intensity(service: Service) -> None:
    index = {**WATTTIME, "meta": {"region": "CAISO_NORTH", "signal_type": "co2_moer", "units": "percentile"}}
    service.answers |= {"/login": (200, {"token": "abc"}), "/v3/historical": (200, index)}
    with pytest.raises(InputError, match="no carbon per energy"):
        ask(CarbonSource("watttime", "CAISO_NORTH", url=service.url))


def test_uk_actual_before_forecast(service: Service) -> None:
    """20 min at 146 (actual) and 10 min at 176 (forecast): 156."""
    service.answers["/intensity/2026-11-24T02:00Z/2026-11-24T03:00Z"] = (200, UK)
    signal = ask(CarbonSource("uk", url=service.url))
    assert mean_kwh(signal) == pytest.approx(156.0) and signal.notes == ("some values are forecasts",)


def test_uk_region(service: Service) -> None:
    path = "/regional/intensity/2026-11-24T02:00Z/2026-11-24T03:00Z/regionid/13"
    service.answers[path] = (200, {"data": {"regionid": 13, "shortname": "London", **UK}})
    assert mean_kwh(ask(CarbonSource("uk", "13", url=service.url))) == pytest.approx(156.0)


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (401, {"error": "x"}, InputError, "credentials are refused"),
        (403, {"error": "bad token s3cret"}, InputError, "credentials are refused"),
        (404, {"error": "x"}, InputError, "refuses the zone"),
        (500, b"<html>", ServerError, "answers 500"),
        (302, "https://elsewhere.invalid/", ServerError, "answers 302"),
        (200, b"<html>", ServerError, "neither JSON"),
        (200, b"", ServerError, "is empty"),
    ],
)
def test_refusals_are_told_and_never_hold_the_secret(
    service: Service, status: int, body: Any, kind: type[JoulemillError], message: str
) -> None:
    service.answers["/v3/carbon-intensity/history"] = (status, body)
    with pytest.raises(kind, match=message) as told:
        ask(CarbonSource("electricitymaps", "DE", url=service.url), ELECTRICITYMAPS_TOKEN="s3cret")
    assert "s3cret" not in str(told.value) and str(told.value).isprintable()


def test_a_password_that_is_sent_back_is_not_told(service: Service) -> None:
    service.answers["/login"] = (401, {"error": "user-name with pass-word is unknown"})
    with pytest.raises(InputError, match="credentials are refused") as told:
        ask(CarbonSource("watttime", "DE", url=service.url), WATTTIME_USER="user-name", WATTTIME_PASSWORD="pass-word")
    assert "pass-word" not in str(told.value)


@pytest.mark.parametrize(
    "url", ["https://user:hunter22@h", "https://h:x", "https://h:99999999", "https://h\r\nX: y", "https://[::1"]
)
def test_an_address_that_is_not_plain_is_refused_and_its_password_not_repeated(url: str) -> None:
    with pytest.raises(InputError, match="plain address") as told:
        ask(CarbonSource("uk", url=url))
    assert "hunter22" not in str(told.value)


@pytest.mark.parametrize("said", [b"s3cret-token\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", b""])
def test_what_is_not_http_is_the_services_failure(said: bytes) -> None:
    with raw_server(lambda send: send(said)) as url, pytest.raises(ServerError) as told:
        ask(CarbonSource("uk", url=url.removesuffix("/metrics")))
    assert "s3cret" not in str(told.value)


def test_nobody_there_and_a_token_in_the_clear() -> None:
    with pytest.raises(ServerError, match="cannot be reached"):
        ask(CarbonSource("uk", url="http://127.0.0.1:9"))
    with pytest.raises(InputError, match="must be https"):
        ask(CarbonSource("electricitymaps", "DE", url="http://example.invalid"))
    with pytest.raises(InputError, match="needs ELECTRICITYMAPS_TOKEN"):
        ask(CarbonSource("electricitymaps", "DE"), OTHER="x")


def test_files_as_csv_and_json(tmp_path: Path) -> None:
    lines = tmp_path / "grid.csv"
    lines.write_text("time,carbon_gco2e_kwh\n2026-11-24T02:00:00Z,100\n2026-11-24T02:30:00Z,400\n")
    signal = ask(CarbonSource("file", "hall", "marginal", str(lines)))
    assert signal.kind == "marginal" and mean_kwh(signal) == pytest.approx((20 * 100 + 10 * 400) / 30)
    document = tmp_path / "grid.json"
    rows = [{"time": START - 60, "end": END, "carbon_gco2e_kwh": 250.0}]
    for content in (rows, {"points": rows}):
        document.write_text(json.dumps(content))
        assert mean_kwh(ask(CarbonSource("file", None, "average", str(document)))) == pytest.approx(250.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,g\n1,2\n", "time and carbon_gco2e_kwh"),
        ("time,carbon_gco2e_kwh\n2026-11-24T02:00:00,1\n2026-11-24T03:00:00Z,1\n", "must be a time"),
        ("time,carbon_gco2e_kwh\n2026-11-24T02:00:00Z,1\n", "give its end too"),
        ("time,carbon_gco2e_kwh\n2026-11-24T02:00:00Z,-1\n2026-11-24T03:00:00Z,1\n", "below 0"),
        ("time,carbon_gco2e_kwh\n2026-11-24T02:00:00Z,1e6\n2026-11-24T03:00:00Z,1\n", "more than any grid"),
        ("time,carbon_gco2e_kwh\n2026-11-24T02:00:00Z,1\n2026-11-24T02:00:00Z,1\n", "same time"),
        ("time,carbon_gco2e_kwh,end\n2026-11-24T02:00:00Z,1,2026-11-24T01:00:00Z\n", "ends before"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "grid.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        ask(CarbonSource("file", None, "average", str(path)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"source": "guess"}, "there are file"),
        ({"source": "electricitymaps"}, "needs a zone"),
        ({"source": "file", "file": "x.csv"}, "average.*marginal"),
        ({"source": "uk", "kind": "marginal"}, "average carbon only"),
        ({"source": "uk", "kind": "mean"}, "different questions"),
        ({"source": "uk", "zoom": 1}, "zoom"),
        ({"zone": "DE"}, "source"),
    ],
)
def test_bad_sources_in_a_site_file(table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        carbon_source({"carbon": table})


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-(10**20), 10**20) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "data",
                    "history",
                    "zone",
                    "carbonIntensity",
                    "datetime",
                    "meta",
                    "units",
                    "value",
                    "intensity",
                    "from",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_any_reply_gives_a_signal_or_one_clear_error(value: Any) -> None:
    part = Part(value, "reply: ")
    for parse in (
        lambda: replies.electricity_maps(part, "DE"),
        lambda: replies.watttime(part, "X"),
        lambda: replies.united_kingdom(part, "GB"),
        lambda: replies.of_file(part.each(), "average", "x"),
    ):
        told = ""
        try:
            assert all(p.carbon_gco2e_j >= 0.0 for p in parse().points)
        except InputError as fault:
            told = str(fault)
        assert told.isprintable()
