from __future__ import annotations

import re
import shutil
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from joulemill.errors import InputError, MachineError
from joulemill.ledger.energy import window_energy
from joulemill.ledger.record import Quantity, Reading, Scope
from joulemill.ledger.scopes import compose, scope_energy
from joulemill.ledger.trace import trace
from joulemill.meters.meter import Meter, MeterContext
from joulemill.meters.network.redfish import REL_ERROR
from joulemill.meters.network.redfish_parts import energy_j, environment_facts, power_facts, supply_facts, supply_powers
from joulemill.meters.opening import open_meters
from tests.support.redfish_service import ROOT, Service, at, collection, excerpt
from tests.support.surroundings import HandClock
from tests.support.web import Web, serving

CHASSIS = f"{ROOT}/Chassis/1"


@pytest.fixture
def context() -> MeterContext:
    return MeterContext(clock=HandClock(step_s=1e-4).clock, environ={})


def opened(web: Web, context: MeterContext, options: str = "") -> Meter:
    return open_meters([f"redfish:{web.url}{options}"], context)[0]


def values(meter: Meter) -> dict[str, float | None]:
    return {r.channel.removeprefix("redfish:"): r.value for r in meter.read()}


def modern(service: Service, watts: float = 620.0, kwh: float | None = 100.0) -> None:
    service.chassis(
        "1",
        EnvironmentMetrics=at(f"{CHASSIS}/EnvironmentMetrics"),
        PowerSubsystem=at(f"{CHASSIS}/PowerSubsystem"),
        ThermalSubsystem=at(f"{CHASSIS}/ThermalSubsystem"),
    )
    service.put(
        f"{CHASSIS}/EnvironmentMetrics",
        {
            "PowerWatts": excerpt(watts),
            "EnergykWh": excerpt(kwh, LifetimeReading=None),
            "TemperatureCelsius": excerpt(24),
            "PowerLimitWatts": {"SetPoint": 900, "ControlMode": "Automatic"},
        },
    )
    service.put(f"{CHASSIS}/PowerSubsystem", {"PowerSupplies": at(f"{CHASSIS}/PowerSubsystem/PowerSupplies")})
    service.put(
        f"{CHASSIS}/ThermalSubsystem", {"CoolantConnectors": at(f"{CHASSIS}/ThermalSubsystem/CoolantConnectors")}
    )
    supplies = [f"{CHASSIS}/PowerSubsystem/PowerSupplies/{i}" for i in (0, 1)]
    service.put(f"{CHASSIS}/PowerSubsystem/PowerSupplies", collection(*supplies))
    for path in supplies:
        service.put(path, {"Metrics": at(f"{path}/Metrics")})
        service.put(
            f"{path}/Metrics", {"InputPowerWatts": excerpt(watts / 2), "OutputPowerWatts": excerpt(watts * 0.47)}
        )
    connector = f"{CHASSIS}/ThermalSubsystem/CoolantConnectors/Primary"
    service.put(f"{CHASSIS}/ThermalSubsystem/CoolantConnectors", collection(connector))
    service.put(
        connector,
        {
            "HeatRemovedkW": excerpt(0.45),
            "SupplyTemperatureCelsius": excerpt(32),
            "ReturnTemperatureCelsius": excerpt(41),
            "FlowLitersPerMinute": excerpt(1.2),
        },
    )


def older(service: Service) -> None:
    service.chassis("System.Embedded.1", Power=at(f"{ROOT}/Chassis/System.Embedded.1/Power"))
    service.put(f"{ROOT}/Chassis/System.Embedded.1/Power", {
        "PowerControl": [
            {"Name": "System Power Control", "PowerConsumedWatts": 418, "PowerLimit": {"LimitInWatts": 800},
             "PowerMetrics": {"AverageConsumedWatts": 402, "IntervalInMin": 1, "MaxConsumedWatts": 500}},
            {"Name": "CPU Sub-system Power", "PowerConsumedWatts": 120},
        ],
        "PowerSupplies": [
            {"PowerInputWatts": 215, "LastPowerOutputWatts": 200, "Status": {"State": "Enabled"}},
            {"PowerInputWatts": 209, "LastPowerOutputWatts": 196, "Status": {"State": "Enabled"}},
            {"PowerInputWatts": None, "Status": {"State": "Absent"}},
        ],
    })  # fmt: skip


