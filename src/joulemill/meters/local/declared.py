"""A declared power model, for a machine without a sensor: P = idle + (busy − idle) · share of CPU time.

The user states the watts (basis ``declared``), or they are computed from a catalog row (basis ``modelled``).
Either way it is a model: whatever is computed from it is labelled modelled and has a wide interval. The reading is an
energy counter, E(t) = idle · t + (busy − idle) · CPU seconds ÷ CPUs, so sampling adds no error of its own.

SPEC: ``declared[:idle=60W,busy=180W | :cpu=ID][,error=20%][,share=process|machine][,scope=node|cpu]``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from joulemill.catalog.power_models import PowerModel, assumed, power_model, power_model_of
from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.meters.local.cpu_time import ProcessTime, cpu_count, machine_cpu_s, ticks_s
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.probe import Probe, ProbeMeter
from joulemill.wording import percent


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The declared meter of ``spec``. Raises InputError for watts that cannot be, MachineError without /proc."""
    spec.without_target().only("idle", "busy", "cpu", "error", "share", "scope")
    try:
        cpus = cpu_count(context.proc)
        busy_cpu_s, whose = _cpu_clock(spec, context)
        busy_cpu_s()
    except (OSError, ValueError, IndexError) as error:
        raise MachineError(f"`meter` {spec.text}: the CPU time cannot be read: {error}") from error
    model, basis = _model(spec, context, cpus)
    scope = Scope(spec.option("scope", "node", ("node", "cpu")))
    channel = Channel(
        id=f"declared:{scope.value}:energy",
        meter=spec.text,
        device=scope.value,
        scope=scope,
        quantity=Quantity.ENERGY,
        basis=basis,
        resolution=(model.busy_w - model.idle_w) * ticks_s() / cpus,
        update_period_s=ticks_s(),
        rel_error=model.rel_error,
        source=f"power model {model.idle_w:.4g} W idle, {model.busy_w:.4g} W busy × CPU time share of {whose}, "
        f"{cpus} CPUs; ±{percent(model.rel_error)}; {model.source}",
    )
    start_s, start_cpu_s = context.clock.mono(), busy_cpu_s()

    def energy_j() -> float:
        busy = (busy_cpu_s() - start_cpu_s) / cpus
        return model.idle_w * (context.clock.mono() - start_s) + (model.busy_w - model.idle_w) * busy

    return ProbeMeter([Probe(channel, energy_j)], context)


def _cpu_clock(spec: Spec, context: MeterContext) -> tuple[Callable[[], float], str]:
    default = "machine" if context.server_pid is None else "process"
    if spec.option("share", default, ("process", "machine")) == "machine":
        return lambda: machine_cpu_s(context.proc), "the whole machine"
    if context.server_pid is None:
        raise InputError(f"`meter` {spec.text}: share=process needs a server that runs here; use share=machine")
    time = ProcessTime(context.proc, context.server_pid, context.clock.mono)
    return time.cpu_s, f"the server's process {context.server_pid} and its children"


def _model(spec: Spec, context: MeterContext, cpus: int) -> tuple[PowerModel, Basis]:
    if "idle" in spec.options or "busy" in spec.options:
        return _stated(spec), Basis.DECLARED
    info = _cpuinfo(context.proc)
    cpu = spec.option("cpu", "")
    model = power_model(cpu, cpus) if cpu else power_model_of(info.get("model name", ""), cpus)
    if " hypervisor" in info.get("flags", ""):
        context.notice(
            f"this is a virtual machine: the power model takes its {cpus} CPUs for {cpus} hardware threads of the "
            "host's processor and gives it that share of the host's power (assumed)"
        )
    error = _rel_error(spec, model.rel_error)
    return PowerModel(model.id, model.idle_w, model.busy_w, error, model.source), Basis.MODELLED


def _stated(spec: Spec) -> PowerModel:
    if "cpu" in spec.options or not {"idle", "busy"} <= set(spec.options):
        raise InputError(f"`meter` {spec.text}: give both idle=…W and busy=…W, or cpu=ID alone")
    idle_w, busy_w = spec.quantity("idle", "W") or 0.0, spec.quantity("busy", "W") or 0.0
    if busy_w <= 0 or busy_w < idle_w:
        raise InputError(f"`meter` {spec.text}: 0 ≤ idle ≤ busy and busy > 0 must hold")
    has_error = "error" in spec.options
    error = _rel_error(spec, assumed("stated_rel_error_ratio"))
    return PowerModel(
        "stated", idle_w, busy_w, error, f"stated by the user, error {'stated' if has_error else 'assumed'}"
    )


def _rel_error(spec: Spec, default: float) -> float:
    error = spec.quantity("error", "")
    if error is None:
        return default
    if not error < 10:
        raise InputError(f"`meter` {spec.text}: error={spec.options['error']} must be a share such as 20%")
    return error


def _cpuinfo(proc: Path) -> dict[str, str]:
    """The first processor's lines of /proc/cpuinfo; empty where it cannot be read."""
    try:
        first = (proc / "cpuinfo").read_text().split("\n\n", 1)[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}
