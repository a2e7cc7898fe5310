"""Prometheus text in, canonical quantities out: recorded pages of real servers, and each trap of their names."""

from __future__ import annotations

import asyncio
import math
import time

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from simulated.mock_server import MockPlan, MockServer

from joulemill.catalog.server_dialects import dialect, dialects
from joulemill.ledger.record import ServerSample
from joulemill.servers.boundary import PARSE_S
from joulemill.servers.client import Ask, Endpoint, ask, open_session
from joulemill.servers.metrics import canonical, detect_dialect, parse_metrics, scrape
from tests.support.paths import SHARED

RECORDINGS = SHARED / "data" / "recordings"


def quantities(text: str, name: str) -> dict[str, float]:
    return canonical(parse_metrics(text), dialect(name))


# --- recorded pages ---------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["vllm", "llamacpp"])
def test_recorded_pages(name: str) -> None:
    path = RECORDINGS / f"{name}_metrics.txt"
    if not path.exists():
        pytest.skip("the recorded pages are not beside the project")
    page = parse_metrics(path.read_text())
    found = detect_dialect(page)
    assert page.malformed_count == 0
    assert found is not None and found.name == name
    values = canonical(page, found)
    # The same 22 requests went to both: 921 prompt tokens served, 96 tokens out each. Read off the pages by eye.
    assert values["prompt_tok_total"] == 921
    assert values["output_tok_total"] == 22 * 96
    assert values["prompt_cached_tok_total"] == (0 if name == "vllm" else 377)
    assert values["prompt_computed_tok_total"] + values["prompt_cached_tok_total"] == 921
    assert values["running_req"] == values["waiting_req"] == 0


# --- the text format --------------------------------------------------------------------------------------------
def test_the_formats_own_example() -> None:
    """From Prometheus' description of its text format 0.0.4."""
    page = parse_metrics(
        "# HELP http_requests_total The total number of HTTP requests.\n"
        "# TYPE http_requests_total counter\n"
        'http_requests_total{method="post",code="200"} 1027 1395066363000\n'
        'http_requests_total{method="post",code="400"}    3 1395066363000\n\n'
        "# Escaping in label values:\n"
        'msdos_file_access_time_seconds{path="C:\\\\DIR\\\\FILE.TXT",'
        'error="Cannot find file:\\n\\"FILE.TXT\\""} 1.458255915e9\n\n'
        "metric_without_timestamp_and_labels 12.47\n\n"
        'something_weird{problem="division by zero"} +Inf -3982045\n'
    )
    assert page.malformed_count == 0
    assert [s.value for s in page.samples] == [1027, 3, 1.458255915e9, 12.47, math.inf]
    assert page.samples[2].labels == {"path": "C:\\DIR\\FILE.TXT", "error": 'Cannot find file:\n"FILE.TXT"'}
    assert page.types == {"http_requests_total": "counter"}


@pytest.mark.parametrize(
    "line", ['a{b="}"} 1', 'a{b="x y,z=\\"",} 1', 'a 1 # {trace="}"} 0.5', "a\t1", 'a{ b = "c" , d="e"} 1', "a{} 1"]
)
def test_lines_that_are_right(line: str) -> None:
    page = parse_metrics(line)
    assert (len(page.samples), page.malformed_count) == (1, 0)


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a b",
        'a{b="c" 1',
        "a{b=c} 1",
        'a{b="c",b="d"} 1',
        "1a 1",
        "a 1_000",
        "a 0x10",
        "a{",
        '{b="c"} 1',
        "a" * 100_000 + " 1",
    ],
)
def test_lines_that_are_wrong_are_counted_and_passed_over(line: str) -> None:
    page = parse_metrics(f"good 1\n{line}\nalso_good 2\n")
    assert [s.value for s in page.samples] == [1, 2]
    assert page.malformed_count == 1


def test_a_series_given_twice_counts_once() -> None:
    page = parse_metrics('a{x="1",y="2"} 1\na{y="2",x="1"} 5\n')
    assert ([s.value for s in page.samples], page.malformed_count) == ([1], 1)


@given(st.text(max_size=300))
def test_any_text_is_survived(junk: str) -> None:
    page = parse_metrics(junk)
    assert len(page.samples) + page.malformed_count <= junk.count("\n") + 1


