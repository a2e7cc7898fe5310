"""Logs as people have them: cut, buffered, in other encodings, with commas where commas do not belong."""

from __future__ import annotations

import codecs
import random
from pathlib import Path

import pytest

from joulemill.errors import InputError
from joulemill.ledger.energy import window_energy
from joulemill.ledger.identity import Identity, identity_of
from joulemill.ledger.record import Quantity, Reading
from joulemill.ledger.trace import trace
from joulemill.meters.files.text_lines import LineReader, encoding_of
from joulemill.meters.meter import Clock, Meter, MeterContext
from joulemill.meters.opening import open_meters
from tests.support.surroundings import HandClock

#: 2026-01-31 12:00:00 UTC
NOON = 1769860800.0
HEAD = "timestamp, index, power.draw [W], utilization.gpu [%]"


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def context(told: list[str]) -> MeterContext:
    return MeterContext(clock=HandClock(NOON + 3600 - 1.7e9 + 1e9).clock, notice=told.append, environ={})


def opened(path: Path, context: MeterContext, options: str = ",tz=UTC") -> Meter:
    return open_meters([f"file:{path}{options}"], context)[0]


def put(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def rows(polls: int, boards: int = 4, apart_ms: int = 0, watts: str = "300.00 W", tail: str = ", 97 %") -> list[str]:
    """``polls`` polls a second apart, a row a board, each ``apart_ms`` after the one before."""
    return [
        f"2026/01/31 12:00:{s:02d}.{100 + apart_ms * b:03d}, {b}, {watts}{tail}"
        for s in range(polls)
        for b in range(boards)
    ]


def whole(meter: Meter) -> list[Reading]:
    return [*meter.read(), *meter.read()]


def watts_by_board(readings: list[Reading]) -> dict[str, list[float | None]]:
    found: dict[str, list[float | None]] = {}
    for r in readings:
        if "power" in r.channel:
            found.setdefault(r.channel.split(":")[1], []).append(r.value)
    return found


# --- identity ----------------------------------------------------------------------------------------------------


@pytest.mark.finding("F13")
@pytest.mark.parametrize("apart_ms", [0, 2, 8])
@pytest.mark.parametrize("column", ["", "name, ", "gpu_name, "])
def test_a_log_of_several_boards_that_names_none_is_refused(
    tmp_path: Path, context: MeterContext, apart_ms: int, column: str
) -> None:
    name = "NVIDIA H100 80GB HBM3, " if column else ""
    lines = [f"timestamp, {column}power.draw [W]"] + [
        f"2026/01/31 12:00:{s:02d}.{100 + apart_ms * b:03d}, {name}{300 + 50 * b}.00 W"
        for s in range(30)
        for b in range(4)
    ]
    path = put(tmp_path / "smi.csv", "\n".join(lines) + "\n")
    with pytest.raises(InputError, match=r"several boards and no column of it identifies the boards"):
        opened(path, context)


@pytest.mark.finding("F13")
def test_rows_without_identity_whose_times_go_back_are_of_several_boards(tmp_path: Path, context: MeterContext) -> None:
    lines = ["timestamp, power.draw [W]"]
    lines += [f"2026/01/31 12:00:{s:02d}.{ms}, 300.00 W" for s in range(30) for ms in (780, 280)]
    with pytest.raises(InputError, match="several boards"):
        opened(put(tmp_path / "smi.csv", "\n".join(lines) + "\n"), context)


@pytest.mark.finding("F13")
def test_a_log_of_one_row_a_poll_without_identity_has_no_name_for_the_ledger(
    tmp_path: Path, context: MeterContext, told: list[str]
) -> None:
    lines = ["timestamp, name, power.draw [W]"]
    lines += [f"2026/01/31 12:00:{s:02d}.100, NVIDIA H100 PCIe, 300.00 W" for s in range(30)]
    meter = opened(put(tmp_path / "smi.csv", "\n".join(lines) + "\n"), context)
    assert {identity_of(c.device) for c in meter.channels()} == {Identity.NONE}
    assert len(told) == 1 and "counts only where one board is stated" in told[0]


def test_an_amd_smi_log_that_says_no_board_is_read_as_such(
    tmp_path: Path, context: MeterContext, told: list[str]
) -> None:
    text = "timestamp,socket_power\n" + "".join(f"{1788250400 + n},300\n" for n in range(5))
    meter = opened(put(tmp_path / "amd.csv", text), context)
    assert {identity_of(c.device) for c in meter.channels()} == {Identity.NONE}
    assert len(told) == 1 and "counts only where one board is stated" in told[0]


@pytest.mark.parametrize(
    ("columns", "cells", "device"),
    [
        ("index, uuid", "0, GPU-a", "GPU-a"),
        ("index, pci.bus_id", "0, 00000000:17:00.0", "00000000:17:00.0"),
        ("name, index", "H100, 3", "3"),
        ("uuid, index", "[N/A], 3", "3"),
        ("serial, index", "[N/A], 5", "5"),
    ],
)
def test_the_best_identity_of_a_row_names_it(
    tmp_path: Path, context: MeterContext, columns: str, cells: str, device: str
) -> None:
    text = f"timestamp, {columns}, power.draw [W]\n2026/01/31 12:00:00.100, {cells}, 300.00 W\n"
    assert [c.device for c in opened(put(tmp_path / "smi.csv", text), context).channels()] == [device]


def test_a_row_whose_identity_is_blank_is_named_and_left_out(
    tmp_path: Path, context: MeterContext, told: list[str]
) -> None:
    text = "\n".join([HEAD, *rows(3, 2), "2026/01/31 12:00:03.100, [N/A], 300.00 W, 97 %", ""])
    assert set(watts_by_board(whole(opened(put(tmp_path / "smi.csv", text), context)))) == {"0", "1"}
    assert len(told) == 1 and "line 8: its index is [N/A]" in told[0]


@pytest.mark.parametrize("gpus", ["2+3", "GPU-2+GPU-3", "GPU-2+3"])
def test_boards_of_a_log_are_chosen_and_counted(tmp_path: Path, context: MeterContext, gpus: str) -> None:
    lines = ["timestamp, index, uuid, power.draw [W]"]
    lines += [f"2026/01/31 12:00:0{s}.100, {b}, GPU-{b}, {300 + b}.00 W" for s in range(3) for b in range(4)]
    path = put(tmp_path / "smi.csv", "\n".join([*lines, ""]))
    by_board = watts_by_board(whole(opened(path, context, f",tz=UTC,gpus={gpus},count=2")))
    assert by_board == {"GPU-2": [302.0] * 3, "GPU-3": [303.0] * 3}
    with pytest.raises(InputError, match="no board 9; there are 0=GPU-0, 1=GPU-1"):
        opened(path, context, ",gpus=0+9")
    with pytest.raises(InputError, match=r"3 boards expected, 4 in .*smi.csv \(GPU-0, GPU-1, GPU-2, GPU-3\)"):
        opened(path, context, ",count=3")


# --- cut and buffered --------------------------------------------------------------------------------------------


def test_a_last_line_cut_anywhere_costs_that_line_alone(tmp_path: Path, context: MeterContext) -> None:
    full = "\n".join([HEAD, *rows(4)]) + "\n"
    begin = full[:-1].rindex("\n") + 1
    for cut in range(begin, len(full)):
        context.__dict__["notice"] = (told := []).append
        path = put(tmp_path / "smi.csv", full[:cut])
        by_board = watts_by_board(whole(opened(path, context)))
        assert {v for values in by_board.values() for v in values} == {300.0}
        complete = cut == len(full) - 1  # nothing but the newline is missing
        assert len(by_board["3"]) == (4 if complete else 3), cut
        assert len(told) == (0 if complete or cut == begin else 1), cut
        assert all("line 17 has no end: it is cut" in t for t in told)


@pytest.mark.parametrize("tail", ["", ", 97 %", ", P0"])
@pytest.mark.parametrize("watts", ["300.00 W", "300.00"])
def test_a_cut_number_is_never_taken_for_a_whole_one(
    tmp_path: Path, context: MeterContext, watts: str, tail: str
) -> None:
    heading = "timestamp, index, power.draw [W]" + (
        ", utilization.gpu [%]" if "%" in tail else ", pstate" if tail else ""
    )
    full = "\n".join([heading, *rows(3, 1, watts=watts, tail=tail)])
    for cut in range(full.rindex("\n") + 1, len(full) + 1):
        readings = whole(opened(put(tmp_path / "smi.csv", full[:cut]), context))
        assert set(watts_by_board(readings)["0"]) == {300.0}, full[:cut][-40:]


def test_a_row_that_was_cut_with_a_newline_behind_it_is_no_reading(
    tmp_path: Path, context: MeterContext, told: list[str]
) -> None:
    text = "\n".join(["timestamp, index, power.draw [W]", *rows(3, 1, tail=""), "2026/01/31 12:00:03.100, 0, 30", ""])
    assert watts_by_board(whole(opened(put(tmp_path / "smi.csv", text), context)))["0"] == [300.0, 300.0, 300.0, None]


@pytest.mark.parametrize("block", [1024, 1000, 37, 1])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_block_buffered_writer_is_followed(tmp_path: Path, context: MeterContext, block: int, encoding: str) -> None:
    polls = 40 if block > 100 else 5
    data = ("\n".join([HEAD, *rows(polls, apart_ms=2)]) + "\n").encode(encoding)
    path = tmp_path / "smi.csv"
    first = data.index("12:00:01".encode(encoding)[-16:]) + 400  # a poll, and the next one's beginning
    path.write_bytes(data[:first])
    meter = opened(path, context)
    readings = list(meter.read())
    for begin in range(first, len(data), block):
        with path.open("ab") as file:
            file.write(data[begin : begin + block])
        for _ in range(3):  # it stands still for a while in the middle of a line
            readings += meter.read()
    by_board = watts_by_board(readings)
    assert {b: set(v) for b, v in by_board.items()} == {b: {300.0} for b in "0123"}
    assert {b: len(v) for b, v in by_board.items()} == dict.fromkeys("0123", polls)
    for channel in meter.channels():
        if channel.quantity is Quantity.POWER:
            mine = trace(channel, [r for r in readings if r.channel == channel.id])
            used = window_energy(mine, float(mine.t_s[0]), float(mine.t_s[-1]))
            assert used.energy_j == pytest.approx(300.0 * (polls - 1))


def test_opening_waits_for_the_boards_of_the_first_poll(tmp_path: Path, told: list[str]) -> None:
    path = put(tmp_path / "smi.csv", "\n".join([HEAD, *rows(1)[:2], ""]))
    later = iter(rows(2)[2:])
    moment = path.stat().st_mtime

    def sleep(_: float) -> None:
        with path.open("a") as file:
            file.write(next(later) + "\n")

    clock = Clock(mono=lambda: 5.0, wall=lambda: moment + 1.0, sleep=sleep)
    meter = opened(path, MeterContext(clock=clock, notice=told.append, environ={}))
    assert {c.device for c in meter.channels()} == set("0123") and not any("appeared" in t for t in told)


@pytest.mark.parametrize("begin", ["", "timestamp, ind"])
def test_opening_waits_for_the_first_line(tmp_path: Path, told: list[str], begin: str) -> None:
    path = put(tmp_path / "smi.csv", begin)
    moment = path.stat().st_mtime
    text = "\n".join([HEAD, *rows(2), ""])
    clock = Clock(mono=lambda: 5.0, wall=lambda: moment + 1.0, sleep=lambda _: path.write_text(text) and None)
    meter = opened(path, MeterContext(clock=clock, notice=told.append, environ={}))
    assert {c.device for c in meter.channels()} == set("0123")


def test_a_log_that_is_written_anew_is_read_from_its_beginning(tmp_path: Path, context: MeterContext) -> None:
    path = put(tmp_path / "smi.csv", "\n".join([HEAD, *rows(5, 1), ""]))
    meter = opened(path, context)
    assert len(watts_by_board(whole(meter))["0"]) == 5
    put(path, "\n".join([HEAD, *rows(2, 1), ""]))
    assert ["became shorter" in (r.error or "") for r in meter.read()] == [True, True]
    assert len(watts_by_board(whole(meter))["0"]) == 2


# --- encodings and line ends -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n", "\r"])
def test_every_encoding_and_line_end(tmp_path: Path, context: MeterContext, encoding: str, end: str) -> None:
    path = put(tmp_path / "smi.csv", end.join([HEAD, *rows(3), ""]), encoding)
    assert {b: v for b, v in watts_by_board(whole(opened(path, context))).items()} == {b: [300.0] * 3 for b in "0123"}


def test_big_endian_with_a_mark(tmp_path: Path, context: MeterContext) -> None:
    path = tmp_path / "smi.csv"
    path.write_bytes(codecs.BOM_UTF16_BE + "\r\n".join([HEAD, *rows(3), ""]).encode("utf-16-be"))
    assert len(watts_by_board(whole(opened(path, context)))) == 4
    assert encoding_of(b"t,p") == ("utf-8", 0) and encoding_of(b"") == ("utf-8", 0)


@pytest.mark.finding("F31")
def test_a_carriage_return_in_a_line_costs_that_line(tmp_path: Path, context: MeterContext, told: list[str]) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"t,p\n{NOON},1\n{NOON + 1},\r2\n{NOON + 2},3\n".encode())
    assert [r.value for r in whole(opened(path, context, ",value=p,unit=W"))] == [1.0, None, 3.0]
    assert len(told) == 1 and "line 4: 1 cells under 2 headings" in told[0]


