"""A real run of the embedded server under meters of every kind at once: the scopes composed, nothing added twice."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.run import analyze
from joulemill.bench.run import RunContext, run_measure
from joulemill.figure import Basis
from joulemill.ledger.account import account
from joulemill.ledger.findings import Reason
from joulemill.ledger.record import Scope
from joulemill.meters.meter import MeterContext
from joulemill.recording.writer import read_run
from tests.support.counterparts import SECRETS
from tests.support.embedded_runs import embedded, options
from tests.support.node_pages import bmc as node_of
from tests.support.node_pages import gpus
from tests.support.redfish_service import Service
from tests.support.web import serving

BOARDS_W, NODE_W = 2 * 150.0, 400.0


def run(out: Path, meters: tuple[str, ...]) -> Any:
    context = MeterContext(environ={**SECRETS, "JOULEMILL_SNMP_COMMUNITY": "s3cret"}, notice=lambda _: None)
    asked = options(out, meters=meters, duration_s=5.0, idle_s=2.0, sample_period_s=0.2)
    return read_run(run_measure(asked, None, RunContext(meter_context=context)))


@pytest.mark.parametrize("mark", [pytest.param("", marks=embedded)])
def test_boards_node_outlets_and_a_file_together(
    mark: str,
    agent: str,
    bmc: str,
    tmp_path: Path,
) -> None:
    analyser = tmp_path / "analyser.csv"
    begin = time.time()
    rows = [f"{begin - 30 + t:.3f},{NODE_W * 1.1}" for t in range(240)]
    analyser.write_text("time,watts\n" + "\n".join(rows) + "\n")
    with serving() as page, serving() as service:
        start = time.monotonic()
        page.pages["/metrics"] = lambda _: (200, {}, gpus(start, BOARDS_W / 2, count=2))
        node_of(Service(service), NODE_W)
        record = run(
            tmp_path,
            (
                f"prometheus:{page.url}",
                f"redfish:{service.url}",
                f"snmp:{agent},pdu=servertech,outlet=1.1.4+1.1.12",
                f"ipmi:{bmc},cipher=3,sensor=Pwr Consumption",
                f"file:{analyser},time=time,value=watts,unit=W,scope=node",
            ),
        )
    assert record.status == "complete", record.status_reason
    assert {c.meter.split(":")[0] for c in record.channels} == {"prometheus", "redfish", "snmp", "ipmi", "file"}
    scopes = account(record).scopes
    device_w, node_w = (scopes[s].power.value for s in (Scope.DEVICE, Scope.NODE))
    assert device_w == pytest.approx(BOARDS_W, rel=0.05)
    # Four meters say what the node draws (400, 430, 350, 440 W): one of them is believed, none is added to another.
    assert any(node_w == pytest.approx(w, rel=0.05) for w in (NODE_W, 430.0, 350.0, NODE_W * 1.1))
    assert Reason.OVERLAP in {f.code for f in scopes[Scope.NODE].findings}
    report = analyze(record)
    assert report.energy.node_j_tok.basis is Basis.MEASURED
    assert report.energy.device_j_tok.value < report.energy.node_j_tok.value
