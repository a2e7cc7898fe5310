"""What a lever changes and what is seen of it: the case before and after, and the settings that levers take. Pure.

A case is a deployment under a workload at a site, with what the steady-state model alone does not hold: a draft that
speculates, prompts on devices of their own, tokens that leave early, a small model that takes a share, a locked clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from joulemill.physics.hardware.device import Device
from joulemill.physics.hardware.node import Node
from joulemill.physics.hardware.site import Site
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import Precision
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.workload import Workload


@dataclass(frozen=True)
class Model:
    """A named model in a precision."""

    name: str
    architecture: Architecture
    precision: Precision


@dataclass(frozen=True)
class Draft:
    """A model that drafts ``draft_count`` tokens a round, each accepted with ``acceptance_ratio`` in turn."""

    model: Model
    draft_count: int
    acceptance_ratio: float

    @property
    def accepted_tok(self) -> float:
        """Tokens of a round, the verifier's own included: (1 − α^(k+1))/(1 − α). Leviathan et al. 2023, eq. 1."""
        a, k = self.acceptance_ratio, self.draft_count
        return float(k + 1) if a >= 1.0 else (1.0 - a ** (k + 1)) / (1.0 - a)


@dataclass(frozen=True)
class Route:
    """A small model that takes ``share_ratio`` of the requests; ``cascade``: it tries all first, and the rest go on."""

    model: Model
    share_ratio: float
    cascade: bool


@dataclass(frozen=True)
class EarlyExit:
    """``token_ratio`` of the tokens leave after ``depth_ratio`` of the layers."""

    token_ratio: float
    depth_ratio: float


@dataclass(frozen=True, kw_only=True)
class Case:
    """A deployment under a workload at a site; ``parked_count`` boards stand unloaded beside it and stay powered."""

    deployment: Deployment
    workload: Workload
    site: Site | None = None
    draft: Draft | None = None
    disaggregated: bool = False
    early_exit: EarlyExit | None = None
    route: Route | None = None
    parked_count: int = 0


@dataclass(frozen=True, kw_only=True)
class LeverOutcome:
    """What a case does; energy per output token, prefill's share included.

    energy_j_tok   of the widest scope that is known in all that is compared: ``scope`` is device, node or site
    energy_j_req   the same scope, a request
    power_w        of the devices;  device_count  of all pools
    carbon_gco2e_tok, cost_currency_tok   None where the site is silent
    tpot_s         None where a request has one output token
    binding        what binds;  meets  whether the latency targets hold
    """

    rate_tok_s: float
    energy_j_tok: float
    energy_j_req: float
    scope: str
    device_j_tok: float
    power_w: float
    ttft_s: float
    tpot_s: float | None
    concurrency: float
    device_count: float
    binding: str
    meets: bool
    carbon_gco2e_tok: float | None = None
    cost_currency_tok: float | None = None


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What levers are set to, where the user says nothing: assumed values, each shown with its lever.

    weights        precision that each number format means for this model, by format name
    draft, small, alternative   models that the user names; None: the lever says so
    devices        other generations, each with its node
    accuracy_ratio, small_accuracy_ratio   share of correct answers of the model and of the small one; None: not stated
    """

    weights: Mapping[str, Precision] = field(default_factory=dict)
    draft: Model | None = None
    draft_count: int = 3
    acceptance_ratio: float = 0.7
    small: Model | None = None
    route_ratio: float = 0.5
    accuracy_ratio: float | None = None
    small_accuracy_ratio: float | None = None
    alternative: Model | None = None
    devices: tuple[tuple[Device, Node | None], ...] = ()
    cached_ratio: float = 0.5
    thinking_ratio: float = 0.5
    keep_tok: int = 2048
    window_tok: int = 4096
    clock_ratio: float = 0.7
    cap_ratio: float = 0.7
    exit_token_ratio: float = 0.3
    exit_depth_ratio: float = 0.5
    pue_ratio: float = 1.1
    shift_ratio: float = 0.3
    shifted_ratio: float = 0.6


#: A lever's deed: the case changed, or why it does not apply.
Transform = Callable[[Case, Settings], "Case | str"]


@dataclass(frozen=True, kw_only=True)
class Lever:
    """A change that moves an intensity, a ceiling or U.

    family   levers of one family exclude each other;  moves  the mechanism
    kind     what measured pairs bound its error: precision, batch, devices, generation, model; "modelled" where
             none do, "declared" where the effect is arithmetic on what the user states
    cost     none, restart, tuning, requantise, train, retrain, other model, hardware, facility, operations
    """

    name: str
    label: str
    family: str
    moves: str
    kind: str
    cost: str
    apply: Transform
