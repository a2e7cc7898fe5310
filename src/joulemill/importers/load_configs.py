"""Configurations of GuideLLM and AIPerf → the load that they would send.

GuideLLM: a scenario (``--scenario``), as of 0.8 under ``spec`` or with flat keys before. AIPerf: a configuration
(``--config``) with ``datasets`` and ``phases`` or their short forms, and the one that its summary keeps. Both know
rates and closed loops. What searches for a rate, or asks the prompts of a file, describes no load and is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence

from joulemill.errors import InputError
from joulemill.formats.documents import Document
from joulemill.formats.untrusted import Part
from joulemill.simulation.demand import ClosedLoop, Sessions, TrafficDemand
from joulemill.statistics.arrivals import stages
from joulemill.statistics.lengths import Lengths, parse_lengths
from joulemill.units import parse_quantity

Load = TrafficDemand | ClosedLoop
#: Names of an arrival process → its burstiness (``bench`` has the same).
PROCESSES = {"constant": math.inf, "poisson": 1.0, "async": 1.0, "gamma": 1.0}
CLOSED = ("concurrent", "concurrency", "synchronous")
_PAIR = re.compile(r"^\s*[a-z_]+\s*=\s*[^,=]+(,\s*[a-z_]+\s*=\s*[^,=]+)*$")


def is_guidellm(document: Document) -> bool:
    """Whether ``document`` is a scenario of GuideLLM."""
    root = _spec(document.root)
    kind = root.first("profile", "rate_type", "rate-type")
    return document.form == "json" and root.has("data") and kind.known


def guidellm_load(document: Document) -> Load:
    """The load of a scenario. Raises InputError naming the member at fault."""
    root = _spec(document.root)
    profile = root["profile"]
    named = profile["kind"] if isinstance(profile.value, dict) else root.first("profile", "rate_type", "rate-type")
    source = profile if isinstance(profile.value, dict) else root
    data = _guidellm_data(root["data"])
    lengths = _lengths(data, "prompt_tokens"), _lengths(data, "output_tokens")
    kind = named.text() or ""
    limits = (
        {c["kind"].text(): c for c in root["constraints"].each()} if isinstance(root["constraints"].value, list) else {}
    )
    seconds = _limit(root.first("max_seconds", "max-seconds", "max_duration"), limits, ("max_duration", "max_seconds"))
    requests = _limit(root.first("max_requests", "max-requests"), limits, ("max_requests", "max_number"))
    if kind in CLOSED:
        users = [1.0] if kind == "synchronous" else _several(source.first("streams", "rate", "concurrency"))
        return _closed(named, users, requests, lengths)
    rates = _several(source.first("rate", "rates"))
    sessions = _sessions(data["turns"], data["delay"], 1.0, lengths[0])
    return _open(named, [(kind, rate, seconds, requests) for rate in rates], lengths, sessions)


def _spec(root: Part) -> Part:
    return root["spec"] if root["spec"].has("profile") else root


def _guidellm_data(part: Part) -> Part:
    """The synthetic data: an object, the first of a list, or a text of ``name=value`` pairs or of JSON."""
    first = next(part.each(), part) if isinstance(part.value, list) else part
    if not isinstance(first.value, str):
        return first
    text = first.value.strip()
    if text.startswith("{"):
        try:
            return Part(json.loads(text), first.where)
        except (ValueError, RecursionError):
            raise first.wrong("JSON, or pairs such as prompt_tokens=256,output_tokens=128") from None
    if not _PAIR.match(text):
        raise first.wrong(
            "synthetic data, e.g. prompt_tokens=256,output_tokens=128; give a file of requests as the trace"
        )
    return Part({k.strip(): v.strip() for k, v in (pair.split("=") for pair in text.split(","))}, first.where)


def _lengths(data: Part, name: str) -> Lengths:
    return _normal(data[name], data[f"{name}_stdev"])


def _normal(mean: Part, deviation: Part) -> Lengths:
    """A length, or a normal distribution of it."""
    center, spread = mean.number(least=1.0), deviation.number(least=0.0)
    if center is None:
        raise mean.wrong("a number of tokens")
    text = f"normal:{center:g}:{spread:g}" if spread else f"{center:.0f}"
    return parse_lengths(text, mean.where)


def _limit(stated: Part, limits: dict[str | None, Part], kinds: Sequence[str]) -> float | None:
    """A limit of a run: at the top, or one of the constraints."""
    value = stated.number(least=0.0)
    if value is not None:
        return value
    part = next((limits[k] for k in kinds if k in limits), None)
    return None if part is None else part.first("count", "seconds", "duration", "max_duration").number(least=0.0)


def _several(part: Part) -> list[float]:
    """A number, or several."""
    parts = list(part.each()) if isinstance(part.value, list) else [part]
    numbers = [p.number(least=0.0) for p in parts]
    if not numbers or any(not n for n in numbers):
        raise part.wrong("a rate or a concurrency above 0, or a list of them")
    return [float(n) for n in numbers if n]


def is_aiperf(document: Document) -> bool:
    """Whether ``document`` is a configuration of AIPerf."""
    root = _benchmark(document.root)
    return document.form == "json" and _first_of(root, "phases", "profiling").known and _dataset(root).known


def aiperf_load(document: Document) -> Load:
    """The load of a configuration's phases, those of the warm-up left out. Raises InputError naming the member."""
    root = _benchmark(document.root)
    data = _dataset(root)
    prompts = data["prompts"] if data["prompts"].known else data
    lengths = _aiperf_length(prompts["isl"]), _aiperf_length(prompts["osl"])
    phases = list(_phases(root))
    if not phases:
        raise InputError(f"{document.name}: has no phase that is measured; give phases with type, rate and duration")
    if phases[0]["type"].text() in CLOSED:
        count = phases[0].first("requests", "sessions").number(least=1.0)
        return _closed(phases[0]["type"], _several(phases[0]["concurrency"]), count, lengths)
    rows = [
        (p["type"].text() or "", _several(p.first("rate", "request_rate"))[0], _time_s(p["duration"]), _count(p))
        for p in phases
    ]
    wait = data.first("turn_delay", "turnDelay")
    sessions = _sessions(_center(data["turns"]), _center(wait), 1e-3, lengths[0])
    return _open(phases[0]["type"], rows, lengths, sessions)


