"""A snapshot as Prometheus metrics. What is unknown is absent: a series that is not there is not 0.

Names as in ``docs/monitor.md``; base units; counters end in ``_total``. J/token is a quotient to make by the
reader: joules over output tokens of the same targets (``rules/joulemill.rules.yml`` does it).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric

from joulemill.monitor.accounting.pue import power_of, pue_now
from joulemill.monitor.snapshot import HistoryState, MeterHealth, SiteState, Snapshot, TargetState
from joulemill.version import __version__

PREFIX = "joulemill"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_WHO = ("target", "model", "site")

#: Gauges of a target: (name, help, field of its latest observed interval).
LATEST = (
    ("running_requests", "Requests that the server was running at the last scrape.", "running_count"),
    ("waiting_requests", "Requests that waited at the last scrape.", "waiting_count"),
    ("kv_cache_use_ratio", "Share of the KV cache in use at the last scrape.", "kv_use_ratio"),
    ("ttft_seconds", "Mean time to first token of requests in the last interval.", "ttft_s"),
    ("tpot_seconds", "Mean time per output token of requests in the last interval.", "tpot_s"),
    ("idle_ratio", "Share of the last interval with no request running.", "idle_ratio"),
    ("efficiency_ratio", "Phi: measured rate over the lowest hardware ceiling at this load.", "phi_ratio"),
    ("utilization_ratio", "U: rate over rate at full load, in the last interval.", "utilization_ratio"),
)


class _Collected:
    """A collector of what was made already."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


