"""A recorded run → the report document. A pure function of the record: the same run gives the same bytes."""

from __future__ import annotations

from joulemill.analysis import diagnosis as run_diagnosis
from joulemill.analysis import energy as run_energy
from joulemill.analysis import facts as run_facts
from joulemill.analysis import report as doc
from joulemill.analysis.ceilings import RunCeilings
from joulemill.analysis.imported_figures import stated
from joulemill.analysis.intensity import Intensity
from joulemill.analysis.measurement import Measurement, measurement_of
from joulemill.analysis.simulated_basis import as_modelled
from joulemill.analysis.warnings import warnings
from joulemill.decisions.diagnosis import Diagnosis
from joulemill.figure import Basis, Figure, unknown
from joulemill.ledger.account import Account
from joulemill.ledger.record import Channel, RunRecord
from joulemill.physics.hardware.impact import impacts
from joulemill.physics.hardware.site import Site
from joulemill.physics.production.ceilings import CeilingValue
from joulemill.physics.production.token_production import theta


def analyze(record: RunRecord) -> doc.Report:
    """Everything that the report says of ``record``. Raises InputError where its manifest cannot be read."""
    return report_of(measurement_of(record))


def diagnosis_of(record: RunRecord) -> Diagnosis:
    """What bound ``record``, with every candidate. Raises InputError where its manifest cannot be read."""
    return measurement_of(record).diagnosis


def report_of(run: Measurement) -> doc.Report:
    """The report document of a run; of a simulated one nothing in it is measured."""
    report = _report_of(run)
    return as_modelled(report) if run.record.manifest.simulated else report


def _report_of(run: Measurement) -> doc.Report:
    record, counted, limits, client = run.record, run.account, run.ceilings, run.client
    output = _output(counted, limits)
    status, status_reason = run_facts.status(record)
    return doc.Report(
        schema_version=doc.SCHEMA_VERSION,
        run_id=run.run_id,
        status=status,
        status_reason=status_reason,
        energy=run.energy,
        power=run_energy.power(record, counted, run.site_view),
        binding=run_diagnosis.binding(run.diagnosis, limits, client),
        ceilings=tuple(_ceiling(c, limits, run.diagnosis) for c in limits.ceilings),
        phi=limits.phi,
        utilization=limits.utilization,
        production=_production(limits, run.intensity, run.energy, run.site),
        output=output,
        tokens=run_facts.tokens(counted),
        latency=run_facts.latency(counted),
        quality=run.quality,
        client=client,
        requests=run_facts.requests(counted),
        window=run_facts.window(record, counted),
        site=run_energy.site(run.site, run.site_view),
        waterfall=run_energy.waterfall(counted, run.site_view),
        series=run_facts.series(record, counted),
        conditions=run_facts.conditions(record, _mean_load(run.intensity)),
        meters=_meters(record),
        warnings=warnings(record, counted, client, run.energy, limits.binding),
        stated=stated(record),
        impacts=impacts(run.site_view, run.site or Site(), _rate(output), run.answer),
        candidates=run.diagnosis.candidates,
    )


def _output(counted: Account, limits: RunCeilings) -> doc.Output:
    full, used = limits.full_load_tok_s, limits.utilization
    if full.value is None or used.value is None:
        adjusted = unknown("tok/s", used.reason or full.reason or "utilization is unknown")
    else:
        adjusted = full.scaled(used.value, "tok/s", used.basis)
    return doc.Output(counted.output_rate, full, adjusted, counted.good_rate, counted.request_rate)


def _rate(output: doc.Output) -> Figure:
    """Full-load rate × utilization where both are known, else the rate of the window: the same while U is the run's."""
    adjusted = output.utilization_adjusted_tok_s
    return adjusted if adjusted.known else output.rate_tok_s


