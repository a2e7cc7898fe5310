"""A stand-in for nvidia-ml-py's ``pynvml`` with its names, signatures, constants, units and ways of failing.

``test_nvml.py`` compares every name, parameter and constant here with the installed package.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


class NVMLError(Exception):
    def __init__(self, value: int) -> None:
        super().__init__(
            {
                2: "Invalid Argument",
                3: "Not Supported",
                4: "Insufficient Permissions",
                9: "Driver Not Loaded",
                15: "GPU is lost",
            }.get(value, f"error {value}")
        )
        self.value = value


@dataclass(kw_only=True)
class FakeBoard:
    uuid: str = "GPU-3f5c"
    name: str = "NVIDIA H100 80GB HBM3"
    arch: int = 9
    energy_mj: int | None = 5_000_000
    power_mw: int | None = 300_000
    instant_mw: int | None = 320_000
    module_mw: int | None = None
    average_field_mw: int | None = None
    limit_mw: int = 700_000
    least_mw: int = 200_000
    greatest_mw: int = 700_000
    default_mw: int = 700_000
    locked_mhz: tuple[int, int] | None = None
    processes: int = 1
    use: dict[int, int] | None = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)
    clock_mhz: int = 1980
    temperature_c: int = 61
    gpu_percent: int = 97
    violation_ns: dict[int, int] = field(default_factory=lambda: {0: 4_000_000_000, 1: 1_500_000_000})
    fields_ns: dict[int, int] = field(default_factory=lambda: {74: 4_000_000_000, 271: 0, 269: 250_000_000, 270: 0})
    c2c: bool | None = None
    mig: list[int] | None = None
    lost: bool = False


class FakeNvml:
    NVML_SUCCESS = 0
    NVML_ERROR_NOT_SUPPORTED = 3
    NVML_ERROR_NO_PERMISSION = 4
    NVML_ERROR_DRIVER_NOT_LOADED = 9
    NVML_ERROR_GPU_IS_LOST = 15
    NVML_FI_DEV_POWER_AVERAGE = 185
    NVML_FI_DEV_POWER_INSTANT = 186
    NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP = 74
    NVML_FI_DEV_CLOCKS_EVENT_REASON_SW_THERM_SLOWDOWN = 269
    NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_THERM_SLOWDOWN = 270
    NVML_FI_DEV_CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN = 271
    NVML_POWER_SCOPE_GPU = 0
    NVML_POWER_SCOPE_MODULE = 1
    NVML_PERF_POLICY_POWER = 0
    NVML_PERF_POLICY_THERMAL = 1
    NVML_CLOCK_SM = 1
    NVML_TEMPERATURE_GPU = 0
    NVMLError = NVMLError

    def __init__(self, *boards: FakeBoard, driver: bool = True, root: bool = True) -> None:
        self.boards = boards
        self.driver = driver
        self.root = root
        self.open = 0

    def nvmlInit(self) -> None:
        if not self.driver:
            raise NVMLError(self.NVML_ERROR_DRIVER_NOT_LOADED)
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> FakeBoard:
        return self.boards[index]

    def nvmlDeviceGetUUID(self, handle: FakeBoard) -> str:
        return self._alive(handle).uuid

    def nvmlDeviceGetName(self, handle: FakeBoard) -> str:
        return self._alive(handle).name

    def nvmlDeviceGetArchitecture(self, device: FakeBoard) -> int:
        return self._alive(device).arch

    def nvmlDeviceGetC2cModeInfoV(self, handle: FakeBoard) -> Any:
        return SimpleNamespace(isC2cEnabled=self._given(self._alive(handle).c2c))

    def nvmlDeviceGetMigMode(self, device: FakeBoard) -> list[int]:
        return self._given(self._alive(device).mig)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: FakeBoard) -> int:
        return self._given(self._alive(handle).energy_mj)

    def nvmlDeviceGetPowerUsage(self, handle: FakeBoard) -> int:
        return self._given(self._alive(handle).power_mw)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: FakeBoard) -> int:
        return self._alive(handle).limit_mw

    def nvmlDeviceGetPowerManagementLimit(self, handle: FakeBoard) -> int:
        return self._alive(handle).limit_mw

    def nvmlDeviceGetPowerManagementDefaultLimit(self, handle: FakeBoard) -> int:
        return self._alive(handle).default_mw

    def nvmlDeviceGetPowerManagementLimitConstraints(self, handle: FakeBoard) -> list[int]:
        return [self._alive(handle).least_mw, handle.greatest_mw]

    def nvmlDeviceGetMaxClockInfo(self, handle: FakeBoard, type: int) -> int:
        return self._alive(handle).clock_mhz

    def nvmlDeviceGetComputeRunningProcesses(self, handle: FakeBoard) -> list[Any]:
        return [
            SimpleNamespace(pid=100 + i, usedGpuMemory=handle.memory.get(100 + i))
            for i in range(self._alive(handle).processes)
        ]

    def nvmlDeviceGetProcessUtilization(self, handle: FakeBoard, timeStamp: int) -> list[Any]:
        use = self._given(self._alive(handle).use)
        return [SimpleNamespace(pid=pid, timeStamp=timeStamp + 1, smUtil=share) for pid, share in use.items()]

    def nvmlDeviceSetPowerManagementLimit(self, handle: FakeBoard, limit: int) -> None:
        self._permitted()
        if not isinstance(limit, int) or not self._alive(handle).least_mw <= limit <= handle.greatest_mw:
            raise NVMLError(2)
        handle.limit_mw = limit

    def nvmlDeviceSetGpuLockedClocks(self, handle: FakeBoard, minGpuClockMHz: int, maxGpuClockMHz: int) -> None:
        self._permitted()
        self._alive(handle).locked_mhz = (minGpuClockMHz, maxGpuClockMHz)

    def nvmlDeviceResetGpuLockedClocks(self, handle: FakeBoard) -> None:
        self._permitted()
        self._alive(handle).locked_mhz = None

    def _permitted(self) -> None:
        if not self.root:
            raise NVMLError(self.NVML_ERROR_NO_PERMISSION)

    def nvmlDeviceGetClockInfo(self, handle: FakeBoard, type: int) -> int:
        return self._alive(handle).clock_mhz

    def nvmlDeviceGetTemperature(self, handle: FakeBoard, sensor: int) -> int:
        return self._alive(handle).temperature_c

    def nvmlDeviceGetUtilizationRates(self, handle: FakeBoard) -> Any:
        return SimpleNamespace(gpu=self._alive(handle).gpu_percent, memory=40)

    def nvmlDeviceGetViolationStatus(self, device: FakeBoard, perfPolicyType: int) -> Any:
        return SimpleNamespace(referenceTime=1, violationTime=self._alive(device).violation_ns[perfPolicyType])

    def nvmlDeviceGetFieldValues(self, handle: FakeBoard, fieldIds: list[Any]) -> list[Any]:
        return [self._field(self._alive(handle), *wanted) for wanted in fieldIds]

    def _field(self, board: FakeBoard, number: int, scope: int) -> Any:
        if number == self.NVML_FI_DEV_POWER_INSTANT:
            value = board.module_mw if scope == self.NVML_POWER_SCOPE_MODULE else board.instant_mw
            return _answer(value, 1)
        if number == self.NVML_FI_DEV_POWER_AVERAGE:
            value = board.module_mw if scope == self.NVML_POWER_SCOPE_MODULE else board.average_field_mw
            return _answer(value, 1)
        return _answer(board.fields_ns.get(number), 3)

    def _alive(self, board: FakeBoard) -> FakeBoard:
        if board.lost:
            raise NVMLError(self.NVML_ERROR_GPU_IS_LOST)
        return board

    def _given(self, value: Any) -> Any:
        if value is None:
            raise NVMLError(self.NVML_ERROR_NOT_SUPPORTED)
        return value


def _answer(value: int | None, value_type: int) -> Any:
    if value is None:
        return SimpleNamespace(nvmlReturn=3, valueType=0, value=None)
    return SimpleNamespace(nvmlReturn=0, valueType=value_type, value=SimpleNamespace(uiVal=value, ullVal=value))
