"""Energy, power, site and where the joules went, of a measured run. Pure."""

from __future__ import annotations

from dataclasses import replace

from joulemill.analysis import report as doc
from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.account import Account
from joulemill.ledger.attribution import Attribution, Rule
from joulemill.ledger.findings import Reason
from joulemill.ledger.record import Quantity, RunRecord, Scope
from joulemill.ledger.scope_account import ScopeAccount
from joulemill.physics.hardware.site import ReferencePue, Site, SiteFigures, carbon_figure, pue_figure, site_figures
from joulemill.statistics.lognormal import quotient
from joulemill.units import JOULE_PER_KWH
from joulemill.wording import quantity

#: Reasons that anyone reads beside the joules: as many as fit a line or two.
TOLD_REASONS = 6


def site_view(account: Account, site: Site | None, references: tuple[ReferencePue, ...]) -> SiteFigures:
    """The site's figures: from a site meter where there is one, else the node's times PUE."""
    metered = account.scopes.get(Scope.SITE)
    stated = site or Site()
    if metered is not None and metered.energy.known:
        return site_figures(metered.j_tok, metered.power, stated, scope="site", references=references)
    node = account.scopes.get(Scope.NODE)
    j_tok = node.j_tok if node else unknown("J/tok", _no(account, Scope.NODE))
    watts = node.power if node else unknown("W", _no(account, Scope.NODE))
    return site_figures(j_tok, watts, stated, references=references)


def energy(account: Account, view: SiteFigures, correct: Figure) -> doc.Energy:
    """The energy part of the report; ``correct`` is output tokens of the quality set per correct answer."""
    node, device, cpu = (_scope(account, s) for s in (Scope.NODE, Scope.DEVICE, Scope.CPU))
    main = account.scopes.get(account.main) if account.main else None
    findings = sorted((f for f in account.findings if f.fatal or account.main), key=lambda f: not f.fatal)
    return doc.Energy(
        device_j_tok=device.j_tok if device else unknown("J/tok", _no(account, Scope.DEVICE)),
        node_j_tok=node.j_tok if node else unknown("J/tok", _no(account, Scope.NODE)),
        site_j_tok=_beside_reference(view.site_j_tok, view, "site_j_tok"),
        above_idle_j_tok=node.above_idle_j_tok if node else unknown("J/tok", _no(account, Scope.NODE)),
        node_j=node.energy if node else unknown("J", _no(account, Scope.NODE)),
        node_idle_j=node.idle_energy if node else unknown("J", _no(account, Scope.NODE)),
        prefill_j_tok=account.prefill_j_tok,
        decode_j_tok=account.decode_j_tok,
        request_j=account.request_j,
        good_j_tok=account.good_j_tok,
        correct_answer_j=correct_answer_j(main, correct),
        carbon_gco2e_tok=view.carbon_gco2e_tok,
        cost_currency_tok=view.cost_currency_tok,
        water_l_tok=view.water_l_tok,
        attribution=attribution(account),
        cpu_j_tok=cpu.j_tok if cpu else unknown("J/tok", _no(account, Scope.CPU)),
        reasons=tuple(dict.fromkeys(f.text for f in findings))[:TOLD_REASONS],
    )


def _beside_reference(figure: Figure, view: SiteFigures, name: str) -> Figure:
    """An unknown site figure, with what it would be at a cited reference PUE said in its reason."""
    if figure.value is not None or not view.at_reference:
        return figure
    first = view.at_reference[0]
    shown: Figure = getattr(first, name)
    if not shown.known:
        return figure
    label = (
        f"at PUE {first.reference.pue_ratio:g} ({first.reference.name}) it would be {quantity(shown.value, shown.unit)}"
    )
    return replace(figure, reason=f"{figure.reason}; {label}")


def _scope(account: Account, scope: Scope) -> ScopeAccount | None:
    scope_account = account.scopes.get(scope)
    return scope_account if scope_account is not None and scope_account.composition.channels else None


def _no(account: Account, scope: Scope) -> str:
    """Why ``scope`` has no joules: nothing metered it, or there are no tokens that they could be of."""
    no_counts = next((f.text for f in account.findings if f.code is Reason.NO_TOKENS and f.subject == "totals"), None)
    return no_counts or f"nothing metered the {scope}"