def test_zeros_before_a_truncated_log_are_skipped(tmp_path: Path, context: MeterContext) -> None:
    path = tmp_path / "smi.csv"
    path.write_bytes(b"\n".join([HEAD.encode(), b"\0" * 4096 + rows(1, 1)[0].encode(), b""]))
    assert watts_by_board(whole(opened(path, context))) == {"0": [300.0]}


def test_a_line_without_end_is_bounded(tmp_path: Path, context: MeterContext, told: list[str]) -> None:
    lines = [HEAD, *rows(2, 1), "x" * 3_000_000, *rows(2, 1), ""]
    meter = opened(put(tmp_path / "smi.csv", "\n".join(lines)), context)
    assert len(watts_by_board(whole(meter))["0"]) == 4
    assert len(told) == 1 and "line 4: longer than" in told[0]


@pytest.mark.parametrize("target", ["/dev/zero", "/dev", "a\0b", ""])
def test_what_is_no_file(context: MeterContext, target: str) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        opened(Path(target), context)


def test_line_numbers_go_on_across_looks(tmp_path: Path) -> None:
    path = put(tmp_path / "x", "a\nb")
    reader = LineReader(path)
    assert list(reader.fresh()) == [(1, "a")] and reader.rest == "b"
    with path.open("a") as file:
        file.write("c\nd\n")
    assert list(reader.fresh()) == [(2, "bc"), (3, "d")]


