from __future__ import annotations

import pytest

from joulemill.catalog.exporter_dialects import exporter_dialect, exporter_dialects
from joulemill.errors import InputError
from joulemill.formats.prometheus_text import parse_exposition
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.meters.network.exporter_series import SeriesChoice, SeriesSample, channel_of, name_pattern, select


def found(name: str, page: str) -> dict[str, SeriesSample]:
    return select([exporter_dialect(name)], parse_exposition(page), "here")


def values(name: str, page: str) -> dict[str, float | None]:
    return {i: f.value for i, f in found(name, page).items()}


def channel(f: SeriesSample) -> Channel:
    return channel_of(f, "prometheus:x", update_period_s=None, clock_skew_s=0.0)


def test_every_dialect_is_well_formed() -> None:
    assert {d.name for d in exporter_dialects()} >= {"amd", "dcgm", "ipmi", "kepler", "node", "scaphandre"}
    for dialect in exporter_dialects():
        assert dialect.source
        for metric in dialect.metrics:
            assert Quantity(metric.quantity) and Scope(metric.scope) and metric.factor > 0 and metric.devices
            others = {m.name for m in dialect.metrics}
            assert set(metric.inside) <= others - {metric.name}
            energetic = metric.quantity in ("energy_j", "power_w")
            assert (metric.rel_error is not None) == energetic


def test_an_unknown_dialect_names_those_there_are() -> None:
    with pytest.raises(InputError, match="there are amd, dcgm"):
        exporter_dialect("nope")


BOARD = 'gpu="0",UUID="GPU-a",device="nvidia0",modelName="NVIDIA H100",Hostname="gpu1"'


def test_dcgm_old_names_and_millijoules() -> None:
    page = f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{BOARD}}} 5000250\nDCGM_FI_DEV_POWER_USAGE{{{BOARD}}} 310.5\n"
    page += f"DCGM_FI_DEV_SM_CLOCK{{{BOARD}}} 1980\nDCGM_FI_DEV_GPU_TEMP{{{BOARD}}} 60\n"
    assert values("dcgm", page) == {
        "dcgm:GPU-a:energy": 5000.25,
        "dcgm:GPU-a:power": 310.5,
        "dcgm:GPU-a:clock-sm": 1.98e9,
        "dcgm:GPU-a:temperature": 60.0,
    }
    energy = channel(found("dcgm", page)["dcgm:GPU-a:energy"])
    assert energy.device == "GPU-a" and energy.scope is Scope.DEVICE
    assert "dcgm:GPU-a:power" in energy.includes


def test_dcgm_4_6_names_and_the_newer_one_wins() -> None:
    page = f"DCGM_FI_DEV_POWER_USAGE{{{BOARD}}} 1\nDCGM_FI_DEV_BOARD_POWER_WATTS{{{BOARD}}} 310\n"
    page += f"DCGM_FI_DEV_BOARD_POWER_RAW_WATTS{{{BOARD}}} 333\nDCGM_FI_DEV_GPU_TEMP_CELSIUS{{{BOARD}}} 60\n"
    page += f"DCGM_FI_DEV_BOARD_POWER_LIMIT_ENFORCED_WATTS{{{BOARD}}} 700\n"
    page += f"DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP_NS{{{BOARD}}} 2500000000\n"
    assert values("dcgm", page) == {
        "dcgm:GPU-a:power": 310.0,
        "dcgm:GPU-a:power-instant": 333.0,
        "dcgm:GPU-a:temperature": 60.0,
        "dcgm:GPU-a:power-limit": 700.0,
        "dcgm:GPU-a:throttle-power-cap": 2.5,
    }


def test_dcgm_mig_slices_of_one_board_are_counted_once() -> None:
    slices = [f'{BOARD},GPU_I_PROFILE="1g.10gb",GPU_I_ID="{i}"' for i in range(7, 10)]
    page = "".join(f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{s}}} 5000000\n" for s in slices)
    page += 'DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{gpu="1",UUID="GPU-b"} 1000\n'
    assert values("dcgm", page) == {"dcgm:GPU-a:energy": 5000.0, "dcgm:GPU-b:energy": 1.0}