def test_environment_supplies_and_coolant(web: Web, context: MeterContext) -> None:
    modern(Service(web))
    meter = opened(web, context)
    assert values(meter) == {
        "1:power": 620.0,
        "1:energy": 3.6e8,
        "1:power-limit": 900.0,
        "1:temperature": 24.0,
        "1:supply-input": 620.0,
        "1/supply-output:supply-output": pytest.approx(582.8),
        "1/coolant-Primary:heat-removed": 450.0,
        "1/coolant-Primary:supply-temperature": 32.0,
        "1/coolant-Primary:return-temperature": 41.0,
    }
    heat = next(c for c in meter.channels() if c.quantity is Quantity.HEAT_REMOVED)
    assert heat.scope is Scope.NODE and heat.rel_error is None
    meter.close()


def test_a_chassis_its_supplies_and_their_output_are_counted_once(web: Web, context: MeterContext) -> None:
    """620 W in the environment metrics, 620 W into the supplies, 583 W out of them: ten seconds are 6200 J."""
    service = Service(web)
    modern(service, kwh=None)
    hand = HandClock(step_s=1e-4)
    meter = opened(web, replace(context, clock=hand.clock))
    assert ten_seconds_j(meter, hand, Scope.NODE) == pytest.approx(6200.0, rel=1e-3)


def test_the_older_power_resource(web: Web, context: MeterContext) -> None:
    """Sub-systems in further members of PowerControl are parts of the first and not added; an absent supply is none."""
    older(Service(web))
    meter = opened(web, context)
    assert values(meter) == {
        "System.Embedded.1:power": 418.0,
        "System.Embedded.1:power-average": 402.0,
        "System.Embedded.1:power-limit": 800.0,
        "System.Embedded.1:supply-input": 424.0,
        "System.Embedded.1/supply-output:supply-output": 396.0,
    }
    periods = {c.id.rsplit(":", 1)[1]: c.update_period_s for c in meter.channels()}
    assert periods["power-average"] == 60.0


def test_a_minute_of_averaging_cannot_resolve_a_minute(web: Web, context: MeterContext) -> None:
    """Dell's AverageConsumedWatts has IntervalInMin 1: a window of a minute is wide or refused."""
    older(Service(web))
    hand = HandClock(step_s=1e-4)
    meter = opened(web, replace(context, clock=hand.clock))
    channel = next(c for c in meter.channels() if c.id.endswith("power-average"))
    step = [Reading(channel.id, t, t, 300.0 if t < 300 else 600.0) for t in map(float, range(0, 600, 2))]
    result = window_energy(trace(channel, step), 270.0, 330.0, idle_power_w=300.0)
    assert result.energy_j is None or (result.half_width_j or 0.0) >= 0.2 * result.energy_j


def test_energy_prefers_joules_and_what_nobody_can_reset() -> None:
    assert energy_j({"EnergyJoules": {"Reading": 5.0}, "EnergykWh": {"Reading": 1.0}}) == 5.0
    assert energy_j({"EnergykWh": {"Reading": 1.0, "LifetimeReading": 7.0}}) == 7 * 3.6e6
    assert energy_j({"EnergykWh": {"Reading": None}}) is None


def test_null_is_no_fact() -> None:
    assert list(environment_facts({"PowerWatts": {"Reading": None}, "EnergykWh": None})) == []
    assert list(power_facts({"PowerControl": []})) == list(power_facts({})) == []
    assert list(supply_facts([(100.0, 90.0), (None, 88.0)])) == list(supply_facts([(None, 90.0), (None, 88.0)]))
    assert supply_powers({"PowerInputWatts": 215, "PowerOutputWatts": 199, "LastPowerOutputWatts": 200}) == (215, 199)