# --- commas, headers, other programs -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "time_s"),
    [
        ("2026/01/31 12:00:00,500, 0, 300.25 W, 97 %", 0.5),
        ("2026/01/31 12:00:00,500, 0, 300,25 W, 97 %", 0.5),
        ("2026/01/31 12:00:00.500, 0, 300,25 W, 97 %", 0.5),
        ("2026/01/31 12:00:00,500,0,300.25 W,97 %", 0.5),
        ('"2026/01/31 12:00:00,500", "0", "300.25 W", "97 %"', 0.5),
        ('"2026/01/31 12:00:00,500", 0, "300,25 W", 97 %', 0.5),
        ("31.01.2026 12:00:00,500, 0, 300,25 W, 97 %", 0.5),
    ],
)
def test_commas_in_time_and_numbers(
    tmp_path: Path, context: MeterContext, told: list[str], row: str, time_s: float
) -> None:
    readings = whole(opened(put(tmp_path / "smi.csv", f"{HEAD}\n{row}\n"), context))
    assert [(r.value, r.t_wall_s) for r in readings if "power" in r.channel] == [(300.25, NOON + time_s)]
    assert told == []


@pytest.mark.parametrize(
    "row", ["2026/01/31 12:00:01,500, 0", "2026/01/31 12:00:01,500, 0, 300", "2026/01/31 12:00:01"]
)
def test_a_cut_row_with_commas_makes_no_board(tmp_path: Path, context: MeterContext, told: list[str], row: str) -> None:
    text = f"timestamp, index, power.draw [W]\n2026/01/31 12:00:00,500, 0, 300,25 W\n{row}\n"
    by_board = watts_by_board(whole(opened(put(tmp_path / "smi.csv", text), context)))
    assert set(by_board) == {"0"} and {v for v in by_board["0"] if v is not None} == {300.25}