label_text = st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\r\n"), max_size=20)


@given(
    st.dictionaries(st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True), label_text, max_size=4),
    st.floats(allow_nan=False),
)
def test_what_is_written_is_read_back(labels: dict[str, str], value: float) -> None:
    escaped = {k: v.replace("\\", "\\\\").replace('"', '\\"') for k, v in labels.items()}
    text = "m{" + ",".join(f'{k}="{v}"' for k, v in escaped.items()) + f"}} {value!r}"
    (sample,) = parse_metrics(text).samples
    assert (dict(sample.labels), sample.value) == (labels, value)


@pytest.mark.parametrize(
    "hostile", ["a" + " " * 60_000, "a{" + " " * 60_000, "a{" + 'b="c",' * 9000 + "!", "a 1" + " " * 60_000 + "x"]
)
def test_hostile_lines_take_no_time(hostile: str) -> None:
    assert parse_metrics(hostile).malformed_count == 1  # a backtracking pattern would not come back


# --- traps of the dialects --------------------------------------------------------------------------------------
@pytest.mark.parametrize("mark", [":", "_"])
@pytest.mark.parametrize("total", ["", "_total"])
def test_colon_or_underscore_with_or_without_total(mark: str, total: str) -> None:
    text = f"vllm{mark}prompt_tokens{total} 7\nvllm{mark}generation_tokens{total} 9\n"
    assert quantities(text, "vllm") == {"prompt_tok_total": 7, "output_tok_total": 9}
    found = detect_dialect(parse_metrics(text))
    assert found is not None and found.name == "vllm"


def test_vllms_prompt_counter_counts_cached_tokens() -> None:
    text = (
        "vllm:prompt_tokens_total 232\n"
        'vllm:prompt_tokens_by_source_total{source="local_compute"} 88\n'
        'vllm:prompt_tokens_by_source_total{source="local_cache_hit"} 144\n'
        "vllm:prompt_tokens_cached_total 144\n"
    )
    expected = {"prompt_tok_total": 232, "prompt_computed_tok_total": 88, "prompt_cached_tok_total": 144}
    assert quantities(text, "vllm") == expected
    without = "\n".join(line for line in text.splitlines() if "by_source" not in line)
    assert quantities(without, "vllm") == expected


def test_engines_add_up_and_their_shares_do_not() -> None:
    text = "".join(
        f'vllm:generation_tokens_total{{engine="{i}"}} {10 + i}\n'
        f'vllm:num_requests_running{{engine="{i}"}} 3\n'
        f'vllm:kv_cache_usage_perc{{engine="{i}"}} 0.{i + 2}\n'
        f'vllm:cache_config_info{{engine="{i}",block_size="16",num_gpu_blocks="100"}} 1\n'
        for i in range(2)
    )
    values = quantities(text, "vllm")
    assert values["output_tok_total"] == 21 and values["running_req"] == 6
    assert values["kv_use_ratio"] == pytest.approx(0.25)
    assert values["kv_capacity_tok"] == 2 * 100 * 16


def test_a_gauge_or_histogram_is_no_counter() -> None:
    assert quantities("# TYPE vllm:generation_tokens gauge\nvllm:generation_tokens 5\n", "vllm") == {}
    rates = "llamacpp:prompt_tokens_seconds 300\nllamacpp:predicted_tokens_seconds 17\nllamacpp:n_tokens_max 139\n"
    assert quantities(rates, "llamacpp") == {}
    histogram = "# TYPE vllm:iteration_tokens_total histogram\nvllm:iteration_tokens_total_sum 5\n"
    assert quantities(histogram, "vllm") == {}


def test_only_rank_zero_of_sglang_counts_but_every_replica() -> None:
    text = "".join(
        f'sglang:num_running_reqs{{tp_rank="{tp}",pp_rank="0",dp_rank="{dp}"}} 4\n'
        for tp in range(4)
        for dp in range(2)
    )
    assert quantities(
        text + 'sglang:prompt_tokens_total{model_name="m"} 50\nsglang:cached_tokens_total 20\n', "sglang"
    ) == {
        "running_req": 8,
        "prompt_tok_total": 50,
        "prompt_cached_tok_total": 20,
        "prompt_computed_tok_total": 30,
    }