def _ceiling(ceiling: CeilingValue, limits: RunCeilings, diagnosis: Diagnosis) -> doc.Ceiling:
    slack = dict(limits.binding.slack).get(ceiling.name)
    elasticity = None
    if ceiling.rate_tok_s.value is not None and diagnosis.name != "undecided":
        # In fixed proportions 1 % more of the binding capacity gives 1 % more tokens, of any other none.
        binds = 1.0 if diagnosis.name == ceiling.name else 0.0
        elasticity = Figure(binds, "1", Basis.MODELLED, source="fixed proportions (Leontief)")
    evidence_text = run_diagnosis.evidence_of(ceiling.name, diagnosis)
    evidence_line = "; ".join(t for t in (ceiling.evidence, evidence_text) if t) or None
    return doc.Ceiling(
        name=ceiling.name,
        rate_tok_s=ceiling.rate_tok_s,
        capacity=ceiling.capacity,
        intensity=ceiling.intensity,
        slack_ratio=slack,
        elasticity=elasticity,
        evidence=evidence_line,
    )


def _production(limits: RunCeilings, cost: Intensity, energy: doc.Energy, site: Site | None) -> doc.Production:
    """The source's two-stave view: c_tok, e_tok, K_eff, θ, P_facility, and which of the two staves is the shorter."""
    by_name = {c.name: c for c in limits.ceilings}
    compute, delivered = by_name["compute"], by_name["power"]
    share = theta(site.pue_ratio if site else None)
    staves = {"compute": compute.rate_tok_s.value, "power": delivered.rate_tok_s.value}
    known = {k: v for k, v in staves.items() if v is not None}
    in_use = unknown("1", "PUE is unknown") if share is None else Figure(share, "1", Basis.DECLARED, source="1/PUE")
    return doc.Production(
        c_tok=cost.work_flop_tok,
        b_tok=cost.traffic_byte_tok,
        e_tok=energy.node_j_tok,
        k_eff=compute.capacity,
        p_it=delivered.capacity,
        theta=in_use,
        phi=limits.phi,
        u=limits.utilization,
        shorter_stave=min(known, key=lambda k: known[k]) if len(known) == 2 else None,
        equation="token rate = min(K_eff/c_tok, theta*P_facility/e_tok) * phi * u (arXiv:2605.11733)",
    )


def _mean_load(cost: Intensity) -> dict[str, float]:
    load = cost.load
    if load is None:
        return {}
    return {
        "mean sequences decoding": round(load.sequences_count, 3),
        "mean requests in flight": round(load.in_flight_count, 3),
        "mean context [tok]": round(load.context_tok, 1),
        "mean output [tok]": round(load.output_tok, 1),
        "mean prompt computed [tok]": round(load.prompt_tok, 1),
        **({} if load.drafts is None else {"mean tokens drafted per step": round(load.drafts.draft_count, 3)}),
        **({} if load.drafts is None else {"mean tokens delivered per step": round(load.drafts.accepted_tok, 3)}),
    }


def _meters(record: RunRecord) -> tuple[doc.MeterReport, ...]:
    counts: dict[str, int] = {}
    failed: dict[str, int] = {}
    for reading in record.readings:
        tally = counts if reading.value is not None else failed
        tally[reading.channel] = tally.get(reading.channel, 0) + 1
    return tuple(_meter(c, counts.get(c.id, 0), failed.get(c.id, 0)) for c in record.channels)


def _meter(channel: Channel, readings: int, failed: int) -> doc.MeterReport:
    return doc.MeterReport(
        id=channel.id,
        meter=channel.meter,
        device=channel.device,
        scope=str(channel.scope),
        quantity=str(channel.quantity),
        basis=str(channel.basis),
        resolution=channel.resolution,
        update_period_s=channel.update_period_s,
        max_range=channel.max_range,
        rel_error=channel.rel_error,
        clock_skew_s=channel.clock_skew_s,
        includes=channel.includes,
        source=channel.source,
        sampled_ratio=channel.sampled_ratio,
        limit_w=channel.limit_w,
        readings=readings,
        failed=failed,
    )