def test_a_row_that_lost_its_beginning_gets_no_advice_on_units_of_time(
    tmp_path: Path, context: MeterContext, told: list[str]
) -> None:
    whole(opened(put(tmp_path / "smi.csv", "\n".join([HEAD, *rows(2), "200, 3, 303.00 W, 97 %", ""])), context))
    assert "200 is neither a date nor Unix time in seconds" in told[0] and "time_unit" not in told[0]


def test_milliseconds_since_1970_are_told(tmp_path: Path, context: MeterContext) -> None:
    text = f"time,watts\n{1000 * NOON:.0f},300\n"
    with pytest.raises(InputError, match="in ms it would be a time; time_unit=ms"):
        opened(put(tmp_path / "a.csv", text), context, ",value=watts,unit=W")
    text = f"{HEAD}\n{1000 * NOON:.0f}, 0, 300.00 W, 97 %\n"
    with pytest.raises(InputError, match=r"in ms it would be a time$"):
        opened(put(tmp_path / "smi.csv", text), context)


def test_a_plain_csv_with_semicolons_and_decimal_commas(tmp_path: Path, context: MeterContext) -> None:
    text = f"time;watts\n{NOON:.0f};1250,5\n{NOON + 1:.0f};1,250\n{NOON + 2:.0f};0,125\n{NOON + 3:.0f};12 kW\n"
    readings = whole(opened(put(tmp_path / "a.csv", text), context, ",value=watts,unit=W"))
    assert [r.value for r in readings] == [1250.5, None, 0.125, None]
    assert "thousands or decimals" in (readings[1].error or "") and "where W was stated" in (readings[3].error or "")


