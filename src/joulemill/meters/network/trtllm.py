"""TensorRT-LLM's own energy counter: ``GET /energy_metrics`` of trtllm-serve, with ``enable_energy_metrics: true``.

It sums NVML's counters of the boards that the server sees. Where it sees fewer boards than it has ranks it multiplies
by the ratio, which is an extrapolation: NVML or dcgm-exporter on each host is the better meter then.

SPEC: ``trtllm:http://HOST:8000``.
"""

from __future__ import annotations

from joulemill.errors import InputError
from joulemill.figure import Basis
from joulemill.ledger.plausibility import reading_fault
from joulemill.ledger.record import Channel, Quantity, Scope
from joulemill.meters.meter import Meter, MeterContext, Spec
from joulemill.meters.network.http import Credentials, HttpSource, unreachable
from joulemill.meters.probe import Probe, ProbeMeter

PATH = "/energy_metrics"


def open_meter(spec: Spec, context: MeterContext) -> Meter:
    """The server's counter. Raises MachineError where it has none."""
    if spec.several("gpus"):
        raise InputError(
            f"`meter` {spec.text}: its counter is of all boards of that server together, none can be chosen; "
            "leave gpus= out, or meter the boards by nvml or prometheus:"
        )
    spec.only()
    if not spec.target:
        raise InputError(f"`meter` {spec.text}: say where, as in trtllm:http://host:8000")
    source = HttpSource(spec.target, Credentials.of(context.environ, "trtllm").headers())
    path = source.path.rstrip("/") + PATH

    def energy_j() -> float:
        answer = source.get(path).json()
        value = answer.get("total_energy_j") if isinstance(answer, dict) else None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise ValueError(f"{PATH} has no total_energy_j")
        fault = reading_fault(Quantity.ENERGY, float(value))
        if fault is not None:
            raise ValueError(f"{fault.value}: total_energy_j is {value:.6g}")
        return float(value)

    began_s = context.clock.mono()
    try:
        energy_j()
    except (OSError, ValueError) as error:
        source.close()
        hint = "start trtllm-serve with 'enable_energy_metrics: true' in its --config file"
        raise unreachable(f"`meter` {spec.text}", error, hint) from error
    channel = Channel(
        id=f"trtllm:{source.host}:energy",
        meter=spec.text,
        device=source.host,
        scope=Scope.DEVICE,
        quantity=Quantity.ENERGY,
        basis=Basis.MEASURED,
        resolution=1e-3,
        rel_error=0.05,
        clock_skew_s=(context.clock.mono() - began_s) / 2,
        source="trtllm-serve /energy_metrics: NVML counters of its boards together, scaled where it sees not all",
    )
    return ProbeMeter([Probe(channel, energy_j)], context, source.close)