def test_an_older_llamacpp_has_no_served_count() -> None:
    assert quantities("llamacpp:prompt_tokens_total 5\n", "llamacpp") == {"prompt_computed_tok_total": 5}


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-Inf", "-1"])
def test_what_cannot_be_believed_is_absent(value: str) -> None:
    assert quantities(f"llamacpp:tokens_predicted_total {value}\n", "llamacpp") == {}


def test_older_and_newer_names_of_kv_use() -> None:
    for name in ("kv_cache_usage_perc", "gpu_cache_usage_perc"):
        assert quantities(f"vllm:{name} 0.5\n", "vllm") == {"kv_use_ratio": 0.5}


def test_tokens_of_tgi_and_trtllm() -> None:
    tgi = "tgi_request_generated_tokens_sum 12\ntgi_request_input_length_sum 30\n"
    tgi = "# TYPE tgi_request_generated_tokens histogram\n" + tgi
    assert quantities(tgi, "tgi") == {"output_tok_total": 12, "prompt_tok_total": 30}
    trt = "trtllm_prompt_tokens_total 30\ntrtllm_prompt_cached_tokens_total 10\n"
    trt += "trtllm_kv_cache_max_blocks 8\ntrtllm_kv_cache_tokens_per_block 32\n"
    values = quantities(trt, "trtllm")
    assert (values["prompt_computed_tok_total"], values["kv_capacity_tok"]) == (20, 256)


def test_no_dialect_fits_a_stranger() -> None:
    assert detect_dialect(parse_metrics("process_cpu_seconds_total 5\nmyvllm:prompt_tokens_total 3\n")) is None


@given(st.integers(1, 5), st.integers(0, 10**9))
def test_counters_scale_with_engines(engines: int, count: int) -> None:
    text = "".join(f'vllm:generation_tokens_total{{engine="{i}"}} {count}\n' for i in range(engines))
    assert quantities(text, "vllm")["output_tok_total"] == engines * count


# --- scraping ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["vllm", "llamacpp"])
@pytest.mark.parametrize("told", [True, False])
def test_counters_agree_with_what_was_served(name: str, told: bool) -> None:
    async def run() -> tuple[ServerSample, ServerSample]:
        async with MockServer(MockPlan(dialect=name, cached_tok=2)) as server, open_session(1) as session:
            known = dialect(name) if told else None
            before = await scrape(session, server.url + "/metrics", known)
            for _ in range(3):
                await ask(session, Endpoint(url=server.url, model="mock-model"), Ask(text="a b c d e", max_tok=7))
            return before, await scrape(session, server.url + "/metrics", known)

    before, after = asyncio.run(run())
    assert before.error is None and after.error is None and after.t_mono_s > before.t_mono_s
    grown = {key: after.values[key] - before.values[key] for key in after.values}
    assert (grown["prompt_tok_total"], grown["output_tok_total"]) == (15, 21)
    assert (grown["prompt_cached_tok_total"], grown.get("prompt_computed_tok_total", 9)) == (6, 9)


@pytest.mark.parametrize(("path", "words"), [("/nothing", "404"), ("/health", "none of the known names")])
def test_a_failed_scrape_says_why(path: str, words: str) -> None:
    async def run() -> ServerSample:
        async with MockServer() as server, open_session(1) as session:
            return await scrape(session, server.url + path, None)

    sample = asyncio.run(run())
    assert sample.error and words in sample.error and sample.values == {}


def test_a_server_that_is_gone_is_no_exception() -> None:
    async def run() -> ServerSample:
        async with MockServer() as gone:
            url = gone.url
        async with open_session(1) as session:
            return await scrape(session, url + "/metrics", dialects()[0])

    assert asyncio.run(run()).error


# --- pages that are made to hurt --------------------------------------------------------------------------------
@pytest.mark.finding("F2")
@pytest.mark.parametrize("value", ["1.7e308", "1e300", "1e17", "-1.7e308", "+Inf", "NaN"])
def test_numbers_that_no_server_counts_to_are_absent_however_they_add_up(value: str) -> None:
    text = "".join(
        f'vllm:generation_tokens_total{{a="{n}"}} {value}\nvllm:kv_cache_usage_perc{{a="{n}"}} {value}\n'
        f'vllm:cache_config_info{{a="{n}",block_size="{value}",num_gpu_blocks="{value}"}} 1\n'
        f'vllm:prompt_tokens_by_source_total{{a="{n}",source="local_cache_hit"}} {value}\n'
        for n in range(3)
    )
    assert quantities(text + "vllm:num_requests_running 2\n", "vllm") == {"running_req": 2}
    assert detect_dialect(parse_metrics(text + "vllm:num_requests_running 2\n")) is not None