def test_a_header_may_come_again_also_with_other_columns(
    tmp_path: Path, context: MeterContext, told: list[str]
) -> None:
    lines = [HEAD, *rows(2, 2), HEAD, *rows(2, 2), "timestamp, index, power.dr", *rows(1, 2)]
    lines += ["index, timestamp, power.draw [W]", "0, 2026/01/31 12:00:30.000, 310.00 W", ""]
    by_board = watts_by_board(whole(opened(put(tmp_path / "smi.csv", "\n".join(lines)), context)))
    assert by_board == {"0": [300.0] * 5 + [310.0], "1": [300.0] * 5}
    assert told == []
    plain = f"t,p\n{NOON},1\nt,p\n{NOON + 1},2\n"
    assert [r.value for r in whole(opened(put(tmp_path / "a.csv", plain), context, ",value=p,unit=W"))] == [1.0, 2.0]


AMD_MONITOR = """\
timestamp,gpu,xcp,power_usage,max_power,hotspot_temperature,memory_temperature,gfx_clk,gfx,mem
1769860800,0,0,650,750,61,55,2100,98,40
1769860800,0,1,N/A,N/A,N/A,N/A,2100,N/A,N/A
1769860800,1,0,640,750,60,54,2100,97,40
1769860801,0,0,651,750,61,55,2100,98,40
1769860801,1,0,65535,750,60,54,2100,97,40
"""
AMD_METRIC = """\
timestamp,gpu,gfx_activity,umc_activity,vcn_activity,socket_power,gfx_voltage,power_management,hotspot,total_energy_consumption
1769860800,0,98,40,[N/A, N/A, 3],650,N/A,ENABLED,61,1000.5
1769860800,1,97,40,"[N/A, N/A]",640,N/A,ENABLED,60,N/A
1769860801,0,98,40,"['N/A', 'N/A', 3]",651,N/A,ENABLED,61,1651.0
1769860801,1,97,40,[N/A, N/A],641 W,N/A,ENABLED,60,N/A
"""


def test_amd_smi_monitor_and_metric(tmp_path: Path, context: MeterContext, told: list[str]) -> None:
    meter = opened(put(tmp_path / "amd.csv", AMD_MONITOR), context, "")
    readings = whole(meter)
    assert watts_by_board([r for r in readings if r.channel.endswith("power")]) == {
        "0": [650.0, 651.0],
        "1": [640.0, None],
    }
    assert {r.value for r in readings if r.channel == "file:0:clock-sm"} == {2.1e9}
    assert {r.value for r in readings if r.channel.endswith("power-limit")} == {750.0}
    meter = opened(put(tmp_path / "amd.csv", AMD_METRIC), context, "")
    readings = whole(meter)
    assert [r.value for r in readings if r.channel == "file:0:energy"] == [1000.5, 1651.0]
    assert watts_by_board([r for r in readings if r.channel.endswith("power")]) == {
        "0": [650.0, 651.0],
        "1": [640.0, 641.0],
    }
    by_id = {c.id: c for c in meter.channels()}
    assert "file:0:power" in by_id["file:0:energy"].includes
    assert told == []


def test_a_table_of_ones_own_with_a_column_power(tmp_path: Path, context: MeterContext) -> None:
    path = put(tmp_path / "own.csv", f"timestamp,gpu,power\n{NOON},0,300.5\n{NOON + 1},0,301.5\n")
    own = whole(opened(path, context, ",value=power,unit=W,scope=device,device=0"))
    assert [(r.channel, r.value) for r in own] == [("file:0:power-power", 300.5), ("file:0:power-power", 301.5)]
    assert {c.device for c in opened(path, context, "").channels()} == {"0"}