def page(now: Snapshot) -> bytes:
    """The whole page, in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(list(metrics(now))))
    return generate_latest(registry)


def metrics(now: Snapshot) -> Iterator[Metric]:
    """Every family with its samples."""
    yield from _counters(now.targets)
    yield from _gauges(now.targets)
    yield from _latencies(now.targets)
    yield from _ceilings(now.targets)
    yield from _findings(now.targets)
    yield from _meters(now.meters)
    yield from _sites(now)
    yield from _metered_sites(now.metered)
    faulty = _gauge(
        "config_error", "1 where the newest configuration is invalid and the previous one is still in use.", ()
    )
    faulty.add_metric((), float(now.config_error is not None))
    yield faulty
    yield from _kept(now.kept)
    info = InfoMetricFamily(f"{PREFIX}_build", "The version that runs.")
    info.add_metric((), {"version": __version__})
    yield info


def _kept(kept: HistoryState | None) -> Iterator[Metric]:
    """How the history is kept; nothing where none is."""
    if kept is None:
        return
    up = _gauge("history_up", "1 where the history takes intervals.", ())
    up.add_metric((), float(kept.error is None))
    yield up
    for name, text, count in (
        ("history_lost_intervals", "Intervals pushed out while the history took none.", kept.lost_count),
        ("history_refused_intervals", "Intervals that could not be kept.", kept.refused_count),
        ("history_restarts", "How often the history writer was restarted.", kept.restarts_count),
    ):
        family = _counter(name, text, ())
        family.add_metric((), float(count))
        yield family


def _who(t: TargetState) -> tuple[str, str, str]:
    return t.facts.target, t.facts.model, t.facts.site


def _gauge(name: str, text: str, labels: tuple[str, ...]) -> Any:
    return GaugeMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def _counter(name: str, text: str, labels: tuple[str, ...]) -> Any:
    return CounterMetricFamily(f"{PREFIX}_{name}", text, labels=labels)


def _counters(targets: tuple[TargetState, ...]) -> Iterator[Metric]:
    energy = _counter(
        "energy_joules", "Joules by scope (scopes nest: never add them).", (*_WHO, "scope", "device", "basis")
    )
    metered = _counter(
        "metered_tokens",
        "Output tokens that were made while the scope's joules are known.",
        (*_WHO, "scope", "device", "basis"),
    )
    tokens = _counter("tokens", "Tokens by kind; cached ones are prompt tokens too.", (*_WHO, "kind"))
    unobserved = _counter("unobserved_seconds", "Seconds that no scrape covers.", _WHO)
    carbon = _counter("carbon_grams", "Grams of CO2 equivalent of the node's joules times PUE.", _WHO)
    cost = _counter("cost", "Price of the node's joules times PUE.", (*_WHO, "currency"))
    for t in targets:
        for (scope, device, basis), joules in t.energy_j.items():
            energy.add_metric((*_who(t), scope, device, basis), joules)
        for (scope, device, basis), count in t.metered_tok.items():
            metered.add_metric((*_who(t), scope, device, basis), count)
        for kind, count in t.tokens.items():
            tokens.add_metric((*_who(t), kind.value), count)
        unobserved.add_metric(_who(t), t.unobserved_s)
        if t.carbon_g is not None:
            carbon.add_metric(_who(t), t.carbon_g)
        if t.cost is not None:
            cost.add_metric((*_who(t), t.currency or ""), t.cost)
    yield from (energy, metered, tokens, unobserved, carbon, cost)


def _gauges(targets: tuple[TargetState, ...]) -> Iterator[Metric]:
    up = _gauge("target_up", "1 where the last scrape was good.", _WHO)
    took = _gauge("scrape_seconds", "How long the last scrape took.", _WHO)
    lag = _gauge("scrape_lag_seconds", "How late the last scrape was.", _WHO)
    for t in targets:
        up.add_metric(_who(t), float(t.up))
        if t.scrape_s is not None:
            took.add_metric(_who(t), t.scrape_s)
        if t.lag_s is not None:
            lag.add_metric(_who(t), t.lag_s)
    yield from (up, took, lag)
    for name, text, field in LATEST:
        family = _gauge(name, text, _WHO)
        for t in targets:
            value = getattr(t.latest, field) if t.latest is not None and t.latest.observed else None
            if value is not None:
                family.add_metric(_who(t), value)
        yield family


def _latencies(targets: tuple[TargetState, ...]) -> Iterator[Metric]:
    for what, text in (("ttft", "Time to first token"), ("tpot", "Time per output token")):
        family = _gauge(
            f"{what}_percentile_seconds",
            f"{text}: of the last interval's requests, from histograms.",
            (*_WHO, "percentile"),
        )
        for t in targets:
            percentiles = t.latest.latency.get(what) if t.latest is not None and t.latest.observed else None
            named = (
                (("50", percentiles.p50_s), ("90", percentiles.p90_s), ("99", percentiles.p99_s))
                if percentiles is not None
                else ()
            )
            for percentile, value in named:
                if value is not None:
                    family.add_metric((*_who(t), percentile), value)
        yield family


def _ceilings(targets: tuple[TargetState, ...]) -> Iterator[Metric]:
    ceiling = _gauge(
        "ceiling_tokens_per_second", "Output tokens per second that a resource would allow.", (*_WHO, "name", "basis")
    )
    bounds = _gauge("efficiency_bound_ratio", "Ends of the interval of Phi.", (*_WHO, "bound"))
    for t in targets:
        if t.latest is None or not t.latest.observed:
            continue
        for c in t.latest.ceilings:
            if c.ceiling_tok_s is not None:
                ceiling.add_metric((*_who(t), c.name, c.basis), c.ceiling_tok_s)
        for bound, value in (("low", t.latest.phi_low_ratio), ("high", t.latest.phi_high_ratio)):
            if value is not None:
                bounds.add_metric((*_who(t), bound), value)
    yield from (ceiling, bounds, *_binding(targets))


def _binding(targets: tuple[TargetState, ...]) -> Iterator[Metric]:
    binds = _gauge("binding_ceiling", "1 for the constraint that binds, 0 for the others.", (*_WHO, "name"))
    sure = _gauge("binding_probability_ratio", "Probability of the constraint that binds.", (*_WHO, "name"))
    unknown = _gauge("binding_unknown", "1 if the active constraint is not known.", _WHO)
    for t in targets:
        latest = t.latest
        if latest is None or not latest.observed:
            continue
        unknown.add_metric(_who(t), float(latest.binding is None))
        if latest.binding is None:
            continue
        for name in sorted({*(c.name for c in latest.ceilings), latest.binding}):
            binds.add_metric((*_who(t), name), float(name == latest.binding))
        if latest.binding_probability_ratio is not None:
            sure.add_metric((*_who(t), latest.binding), latest.binding_probability_ratio)
    yield from (binds, sure, unknown)


def _findings(targets: tuple[TargetState, ...]) -> Iterator[Metric]:
    """What the ledger says of the latest interval's joules."""
    family = _gauge(
        "energy_finding", "A finding on a scope's joules: 1 where it refuses them, else 0.", (*_WHO, "scope", "code")
    )
    for t in targets:
        for f in t.latest.findings if t.latest is not None else ():
            family.add_metric((*_who(t), f.scope, f.code), float(f.refused))
    yield family