def test_a_fact_that_goes_away_and_a_service_that_fails(web: Web, context: MeterContext) -> None:
    service = Service(web)
    modern(service)
    hand = HandClock(step_s=1e-4)
    meter = opened(web, replace(context, clock=hand.clock))
    service.put(f"{CHASSIS}/EnvironmentMetrics", {"PowerWatts": excerpt(None)})
    by_name = {r.channel.removeprefix("redfish:"): r for r in meter.read()}
    assert by_name["1:power"].value is None and "no longer" in (by_name["1:power"].error or "")
    assert by_name["1:supply-input"].value == 620.0
    del web.pages[f"{CHASSIS}/EnvironmentMetrics"]
    assert meter.read() == ()  # not due
    hand.pass_s(2.0)
    assert "HTTP 404" in ({r.channel: r for r in meter.read()}["redfish:1:power"].error or "")


SECRETS = {"JOULEMILL_REDFISH_USER": "meter", "JOULEMILL_REDFISH_PASSWORD": "s3cret"}


def test_a_session_is_opened_renewed_and_ended(web: Web, context: MeterContext) -> None:
    service = Service(web, "meter", "s3cret")
    modern(service)
    meter = opened(web, replace(context, environ=SECRETS))
    assert service.tokens == {"token-0"}
    service.tokens.clear()  # the session ran out
    assert values(meter)["1:power"] == 620.0
    assert len(service.tokens) == 1
    meter.close()
    assert service.tokens == set()


def test_basic_authentication_where_there_are_no_sessions(web: Web, context: MeterContext) -> None:
    modern(Service(web, "meter", "s3cret", sessions=False))
    assert values(opened(web, replace(context, environ=SECRETS)))["1:power"] == 620.0


def test_wrong_credentials_say_where_they_come_from(web: Web, context: MeterContext) -> None:
    modern(Service(web, "meter", "s3cret"))
    for environ in ({}, {**SECRETS, "JOULEMILL_REDFISH_PASSWORD": "x"}):
        with pytest.raises(MachineError, match=r"HTTP 401.*JOULEMILL_REDFISH_USER"):
            opened(web, replace(context, environ=environ))


def test_several_chassis_must_be_chosen_from_unless_one_holds_the_others(web: Web, context: MeterContext) -> None:
    service = Service(web)
    modern(service)
    links = {"EnvironmentMetrics": at(f"{CHASSIS}/EnvironmentMetrics")}
    service.chassis("1", "2", **links)
    with pytest.raises(InputError, match="several chassis with power; say chassis= one of 1, 2"):
        opened(web, context)
    assert set(values(opened(web, context, ",chassis=2"))) == {"2:power", "2:energy", "2:power-limit", "2:temperature"}
    with pytest.raises(InputError, match="no chassis with power"):
        opened(web, context, ",chassis=3")
    service.put(f"{CHASSIS[:-1]}2", {**links, "Links": {"ContainedBy": at(CHASSIS)}})
    assert "1:power" in values(opened(web, context))


def baseboard(service: Service) -> None:
    """Two accelerator boards, each a chassis inside the node's."""
    paths = [f"{ROOT}/Chassis/{i}" for i in ("1", "GPU_1", "GPU_2")]
    service.put(f"{ROOT}/Chassis", {"Members": [at(p) for p in paths]})
    for i, watts in (("1", 2000.0), ("GPU_1", 640.0), ("GPU_2", 655.0)):
        path, sensor = f"{ROOT}/Chassis/{i}", f"{ROOT}/Chassis/{i}/Sensors/power"
        inside = {} if i == "1" else {"Links": {"ContainedBy": at(f"{ROOT}/Chassis/1")}}
        service.put(path, {"EnvironmentMetrics": at(f"{path}/EnvironmentMetrics"), **inside})
        service.put(f"{path}/EnvironmentMetrics", {"PowerWatts": {"DataSourceUri": sensor, "Reading": watts}})
    service.put(f"{ROOT}/Chassis/GPU_1/Sensors/power", {"Reading": 640.0, "Accuracy": 2.0, "SensingInterval": "PT0.5S"})


