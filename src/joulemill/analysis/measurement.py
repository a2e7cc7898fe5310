"""A recorded run measured: everything that is computed of its record, once. Pure but for the catalog.

The report, the diagnosis, samples for the gate, levers and calibration all read this value, so that no run is accounted
twice and no two views of it differ.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property

from joulemill.analysis import energy as run_energy
from joulemill.analysis import facts as run_facts
from joulemill.analysis import report as doc
from joulemill.analysis.account import account_of
from joulemill.analysis.ceilings import RunCeilings, run_ceilings
from joulemill.analysis.diagnosis import run_diagnosis
from joulemill.analysis.intensity import Intensity, run_intensity
from joulemill.analysis.metering_overhead import metering_j
from joulemill.analysis.site import run_site
from joulemill.catalog.sites import reference_pues
from joulemill.decisions.diagnosis import Diagnosis
from joulemill.figure import Figure
from joulemill.jsonable import plain
from joulemill.ledger.account import Account
from joulemill.ledger.attribution import EQUAL_WORK, Rule
from joulemill.ledger.manifest import document
from joulemill.ledger.plausibility import plausible_record
from joulemill.ledger.record import RunRecord
from joulemill.physics.hardware.site import Site, SiteFigures


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One run and what follows from it.

    whole              the record as it was read
    record             the run without readings that cannot be
    account            joules, tokens, latencies of the steady-state window
    site, site_view    the facility around the run, and its joules; None and unknown where no site is stated
    intensity          what one output token costs: FLOP, bytes, cache
    answer             output tokens of a correct answer; unknown where no question was scored
    ceilings           every limit on the token rate, Φ and U
    """

    whole: RunRecord
    record: RunRecord
    account: Account
    site: Site | None
    site_view: SiteFigures
    intensity: Intensity
    quality: doc.Quality
    answer: Figure
    energy: doc.Energy
    ceilings: RunCeilings
    client: doc.Client
    diagnosis: Diagnosis

    @cached_property
    def run_id(self) -> str:
        """Sixteen hex digits of the record's content; made where it is asked for, since that reads all of it."""
        return id_of(self.whole)


def measurement_of(record: RunRecord) -> Measurement:
    """Everything that ``record`` tells. Raises InputError where its manifest cannot be read."""
    whole, counted = record, account_of(record)
    site = run_site(record, counted)
    intensity = run_intensity(record, counted)
    counted, record = _with_work_source(counted, intensity), plausible_record(record)
    view = run_energy.site_view(counted, site, reference_pues())
    quality = run_facts.quality(record)
    answer = run_facts.tokens_per_correct(record, quality)
    energy = replace(run_energy.energy(counted, view, answer), metering_j=metering_j(record, counted))
    ceilings = run_ceilings(record, counted, intensity, energy.node_j_tok, site)
    client = run_facts.client(record, counted)
    return Measurement(
        whole=whole,
        record=record,
        account=counted,
        site=site,
        site_view=view,
        intensity=intensity,
        quality=quality,
        answer=answer,
        energy=energy,
        ceilings=ceilings,
        client=client,
        diagnosis=run_diagnosis(record, counted, ceilings, intensity, client),
    )


def id_of(record: RunRecord) -> str:
    """Sixteen hex digits of the record's content: the same run has the same id wherever it lies."""
    parts = (
        document(record.manifest),
        record.channels,
        record.readings,
        record.requests,
        record.server,
        record.quality,
        record.status,
    )
    text = json.dumps(plain(parts), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _with_work_source(counted: Account, intensity: Intensity) -> Account:
    """Where the architecture is known, its own count of FLOP stands behind the weights of prompt and output tokens.

    The weights stay equal: attention apart, a prompt token costs the FLOP of an output token.
    """
    weighted = counted.attribution.get(Rule.WORK_WEIGHTED)
    if weighted is None or weighted.source != EQUAL_WORK.source or not intensity.work_flop_tok.known:
        return counted
    source = f"equal FLOP per token, {intensity.work_flop_tok.source}"
    return replace(counted, attribution={**counted.attribution, Rule.WORK_WEIGHTED: replace(weighted, source=source)})
