"""A short scene to play: two replicas of one board, a steady stream of like requests, a cut in its midst."""

from __future__ import annotations

import numpy as np

from joulemill.prediction.question import PredictionRequest
from joulemill.prediction.simulation.playing import Scene
from joulemill.simulation.demand import TrafficDemand, traffic_of
from joulemill.simulation.events import SiteEvent, SiteEvents
from joulemill.statistics.arrivals import ramp
from joulemill.statistics.lengths import Lengths
from tests.support.paths import EXAMPLES

CUT = SiteEvent(name="cut", start_s=30.0, end_s=75.0, cut_ratio=0.15)
POLICIES = ("cap", "clock", "admission", "shed", "shift", "shift+shed")


def scene(rate_req_s: float = 6.0, **more: object) -> Scene:
    demand = TrafficDemand(ramp(rate_req_s, rate_req_s, 90.0), Lengths("fixed", 256), Lengths("fixed", 32))
    defaults = {"events": SiteEvents(events=(CUT,), policies=POLICIES, deferrable_ratio=0.9)}
    return Scene(
        question=PredictionRequest(model="Qwen/Qwen3-8B", device="h100", devices=2, tp=1, max_num_seqs=64),
        traffic=traffic_of(demand, np.random.default_rng(7)),
        site_path=str(EXAMPLES / "site.toml"),
        **(defaults | more),  # type: ignore[arg-type]
    )