def correct_answer_j(main: ScopeAccount | None, tokens_per_correct: Figure) -> Figure:
    """J/token of the load × output tokens that the quality set took per correct answer: carried over, so modelled."""
    if main is None or main.j_tok.value is None:
        return unknown("J", "the energy per token is unknown")
    if tokens_per_correct.value is None:
        return unknown("J", tokens_per_correct.reason or "no answer was scored")
    low = None if tokens_per_correct.low is None or main.j_tok.low is None else main.j_tok.low * tokens_per_correct.low
    high = (
        None
        if tokens_per_correct.high is None or main.j_tok.high is None
        else main.j_tok.high * tokens_per_correct.high
    )
    source = "J/tok of the load × output tokens of the quality set ÷ correct answers"
    return Figure(
        main.j_tok.value * tokens_per_correct.value, "J", Basis.MODELLED, low=low, high=high, level=0.95, source=source
    )


def attribution(account: Account) -> doc.AttributionReport:
    """Both rules: their spread over requests, and that they close."""
    return doc.AttributionReport(
        str(account.main) if account.main else None,
        _attributed(account.attribution.get(Rule.OUTPUT_TOKEN_SHARE)),
        _attributed(account.attribution.get(Rule.WORK_WEIGHTED)),
    )


def _attributed(shares: Attribution | None) -> doc.AttributedEnergy | None:
    if shares is None:
        return None
    joules = sorted(shares.energy_j)
    return doc.AttributedEnergy(
        requests=len(joules),
        total_j=shares.total_j,
        requests_j=sum(joules),
        unattributed_idle_j=shares.unattributed_idle_j,
        closure_ratio=shares.closure_ratio,
        median_request_j=joules[len(joules) // 2] if joules else None,
        source=shares.source,
    )


def power(record: RunRecord, account: Account, view: SiteFigures) -> doc.Power:
    """Mean power by scope, the idle baseline, limit and throttling of the devices."""
    node, device = (_scope(account, s) for s in (Scope.NODE, Scope.DEVICE))
    return doc.Power(
        device_w=device.power if device else unknown("W", _no(account, Scope.DEVICE)),
        node_w=node.power if node else unknown("W", _no(account, Scope.NODE)),
        site_w=_beside_reference(view.site_w, view, "site_w"),
        node_idle_w=node.idle_power if node else unknown("W", _no(account, Scope.NODE)),
        device_limit_w=_limit(record),
        throttled_ratio=_throttled(record, account),
    )


def _limit(record: RunRecord) -> Figure:
    """Sum over devices of the last power limit that was read."""
    last: dict[str, float] = {}
    wanted = {c.id for c in record.channels if c.quantity is Quantity.POWER_LIMIT}
    for reading in record.readings:
        if reading.channel in wanted and reading.value is not None:
            last[reading.channel] = reading.value
    if not last:
        return unknown("W", "no meter reads a power limit")
    return Figure(sum(last.values()), "W", Basis.MEASURED, source="power limits that the devices enforce, summed")


def _throttled(record: RunRecord, account: Account) -> Figure:
    """Greatest share of the window that any device was held back by power or heat, from its counters of time."""
    window = account.window
    kinds = (Quantity.THROTTLE_POWER, Quantity.THROTTLE_THERMAL)
    wanted = {c.id for c in record.channels if c.quantity in kinds}
    if window is None or not wanted:
        return unknown("1", "no meter reads throttling")
    shares = []
    for channel in wanted:
        samples = [
            (r.t_mono_s, r.value)
            for r in record.readings
            if r.channel == channel and r.value is not None and window.start_s <= r.t_mono_s <= window.end_s
        ]
        if len(samples) >= 2 and samples[-1][0] > samples[0][0] and samples[-1][1] >= samples[0][1]:
            shares.append((samples[-1][1] - samples[0][1]) / (samples[-1][0] - samples[0][0]))
    if not shares:
        return unknown("1", "too few readings of throttling in the window")
    return Figure(min(max(shares), 1.0), "1", Basis.MEASURED, source="throttle time counters")


def site(stated: Site | None, view: SiteFigures) -> doc.SiteReport:
    """The site as stated, in the units that people use (per kWh)."""
    known_site = stated or Site()

    def per_kwh(value: float | None, unit: str, what: str) -> Figure:
        if value is None:
            return unknown(
                unit, f"{what} is not stated: give --site FILE" if stated is None else f"{what} is not stated"
            )
        return Figure(value * JOULE_PER_KWH, unit, Basis.DECLARED, source="site")

    def watts(value: float | None, what: str) -> Figure:
        if value is None:
            return unknown("W", f"{what} is not stated")
        return Figure(value, "W", Basis.DECLARED, source="site")

    reference = {
        f"PUE {r.reference.pue_ratio:g}, {r.reference.name}": doc.ReferenceSite(
            r.site_j_tok, r.site_w, r.reference.source
        )
        for r in view.at_reference
    }
    return doc.SiteReport(
        name=known_site.name if stated else None,
        pue=pue_figure(known_site),
        carbon_gco2e_kwh=_carbon(known_site) or per_kwh(None, "gCO2e/kWh", "grid carbon"),
        price_currency_kwh=per_kwh(
            known_site.price_currency_j, f"{known_site.currency or 'currency'}/kWh", "electricity price"
        ),
        currency=known_site.currency,
        water_l_kwh=per_kwh(known_site.water_l_j, "l/kWh", "water use"),
        it_power_limit_w=watts(known_site.it_power_limit_w, "IT power limit"),
        cooling_limit_w=watts(known_site.cooling_limit_w, "cooling limit"),
        at_reference=reference,
        carbon_kind=known_site.carbon_kind if known_site.carbon_gco2e_j is not None else None,
    )


def _carbon(site: Site) -> Figure | None:
    """Grid carbon with its source, or why the grid did not tell; None where the site says nothing of it."""
    if site.carbon_gco2e_j is None and site.carbon_source is None:
        return None
    return carbon_figure(site).scaled(JOULE_PER_KWH, "gCO2e/kWh")


def waterfall(account: Account, view: SiteFigures) -> doc.Waterfall:
    """From the site's joules down to those of tokens that met their targets; a part that can't be told is unknown."""
    node = _scope(account, Scope.NODE)
    if (node is None or not node.energy.known) and account.main:
        node = account.scopes[account.main]
    if node is None or node.energy.value is None or account.window is None:
        return doc.Waterfall(())
    label = str(node.scope)
    seconds = account.window.duration_s
    at_site = view.site_w.scaled(seconds, "J")
    overhead = unknown("J", at_site.reason or "site energy is unknown")
    if at_site.value is not None and at_site.basis is not None:
        overhead = Figure(max(at_site.value - node.energy.value, 0.0), "J", at_site.basis)
    parts = [
        ("site", at_site, "whole", None),
        ("facility overhead (PUE − 1)", overhead, "loss", "site"),
        (f"{label}, all of the window", node.energy, "whole", "site"),
        (f"{label} at idle power", node.idle_energy, "loss", label),
        *_phases(account, node),
        (f"{label}: tokens that met their targets", _good(account, node), "good", label),
    ]
    return doc.Waterfall(tuple(doc.WaterfallPart(*part) for part in parts))


def _phases(account: Account, node: ScopeAccount) -> list[tuple[str, Figure, str, str | None]]:
    """Above idle: prefill and decode apart where the fit tells them apart, else together."""
    label, tokens = str(node.scope), account.tokens
    prefill, decode = account.prefill_j_tok, account.decode_j_tok
    above = unknown("J", "no idle baseline")
    if node.above_idle_j_tok.value is not None and tokens:
        above = node.above_idle_j_tok.scaled(tokens.output_tok, "J")
    if tokens and prefill.value is not None and decode.value is not None:
        computed = tokens.computed_tok if tokens.computed_tok is not None else tokens.prompt_tok
        parts = [prefill.scaled(computed, "J"), decode.scaled(tokens.output_tok, "J")]
        rest = (above.value or 0.0) - sum(p.value or 0.0 for p in parts)
        # What the fit gives to neither: power that is drawn as long as anything runs, whatever its tokens.
        steady = Figure(max(rest, 0.0), "J", Basis.MODELLED) if above.known else unknown("J", "no idle baseline")
        names = ("above idle: prefill", "above idle: decode", "above idle, not attributable to prefill or decode")
        return [(n, f, "part", label) for n, f in zip(names, (*parts, steady), strict=True)]
    return [("above idle: prefill and decode together", above, "part", label)]


def _good(account: Account, node: ScopeAccount) -> Figure:
    """Joules of the tokens that met their targets: their share of the output tokens."""
    share = quotient(account.good_rate, account.output_rate, "1")
    if share.value is None or node.energy.value is None:
        return unknown("J", share.reason or "the good rate is unknown")
    return node.energy.scaled(min(share.value, 1.0), "J")
