"""What the meters' tests share: a clock that a test moves, and fake kernel trees."""

from __future__ import annotations

from pathlib import Path

from joulemill.meters.meter import Clock


class HandClock:
    """Time stands still but for ``sleep`` and ``pass_s``; every look at it costs ``step_s``."""

    def __init__(self, start_s: float = 100.0, step_s: float = 0.0) -> None:
        self.now_s, self.step_s = start_s, step_s

    def mono(self) -> float:
        self.now_s += self.step_s
        return self.now_s

    def wall(self) -> float:
        return self.now_s + 1.7e9

    def pass_s(self, seconds: float) -> None:
        self.now_s += seconds

    @property
    def clock(self) -> Clock:
        return Clock(self.mono, self.wall, self.pass_s)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def rapl_zone(sysfs: Path, zone: str, name: str, energy_j: float, range_j: float = 262143.328850) -> Path:
    """A powercap zone as the kernel shows it; ``zone`` such as ``intel-rapl:0:1``."""
    root = sysfs / "class" / "powercap" / zone
    put(root / "name", name + "\n")
    put(root / "max_energy_range_uj", f"{round(range_j * 1e6)}\n")
    put(root / "energy_uj", f"{round(energy_j * 1e6)}\n")
    return root


def proc_tree(
    proc: Path, model_name: str = "Intel(R) Xeon(R) Platinum 8480+", cpus: int = 4, flags: str = "fpu"
) -> Path:
    """cpuinfo and stat of an idle machine; busy ticks are set with :func:`busy_ticks`."""
    vendor = "AuthenticAMD" if "AMD" in model_name else "GenuineIntel"
    one = f"vendor_id\t: {vendor}\nmodel name\t: {model_name}\nflags\t\t: {flags}\n"
    put(proc / "cpuinfo", "\n".join(f"processor\t: {i}\n{one}" for i in range(cpus)))
    busy_ticks(proc, 0, cpus)
    return proc


def busy_ticks(proc: Path, user: int, cpus: int = 4, steal: int = 0) -> None:
    lines = [f"cpu  {user} 0 0 1000 0 0 0 {steal} 0 0"] + [f"cpu{i} 0 0 0 0 0 0 0 0 0 0" for i in range(cpus)]
    put(proc / "stat", "\n".join([*lines, "intr 1", "ctxt 2"]) + "\n")


def process_stat(proc: Path, pid: int, parent: int, ticks: tuple[int, int, int, int], start: int = 77) -> None:
    """``ticks``: utime, stime, cutime, cstime. The name holds what trips a naive parser."""
    fields = ["S", str(parent), *["0"] * 9, *map(str, ticks), *["0"] * 4, str(start), "0"]
    put(proc / str(pid) / "stat", f"{pid} (a b) c) {' '.join(fields)}\n")
