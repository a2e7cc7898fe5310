"""Traces as the wild writes them: names, units of time by name or evidence, hashes, sessions, and lines at fault."""

from __future__ import annotations

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.formats.traces.table import parse_trace
from tests.support.paths import SHARED

TRACES = SHARED / "data" / "traces"


def csv_of(time: str, *times: str) -> str:
    return "\n".join([f"{time},input_tokens,output_tokens", *(f"{t},10,20" for t in times)])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (csv_of("arrival_time", "3", "4.5"), "fractions"),
        (csv_of("arrival_time", "3", "5"), "custom"),
        (csv_of("arrival_time_ms", "3000", "4500"), "milliseconds (by its name"),
        (csv_of("arrival_time_ns", "3000000000", "4500000000"), "nanoseconds"),
        (csv_of("timestamp", "1700000000", "1700000001.5"), "since 1970"),
        (csv_of("timestamp", "1700000000000", "1700000001500"), "in ms since 1970"),
        (csv_of("timestamp", "1700000000000000000", "1700000001500000000"), "in ns since 1970"),
        (csv_of("timestamp", "2026-01-01T00:00:00Z", "2026-01-01T01:00:01.5+01:00"), "dates"),
        (csv_of("Timestamp", "12.5", "14"), "fractions"),
        (
            '{"timestamp": 3000, "input_length": 10, "output_length": 20}\n'
            '{"timestamp": 4500, "input_length": 10, "output_length": 20}',
            "Mooncake",
        ),
    ],
)
def test_the_unit_of_time_is_known_by_name_or_evidence_and_said(text: str, says: str) -> None:
    table = parse_trace("t", text)
    assert table.at_s.tolist() == pytest.approx([0.0, 2.0 if "custom" in says else 1.5], abs=1e-6)
    assert says in table.notes[0]


@pytest.mark.parametrize(
    "text", [csv_of("timestamp", "0", "3000"), csv_of("arrival_time", "0", "3000000000"), csv_of("ts", "1", "2")]
)
def test_a_unit_that_nothing_tells_is_refused_with_the_names_that_would(text: str) -> None:
    with pytest.raises(InputError, match=r"line 2: nothing tells the unit.*_ms"):
        parse_trace("t", text)
    assert parse_trace("t", text, time_unit="ms").at_s[-1] == pytest.approx(
        float(text.split("\n")[2].split(",")[0]) / 1e3, rel=0.6
    )


@pytest.mark.parametrize(
    "names",
    [
        "ContextTokens,GeneratedTokens",
        "input_toks,output_toks",
        "prompt_tokens,completion_tokens",
        "ISL,OSL",
        "Request tokens,Response tokens",
        "num_prefill_tokens,num_decode_tokens",
        "prompt_len,output_len",
    ],
)
def test_lengths_are_known_by_the_names_of_many_tools(names: str) -> None:
    table = parse_trace("t", f"time_s,{names}\n0,10,20\n1,11,0\n")
    assert (table.input_tok.tolist(), table.output_tok.tolist()) == ([10, 11], [20, 1])


def test_lines_are_put_in_order_with_all_their_columns() -> None:
    table = parse_trace("t", "time_s;input_tokens;output_tokens;session_id;delay\n5;1;2;b;0\n1;3;4;a;1500\n")
    assert table.at_s.tolist() == [0.0, 4.0]
    assert (table.session, table.wait_s.tolist()) == (("a", "b"), [1.5, 0.0])


def test_a_turn_without_a_time_follows_the_turn_before() -> None:
    lines = [
        '{"session_id": "a", "timestamp": 2000, "input_length": 5, "output_length": 5}',
        '{"session_id": "a", "delay": 500, "input_length": 7, "output_length": 5}',
    ]
    table = parse_trace("t", "\n".join(lines))
    assert (table.at_s.tolist(), table.wait_s.tolist()) == ([0.0, 0.0], [0.0, 0.5])
    with pytest.raises(InputError, match="line 2: has no time"):
        parse_trace("t", "\n".join([lines[0], lines[1].replace('"a"', '"b"')]))


@pytest.mark.parametrize(("block_tok", "count"), [(512, 3), (16, 69)])
def test_tokens_of_a_block_are_known_by_the_number_of_blocks(block_tok: int, count: int) -> None:
    ids = list(range(count))
    table = parse_trace("t", f'{{"time_s": 0, "input_tokens": 1100, "output_tokens": 1, "hash_ids": {ids}}}')
    assert table.block_tok == block_tok
    assert len(table.hashes[0]) == count


