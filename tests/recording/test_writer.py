from __future__ import annotations

import errno
import json
import math
import random
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from simulated.runs import steady_run

from joulemill.errors import InputError, JoulemillError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.manifest import Manifest
from joulemill.ledger.record import (
    Channel,
    MachineSample,
    Phase,
    QualityAnswer,
    Quantity,
    Reading,
    RequestOutcome,
    RequestRecord,
    RunRecord,
    Scope,
    ServerSample,
)
from joulemill.recording.writer import FILES, RunWriter, free_folder, read_run, write_run
from tests.support.manifests import manifest_of

pytestmark = pytest.mark.apart

numbers = st.floats(-1e12, 1e12)
maybe = st.none() | numbers
counts = st.none() | st.integers(0, 4_000_000)
text = st.text(max_size=12)
#: Members that a manifest does not know: what it knows must be of its kind.
unknown_members = text.filter(lambda name: name not in {f.name for f in fields(Manifest)})

channels = st.builds(
    Channel,
    id=text,
    meter=text,
    device=text,
    scope=st.sampled_from(Scope),
    quantity=st.sampled_from(Quantity),
    basis=st.sampled_from(Basis),
    resolution=maybe,
    update_period_s=maybe,
    max_range=maybe,
    rel_error=maybe,
    clock_skew_s=maybe,
    sampled_ratio=maybe,
    includes=st.lists(text, max_size=2).map(tuple),
    source=st.none() | text,
)
readings = st.builds(Reading, text, numbers, numbers, maybe, st.none() | text)
requests = st.builds(
    RequestRecord,
    id=text,
    phase=text,
    scheduled_mono_s=numbers,
    dispatched_mono_s=maybe,
    first_byte_mono_s=maybe,
    first_token_mono_s=maybe,
    last_token_mono_s=maybe,
    end_mono_s=maybe,
    outcome=st.sampled_from(RequestOutcome),
    prompt_tok=counts,
    cached_tok=counts,
    output_tok=counts,
    chunk_mono_s=st.lists(numbers, max_size=3).map(tuple),
    retries=st.integers(0, 9),
    error=st.none() | text,
)
machine_samples = st.builds(
    MachineSample,
    t_mono_s=numbers,
    t_wall_s=numbers,
    **{f.name: maybe for f in fields(MachineSample) if not f.name.startswith("t_")},
)
answers = st.builds(
    QualityAnswer,
    request_id=text,
    task=text,
    question_id=text,
    scorer=text,
    expected=text,
    answer=st.none() | text,
    score=maybe,
)
phases = st.builds(Phase, st.sampled_from(["idle", "load", "drain"]), numbers, numbers, maybe)
records = st.builds(
    RunRecord,
    manifest=st.dictionaries(unknown_members, numbers | text, max_size=3).map(manifest_of),
    channels=st.lists(channels, max_size=2).map(tuple),
    readings=st.lists(readings, max_size=4).map(tuple),
    requests=st.lists(requests, max_size=3, unique_by=lambda r: r.id).map(tuple),
    server=st.lists(
        st.builds(ServerSample, numbers, numbers, st.dictionaries(text, numbers, max_size=2)), max_size=2
    ).map(tuple),
    machine=st.lists(machine_samples, max_size=2).map(tuple),
    phases=st.lists(phases, max_size=3, unique_by=lambda p: p.name).map(tuple),
    quality=st.lists(answers, max_size=2).map(tuple),
    events=st.lists(st.fixed_dictionaries({"kind": st.just("note"), "text": text}), max_size=2).map(tuple),
    status=st.sampled_from(["complete", "interrupted", "failed"]),
    status_reason=st.none() | text,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(record=records)
def test_a_run_read_again_is_the_run_bit_for_bit(record: RunRecord, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("run") / "r"
    write_run(path, record)
    assert read_run(path) == record


def small(path: Path) -> Path:
    writer = RunWriter(path)
    writer.manifest(manifest_of({"options": {}}))
    writer.phase_start(Phase("load", 1.0, 2.0))
    for i in range(3):
        writer.readings([Reading("c", 0.1 * i, 1.0, 0.1 * i)])
    writer.status("complete", None)
    writer.close()
    return path


def test_the_files_are_plain_json_lines_that_any_tool_reads(tmp_path: Path) -> None:
    path = small(tmp_path / "r")
    assert sorted(p.name for p in path.iterdir()) == sorted([*(f"{n}.jsonl" for n in FILES), "run.json"])
    rows = [json.loads(line) for line in (path / "readings.jsonl").read_text().splitlines()]
    assert [r["value"] for r in rows] == [0.0, 0.1, 0.2]
    assert json.loads((path / "run.json").read_text())["schema_version"] == 1


@pytest.mark.parametrize("cut", range(1, 30, 4))
def test_a_torn_last_line_costs_only_itself(tmp_path: Path, cut: int) -> None:
    path = small(tmp_path / "r")
    file = path / "readings.jsonl"
    file.write_bytes(file.read_bytes()[:-cut])
    assert len(read_run(path).readings) == (3 if cut == 1 else 2)


def test_a_broken_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = small(tmp_path / "r")
    lines = (path / "readings.jsonl").read_text().splitlines()
    (path / "readings.jsonl").write_text("\n".join([lines[0], "{", lines[2]]) + "\n")
    with pytest.raises(InputError, match=r"readings\.jsonl, line 2"):
        read_run(path)


def test_a_line_without_a_field_is_named_and_a_new_field_is_passed_over(tmp_path: Path) -> None:
    path = small(tmp_path / "r")
    file = path / "readings.jsonl"
    file.write_text('{"channel":"c","t_mono_s":1,"t_wall_s":1,"value":2,"humidity":3}\n')
    assert read_run(path).readings == (Reading("c", 1, 1, 2),)
    file.write_text('{"channel":"c"}\n')
    with pytest.raises(InputError, match="line 1: lacks t_mono_s"):
        read_run(path)


def test_a_killed_run_reads_as_interrupted(tmp_path: Path) -> None:
    path = small(tmp_path / "r")
    (path / "machine.jsonl").unlink()
    events = (path / "events.jsonl").read_text().splitlines()
    (path / "events.jsonl").write_text(events[0] + "\n")
    record = read_run(path)
    assert (record.status, record.machine) == ("interrupted", ())
    assert record.phases == (Phase("load", 1.0, 2.0, None),)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [(None, "no run is there"), ("{", "cannot be read"), ("{}", "schema_version"), ('{"schema_version": 99}', "newer")],
)
def test_a_folder_that_is_no_run_says_what_to_do(tmp_path: Path, manifest: str | None, says: str) -> None:
    if manifest is not None:
        (tmp_path / "run.json").write_text(manifest)
    with pytest.raises(InputError, match=says):
        read_run(tmp_path)


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    small(tmp_path / "r")
    with pytest.raises(InputError, match="holds a run already"):
        RunWriter(tmp_path / "r")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full to fill")
def test_a_full_disk_is_told_and_what_was_kept_stays(tmp_path: Path) -> None:
    path = tmp_path / "r"
    writer = RunWriter(path)
    writer.manifest(manifest_of({"options": {}}))
    writer.readings([Reading("c", 1.0, 1.0, 5.0)])
    writer._files["requests"].close()
    writer._files["requests"] = open("/dev/full", "w")  # noqa: SIM115  every flush of it is ENOSPC
    for number in range(3):
        writer.request(
            RequestRecord(
                id=str(number),
                phase="load",
                scheduled_mono_s=0.0,
                dispatched_mono_s=None,
                first_byte_mono_s=None,
                first_token_mono_s=None,
                last_token_mono_s=None,
                end_mono_s=None,
                outcome=RequestOutcome.OK,
            )
        )
    with pytest.raises(MachineError, match=r"disk .* is full.*kept there"):
        writer.close()
    assert read_run(path).readings == (Reading("c", 1.0, 1.0, 5.0),)


def test_after_a_fault_every_call_says_so(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "r")
    writer._fault = OSError(errno.EROFS, "Read-only file system")
    with pytest.raises(MachineError, match="`out`"):
        writer.event("note", text="x")
    with pytest.raises(MachineError):
        writer.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError, match="cannot write"):
        RunWriter(tmp_path / "file" / "r")


