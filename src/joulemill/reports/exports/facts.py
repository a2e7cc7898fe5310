"""What every export needs of a report: the widest joules that are known, and how they were come by. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from joulemill.analysis.report import Report
from joulemill.errors import InputError
from joulemill.figure import Figure


@dataclass(frozen=True, slots=True)
class TokenEnergy:
    """J/tok at the widest scope that is known."""

    scope: str
    figure: Figure

    @property
    def energy_j_tok(self) -> float:
        """The value; ``widest_energy`` made sure that there is one."""
        return self.figure.value or 0.0


def widest_energy(report: Report) -> TokenEnergy:
    """Energy per output token at the site, else the node, else the devices. Raises InputError where none is known."""
    for scope, figure in (
        ("site", report.energy.site_j_tok),
        ("node", report.energy.node_j_tok),
        ("device", report.energy.device_j_tok),
    ):
        if figure.value is not None:
            return TokenEnergy(scope, figure)
    raise InputError(f"the run has no joules per token ({report.energy.node_j_tok.reason}); meter it, then export it")


def model_name(report: Report) -> str:
    """The model's name, or that it is unknown."""
    return report.conditions.model_name or "unknown model"
