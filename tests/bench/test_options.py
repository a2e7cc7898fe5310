from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from joulemill.bench.load.phases import schedule
from joulemill.bench.options import BenchOptions
from joulemill.errors import InputError


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rate_req_s": 0.0}, "`rate_req_s` must be more than 0"),
        ({"rate_req_s": -3.0}, "`rate_req_s`"),
        ({"rate_req_s": math.inf}, "`rate_req_s`"),
        ({"concurrency": 0}, "`concurrency` must be at least 1"),
        ({"concurrency": 4, "rate_req_s": 2.0}, "`concurrency` and `rate_req_s` exclude"),
        ({"rate_req_s": 2.0, "trace": Path("x")}, "`rate_req_s` and `trace` exclude"),
        ({"duration_s": 0.0}, "`duration_s`"),
        ({"requests": 0}, "`requests`"),
        ({"burstiness": 0.0}, "`burstiness`"),
        ({"input_tokens": "many"}, "`input_tokens`"),
        ({"output_tokens": "0"}, "`output_tokens`"),
        ({"warmup_s": -1.0}, "`warmup_s`"),
        ({"slo_ttft_s": 0.0}, "`slo_ttft_s`"),
        ({"retries": -1}, "`retries`"),
        ({"model": "m"}, "`url`"),
        ({"url": "http://x", "gguf": Path("m.gguf")}, "`gguf`"),
        ({"threads": 0}, "`threads`"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        BenchOptions(**given)


def test_the_manifest_is_json_and_resolved() -> None:
    closed = BenchOptions().manifest()
    assert json.loads(json.dumps(closed)) == closed | {"meters": ["auto"]}
    assert (closed["loop"], closed["concurrency"], closed["load_s"]) == ("closed", 4, 60.0)
    rate = BenchOptions(rate_req_s=2.0, burstiness=math.inf, requests=9).manifest()
    assert (rate["loop"], rate["concurrency"], rate["load_s"], rate["burstiness"]) == ("open", None, None, None)
    assert BenchOptions(trace=Path("a.csv")).manifest()["trace"] == "a.csv"


@pytest.mark.parametrize("burstiness", [0.2, 1.0, math.inf])
def test_a_schedule_for_a_number_of_requests_has_enough_of_them(burstiness: float) -> None:
    for seed in range(20):
        options = BenchOptions(rate_req_s=5.0, requests=100, burstiness=burstiness, warmup_s=2.0, seed=seed)
        after = [a for a in schedule(options) if a.at_s >= 2.0]
        assert len(after) >= 100


def test_a_schedule_repeats_by_seed() -> None:
    asked = [BenchOptions(rate_req_s=5.0, duration_s=20.0, seed=s) for s in (1, 1, 2)]
    first, again, other = (schedule(o) for o in asked)
    assert first == again != other
