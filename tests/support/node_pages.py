"""A node's boards on a dcgm-exporter's page, and its BMC."""

from __future__ import annotations

import time

from tests.support.redfish_service import ROOT, Service, at, excerpt


def gpus(begin: float, watts: float, count: int = 8) -> str:
    energy_mj = (time.monotonic() - begin) * watts * 1e3
    boards = [f'gpu="{i}",UUID="GPU-{i}"' for i in range(count)]
    return "".join(
        f"DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION{{{b}}} {energy_mj:.0f}\nDCGM_FI_DEV_POWER_USAGE{{{b}}} {watts}\n"
        for b in boards
    )


def bmc(service: Service, watts: float) -> None:
    environment = f"{ROOT}/Chassis/1/EnvironmentMetrics"
    service.chassis("1", EnvironmentMetrics=at(environment))
    service.put(environment, {"PowerWatts": excerpt(watts)})