def test_blocks_that_no_size_explains_are_refused_unless_stated() -> None:
    row = '{"time_s": 0, "input_tokens": 1100, "output_tokens": 1, "hash_ids": [1, 2, 3, 4, 5, 6, 7]%s}'
    with pytest.raises(InputError, match="line 1: nothing tells how many tokens"):
        parse_trace("t", row % "")
    assert parse_trace("t", row % ', "block_size": 160').block_tok == 160


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("time_s,input_tokens,output_tokens,session,delay\n1,2,3,a,-5\n", "line 2: delay"),
        ("time_s,input_tokens,output_tokens\n1,2,3\n,2,3\n", "line 3: has no time"),
        ('{"time_s": 0, "input_tokens": 9, "output_tokens": 1, "hash_ids": {"a": 1}}', "line 1: hash_ids"),
        ('{"time_s": 0, "input_tokens": [1], "output_tokens": 1}', "line 1: input_tokens"),
        ('{"time_s": 0, "input_tokens": 1, "output_tokens": null}', "line 1: output_tokens"),
        ("time_s,input_tokens,output_tokens\n5,2,3\n2026-01-01,2,3\n", "line 3: time_s is '2026"),
    ],
)
def test_the_line_at_fault_is_named(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_trace("t", text)


CUT_LINES = ["4.5,10,2", "4.5,10,", "4.5,10", "4.5"]


@pytest.mark.parametrize("line", CUT_LINES[1:])
def test_a_last_line_that_was_being_written_is_left_out_and_said(line: str) -> None:
    table = parse_trace("t", csv_of("time_s", "3", "4") + "\n" + line)
    assert table.at_s.tolist() == [0.0, 1.0]
    assert table.cut == table.notes[0] == "t, line 4: the file ends within this line, which is left out"


def test_a_whole_last_line_needs_no_newline() -> None:
    table = parse_trace("t", csv_of("time_s", "3", "4") + "\n" + CUT_LINES[0])
    assert (table.output_tok.tolist(), table.cut) == ([20, 20, 2], "")


ROW = '{"time_s": 3, "input_tokens": 10, "output_tokens": 20}'


@pytest.mark.parametrize("letters", [1, 9, len(ROW) - 1])
def test_a_last_json_line_that_was_being_written_is_left_out_and_said(letters: int) -> None:
    table = parse_trace("t", f"{ROW}\n{ROW[:letters]}")
    assert len(table.at_s) == 1 and "line 2: the file ends within" in table.notes[0]
    assert len(parse_trace("t", f"{ROW}\n{ROW}").at_s) == 2


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (csv_of("time_s", "3", "4") + "\n4.5,10\n", "line 4: has not as many fields"),
        ("time_s,input_tokens,output_tokens\n1,2\n2,2,3", "line 2: has not as many fields"),
        (csv_of("time_s", "3", "4") + "\n4.5,10,many", "line 4: output_tokens is 'many'"),
        (csv_of("time_s", "3", "4") + "\n4.5,10,20,7", "line 4: has not as many fields"),
        (f"{ROW}\n{ROW[:-1]}\n", "line 2: is not JSON"),
        (f"{ROW[:-1]}\n{ROW}", "line 1: is not JSON"),
        (f"{ROW}\nnothing", "line 2: is not JSON"),
        ("time_s,input_tokens,output_tokens\n1,2", "holds no request"),
    ],
)
def test_what_is_not_a_cut_last_line_stays_an_error(text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        parse_trace("t", text)


@pytest.mark.skipif(not TRACES.is_dir(), reason="the recorded traces are not beside the project")
def test_published_traces_have_the_totals_that_an_independent_count_gives() -> None:
    text = (TRACES / "AzureLLMInferenceTrace_code.csv").read_text()
    table = parse_trace("t", text)
    rows = [line.split(",") for line in text.splitlines()[1:]]
    assert table.input_tok.sum() == sum(int(r[1]) for r in rows)
    assert table.output_tok.sum() == sum(max(int(r[2]), 1) for r in rows)
    assert np.all(np.diff(table.at_s) >= 0)
