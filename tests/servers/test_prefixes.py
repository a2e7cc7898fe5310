"""Servers' pages under prefixes of a gateway, or none: read by the names behind them, token counters foremost."""

from __future__ import annotations

import pytest

from joulemill.catalog.server_dialects import dialects
from joulemill.servers.metrics import _read, canonical, detect_dialect, parse_metrics
from tests.support.paths import SHARED

CASES = SHARED / "cases" / "page-prefixes"
PAGE = (
    'PREnum_requests_running{engine="0"} 3\nPREprompt_tokens_total{engine="0"} 412\n'
    'PREgeneration_tokens_total{engine="0"} 81\nray_node_cpu_utilization 0.3\n'
)
READ = {"prompt_tok_total": 412.0, "output_tok_total": 81.0, "running_req": 3.0}


@pytest.mark.parametrize("prefix", ["vllm:", "vllm_", "", "ray_vllm_", "ray_vllm:", "prod_vllm:", "team:vllm_"])
def test_vllm_is_read_behind_any_prefix(prefix: str) -> None:
    page = parse_metrics(PAGE.replace("PRE", prefix))
    dialect = detect_dialect(page)
    assert dialect is not None and dialect.name == "vllm"
    assert canonical(page, dialect) == READ


def test_names_that_only_end_alike_are_not_taken() -> None:
    page = parse_metrics("mygeneration_tokens_total 5\nmy_app_requests_total 3\nnv_inference_count 9\n")
    assert detect_dialect(page) is None


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize(("name", "output_tok"), [("nim", 174.0), ("ray", 8110.0)])
def test_recorded_pages(name: str, output_tok: float) -> None:
    page = parse_metrics((CASES / f"{name}.txt").read_text())
    dialect = detect_dialect(page)
    assert dialect is not None and canonical(page, dialect)["output_tok_total"] == output_tok


def test_a_page_in_other_words_than_stated_says_in_whose() -> None:
    stated = next(d for d in dialects() if d.name == "sglang")
    *_, values, error = _read(PAGE.replace("PRE", "vllm:"), stated, ())
    assert values == {}
    assert error == ("the metrics page has none of the names of dialect sglang: it is in those of vllm: correct it")
    *_, error = _read("other 1\n", stated, ())
    assert error is not None and "no token counters, 1 others such as other" in error
