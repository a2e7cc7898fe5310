"""Whatever a file holds, an import ends in a record or in one InputError. Files are broken at random and on purpose."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemill.analysis.run import analyze
from joulemill.analysis.serialization import from_json, to_json
from joulemill.errors import InputError
from joulemill.formats.documents import parse_document
from joulemill.formats.untrusted import Part, clean
from joulemill.importers.joining import AddedFacts, to_record
from joulemill.importers.opening import parse_documents
from joulemill.importers.recording import Choice
from joulemill.ledger.record import RunRecord
from joulemill.recording.writer import read_run, write_run
from joulemill.reports.html.run import render
from tests.support import foreign_results
from tests.support.foreign_results import CODECARBON, detail, inferencex, llmd, mlenergy, requests, summary

pytestmark = pytest.mark.apart

DOCUMENTS: dict[str, Any] = {
    "guidellm": foreign_results.guidellm(),
    "aiperf": foreign_results.aiperf_summary(),
    "vllm": detail(),
    "inference-perf": requests(),
    "inference-perf summary": summary(),
    "inferencex": inferencex(),
    "llm-d": llmd(),
    "mlenergy": mlenergy(),
}
HOSTILE = "<script>alert(1)</script>\x00\x1b[31m\ud800"
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(10**30), max_value=10**30),
    st.floats(),
    st.sampled_from([-1, 0, 1e308, 10**400, HOSTILE, "", [], {}, [[]], {"a": {}}, "9" * 500]),
    st.text(max_size=20),
)


def imported(data: bytes, tokens: bool = False) -> RunRecord | None:
    """The record of a file with ``data``; None where it was refused as it should be: in one line."""
    try:
        documents = [parse_document("file", data)]
        return to_record(parse_documents(documents, Choice(client_tokens=tokens)), documents, None, AddedFacts())
    except InputError as fault:
        told = str(fault)
    assert told.isprintable(), "one line, and nothing in it that a terminal would obey"
    return None


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every member of ``value``; of a list only to its first two."""
    found = [path] if path else []
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value[:2]):
            found += places(item, (*path, index))
    return found


@st.composite
def broken(draw: st.DrawFn) -> bytes:
    """One of the documents with one to three of its members replaced or removed."""
    document = copy.deepcopy(DOCUMENTS[draw(st.sampled_from(sorted(DOCUMENTS)))])
    for _ in range(draw(st.integers(1, 3))):
        there = places(document)
        if not there:
            break
        path = draw(st.sampled_from(there))
        holder = document
        try:
            for step in path[:-1]:
                holder = holder[step]
            if draw(st.booleans()) or not isinstance(holder, dict):
                holder[path[-1]] = copy.deepcopy(draw(VALUES))
            else:
                del holder[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue
    return json.dumps(document).encode()


@settings(max_examples=150, deadline=None)
@given(broken(), st.booleans())
def test_broken_members_give_a_report_or_one_clear_error(data: bytes, tokens: bool) -> None:
    record = imported(data, tokens)
    if record is not None:
        report = analyze(record)
        assert "<script" not in render(report)
        assert from_json(to_json(report)).run_id == report.run_id


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(DOCUMENTS)), st.floats(0, 1), st.binary(max_size=4))
def test_truncated_and_spoilt_bytes(name: str, share: float, more: bytes) -> None:
    data = json.dumps(DOCUMENTS[name]).encode()
    imported(data[: int(share * len(data))] + more)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 7), VALUES, st.sampled_from(["metadata", "metrics", "error"]))
def test_broken_lines(row: int, value: Any, member: str) -> None:
    rows = foreign_results.aiperf_lines()
    rows[row][member] = value
    imported("\n".join(json.dumps(r) for r in rows).encode())


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200))
def test_any_text(text: str) -> None:
    imported(text.encode("utf-8", "replace"))
    imported(CODECARBON.format(pue=text.replace("{", "").replace("}", "")).encode("utf-8", "replace"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" \n ",
        b"\xff\xfe\x00",
        b"null",
        b"1",
        b"[]",
        b"{}",
        b'"text"',
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b"{" + b"9" * 10_000,
        b'{"benchmarks": ' + b"9" * 5000 + b"}",
        b"a,b\n\x00,1\n",
    ],
    ids=lambda d: ascii(d[:12]),
)
def test_nothing_of_it_is_a_result(data: bytes) -> None:
    assert imported(data) is None


def test_negative_tokens_are_named_by_their_place() -> None:
    document = foreign_results.guidellm()
    document["benchmarks"][0]["requests"]["successful"][3]["output_tokens"] = -5
    with pytest.raises(InputError, match=r"successful\[3\]\.output_tokens: -5 is below 0"):
        parse_documents([parse_document("g", json.dumps(document).encode())], Choice())


@pytest.mark.parametrize("tokens", [5_000_000, 10**12])
def test_token_counts_that_would_fill_the_memory_are_refused(tokens: int) -> None:
    document = foreign_results.guidellm()
    document["benchmarks"][0]["requests"]["successful"][3]["output_tokens"] = tokens
    with pytest.raises(InputError, match=f"a request of {tokens} tokens"):
        parse_documents([parse_document("g", json.dumps(document).encode())], Choice())
    for request in document["benchmarks"][0]["requests"]["successful"]:
        request["output_tokens"] = 3_999_999
    document["benchmarks"][0]["requests"]["successful"] *= 4
    with pytest.raises(InputError, match="import a shorter part"):
        parse_documents([parse_document("g", json.dumps(document).encode())], Choice())


def test_nan_is_unknown_and_never_zero() -> None:
    document = detail(mean_ttft_ms=float("nan"), output_throughput=float("inf"))
    record = imported(json.dumps(document).encode())
    assert record is not None
    assert not {"latency.ttft_s.mean", "output.rate_tok_s"} & {s.name for s in record.manifest.stated or ()}


def test_hostile_names_survive_as_text_on_disk_and_in_every_view(tmp_path: Path) -> None:
    document = foreign_results.guidellm()
    document["benchmarks"][0]["config"]["backend"]["model"] = HOSTILE
    document["metadata"]["guidellm_version"] = HOSTILE
    document["benchmarks"][0]["requests"]["successful"][0]["request_id"] = HOSTILE
    record = imported(json.dumps(document).encode())
    assert record is not None
    write_run(tmp_path / "run", record)
    again = read_run(tmp_path / "run")
    assert again == record
    page = render(analyze(again))
    assert "<script" not in page and "\x1b" not in page and "\x00" not in page


def test_clean_text_is_printable_and_short() -> None:
    assert clean("a\nb\tc") == "a b c"
    assert clean(HOSTILE).isprintable()
    assert len(clean("x" * 10_000)) == 300
    assert Part(10**5000, "x").text() is None
