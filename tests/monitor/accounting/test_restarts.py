"""Counters through restarts against the tokens that were really made, and against hand-computed pages."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from joulemill.catalog.server_dialects import dialect
from joulemill.monitor.accounting.restarts import MAX_ROUTES, OTHER_ROUTES, CounterSeries, by_route, route_increases
from joulemill.servers.metrics import canonical, parse_metrics

VLLM = dialect("vllm")


def page(engines: dict[str, float], start_s: float | None = None, running: int = 0) -> str:
    lines = [f'vllm:generation_tokens_total{{engine="{e}",model_name="m"}} {v}' for e, v in engines.items()]
    lines.append(f'vllm:num_requests_running{{engine="0"}} {running}')
    return "\n".join(lines + ([] if start_s is None else [f"process_start_time_seconds {start_s}"]))


def made(pages: list[str]) -> tuple[list[float], list[bool], list[bool]]:
    """Output tokens between consecutive pages, ten seconds apart from UNIX time 1000 on."""
    series, values, restarted, comparable = CounterSeries(VLLM), [], [], []
    for i, text in enumerate(pages):
        found = series.take(parse_metrics(text), 1000.0 + 10 * i)
        values.append(canonical(found.page, VLLM).get("output_tok_total", 0.0))
        restarted.append(found.restarted)
        comparable.append(found.comparable)
    return [b - a for a, b in pairwise(values)], restarted[1:], comparable[1:]


def test_one_engine_of_two_that_begins_anew_adds_what_it_made_since_and_the_other_goes_on() -> None:
    tokens, restarted, _ = made([page({"0": 1000, "1": 500}), page({"0": 30, "1": 520}), page({"0": 50, "1": 520})])
    assert tokens == [30 + 20, 20]
    assert restarted == [True, False]


def test_an_engine_that_appears_counts_from_first_sight_and_one_that_goes_keeps_what_it_had() -> None:
    tokens, _, _ = made([page({"0": 1000}), page({"0": 1010, "1": 90_000}), page({"1": 90_005}), page({"0": 7})])
    assert tokens == [10, 5, 7]


def test_a_process_that_began_since_counts_whole_even_where_it_outran_its_old_value() -> None:
    tokens, restarted, _ = made([page({"0": 100}, 500.0), page({"0": 150}, 1005.0), page({"0": 160}, 1005.0)])
    assert tokens == [150, 10]
    assert restarted == [True, False]
    tokens, _, _ = made([page({}, 500.0), page({"0": 150, "1": 3}, 1005.0)])
    assert tokens == [153]


def test_two_servers_behind_one_address_are_not_told_as_restarts_for_ever() -> None:
    tokens, _, comparable = made([page({"0": 9000}, 500.0), page({"0": 40}, 700.0), page({"0": 9001}, 500.0)])
    assert comparable == [True, False]
    assert tokens[0] == 40


def test_a_start_time_that_an_exporter_computes_anew_each_time_is_no_restart() -> None:
    tokens, restarted, _ = made([page({"0": 100}, 500.0), page({"0": 150}, 500.9), page({"0": 160}, 499.8)])
    assert tokens == [50, 10]
    assert restarted == [False, False]


def test_a_value_that_is_none_and_gauges_pass_as_they_are() -> None:
    series = CounterSeries(VLLM)
    series.take(parse_metrics(page({"0": 100}, running=7)), 0.0)
    found = series.take(parse_metrics(page({"0": float("nan")}, running=3)), 10.0)
    assert canonical(found.page, VLLM)["running_req"] == 3
    assert not found.restarted


@given(
    st.lists(
        st.tuples(st.lists(st.integers(0, 500), min_size=3, max_size=3), st.sets(st.integers(0, 2))),
        min_size=1,
        max_size=15,
    )
)
def test_what_is_told_is_at_most_what_was_made_and_lacks_only_what_lay_before_a_restart(
    steps: list[tuple[list[int], set[int]]],
) -> None:
    """Three engines; in each step an engine makes tokens, and may restart half way."""
    shown, pages, truth, lost = [1000, 2000, 3000], [], 0, 0
    pages.append(page({str(e): v for e, v in enumerate(shown)}))
    for tokens, again in steps:
        for e, n in enumerate(tokens):
            before, after = n // 2, n - n // 2
            truth += n
            if e in again and after < shown[e]:
                lost += before
                shown[e] = after
            else:
                shown[e] += n
        pages.append(page({str(e): v for e, v in enumerate(shown)}))
    told = sum(made(pages)[0])
    assert told == truth - lost


def test_output_tokens_by_route_close_to_the_whole_and_are_bounded() -> None:
    def text(a: int, b: int) -> str:
        return "\n".join(
            f'vllm:generation_tokens_total{{engine="{e}",model_name="{n}"}} {v}'
            for e, n, v in ((0, "base", a), (1, "base", a), (0, "adapter", b))
        )

    first, second = (by_route(parse_metrics(t), VLLM, "model_name") for t in (text(10, 20), text(15, 20)))
    assert first == {"base": 20, "adapter": 20}
    assert route_increases(first, second) == {"base": 10}
    assert by_route(parse_metrics(text(1, 1)), VLLM, "tenant") == {}
    many = "\n".join(f'vllm:generation_tokens_total{{r="{i}"}} 1' for i in range(MAX_ROUTES + 50))
    found = by_route(parse_metrics(many), VLLM, "r")
    assert len(found) == MAX_ROUTES + 1
    assert found[OTHER_ROUTES] == 50
