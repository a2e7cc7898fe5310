"""Users who ask again: so many requests at a time, each after the answer to the one before."""

from __future__ import annotations

import numpy as np
import pytest

import joulemill as jm
from joulemill.errors import InputError
from joulemill.simulation.closed_loop import closed_loop
from joulemill.statistics.lengths import Lengths


def test_as_many_requests_in_flight_as_there_are_users() -> None:
    traffic = closed_loop(8, 5, 200, Lengths("fixed", 100), np.random.default_rng(0), prefix_tok=100)
    assert traffic.requests_count == 40 and traffic.output_tok[8:].tolist() == [100] * 32
    assert len(set(traffic.output_tok[:8].tolist())) > 4  # cut at random places
    run = jm.simulate("Qwen/Qwen3-8B", "h100", trace=traffic, scenarios=0)
    requests = run.requests()
    start, finish = requests["arrival_s"], requests["finish_s"]
    middle_s = np.linspace(finish[:8].max(), finish[-8:].min(), 50)[1:-1]
    assert {int(((start <= t) & (finish > t)).sum()) for t in middle_s} == {8}
    assert requests["cached_tok"][8:].tolist() == [96] * 32  # whole blocks of the shared prefix


def test_no_user_no_traffic() -> None:
    with pytest.raises(InputError, match="make no traffic"):
        closed_loop(0, 5, 200, Lengths("fixed", 100), np.random.default_rng(0))
