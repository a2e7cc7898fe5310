"""``joulemill.doctor``: what this machine, these meters and a server can tell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from joulemill.api.inputs import api_key
from joulemill.api.results import Result
from joulemill.bench.facts import serves_here
from joulemill.bench.machine.nvml_limits import below_default
from joulemill.bench.machine.power_limits import left_behind
from joulemill.errors import InputError
from joulemill.meters.doctor import DoctorReport, as_document, examine, summary
from joulemill.meters.meter import MeterContext
from joulemill.servers.endpoint import Endpoint
from joulemill.servers.introduction import Introduction, introduce


@dataclass(frozen=True, repr=False)
class Examination(Result):
    """Every channel that was read, what it covers, what is missing and how to get it; and the server.

    asked   SPECs that had to answer
    """

    report: DoctorReport
    server: Introduction | None
    asked: tuple[str, ...]

    @property
    def answers(self) -> bool:
        """Whether all that was asked for answers: the server, the meters; of neither, any sensor."""
        if self.server is not None and (self.server.error is not None or not self.asked):
            return self.server.error is None
        return self.report.answers(self.asked)

    def to_dict(self) -> dict[str, Any]:
        """The document of ``joulemill doctor --json``."""
        return {**as_document(self.report), "server": None if self.server is None else asdict(self.server)}

    def text(self) -> str:
        """Every channel, what is missing and how to get it."""
        return "\n".join([*summary(self.report), *(self.server.lines() if self.server is not None else ())])

    def _line(self) -> str:
        channels = len(self.report.channels)
        return f"{channels} channels, {len(self.report.missing)} missing"

    def _rows(self) -> Iterable[tuple[str, str]]:
        return ((line.split(" ", 1)[0], line) for line in self.text().splitlines())


def doctor(
    meters: Sequence[str] | str = (),
    *,
    url: str | None = None,
    model: str | None = None,
    metrics_url: str | None = None,
    duration_s: float = 10.0,
    begun: Callable[[int], None] = lambda meters: None,
) -> Examination:
    """Read every meter of this machine, and ``meters`` beside them, for ``duration_s``; ask the server at ``url``.

    model, metrics_url   of the server, where it serves several models, or its Prometheus page is elsewhere
    begun                hears how many meters are read
    """
    meters = (meters,) if isinstance(meters, str) else tuple(meters)
    server = _introduced(url, model, metrics_url)  # first: a wrong address shows at once
    context = MeterContext()
    report = examine(context, meters, duration_s=duration_s, begun=begun)
    report = replace(report, notices=(*report.notices, *left_behind(Path("runs")), *below_default(context)))
    return Examination(report, server, meters)


def _introduced(url: str | None, model: str | None, metrics_url: str | None) -> Introduction | None:
    if url is None:
        if model is not None or metrics_url is not None:
            raise InputError("`model` and `metrics_url` belong to `url`: give it too")
        return None
    endpoint = Endpoint(url=url, model=model or "", api_key=api_key(), metrics=metrics_url)
    return introduce(endpoint, here=serves_here(endpoint.url))
