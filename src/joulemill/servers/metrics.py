"""A server's own counters: Prometheus text in, canonical quantities out.

The parser and the mapping are sans-IO; ``scrape`` alone touches the network. A line that cannot be read is counted
and passed over: one bad line must not cost a run its server samples. A quantity that cannot be believed (NaN,
infinite, negative, a gauge where a counter should be) is absent, never 0.
Differences between samples, resets included, are the ledger's. A page is bounded in size, lines, series and the
processor time that reading it takes; beyond them it is refused as a whole, since what is left out cannot be told.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import aiohttp

from joulemill.catalog.server_dialects import Dialect, DialectQuantity, DialectTerm, QuantitySource, dialects
from joulemill.errors import JoulemillError
from joulemill.formats.plain_text import secrets_of
from joulemill.formats.prometheus_text import MAX_LINE, TextSample, parse_line
from joulemill.ledger.record import ServerSample
from joulemill.servers.boundary import Budget, body_of, from_source, read_in_thread

#: Bounds (assumed): a busy vLLM page is 0.2 MB, 3,000 lines of a dozen labels.
MAX_PAGE_BYTE = 16 << 20
MAX_LINES = 400_000
MAX_SAMPLES = 50_000
#: A reader that waits for a thread is given up after this time [s] (assumed).
READ_S = 20.0
#: Beyond this a float cannot count by ones: no counter of a server that counts gets there.
MOST_COUNT = 2.0**53
_TYPE = re.compile(r"#\s*TYPE\s+([a-zA-Z_:][\w:]*+)\s+(\w+)\s*$")


@dataclass(frozen=True, slots=True)
class MetricsPage:
    """A parsed page. ``types``: family name → counter, gauge, histogram …; ``malformed_count``: lines passed over."""

    samples: tuple[TextSample, ...]
    types: Mapping[str, str]
    malformed_count: int = 0


def parse_metrics(text: str, wanted: Callable[[str], bool] | None = None) -> MetricsPage:
    """Read the Prometheus text format (0.0.4; OpenMetrics' exemplars and EOF mark pass).

    ``wanted`` is asked for each line before it is parsed, so that a long page costs little. Of two lines for the same
    series the first counts, the second is malformed. Raises ValueError for a page beyond the bounds.
    """
    samples: dict[tuple[str, frozenset[tuple[str, str]]], TextSample] = {}
    types: dict[str, str] = {}
    malformed_count = 0
    if (lines_count := text.count("\n")) > MAX_LINES:
        raise ValueError(f"the page has {lines_count} lines, at most {MAX_LINES} are read")
    budget = Budget()
    for number, line in enumerate(text.split("\n")):
        if not number % 256:
            budget.check()
        line = line.strip()
        if line.startswith("#"):
            _note_type(types, line)
            continue
        if not line or (wanted is not None and not wanted(line)):
            continue
        sample = _sample(line)
        key = (sample.name, frozenset(sample.labels.items())) if sample else None
        if sample is None or key is None or key in samples:
            malformed_count += 1
            continue
        samples[key] = sample
        if len(samples) > MAX_SAMPLES:
            raise ValueError(f"the page has more than {MAX_SAMPLES} series")
    return MetricsPage(tuple(samples.values()), types, malformed_count)


def _note_type(types: dict[str, str], line: str) -> None:
    match = _TYPE.match(line[:MAX_LINE]) if len(types) < MAX_SAMPLES else None
    if match:
        types[match[1]] = match[2].lower()


def _sample(line: str) -> TextSample | None:
    try:
        return parse_line(line)
    except ValueError:
        return None


def detect_dialect(page: MetricsPage) -> Dialect | None:
    """The dialect that finds most of its quantities on the page; None where none finds any.

    A gateway or an operator puts its own prefix before a server's names, or none (Ray ``ray_vllm_``, NIM): where no
    dialect finds its own prefix, its names are looked for behind any other, token counters foremost.
    """
    best = _most(page, dialects())
    return best if best is not None else _most(page, _foreign(page))


def _most(page: MetricsPage, candidates: Iterable[Dialect]) -> Dialect | None:
    ranked = [(len(canonical(page, d)), d.name == "vllm", d) for d in candidates]  # of equals, the most widely used
    best = max(ranked, key=lambda r: r[:2], default=None)
    return best[2] if best is not None and best[0] > 0 else None


def _foreign(page: MetricsPage) -> list[Dialect]:
    """Dialects behind another prefix, where their counter of output tokens is on the page."""
    names = {s.name.removesuffix("_total") for s in page.samples}
    foreign_dialects: list[Dialect] = []
    for d in dialects():
        quantity = next((q for q in d.quantities if q.name == "output_tok_total"), None)
        counters = {w.terms[0].series for w in quantity.ways if w.operation == "sum"} if quantity else set()
        starts = {n.removesuffix(c) for n in names for c in counters if n.endswith(c)}
        foreign_dialects += [replace(d, start=start) for start in sorted(starts) if start == "" or start[-1] in ":_"]
    return foreign_dialects


def canonical(page: MetricsPage, dialect: Dialect) -> dict[str, float]:
    """The page's quantities under our names (``ledger.record.ServerSample``); what is not there is absent."""
    series: dict[str, list[TextSample]] = {}
    for sample in page.samples:
        start = next((s for s in dialect.starts if sample.name.startswith(s)), None)
        if start is not None and all(sample.labels.get(label, v) == v for label, v in dialect.keep.items()):
            series.setdefault(sample.name[len(start) :], []).append(sample)
    values = ((q.name, _quantity(q, series, page.types)) for q in dialect.quantities)
    return {name: value for name, value in values if value is not None}


def _quantity(
    quantity: DialectQuantity, series: Mapping[str, list[TextSample]], types: Mapping[str, str]
) -> float | None:
    for way in quantity.ways:
        values = [_term(term, quantity.kind, series, types) for term in way.terms]
        if all(values):
            value = _combine(way, values)
            if 0 <= value <= MOST_COUNT:  # neither NaN nor infinite
                return value
    return None


def _term(
    term: DialectTerm, kind: str, series: Mapping[str, list[TextSample]], types: Mapping[str, str]
) -> list[float]:
    samples = series.get(term.series + "_total") or series.get(term.series) or []
    if kind == "counter":
        samples = [
            s for s in samples if types.get(s.name, types.get(s.name.removesuffix("_total"))) not in _NOT_COUNTERS
        ]
    if term.label is not None:
        samples = [s for s in samples if s.labels.get(term.label) == term.value]
    return [s.value if term.read is None else _number(s.labels.get(term.read)) for s in samples]


_NOT_COUNTERS = ("gauge", "histogram", "summary", "info")


def _combine(way: QuantitySource, term_values: list[list[float]]) -> float:
    """NaN where a value cannot be believed: a sum of huge ones is none."""
    if not all(abs(value) <= MOST_COUNT for values in term_values for value in values):
        return math.nan
    sums = [math.fsum(values) for values in term_values]
    if way.operation == "difference":
        return sums[0] - math.fsum(sums[1:])
    if way.operation == "product":
        return sums[0] * math.prod(max(values) for values in term_values[1:])
    return math.fsum(sums) / (sum(map(len, term_values)) if way.operation == "mean" else 1)


def _number(text: str | None) -> float:
    try:
        return float(text) if text is not None else math.nan
    except ValueError:
        return math.nan


@dataclass(frozen=True, slots=True)
class Scrape:
    """One look at a server: the sample made of it, and the page and dialect that it was made with, where there are."""

    sample: ServerSample
    page: MetricsPage | None = None
    dialect: Dialect | None = None


async def scrape(
    session: aiohttp.ClientSession,
    metrics_url: str,
    dialect: Dialect | None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
) -> ServerSample:
    """One look at the server's counters; a fault becomes the sample's ``error``. ``dialect`` None: found by itself."""
    return (await look(session, metrics_url, dialect, headers=headers, timeout_s=timeout_s)).sample


async def look(
    session: aiohttp.ClientSession,
    metrics_url: str,
    dialect: Dialect | None,
    *,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
    also: tuple[str, ...] = (),
) -> Scrape:
    """``scrape`` with the page itself: of it the dialect's series alone, and the lines that start with ``also``.

    The time is the middle between asking and hearing: the server read its counters somewhere between.
    """
    asked_mono_s, asked_wall_s = time.monotonic(), time.time()
    heard_mono_s = math.nan
    try:
        text = await from_source(
            "no metrics",
            _page(session, metrics_url, headers or {}),
            timeout_s,
            secrets_of(None, (headers or {}).items()),
        )
        heard_mono_s = time.monotonic()
        page, dialect, values, error = await from_source(
            "the metrics page", read_in_thread(_read, text, dialect, also), READ_S
        )
    except JoulemillError as fault:
        half_s = ((time.monotonic() if math.isnan(heard_mono_s) else heard_mono_s) - asked_mono_s) / 2
        return Scrape(ServerSample(asked_mono_s + half_s, asked_wall_s + half_s, {}, str(fault)))
    half_s = (heard_mono_s - asked_mono_s) / 2
    return Scrape(ServerSample(asked_mono_s + half_s, asked_wall_s + half_s, values, error), page, dialect)


def _read(
    text: str, dialect: Dialect | None, also: tuple[str, ...]
) -> tuple[MetricsPage, Dialect | None, dict[str, float], str | None]:
    """The page, its dialect, what it says in our names, why that is nothing. Raises ValueError beyond the bounds."""
    page = parse_metrics(text, _wanted(dialect, also))
    dialect = dialect or detect_dialect(page)
    values = canonical(page, dialect) if dialect else {}
    return page, dialect, values, None if values else _nothing_of(text, dialect)


def _nothing_of(text: str, asked: Dialect | None) -> str:
    """Why a page says nothing in the words of ``asked`` (None: of any server)."""
    page = parse_metrics(text, _wanted(None))
    other = None if asked is None else detect_dialect(page)
    if asked is None or other is None:
        return _nothing_known(page)
    return f"the metrics page has none of the names of dialect {asked.name}: it is in those of {other.name}: correct it"


def _nothing_known(page: MetricsPage) -> str:
    """Why a page says nothing of tokens, with what it shows instead."""
    names = list(dict.fromkeys(s.name for s in page.samples))
    if not names:
        return "the metrics page has none of the known names: it shows no series at all"
    known = ", ".join(d.name for d in dialects())
    shown = f"{len(names)} others such as {', '.join(n[:60] for n in names[:2])}"
    triton = any(n.startswith("nv_inference_") for n in names)
    why = "; Triton itself counts no tokens: give the page of the engine behind it" if triton else ""
    return f"the metrics page has none of the known names ({known}): no token counters, {shown}{why}"


def _wanted(dialect: Dialect | None, also: tuple[str, ...] = ()) -> Callable[[str], bool] | None:
    """Passes a page's histogram buckets and foreign names by unparsed: they are most of it."""
    if dialect is None:
        return None
    starts = (*also, *(f"{start}{series}" for start in dialect.starts for series in dialect.series()))
    return lambda line: line.startswith(starts)


async def _page(session: aiohttp.ClientSession, url: str, headers: Mapping[str, str]) -> str:
    async with session.get(url, headers=dict(headers), allow_redirects=False) as response:
        if response.status != 200:
            raise ValueError(f"{url} answered {response.status}")
        return (await body_of(response, MAX_PAGE_BYTE)).decode("utf-8", "replace")
