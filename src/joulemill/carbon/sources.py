"""Asks for the carbon of the grid: by file, or over HTTPS. Credentials come from the environment alone.

Electricity Maps   ELECTRICITYMAPS_TOKEN
WattTime           WATTTIME_TOKEN, or WATTTIME_USER and WATTTIME_PASSWORD to log in with
UK                 none
"""

from __future__ import annotations

import base64
import http.client
import json
import math
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import SplitResult, quote, urlencode, urlsplit

from joulemill.carbon import replies
from joulemill.carbon.replies import HALF_HOUR_S, HOUR_S, Signal
from joulemill.catalog.sites import CarbonSource
from joulemill.errors import InputError, ServerError
from joulemill.files import read_bytes
from joulemill.formats.documents import parse_document
from joulemill.formats.untrusted import Part, clean

URLS = {
    "electricitymaps": "https://api.electricitymaps.com",
    "watttime": "https://api.watttime.org",
    "uk": "https://api.carbonintensity.org.uk",
}
TIMEOUT_S = 20.0
MOST_BYTES = 16 << 20
DAY_S = 86400.0
#: What is shorter may be any word, and is no secret (assumed).
LEAST_SECRET_CHARS = 6
_LOCAL = ("localhost", "127.0.0.1", "::1")


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect could carry a token to another host: it is not followed."""

    def redirect_request(self, *_: object) -> None:
        return None


def check_source(source: CarbonSource, environment: Mapping[str, str]) -> None:
    """Refuse, before a run is made, what could not be asked for after it. Raises InputError."""
    if source.source == "file":
        if source.file is None or not Path(source.file).is_file():
            raise InputError(f"site: carbon file {source.file}: no such file (a path from the site file)")
    elif source.source == "electricitymaps":
        _need(environment, "ELECTRICITYMAPS_TOKEN")
    elif source.source == "watttime" and not environment.get("WATTTIME_TOKEN"):
        _need(environment, "WATTTIME_USER")
        _need(environment, "WATTTIME_PASSWORD")


def fetch(
    source: CarbonSource, start_s: float, end_s: float, *, now_s: float, environment: Mapping[str, str]
) -> Signal:
    """The signal over [start_s, end_s] [Unix s]; ``now_s`` is the present time.

    Raises InputError for what the user can mend (a token, a zone, a file), ServerError where the service failed.
    """
    check_source(source, environment)
    asked = {"file": _file, "electricitymaps": _electricity_maps, "watttime": _watttime, "uk": _uk}[source.source]
    return asked(source, (start_s, end_s, now_s), environment)


def _file(source: CarbonSource, _: tuple[float, float, float], __: Mapping[str, str]) -> Signal:
    path = Path(str(source.file))
    document = parse_document(path.name, read_bytes(path))
    rows = document.root["points"] if document.root.has("points") else document.root
    return replies.of_file(rows.each(), source.kind or "average", source.zone or Path(str(source.file)).name)


def _electricity_maps(
    source: CarbonSource, times: tuple[float, float, float], environment: Mapping[str, str]
) -> Signal:
    start, end, now = times
    zone = str(source.zone)
    # Without the last parameter an unknown zone is silently replaced by that of the caller's address.
    asked = {"zone": zone, "shouldUseFallbackCallerLookup": "false"}
    recent = start > now - DAY_S + HOUR_S
    if not recent:
        asked |= {"start": _stamp(_floor(start, HOUR_S)), "end": _stamp(_floor(end, HOUR_S) + HOUR_S)}
    if source.emission_factors:
        asked["emissionFactorType"] = source.emission_factors
    way = "history" if recent else "past-range"
    url = f"{_base(source)}/v3/carbon-intensity/{way}?{urlencode(asked)}"
    return replies.electricity_maps(_get(url, {"auth-token": environment["ELECTRICITYMAPS_TOKEN"]}), zone)


def _watttime(source: CarbonSource, times: tuple[float, float, float], environment: Mapping[str, str]) -> Signal:
    start, end, _ = times
    base, region = _base(source), str(source.zone)
    token = environment.get("WATTTIME_TOKEN")
    if not token:
        pair = f"{environment['WATTTIME_USER']}:{environment['WATTTIME_PASSWORD']}".encode()
        reply = _get(f"{base}/login", {"Authorization": f"Basic {base64.b64encode(pair).decode()}"})
        reply_token = reply["token"].value
        if not isinstance(reply_token, str) or not reply_token.isascii() or not reply_token.isprintable():
            raise ServerError(f"{base}/login: gave no token")
        token = reply_token
    asked = {
        "region": region,
        "start": _stamp(_floor(start, 300.0)),
        "end": _stamp(end + 300.0),
        "signal_type": "co2_aoer" if source.kind == "average" else "co2_moer",
    }
    return replies.watttime(
        _get(f"{base}/v3/historical?{urlencode(asked)}", {"Authorization": f"Bearer {token}"}), region
    )


def _uk(source: CarbonSource, times: tuple[float, float, float], _: Mapping[str, str]) -> Signal:
    start, end, _now = times
    span = f"{_minute(_floor(start, HALF_HOUR_S))}/{_minute(_floor(end, HALF_HOUR_S) + HALF_HOUR_S)}"
    zone = source.zone or "GB"
    if zone == "GB":
        return replies.united_kingdom(_get(f"{_base(source)}/intensity/{span}", {}), zone)
    url = f"{_base(source)}/regional/intensity/{span}/regionid/{quote(zone, safe='')}"
    return replies.united_kingdom(_get(url, {}), f"GB region {zone}")


def _get(url: str, headers: Mapping[str, str]) -> Part:
    """The JSON at ``url``. Its query is not told in errors, and a token only leaves over HTTPS or to this machine."""
    split = _plain(url)
    address = f"{split.scheme}://{split.netloc}{split.path}"
    if split.scheme != "https" and split.hostname not in _LOCAL:
        raise InputError(f"{address}: the carbon url must be https")
    request = urllib.request.Request(url, headers={**headers, "Accept": "application/json"})
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
            data = answer.read(MOST_BYTES + 1)
            if answer.length and len(data) <= MOST_BYTES:  # what was promised and did not come
                raise http.client.IncompleteRead(b"", answer.length)
    except urllib.error.HTTPError as fault:
        raise _refused(address, fault, headers) from None
    except http.client.HTTPException as fault:  # its text may repeat a token
        raise ServerError(f"{address}: the answer is not HTTP, or cut off ({type(fault).__name__})") from None
    except (OSError, ValueError) as fault:
        raise ServerError(f"{address}: cannot be reached ({clean(str(getattr(fault, 'reason', fault)))})") from None
    if len(data) > MOST_BYTES:
        raise ServerError(f"{address}: answers with more than {MOST_BYTES >> 20} MiB")
    try:
        return parse_document(address, data).root
    except InputError as fault:
        raise ServerError(str(fault)) from None


def _plain(url: str) -> SplitResult:
    """The parts of ``url``. Raises InputError where it is no plain address; a password in it is not repeated."""
    try:
        split = urlsplit(url)
        plain = "@" not in split.netloc and url.isprintable() and (split.port or 0) >= 0
    except ValueError:
        plain = False
    if not plain:
        raise InputError(
            "the site's carbon url must be a plain address such as https://host, without a user or password"
        )
    return split


def _refused(address: str, fault: urllib.error.HTTPError, headers: Mapping[str, str]) -> InputError | ServerError:
    try:
        answer_text = json.dumps(json.loads(fault.read(4000)))
    except (ValueError, OSError, RecursionError):
        answer_text = str(fault.reason)
    answer_text = clean(_without_credentials(answer_text, headers))
    if fault.code in (401, 403):
        return InputError(
            f"{address}: the credentials are refused, or do not reach this zone ({fault.code} {answer_text})"
        )
    if fault.code in (400, 404, 422):
        return InputError(f"{address}: refuses the zone or the time ({fault.code} {answer_text})")
    return ServerError(f"{address}: answers {fault.code} {answer_text}; try later: joulemill report RUN --site FILE")


def _without_credentials(answer_text: str, headers: Mapping[str, str]) -> str:
    """What a service says, without what it was told: it may repeat a token."""
    words = [w for value in headers.values() for w in value.split()]
    for word in [w for text in words for w in (text, *_pair(text))]:
        answer_text = answer_text.replace(word, "[key]") if len(word) >= LEAST_SECRET_CHARS else answer_text
    return answer_text


def _pair(word: str) -> list[str]:
    """User and password of basic authentication."""
    try:
        return base64.b64decode(word, validate=True).decode().split(":", 1)
    except ValueError:
        return []


def _need(environment: Mapping[str, str], name: str) -> None:
    if not environment.get(name):
        raise InputError(f"the site's carbon source needs {name} in the environment")


def _base(source: CarbonSource) -> str:
    return (source.url or URLS[source.source]).rstrip("/")


def _floor(time_s: float, step_s: float) -> float:
    return math.floor(time_s / step_s) * step_s


def _stamp(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _minute(time_s: float) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%dT%H:%MZ")