def test_what_json_cannot_hold_is_kept_as_a_note(tmp_path: Path) -> None:
    record = replace(RunRecord(manifest=Manifest()), readings=(Reading("c", 1.0, 1.0, math.nan),))
    write_run(tmp_path / "r", record)
    found = read_run(tmp_path / "r")
    assert found.readings == ()
    assert found.events[0]["kind"] == "unwritable"


def test_rows_reach_the_disk_within_seconds_of_being_seen(tmp_path: Path) -> None:
    import time

    writer = RunWriter(tmp_path / "r")
    writer.manifest(Manifest())
    writer.readings([Reading("c", 1.0, 1.0, 5.0)])
    deadline = time.monotonic() + 60
    while not (tmp_path / "r" / "readings.jsonl").stat().st_size and time.monotonic() < deadline:
        time.sleep(0.05)
    kept = read_run(tmp_path / "r").readings
    writer.close()
    assert kept == (Reading("c", 1.0, 1.0, 5.0),)


def test_a_free_folder_is_not_taken(tmp_path: Path) -> None:
    first = free_folder(tmp_path, 0.0)
    assert first.name == "19700101T000000Z"
    first.mkdir()
    assert free_folder(tmp_path, 0.0).name == "19700101T000000Z-2"


# --- a folder that was cut, edited or copied in part -----------------------------------------------------------------
def whole(path: Path) -> Path:
    write_run(path, steady_run())
    return path