@pytest.mark.parametrize(
    ("labels", "watts"),
    [
        (BOARD, (300, 301)),  # the same series twice
        (f'{BOARD},pod="p"', (300, 350)),  # two boards' watts under one UUID
        ('gpu="7",UUID="GPU-a"', (300, 300)),  # two boards by index, one UUID
    ],
)
def test_two_boards_under_one_name_are_unknown(labels: str, watts: tuple[int, int]) -> None:
    page = f"DCGM_FI_DEV_POWER_USAGE{{{BOARD}}} {watts[0]}\nDCGM_FI_DEV_POWER_USAGE{{{labels}}} {watts[1]}\n"
    one = found("dcgm", page)["dcgm:GPU-a:power"]
    assert one.value is None
    assert (one.error or "").startswith("conflicting_readings: DCGM_FI_DEV_POWER_USAGE of GPU-a is 300 and ")


def test_one_board_shown_to_two_pods_or_scraped_by_two_jobs_is_one_board() -> None:
    for other, watts in ((f'{BOARD},pod="p"', 300.2), (f'{BOARD},job="other"', 500)):
        page = f"DCGM_FI_DEV_POWER_USAGE{{{BOARD}}} 300\nDCGM_FI_DEV_POWER_USAGE{{{other}}} {watts}\n"
        assert values("dcgm", page) == {"dcgm:GPU-a:power": 300.0}


def test_dcgm_violations_of_unknown_unit_are_not_read() -> None:
    assert values("dcgm", f"DCGM_FI_DEV_POWER_VIOLATION{{{BOARD}}} 12345\n") == {}


def test_amd_microjoules_first_partition_and_both_cases() -> None:
    first, second = (
        'gpu_id="0",gpu_partition_id="0",serial_number="S1"',
        'gpu_id="0",gpu_partition_id="1",serial_number="S1"',
    )
    page = f"gpu_energy_consumed{{{first}}} 2e9\ngpu_energy_consumed{{{second}}} 0\ngpu_package_power{{{first}}} 500\n"
    expected = {"amd:S1/gpu-0:energy": 2000.0, "amd:S1/gpu-0:power": 500.0}
    assert values("amd", page) == expected
    assert values("amd", page.upper().replace("E9", "e9")) == expected


def test_amd_average_stands_apart_from_current_power() -> None:
    page = "".join(
        f'gpu_average_package_power{{gpu_id="{i}",serial_number="S"}} {watt}\n' for i, watt in ((0, 200), (1, 0))
    )
    assert values("amd", page) == {"amd:S/gpu-0:power-average": 200.0, "amd:S/gpu-1:power-average": None}


def test_kepler_zones_are_never_summed() -> None:
    zones = {"package": 100, "core": 60, "psys": 160, "dram": 10}
    page = "".join(f'kepler_node_cpu_joules_total{{zone="{z}",path="intel-rapl:0"}} {j}\n' for z, j in zones.items())
    page += 'kepler_node_cpu_idle_joules_total{zone="package",path="intel-rapl:0"} 40\n'
    assert values("kepler", page) == {"kepler:package:intel-rapl:0:energy": 100.0}


def test_node_exporter_without_psys_and_without_mmio_copies() -> None:
    page = """\
node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0"} 100
node_rapl_package_joules_total{index="0",path="/sys/class/powercap/intel-rapl-mmio:0"} 100
node_rapl_package_joules_total{index="1",path="/sys/class/powercap/intel-rapl:1"} 90
node_rapl_dram_joules_total{index="0",path="/sys/class/powercap/intel-rapl:0:0"} 10
node_rapl_psys_joules_total{index="0",path="/sys/class/powercap/intel-rapl:2"} 260
node_hwmon_power_average_watt{chip="lnxsystm:00_acpi000d:00",sensor="power1"} 410
node_hwmon_power_average_watt{chip="0000:03:00_0",sensor="power1"} 33
"""
    got = found("node", page)
    assert {i: f.value for i, f in got.items()} == {
        "node:package-0:energy": 100.0,
        "node:package-1:energy": 90.0,
        "node:package-0/dram:energy": 10.0,
        "node:acpi-power-meter:power": 410.0,
    }
    assert {i: channel(f).scope for i, f in got.items()} == {
        "node:package-0:energy": Scope.CPU,
        "node:package-1:energy": Scope.CPU,
        "node:package-0/dram:energy": Scope.MEMORY,
        "node:acpi-power-meter:power": Scope.NODE,
    }