def test_boards_of_a_baseboard_are_devices_and_a_sensor_states_its_accuracy(web: Web, context: MeterContext) -> None:
    baseboard(Service(web))
    assert values(opened(web, context)) == {"1:power": 2000.0}
    meter = opened(web, context, ",chassis=GPU_1+GPU_2,scope=device")
    assert values(meter) == {"GPU_1:power": 640.0, "GPU_2:power": 655.0}
    first, second = meter.channels()
    assert {first.scope, second.scope} == {Scope.DEVICE}
    assert (first.rel_error, first.update_period_s) == (0.02, 0.5)
    assert second.rel_error == REL_ERROR and second.source is not None and "assumed" in second.source
    with pytest.raises(InputError, match="no chassis with power GPU_1\\+GPU_9; say chassis= one of 1, GPU_1, GPU_2"):
        opened(web, context, ",chassis=GPU_1+GPU_9")


def superchip(service: Service, links: str) -> None:
    """A module of 1000 W whose GPU takes 700 W of them; the module stands in the node's chassis."""
    ids = ("1", "Module_0", "GPU_0")
    service.put(f"{ROOT}/Chassis", collection(*(f"{ROOT}/Chassis/{i}" for i in ids)))
    for n, (i, watts) in enumerate(zip(ids, (1400.0, 1000.0, 700.0), strict=True)):
        path, found = f"{ROOT}/Chassis/{i}", {}
        if links == "ContainedBy" and n > 0:
            found = {"Links": {"ContainedBy": at(f"{ROOT}/Chassis/{ids[n - 1]}")}}
        elif links == "Contains" and n < 2:
            found = {"Links": {"Contains": [at(f"{ROOT}/Chassis/{ids[n + 1]}")]}}
        service.put(path, {"EnvironmentMetrics": at(f"{path}/EnvironmentMetrics"), **found})
        service.put(f"{path}/EnvironmentMetrics", {"PowerWatts": {"Reading": watts}})


def ten_seconds_j(meter: Meter, hand: HandClock, scope: Scope) -> float | None:
    """Joules of one scope over ten seconds, by the ledger."""
    readings: list[Reading] = []
    for _ in range(40):
        readings += meter.read()
        hand.pass_s(2.0)
    start = readings[0].t_mono_s + 1.0
    window = (start, start + 10.0)
    metering = [c for c in meter.channels() if c.quantity in (Quantity.ENERGY, Quantity.POWER)]
    results = {c.id: window_energy(trace(c, [r for r in readings if r.channel == c.id]), *window) for c in metering}
    return scope_energy(compose(metering, {})[scope], results, window).energy_j


@pytest.mark.parametrize("links", ["ContainedBy", "Contains"])
@pytest.mark.parametrize("asked", ["Module_0+GPU_0", "GPU_0+Module_0"])
def test_a_superchips_module_holds_its_gpu_and_is_never_added_to_it(
    web: Web, context: MeterContext, links: str, asked: str
) -> None:
    """1000 W of a module, 700 W of them its GPU's: ten seconds are 10 kJ, not 17."""
    superchip(Service(web), links)
    hand = HandClock(step_s=1e-4)
    meter = opened(web, replace(context, clock=hand.clock), f",chassis={asked},scope=device")
    assert ten_seconds_j(meter, hand, Scope.DEVICE) == pytest.approx(10_000.0, rel=1e-3)
    module = next(c for c in meter.channels() if c.device == "Module_0")
    assert module.includes == ("redfish:GPU_0:power",)


def test_a_chassis_two_levels_up_holds_as_well(web: Web, context: MeterContext) -> None:
    superchip(Service(web), "ContainedBy")
    hand = HandClock(step_s=1e-4)
    meter = opened(web, replace(context, clock=hand.clock), ",chassis=1+GPU_0")
    assert ten_seconds_j(meter, hand, Scope.NODE) == pytest.approx(14_000.0, rel=1e-3)


def processors(service: Service) -> None:
    """One system with a CPU of 250 W, a GPU of 640 W, and a processor that says nothing of its power."""
    head = f"{ROOT}/Systems/HGX/Processors"
    service.put(f"{ROOT}/", {"Chassis": at(f"{ROOT}/Chassis"), "Systems": at(f"{ROOT}/Systems")})
    service.put(f"{ROOT}/Systems", collection(f"{ROOT}/Systems/HGX"))
    service.put(f"{ROOT}/Systems/HGX", {"Processors": at(head)})
    service.put(head, collection(*(f"{head}/{i}" for i in ("CPU_0", "GPU_0", "DPU_0"))))
    for i, kind, watts in (("CPU_0", "CPU", 250.0), ("GPU_0", "GPU", 640.0)):
        metrics = at(f"{head}/{i}/EnvironmentMetrics")
        service.put(f"{head}/{i}", {"ProcessorType": kind, "EnvironmentMetrics": metrics})
        service.put(f"{head}/{i}/EnvironmentMetrics", {"PowerWatts": {"Reading": watts}})
    service.put(f"{head}/DPU_0", {"ProcessorType": "DPU"})