# --- values that cannot be ---------------------------------------------------------------------------------------


#: Powers that no board draws, and cells that are no power.
IMPOSSIBLE_CELLS = (
    "140737488355328 W|2147483632.00 W|-300.00 W|32767 W|1e9 W|9e307 W|1e400 W|[N/A]|[Unknown Error]|ERR!||nan|inf|"
    "300.00 MHz|300.00 %|3x.00 W|\u0663\u0660\u0660 W"
)


@pytest.mark.parametrize("cell", [*IMPOSSIBLE_CELLS.split("|"), "9" * 400 + " W"])
def test_an_impossible_cell_is_unknown_and_the_rest_stays(
    tmp_path: Path, context: MeterContext, told: list[str], cell: str
) -> None:
    text = "\n".join(
        [
            HEAD,
            *rows(2, 2),
            f"2026/01/31 12:00:02.100, 0, {cell}, 97 %",
            "2026/01/31 12:00:02.100, 1, 300.00 W, 97 %",
            "",
        ]
    )
    readings = whole(opened(put(tmp_path / "smi.csv", text), context))
    assert watts_by_board(readings) == {"0": [300.0, 300.0, None], "1": [300.0] * 3}
    assert all(len(r.error or "") < 120 for r in readings)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("timestamp, index, temperature.gpu\n2026/01/31 12:00:00.100, 0, 60\n", "no column of watts or joules"),
        ("timestamp, index, power.draw [W]\n2026/01/31 12:00:00.100, 0, [N/A]\n", "no power in .* can be used"),
        ("2026/01/31 12:00:00.100, 0, 300.00 W\n", "leave out nvidia-smi's noheader"),
        ("index, power.draw [W]\n0, 300.00 W\n", "no header with a 'timestamp' column"),
        ("gpu,xcp,power_usage\n0,0,650\n", "amd-smi writes one with --csv -w 1"),
        ("timestamp, index, power.draw [W]\nnothing\n", "line 2: 1 cells under 3 headings"),
        ("", "is empty; start what writes it first .*stdbuf -oL"),
        ("\0\0\0\0", "is empty"),
        ("\n\n", "is empty"),
    ],
)
def test_a_file_that_offers_nothing_does_not_open(tmp_path: Path, context: MeterContext, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        opened(put(tmp_path / "smi.csv", text), context)


def test_one_bad_line_never_discards_a_file(tmp_path: Path, context: MeterContext, told: list[str]) -> None:
    dice = random.Random(1)
    for _ in range(50):
        lines = [HEAD, *rows(10)]
        lines.insert(
            dice.randrange(1, len(lines)), dice.choice(["Failed to initialize NVML", ",,,,", '"', "2026/01/31", "{}"])
        )
        told.clear()
        by_board = watts_by_board(whole(opened(put(tmp_path / "smi.csv", "\n".join([*lines, ""])), context)))
        assert by_board == {b: [300.0] * 10 for b in "0123"}
        assert len(told) == 1 and "a line is left out, the others are kept: line" in told[0]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("# Entity  POWER  TOTEC\n          W  mJ\nID\nGPU 0  300.000  100\n", "dcgmi dmon, which has no times"),
        ("# gpu    pwr  gtemp\n# Idx      W      C\n    0    300     60\n", "nvidia-smi dmon"),
        ("#Date       Time        gpu    pwr\n#YYYYMMDD   HH:MM:SS    Idx      W\n", "nvidia-smi dmon"),
        ("\n==============NVSMI LOG==============\n\nTimestamp : Mon Nov 23 20:09:05 2026\n", "the text of nvidia-smi"),
        (
            "TIMESTAMP  GPU  POWER  GPU_T\n1769860800  0  300 W  60 °C\n",
            "amd-smi monitor; log a table instead: amd-smi",
        ),
        ('[\n    {"gpu": 0, "power": {"socket_power": {"value": 300, "unit": "W"}}}\n]\n', "is JSON"),
        ('{"status": "success", "data": {"resultType": "matrix"}}\n', "is JSON"),
        ("MZ\x00\x01\x02\x03 no log at all\n", "is no text"),
    ],
)
def test_what_is_no_table_is_called_what_it_is(tmp_path: Path, context: MeterContext, text: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        opened(put(tmp_path / "power.log", text), context)