def _benchmark(root: Part) -> Part:
    """Where the parts stand: under ``benchmark``, with short forms beside it, or in the summary's own copy."""
    for inner in (root["benchmark"], root.at("spec", "benchmark"), root["input_config"]):
        if isinstance(inner.value, dict) and isinstance(root.value, dict):
            return Part({**root.value, **inner.value}, root.where)
    return root


def _first_of(root: Part, *names: str) -> Part:
    """The first item of a list, or member of an object, under one of ``names``."""
    part = root.first(*names)
    if isinstance(part.value, list):
        return next(part.each(), Part(None, part.where))
    return part


def _dataset(root: Part) -> Part:
    part = _first_of(root, "datasets", "dataset")
    if part.has("prompts") or part.has("isl"):
        return part
    inner = next(iter(part.members()), None) if isinstance(part.value, dict) else None
    nested = inner[1] if inner is not None else part
    return nested if nested.has("prompts") or nested.has("isl") else Part(None, part.where)


def _aiperf_length(part: Part) -> Lengths:
    if isinstance(part.value, dict):
        return _normal(part["mean"], part["stddev"])
    return _normal(part, Part(None, part.where))


def _center(part: Part) -> Part:
    return part["mean"] if isinstance(part.value, dict) else part


def _phases(root: Part) -> Iterator[Part]:
    """The measured phases in order."""
    part = root.first("phases", "profiling")
    if isinstance(part.value, list):
        listed = [(p["name"].text() or "", p) for p in part.each()]
    elif part.has("type"):
        listed = [("", part)]
    else:
        listed = [(name, p) for name, p in part.members()]
    for name, phase in listed:
        excluded = phase.first("exclude_from_results", "excludeFromResults").flag()
        if not excluded and "warmup" not in (name, phase["kind"].text()):
            yield phase


def _time_s(part: Part) -> float | None:
    """A time in seconds, or with its unit ("5m", "60s")."""
    text = part.text()
    if text is None or re.fullmatch(r"[0-9.]+", text):
        return part.number(least=0.0)
    return parse_quantity(re.sub(r"(?<=\d)\s*m$", "min", text), "s", name=part.where, above=0.0)


def _count(phase: Part) -> float | None:
    return phase.first("requests", "sessions").number(least=1.0)


def _sessions(turns: Part, wait: Part, unit_s: float, added: Lengths) -> Sessions | None:
    count = turns.number(least=1.0)
    if count is None or count <= 1.0:
        return None
    return Sessions(parse_lengths(f"{count:.0f}", turns.where), added, (wait.number(least=0.0) or 0.0) * unit_s)


def _closed(kind: Part, users: Sequence[float], requests: float | None, lengths: tuple[Lengths, Lengths]) -> ClosedLoop:
    if len(users) > 1:
        listed = ", ".join(f"{u:g}" for u in users)
        raise InputError(f"{kind.where}: {listed} users one after another are as many loads; leave one of them")
    return ClosedLoop(int(users[0]), None if requests is None else int(requests), *lengths)


def _open(
    kind: Part,
    rows: Sequence[tuple[str, float, float | None, float | None]],
    lengths: tuple[Lengths, Lengths],
    sessions: Sessions | None,
) -> TrafficDemand:
    """Rates one after another, each for its time, or for as long as its requests take to come."""
    strange = next((name for name, *_ in rows if name not in PROCESSES), None)
    if strange is not None:
        known = ", ".join((*PROCESSES, *CLOSED))
        raise InputError(f"{kind.where}: is {strange!r}, which describes no load by itself; {known} do")
    times_s = [seconds or (None if count is None else count / rate) for _, rate, seconds, count in rows]
    if any(not t for t in times_s):
        raise InputError(f"{kind.where}: nothing says how long the load lasts; state seconds or requests in the file")
    profile = stages([rate for _, rate, *_ in rows], [t for t in times_s if t])
    return TrafficDemand(profile, *lengths, burstiness_ratio=PROCESSES[rows[0][0]], sessions=sessions)
