"""Files of traffic: traces of three kinds, and the requests that other load generators recorded."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from joulemill.errors import InputError
from joulemill.importers.traffic_files import read_traffic
from tests.support.paths import SHARED

TRACES = SHARED / "data" / "traces"
RECORDED = SHARED / "data" / "recordings"


def written(tmp_path: Path, text: str, name: str = "trace.jsonl") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_session_of_a_trace_grows_by_all_that_was_said(tmp_path: Path) -> None:
    text = "time_s,input_tokens,output_tokens,session,delay\n0,100,20,a,0\n4,30,10,a,2000\n1,7,7,,0\n"
    traffic = read_traffic(written(tmp_path, text)).traffic
    assert traffic.input_tok.tolist() == [100, 7, 150]
    assert traffic.previous is not None and traffic.think_ns is not None
    assert traffic.previous.tolist() == [-1, -1, 0]
    assert traffic.think_ns.tolist() == [0, 0, 2_000_000_000]


def test_requests_without_tokens_are_played_as_one_and_told(tmp_path: Path) -> None:
    file = read_traffic(written(tmp_path, "time_s,input_tokens,output_tokens\n0,5,0\n1,0,7\n2,5,0\n", "t.csv"))
    assert file.traffic.input_tok.tolist() == [5, 1, 5] and file.traffic.output_tok.tolist() == [1, 7, 1]
    assert [n for n in file.notes if "simulated as 1" in n] == [
        "1 of 3 requests have 0 prompt tokens, which are simulated as 1",
        "2 of 3 requests have 0 output tokens, which are simulated as 1",
    ]


def test_equal_hashes_stay_equal(tmp_path: Path) -> None:
    row = '{"timestamp": %d, "input_length": 1030, "output_length": 1, "hash_ids": [%s]}'
    file = written(tmp_path, "\n".join([row % (0, "7, 8, 9"), row % (3000, "7, 8, 11")]))
    traffic = read_traffic(file).traffic
    assert traffic.block_hash is not None
    assert traffic.block_tok == 512
    first, second = traffic.block_hash[:3], traffic.block_hash[3:]
    assert (first == second).tolist() == [True, True, False]


@pytest.mark.skipif(not TRACES.is_dir(), reason="the recorded traces are not beside the project")
def test_mooncakes_blocks_are_read_whole() -> None:
    file = read_traffic(TRACES / "mooncake_conversation_trace.jsonl")
    assert file.traffic.requests_count == 12031
    assert file.traffic.block_tok == 512
    assert any("milliseconds" in n for n in file.notes)
    # Blocks that were asked before, as counted from the file itself.
    hashes = file.traffic.block_hash
    assert hashes is not None
    assert len(np.unique(hashes)) < len(hashes)


@pytest.mark.skipif(not RECORDED.is_dir(), reason="recorded files of other tools are not beside the project")
@pytest.mark.parametrize("tool", ["guidellm", "aiperf"])
def test_the_requests_of_another_load_generator_are_asked_again(tool: str) -> None:
    files = sorted(p for p in (RECORDED / tool).rglob("*.json*") if p.stat().st_size)
    readable = []
    for path in files:
        try:
            readable.append(read_traffic(path))
        except InputError:
            continue
    assert readable
    traffic = readable[0].traffic
    assert set(traffic.output_tok) == {50}  # what the server of those recordings answered
    gaps_s = np.diff(traffic.arrival_ns) / 1e9
    assert np.median(gaps_s) == pytest.approx(0.101 + 49 * 0.02, rel=0.1)  # one at a time: TTFT and 49 gaps of 20 ms


@pytest.mark.parametrize("text", ["", "nothing,here\n1,2\n", "{}", "[1, 2]", "\x00\x01\x02"])
def test_what_is_no_traffic_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError) as refused:
        read_traffic(written(tmp_path, text))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ("0,1,1,a,0\n1e300,1,1,a,0\n", "line 3: comes more than 400 days after the first; check the unit of time_s"),
        ("0,1,1,a,0\n1,1,1,a,1e300\n", "line 3: delay is '1e300', not a wait from 0 s to 400 days"),
        ("0,9999999,1,a,0\n" * 200, "the prompts of the sessions' turns add up to 2.01e+11 tokens, more than 8e+08"),
    ],
    ids=["time", "wait", "sessions"],
)
def test_absurd_sizes_are_refused_before_they_fill_an_array(tmp_path: Path, rows: str, says: str) -> None:
    with pytest.raises(InputError, match=re.escape(says)):
        read_traffic(written(tmp_path, "time_s,input_tokens,output_tokens,session,delay\n" + rows))


@pytest.mark.parametrize("size", ["NaN", "Infinity", "1e300", "-1"])
def test_a_block_size_that_cannot_be_is_passed_over(tmp_path: Path, size: str) -> None:
    row = '{"timestamp": 0, "input_length": 1030, "output_length": 1, "hash_ids": [7, 8, 9], "block_size": %s}'
    assert read_traffic(written(tmp_path, row % size)).traffic.block_tok == 512
