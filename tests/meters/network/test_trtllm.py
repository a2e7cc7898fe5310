from __future__ import annotations

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.record import Quantity, Scope
from joulemill.meters.meter import MeterContext
from joulemill.meters.opening import open_meters
from tests.support.web import serving


def test_the_servers_own_counter() -> None:
    with serving() as web:
        web.pages["/energy_metrics"] = {"total_energy_j": 1234.5, "query_time": 99.0}
        meter = open_meters([f"trtllm:{web.url}"], MeterContext(environ={}))[0]
        (channel,) = meter.channels()
        assert (channel.scope, channel.quantity) == (Scope.DEVICE, Quantity.ENERGY)
        assert [r.value for r in meter.read()] == [1234.5]
        web.pages["/energy_metrics"] = {"error": "NVML is gone"}
        assert "no total_energy_j" in (meter.read()[0].error or "")
        del web.pages["/energy_metrics"]
        assert "HTTP 404" in (meter.read()[0].error or "")
        meter.close()


def test_a_server_without_it_says_how_to_get_it() -> None:
    with serving() as web:
        for page in (None, {"total_energy_j": None}):
            if page is not None:
                web.pages["/energy_metrics"] = page
            with pytest.raises(MachineError, match="enable_energy_metrics: true"):
                open_meters([f"trtllm:{web.url}"], MeterContext(environ={}))
    with pytest.raises(InputError, match="say where"):
        open_meters(["trtllm"], MeterContext())