def _meters(meters: tuple[MeterHealth, ...]) -> Iterator[Metric]:
    labels = ("meter", "target", "site", "scope")
    up = _gauge("meter_up", "1 where the meter's readings can be used.", labels)
    state = _gauge("meter_state", "1; the label says ok or the reason code.", (*labels, "state"))
    age = _gauge("meter_age_seconds", "Age of the meter's newest reading.", labels)
    for m in meters:
        who = (m.meter, m.target or "", m.site, m.scope)
        up.add_metric(who, float(m.state == "ok"))
        state.add_metric((*who, m.state), 1.0)
        if m.age_s is not None:
            age.add_metric(who, m.age_s)
    yield from (up, state, age)


def _sites(now: Snapshot) -> Iterator[Metric]:
    pue = _gauge(
        "site_pue_ratio",
        "Power usage effectiveness: as metered over the latest interval, and as declared.",
        ("site", "basis"),
    )
    limit = _gauge("site_power_limit_watts", "Power that the site may draw for IT.", ("site",))
    carbon = _gauge("site_carbon_grams_per_kilowatt_hour", "Grid carbon as stated.", ("site",))
    for s in now.sites:
        measured = pue_now(now.site_state(s.site))
        if measured is not None and measured.value is not None:
            pue.add_metric((s.site, str(measured.basis)), measured.value)
        if s.pue_ratio is not None:
            pue.add_metric((s.site, s.pue_basis), s.pue_ratio)
        if s.power_limit_w is not None:
            limit.add_metric((s.site,), s.power_limit_w)
        if s.carbon_g_kwh is not None:
            carbon.add_metric((s.site,), s.carbon_g_kwh)
    yield from (pue, limit, carbon)


def _metered_sites(metered: tuple[SiteState, ...]) -> Iterator[Metric]:
    """What sites' own meters say: joules since the first stretch; power and PUE of the latest one, with bounds."""
    energy = _counter(
        "site_energy_joules", "Joules by a site's own meters (scopes nest: never add them).", ("site", "scope", "basis")
    )
    power = _gauge(
        "site_power_watts", "Mean power over the latest interval, by the site's own meters.", ("site", "scope", "basis")
    )
    bounds = _gauge(
        "site_power_bound_watts", "Ends of the 95 % interval of site_power_watts.", ("site", "scope", "bound")
    )
    ends = _gauge("site_pue_bound_ratio", "Ends of the interval of the measured PUE.", ("site", "bound"))
    for s in metered:
        for (scope, basis), joules in s.energy_j.items():
            energy.add_metric((s.site, scope, basis), joules)
        for e in s.latest.energy.values() if s.latest is not None else ():
            watts, half = power_of(e, s.latest.duration_s if s.latest else 0.0)
            if watts is not None:
                power.add_metric((s.site, e.scope, e.basis), watts)
                for bound, sign in (("low", -1), ("high", 1)) if half is not None else ():
                    bounds.add_metric((s.site, e.scope, bound), watts + sign * (half or 0.0))
        measured = pue_now(s)
        for bound, value in (("low", measured.low), ("high", measured.high)) if measured is not None else ():
            if value is not None:
                ends.add_metric((s.site, bound), value)
    yield from (energy, power, bounds, ends)