@pytest.mark.finding("F49")
@pytest.mark.parametrize("name", ["requests", "readings", "server", "machine"])
def test_a_folder_that_lost_rows_is_no_complete_run(name: str, tmp_path: Path) -> None:
    file = whole(tmp_path / "r") / f"{name}.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    if not lines:
        pytest.skip(f"this run has no {name}")
    file.write_bytes(b"".join(lines[: len(lines) // 2]))
    record = read_run(tmp_path / "r")
    assert record.status == "interrupted"
    assert f"{name}.jsonl holds {len(lines) // 2} of {len(lines)} rows" in str(record.status_reason)


@pytest.mark.finding("F49")
def test_a_file_that_was_deleted_is_told(tmp_path: Path) -> None:
    (whole(tmp_path / "r") / "requests.jsonl").unlink()
    assert "requests.jsonl holds 0 of" in str(read_run(tmp_path / "r").status_reason)


@pytest.mark.finding("F49")
def test_a_torn_line_of_a_complete_run_without_counts_is_told(tmp_path: Path) -> None:
    """Runs of the first version have no counts; a line without its end shows the cut."""
    path = whole(tmp_path / "r")
    events = [json.loads(line) for line in (path / "events.jsonl").read_text().splitlines()]
    (path / "events.jsonl").write_text(
        "".join(json.dumps({k: v for k, v in e.items() if k != "rows"}) + "\n" for e in events)
    )
    assert read_run(path).status == "complete"
    data = (path / "requests.jsonl").read_bytes()
    (path / "requests.jsonl").write_bytes(data[:-20])
    assert "requests.jsonl is torn" in str(read_run(path).status_reason)


@pytest.mark.finding("F21")
def test_requests_that_stand_twice_are_refused(tmp_path: Path) -> None:
    file = whole(tmp_path / "r") / "requests.jsonl"
    file.write_bytes(file.read_bytes() * 2)
    with pytest.raises(InputError, match="appear in it twice"):
        read_run(tmp_path / "r")


BAD_VALUES = [None, True, "x", [], {}, -1, 1.5, float("nan"), float("inf"), 10**400, 2**62, "\x1b[31m"]


@pytest.mark.finding("F49")
@pytest.mark.parametrize("seed", range(6))
def test_whatever_a_folder_holds_it_is_read_or_refused(seed: int, tmp_path: Path) -> None:
    """Mutations of every file: a field of another kind, bytes cut, lines swapped."""
    from joulemill.analysis.run import analyze

    path = whole(tmp_path / "r")
    intact = {p.name: p.read_bytes() for p in path.iterdir()}
    chance = random.Random(seed)
    for _ in range(25):
        name = chance.choice(sorted(intact))
        (path / name).write_bytes(mutated(intact[name], chance))
        with suppress(JoulemillError):
            analyze(read_run(path))
        (path / name).write_bytes(intact[name])


def mutated(data: bytes, chance: random.Random) -> bytes:
    lines = data.splitlines(keepends=True)
    kind = chance.choice(["cut", "value", "value", "value", "drop", "swap", "byte"])
    if not lines or kind == "cut":
        return data[: chance.randrange(len(data) + 1)]
    at = chance.randrange(len(lines))
    if kind == "drop":
        return b"".join(lines[:at] + lines[at + 1 :])
    if kind == "swap":
        chance.shuffle(lines)
        return b"".join(lines)
    if kind == "byte":
        spot = chance.randrange(len(data))
        return data[:spot] + bytes([chance.randrange(256)]) + data[spot + 1 :]
    try:
        row = json.loads(data if data[:2] == b"{\n" else lines[at])
    except ValueError:
        return data[::-1]
    place = row
    while True:
        key = chance.choice(sorted(place)) if place else "x"
        if isinstance(place.get(key), dict) and place[key] and chance.random() < 0.7:
            place = place[key]
            continue
        place[key] = chance.choice(BAD_VALUES)
        break
    text = json.dumps(row).encode() + b"\n"
    return text if data[:2] == b"{\n" else b"".join([*lines[:at], text, *lines[at + 1 :]])