@pytest.mark.parametrize("name", ["ipmi_dcmi_power_consumption_watts", "ipmi_dcmi_power_consumption_current_watts"])
def test_ipmi_both_spellings_and_negative_is_unavailable(name: str) -> None:
    assert values("ipmi", f"{name} 350\n") == {"ipmi:bmc:power": 350.0}
    missing = found("ipmi", f"{name} -1\n")["ipmi:bmc:power"]
    assert missing.value is None and "unavailable" in (missing.error or "")


def test_scaphandre_micro_and_its_zero_in_a_vm() -> None:
    assert values("scaphandre", "scaph_host_energy_microjoules 7e6\nscaph_host_power_microwatts 45000000\n") == {
        "scaphandre:rapl:energy": 7.0,
        "scaphandre:rapl:power": 45.0,
    }
    assert values("scaphandre", "scaph_host_power_microwatts 0\n") == {"scaphandre:rapl:power": None}


def test_otel_hardware_metrics_by_type_and_energy_before_power() -> None:
    page = 'hw_energy_joules_total{hw_id="gpu-0",hw_type="gpu"} 500\nhw_power_watts{hw_id="gpu-0",hw_type="gpu"} 300\n'
    page += 'hw_energy_joules_total{hw_id="cpu-0",hw_type="cpu"} 70\n'
    page += 'hw_energy_joules_total{hw_id="x",hw_type="fan"} 9\n'
    page += 'hw_host_energy_joules_total{hw_id="bmc"} 900\n'
    shown = found("otel", page)
    assert {i: f.value for i, f in shown.items()} == {
        "otel:gpu-0:gpu-energy": 500.0,
        "otel:gpu-0:gpu-power": 300.0,
        "otel:cpu-0:cpu-energy": 70.0,
        "otel:bmc:energy": 900.0,
    }
    assert "otel:gpu-0:gpu-power" in channel(shown["otel:gpu-0:gpu-energy"]).includes
    scopes = {i.split(":")[1]: channel(f).scope for i, f in shown.items()}
    assert scopes == {"gpu-0": Scope.DEVICE, "cpu-0": Scope.CPU, "bmc": Scope.NODE}


def test_not_a_number_is_unknown() -> None:
    assert values("dcgm", f"DCGM_FI_DEV_POWER_USAGE{{{BOARD}}} NaN\n") == {"dcgm:GPU-a:power": None}


def test_two_hosts_have_devices_of_their_own_unless_the_name_is_unique() -> None:
    page = "".join(f'ipmi_dcmi_power_consumption_watts{{instance="{h}"}} 350\n' for h in ("a:9290", "b:9290"))
    assert set(values("ipmi", page)) == {"ipmi:a:9290/bmc:power", "ipmi:b:9290/bmc:power"}
    twice = "".join(f'DCGM_FI_DEV_POWER_USAGE{{UUID="GPU-a",instance="{h}"}} 1\n' for h in ("a", "b"))
    assert set(values("dcgm", twice)) == {"dcgm:GPU-a:power"}


def test_the_users_labels_choose() -> None:
    page = "".join(f'ipmi_dcmi_power_consumption_watts{{instance="{h}"}} 350\n' for h in ("a", "b"))
    chosen = select([exporter_dialect("ipmi")], parse_exposition(page), "x", choice=SeriesChoice({"instance": ("b",)}))
    assert set(chosen) == {"ipmi:bmc:power"}


def test_a_pattern_for_a_prometheus_server() -> None:
    pattern = name_pattern([exporter_dialect("amd")], "site_").split("|")
    assert "site_gpu_energy_consumed" in pattern and "SITE_GPU_ENERGY_CONSUMED" in pattern