LABELS = ",".join(f'l{n}="v"' for n in range(7000))
HEAVY = {
    "labels": lambda: f"vllm:generation_tokens_total{{{LABELS}}} 1\n" * 200,
    "some labels": lambda: "".join(
        f'vllm:generation_tokens_total{{x="{n}",{LABELS[:1200]}}} 1\n' for n in range(12_000)
    ),
    "series": lambda: "".join(f'vllm:generation_tokens_total{{x="{n}"}} 1\n' for n in range(270_000)),
    "lines": lambda: "\n" * (16 << 20),
    "types": lambda: "".join(f"# TYPE a{n} counter\n" for n in range(500_000)),
    "no end": lambda: "vllm:a{" + "b=" * 9000 + "!\n",
    "quotes": lambda: 'vllm:a{b="' + '\\"' * 9000 + "\n",
}


@pytest.mark.finding("F19")
@pytest.mark.parametrize("kind", sorted(HEAVY))
def test_a_heavy_page_costs_a_bounded_time_and_is_read_or_refused_as_a_whole(kind: str) -> None:
    page = HEAVY[kind]()
    started_s, says = time.thread_time(), ""
    try:
        samples_count = len(parse_metrics(page).samples)
    except ValueError as fault:
        samples_count, says = 0, str(fault)
    assert samples_count == 0 and (
        "more than" in says or "at most" in says or kind in ("labels", "some labels", "no end", "quotes")
    )
    assert time.thread_time() - started_s < 2 * PARSE_S


@pytest.mark.finding("F19")
def test_labels_are_read_in_linear_time() -> None:
    """A line of 64,000 characters that is not cut off by its number of labels."""
    value = 'x="' + "y" * 31_000 + '"'
    text = "\n".join(f'vllm:generation_tokens_total{{a="{n}",{value},z{" " * 30_000}="1"}} 1' for n in range(200))
    started_s = time.thread_time()
    assert len(parse_metrics(text).samples) == 200
    assert time.thread_time() - started_s < 0.5


@pytest.mark.finding("F2")
@pytest.mark.finding("F19")
def test_whatever_reading_a_page_raises_is_that_looks_error(monkeypatch: pytest.MonkeyPatch) -> None:
    async def of(page: str) -> ServerSample:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text=page)

        app = web.Application()
        app.router.add_get("/metrics", answer)
        async with TestServer(app) as server, aiohttp.ClientSession() as session:
            return await scrape(session, str(server.make_url("/metrics")), None)

    huge = 'vllm:generation_tokens_total{a="1"} 1.7e308\nvllm:generation_tokens_total{a="2"} 1.7e308\n'
    assert "none of the known names" in (asyncio.run(of(huge)).error or "")
    heavy = asyncio.run(of(HEAVY["series"]())).error or ""
    assert "series" in heavy or "processor time" in heavy, "whichever bound a slow machine meets first"
    for fault in (
        OverflowError("x\x1b[2J\u202e"),
        RecursionError("deep"),
        MemoryError(),
        KeyError("k"),
        ZeroDivisionError(),
    ):

        def breaks(*_: object, fault: Exception = fault) -> None:
            raise fault

        monkeypatch.setattr("joulemill.servers.metrics.canonical", breaks)
        error = asyncio.run(of("vllm:generation_tokens_total 1\n")).error or ""
        assert type(fault).__name__ in error and error.isprintable() and len(error) < 400


@pytest.mark.finding("F15")
def test_a_token_that_the_server_sends_back_is_not_told() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/9 " + asked.split(b"Authorization: ")[1].split(b"\r\n")[0] + b"\r\n\r\n")
        writer.close()

    async def look() -> str:
        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/metrics"
        async with server, aiohttp.ClientSession() as session:
            sample = await scrape(session, url, None, headers={"Authorization": "Bearer page-secret-123"})
        return sample.error or ""

    told = asyncio.run(look())
    assert told.startswith("no metrics") and "page-secret" not in told
