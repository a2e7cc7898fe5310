"""jm.predict_many: row by row the numbers of jm.predict, in whatever table they come; bad rows are told or are null."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import joulemill as jm
from joulemill.prediction.many import FIGURES

ROWS: list[dict[str, Any]] = [
    {"model": "Qwen/Qwen3-32B", "device": "h100", "devices": 2, "concurrency": 32, "power_cap_w": None},
    {"model": "Qwen/Qwen3-32B", "device": "h100", "devices": 2, "concurrency": 4000, "power_cap_w": 400.0},
    {"model": "Qwen/Qwen3-8B", "device": "h200", "devices": 1, "concurrency": 64, "power_cap_w": None},
    {"model": "openai/gpt-oss-120b", "device": "b200", "devices": 2, "concurrency": 256, "power_cap_w": 700.0},
    {"model": "Qwen/Qwen3-32B", "device": "h100", "devices": 4, "concurrency": 32, "power_cap_w": None},
    {"model": "Qwen/Qwen3-30B-A3B", "device": "mi300x", "devices": 1, "concurrency": 1, "power_cap_w": None},
]
LENGTHS = {"input_tokens": [512, 100, 4000, 64, 1, 2048], "output_tokens": [512, 1000, 16, 1, 300, 2048]}


def columns(rows: list[dict[str, Any]] = ROWS) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in rows[0]} | {k: v[: len(rows)] for k, v in LENGTHS.items()}


def alone(table: dict[str, list[Any]], row: int) -> jm.PredictedDeployment:
    return jm.predict(**{name: values[row] for name, values in table.items() if values[row] is not None})


def agrees(found: Any, row: int, p: jm.PredictedDeployment) -> None:
    figures = p.figures()
    for name in FIGURES:
        for end, want in (("", figures[name].value), ("_low", figures[name].low), ("_high", figures[name].high)):
            got = found[f"{name}{end}"][row]
            assert (got is None or got != got) if want is None else got == pytest.approx(want, rel=1e-6), name + end
    assert found["bottleneck"][row] == p.bottleneck


def test_every_row_has_the_numbers_of_predict() -> None:
    table = columns()
    found = jm.predict_many(table)
    for row in range(len(ROWS)):
        agrees(found, row, alone(table, row))


def test_random_workloads_of_one_deployment_agree_too() -> None:
    draw = np.random.default_rng(3)
    n = 12
    table: dict[str, Any] = {
        "concurrency": draw.uniform(1, 600, n).round(),
        "input_tokens": draw.uniform(1, 8000, n),
        "output_tokens": draw.uniform(1, 2000, n),
        "cached_ratio": draw.uniform(0, 0.9, n),
        "output_spread_ratio": draw.uniform(0, 1, n),
        "gpu_memory_utilization": draw.uniform(0.8, 0.95, n),
    }
    found = jm.predict_many(table, model="Qwen/Qwen3-8B", device="h100")
    for row in range(n):
        given = {k: float(v[row]) for k, v in table.items()}
        agrees(found, row, jm.predict("Qwen/Qwen3-8B", "h100", **given))  # type: ignore[arg-type]


def test_rows_that_need_a_search_are_predicted_alike() -> None:
    rows: dict[str, Any] = {
        "model": "Qwen/Qwen3-8B",
        "device": "h100",
        "concurrency": [None, 16.0, 8.0, None],
        "slo_tpot_s": [0.02, None, None, None],
        "rate_req_s": [None, None, None, 2.0],
    }
    found = jm.predict_many(rows)
    for row, given in enumerate(({"slo_tpot_s": 0.02}, {"concurrency": 16}, {"concurrency": 8}, {"rate_req_s": 2.0})):
        agrees(found, row, jm.predict("Qwen/Qwen3-8B", "h100", **given))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_a_dataframe_comes_back_as_the_same_kind_with_its_own_columns(kind: str) -> None:
    library = pytest.importorskip(kind)
    table = {"id": list("abcdef"), **columns()}
    frame = library.table(table) if kind == "pyarrow" else library.DataFrame(table)
    if kind == "pandas":
        frame.index = [10, 11, 12, 13, 14, 15]
    found = jm.predict_many(frame)
    assert type(found) is type(frame)
    plain = found.to_pydict() if kind == "pyarrow" else {c: found[c].to_list() for c in found.columns}
    assert plain["id"] == table["id"]
    if kind == "pandas":
        assert found.index.tolist() == frame.index.tolist()
    for row in (0, 1, 3, 5):
        agrees(plain, row, alone(columns(), row))


def test_a_bad_row_is_told_with_its_number_and_column() -> None:
    for name, value, says in (
        ("concurrency", 0, "row 2: `concurrency` is 0; it must lie between 1"),
        ("concurrency", "many", "row 2: `concurrency` is 'many'; it must be a number"),
        ("model", "Qwen/Qwen3-8BB", "row 2: "),
        ("power_cap_w", 50.0, "row 2: `power_cap_w` must lie between"),
        ("input_tokens", 9e7, "row 2: the weights and one request of this length do not fit"),
    ):
        table = columns()
        table[name][2] = value
        if name == "input_tokens":
            table["output_tokens"][2] = 512
        with pytest.raises(jm.InputError) as caught:
            jm.predict_many(table)
        assert str(caught.value).startswith(says)


def test_a_bad_row_is_null_with_its_reason_and_the_others_stay() -> None:
    table = columns()
    table["model"][0], table["concurrency"][3] = "no such model", -1
    table["device"][4], table["devices"][4] = "l4", 1  # 24 GB: a model of 32 billion parameters does not fit
    found = jm.predict_many(table, errors="null")
    assert [e is None for e in found["error"]] == [False, True, True, False, False, True]
    assert "no such model" in found["error"][0] and "`concurrency` is -1" in found["error"][3]
    assert np.isnan(found["node_j_tok"][[0, 3, 4]]).all() and np.isfinite(found["node_j_tok"][[1, 2]]).all()
    assert found["bottleneck"][0] is None
    agrees(found, 2, alone(columns(), 2))


def test_names_are_checked() -> None:
    with pytest.raises(jm.InputError, match="did you mean concurrency"):
        jm.predict_many({"model": ["Qwen/Qwen3-8B"], "device": ["h100"], "concurency": [8]})
    with pytest.raises(jm.InputError, match="column 'device' is missing"):
        jm.predict_many({"model": ["Qwen/Qwen3-8B"]})
    with pytest.raises(jm.InputError, match="columns differ in length"):
        jm.predict_many({"model": ["a", "b"], "device": ["h100"]})
    with pytest.raises(jm.InputError, match="no argument 'devise'"):
        jm.predict_many({"model": ["a"]}, devise="h100")
    with pytest.raises(jm.InputError, match="is no table"):
        jm.predict_many(7)
    with pytest.raises(jm.InputError, match="`errors` is 'skip'"):
        jm.predict_many({}, errors="skip")  # type: ignore[arg-type]


def test_a_table_without_rows_has_columns_without_rows() -> None:
    found = jm.predict_many({"model": [], "device": [], "concurrency": []})
    assert len(found["rate_tok_s"]) == 0 and len(found["bottleneck"]) == 0


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_columns_of_any_library_in_a_mapping_are_read_by_their_place(kind: str) -> None:
    library = pytest.importorskip(kind)
    plain = {"model": ["Qwen/Qwen3-8B"] * 2, "device": ["h100", "h200"], "devices": [1, 2], "concurrency": [8, 32]}
    if kind == "pandas":
        table = {name: library.Series(values, index=[7, 9]) for name, values in plain.items()}
    else:
        table = {name: getattr(library, "array" if kind == "pyarrow" else "Series")(v) for name, v in plain.items()}
    found = jm.predict_many(table)
    assert found["model"] is table["model"]
    assert found["node_j_tok"].tolist() == jm.predict_many(plain)["node_j_tok"].tolist()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"device": ["h100", None]}, "row 1: `device` is null"),
        ({"device": ["h100", None], "slo_tpot_s": 0.05}, "row 1: `device` is null"),
        ({"concurrency": np.array([[8, 9]])}, "column 'concurrency' has 2 dimensions"),
        ({"concurrency": np.array([True, False])}, "row 0: `concurrency` is .*; it must be a number"),
        ({"node_j_tok": [1.0, 2.0]}, "column 'node_j_tok' has the name of a column of the result"),
    ],
)
def test_what_no_column_can_be_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(jm.InputError, match=says):
        jm.predict_many({"model": "Qwen/Qwen3-8B", "device": "h100", "concurrency": [8, 9], **change})


def test_an_own_argument_with_a_slip_is_suggested_and_an_error_column_is_not_overwritten() -> None:
    with pytest.raises(jm.InputError, match="no argument 'error'; did you mean errors"):
        jm.predict_many({"model": ["Qwen/Qwen3-8B"], "device": ["h100"]}, error="null")
    with pytest.raises(jm.InputError, match="column 'error' has the name"):
        jm.predict_many({"model": ["Qwen/Qwen3-8B"], "device": ["h100"], "error": ["mine"]}, errors="null")


def test_a_null_cell_is_the_argument_left_out() -> None:
    rows = {"model": "Qwen/Qwen3-8B", "device": "h100", "concurrency": 8, "output_tokens": [None, np.nan, 512.0]}
    found = jm.predict_many(rows)
    assert len(set(found["node_j_tok"].tolist())) == 1
