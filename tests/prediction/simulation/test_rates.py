"""How sure a simulated rate is: the same traffic played with slower and faster steps stays inside its interval."""

from __future__ import annotations

import math

import pytest

from joulemill.prediction.simulation.playing import run_scene
from joulemill.simulation.document import output_part
from tests.support.scenes import scene


@pytest.mark.parametrize("rate_req_s", [2.0, 20.0, 60.0, 200.0])
def test_slower_and_faster_steps_stay_inside_the_interval(rate_req_s: float) -> None:
    short = scene(rate_req_s)
    width = short.played.widths.time_ratio
    rate = output_part(run_scene(short).run)["rate_tok_s"]
    slow, fast = (
        output_part(run_scene(short, errors=(ratio, 1.0)).run)["rate_tok_s"].value
        for ratio in (math.exp(width), math.exp(-width))
    )
    if rate.low is None:  # the traffic sets it
        assert slow == pytest.approx(rate.value, rel=0.05) == fast
        return
    assert rate.low <= rate.value <= rate.high
    assert rate.low * 0.95 <= slow <= fast <= rate.high * 1.05


def test_a_deployment_that_is_behind_is_not_said_to_be_sure() -> None:
    behind = output_part(run_scene(scene(400.0)).run)
    assert behind["rate_tok_s"].low < behind["rate_tok_s"].value < behind["rate_tok_s"].high
    idle = output_part(run_scene(scene(1.0)).run)
    assert idle["rate_tok_s"].low is None and "traffic" in idle["rate_tok_s"].source
    assert idle["utilization"].low < idle["utilization"].value < idle["utilization"].high