def test_processors_where_no_chassis_has_power(web: Web, context: MeterContext) -> None:
    service = Service(web)
    processors(service)
    service.chassis("1")
    meter = opened(web, context)
    assert values(meter) == {"HGX/CPU_0:power": 250.0, "HGX/GPU_0:power": 640.0}
    assert {c.device: c.scope for c in meter.channels()} == {"HGX/CPU_0": Scope.CPU, "HGX/GPU_0": Scope.DEVICE}


def test_accelerators_of_a_node_whose_chassis_has_power_are_asked_for_as_devices(
    web: Web, context: MeterContext
) -> None:
    service = Service(web)
    modern(service)
    processors(service)
    assert "1:power" in values(opened(web, context))
    assert values(opened(web, context, ",scope=device")) == {"HGX/GPU_0:power": 640.0}


def test_what_is_no_redfish_service(web: Web, context: MeterContext) -> None:
    with pytest.raises(MachineError, match="is it a Redfish service"):
        opened(web, context)
    web.pages["/redfish/v1/"] = "<html>"
    with pytest.raises(MachineError, match="cannot be read"):
        opened(web, context)
    with pytest.raises(InputError, match="say where"):
        open_meters(["redfish"], context)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_tls_is_verified_unless_told_otherwise(tmp_path: Path, context: MeterContext) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(cert),
    ]
    subprocess.run(command, check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(cert, key)
    with serving(tls) as web:
        modern(Service(web))
        with pytest.raises(MachineError, match="ca=FILE"):
            opened(web, context)
        assert values(opened(web, context, f",ca={cert}"))["1:power"] == 620.0
        assert values(opened(web, context, ",verify=no"))["1:power"] == 620.0
        with pytest.raises(InputError, match="cannot be read as certificates"):
            opened(web, context, f",ca={tmp_path / 'none'}")


# --- a BMC that offers nothing, or nonsense ------------------------------------------------------------------------


def environment(web: Web, resource: dict[str, object], **links: dict[str, object]) -> None:
    service = Service(web)
    service.chassis("1", EnvironmentMetrics=at(f"{CHASSIS}/EnvironmentMetrics"), **links)
    service.put(f"{CHASSIS}/EnvironmentMetrics", resource)


@pytest.mark.parametrize(
    ("resource", "says"),
    [
        (
            {"PowerLimitWatts": {"SetPoint": 0}},
            "has no PowerWatts, EnergyJoules or EnergykWh .only PowerLimitW",
        ),
        ({"TemperatureCelsius": excerpt(24)}, "only TemperatureCelsius"),
        ({"PowerWatts": excerpt(None)}, "no watts and no joules"),
        ({"PowerWatts": "620"}, "no watts and no joules"),
        ({"PowerWatts": [620]}, "no watts and no joules"),
        ({}, "no watts and no joules .chassis 1: EnvironmentMetrics has no PowerWatts"),
    ],
)
def test_a_chassis_without_power_does_not_open(
    web: Web, context: MeterContext, resource: dict[str, object], says: str
) -> None:
    environment(web, resource)
    with pytest.raises(MachineError, match=says):
        opened(web, context)


def test_chassis_without_any_resource_of_power(web: Web, context: MeterContext) -> None:
    Service(web).chassis("1", "2")
    with pytest.raises(MachineError, match=r"neither its chassis, 1, 2, nor its processors have EnvironmentMetrics"):
        opened(web, context)


def test_energy_alone_is_a_meter(web: Web, context: MeterContext) -> None:
    environment(web, {"EnergykWh": excerpt(2.0)})
    assert values(opened(web, context)) == {"1:energy": 7.2e6}


def supplies(web: Web, *each: dict[str, object]) -> None:
    service = Service(web)
    service.chassis("1", PowerSubsystem=at(f"{CHASSIS}/PowerSubsystem"))
    service.put(f"{CHASSIS}/PowerSubsystem", {"PowerSupplies": at(f"{CHASSIS}/PS")})
    service.put(f"{CHASSIS}/PS", collection(*(f"{CHASSIS}/PS/{i}" for i in range(len(each)))))
    for i, resource in enumerate(each):
        service.put(f"{CHASSIS}/PS/{i}", {"Metrics": at(f"{CHASSIS}/PS/{i}/M"), **resource})
        service.put(f"{CHASSIS}/PS/{i}/M", {"InputPowerWatts": excerpt(300.0 + i)})


def test_supplies_alone_are_a_meter_and_an_absent_one_is_none(web: Web, context: MeterContext) -> None:
    supplies(web, {}, {}, {"Status": {"State": "Absent"}})
    assert values(opened(web, context)) == {"1:supply-input": 601.0}


def test_a_supply_that_does_not_tell_is_missing_in_the_sum(web: Web, context: MeterContext) -> None:
    supplies(web, {}, {"Metrics": None})
    with pytest.raises(MachineError, match="its 2 power supplies tell no InputPowerWatts"):
        opened(web, context)


@pytest.mark.finding("F32")
@pytest.mark.parametrize("watts", [10**400, 1e308, -5, 32767, 140737488355328, 5e9])
def test_watts_that_no_node_draws_are_unknown(web: Web, context: MeterContext, watts: float) -> None:
    service = Service(web)
    modern(service, watts=620.0)
    hand = HandClock(step_s=1e-4)
    meter = opened(web, replace(context, clock=hand.clock))
    service.put(f"{CHASSIS}/EnvironmentMetrics", {"PowerWatts": excerpt(watts), "EnergykWh": excerpt(100)})
    hand.pass_s(10)
    readings = {r.channel: r for r in meter.read()}
    assert readings["redfish:1:power"].value is None and readings["redfish:1:power"].error
    assert readings["redfish:1:energy"].value == 3.6e8


@pytest.mark.finding("F32")
@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"Links": 5}, None),
        ({"Links": {"Contains": 5, "ContainedBy": []}}, None),
        ({"Links": {"Contains": "abc"}}, None),
        ({"PowerSubsystem": {"@odata.id": CHASSIS}}, None),
        ({"EnvironmentMetrics": {"@odata.id": "no/path"}}, "'no/path' is no path of the service"),
        ({"EnvironmentMetrics": {"@odata.id": "/redfish/v1\r\nX: y"}}, r"'/redfish/v1\r\nX: y' is no path"),
        ({"Power": 5, "EnvironmentMetrics": None}, "gives no watts and no joules (neither its chassis, 1,"),
    ],
)
def test_a_tree_of_nonsense_is_an_error_with_its_place(
    web: Web, context: MeterContext, change: dict[str, object], says: str | None
) -> None:
    service = Service(web)
    modern(service)
    service.put(CHASSIS, {"EnvironmentMetrics": at(f"{CHASSIS}/EnvironmentMetrics"), **change})
    if says is None:  # nonsense beside the watts costs nothing
        assert values(opened(web, context))["1:power"] == 620.0
        return
    with pytest.raises(MachineError, match=re.escape(says)) as refused:
        opened(web, context)
    assert "\n" not in str(refused.value)


def test_a_collection_without_end_is_not_followed(web: Web, context: MeterContext) -> None:
    service = Service(web)
    service.put(f"{ROOT}/Chassis", collection(*(f"{ROOT}/Chassis/{i}" for i in range(5000))))
    with pytest.raises(MachineError, match="a collection of 5000 members"):
        opened(web, context)


def test_a_link_that_leads_nowhere_costs_what_it_led_to_alone(web: Web, context: MeterContext) -> None:
    service = Service(web)
    modern(service)
    del web.pages[f"{CHASSIS}/PowerSubsystem"], web.pages[f"{CHASSIS}/ThermalSubsystem"]
    assert values(opened(web, context))["1:power"] == 620.0
    del web.pages[f"{CHASSIS}/EnvironmentMetrics"]
    with pytest.raises(MachineError, match="no watts and no joules"):
        opened(web, context)
