"""The monitor against a loopback server whose counters we set: it tells what was counted; gaps are gaps."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from joulemill.errors import InputError
from joulemill.ledger.record import ServerSample
from joulemill.monitor.accounting.counters import idle_ratio, token_increases
from joulemill.monitor.config import load_config
from joulemill.monitor.history.writer import HistoryWriter
from joulemill.monitor.snapshot import TokenKind
from tests.support.watched_server import Server, watched


def test_counts_only_what_rose_and_after_a_restart_what_was_made_since() -> None:
    async def script(server: Server) -> None:
        await server.looked()
        server.output = 1500
        await server.looked()
        server.output = 70  # restarted
        await server.looked()
        server.output = 90
        await server.looked()

    state = asyncio.run(watched(Server(), script)).targets[0]
    assert state.up
    assert state.tokens[TokenKind.OUTPUT] == 500 + 70 + 20
    assert state.tokens[TokenKind.PROMPT] == 2 * 590
    assert state.energy_j == {}


def test_a_hostile_page_is_a_gap_and_nothing_is_invented_for_it() -> None:
    async def script(server: Server) -> None:
        await server.looked()
        server.broken = True
        await asyncio.sleep(0.4)
        server.output, server.broken = 9000, False
        await server.looked()
        await server.looked()

    state = asyncio.run(watched(Server(), script)).targets[0]
    assert state.up
    assert state.tokens[TokenKind.OUTPUT] == 0
    assert state.unobserved_s > 0.3


def test_a_target_that_flaps_is_never_counted_twice_and_its_down_time_is_a_gap() -> None:
    async def script(server: Server) -> None:
        await server.looked()
        for _ in range(5):
            server.output += 100
            await server.looked()
            server.broken = True
            server.output += 100
            await asyncio.sleep(0.15)
            server.broken = False
            await server.looked()

    state = asyncio.run(watched(Server(), script)).targets[0]
    # Of the 500 while it was up every one is there; of the 500 while it was down, none or all of a stretch.
    assert 500 <= state.tokens[TokenKind.OUTPUT] <= 1000
    assert state.unobserved_s > 0.4


class FullDisk:
    def append(self, intervals: object, facts: object) -> None:
        raise OSError(28, "No space left on device")


def test_a_full_disk_does_not_end_the_watching() -> None:
    async def script(server: Server) -> None:
        await server.looked()
        server.output = 1500
        await server.looked()
        await server.looked()

    keeper = HistoryWriter(FullDisk())
    now = asyncio.run(watched(Server(), script, keeper))
    keeper.close()
    assert now.targets[0].tokens[TokenKind.OUTPUT] == 500
    assert "No space left" in (keeper.error or "")  # and what was not written waits
    assert len(keeper._waiting) > 1 and keeper.lost_count == 0


def test_a_counter_that_the_server_lacks_is_unknown_and_quiet_gauges_alone_do_not_prove_idleness() -> None:
    a = ServerSample(0, 0, {"output_tok_total": 5, "running_req": 0})
    b = ServerSample(1, 1, {"output_tok_total": 9, "running_req": 0})
    assert token_increases(a, b) == {TokenKind.OUTPUT: 4}
    assert idle_ratio(a, b) is None
    assert idle_ratio(a, ServerSample(1, 1, dict(a.values))) == 1.0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[target]]\nname='a'\nmodel='m'\nmetrics_url='ftp://x'", "http"),
        ("[[target]]\nname='a'\nmodel='m'\nmetrics_url='http://u:p@x/'", "token_env"),
        ("perod_s=1\n[[target]]\nname='a'\nmodel='m'\nmetrics_url='http://x/'", "perod_s"),
        ("[[target]]\nname='a'\nmodel='m'\nmetrics_url='http://x/'\n" * 2, "'a'"),
        ("[[", "config.toml"),
    ],
)
def test_a_wrong_config_is_one_clear_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=told) as fault:
        load_config(path)
    assert "\n" not in str(fault.value)


def test_a_clock_step_adds_no_time() -> None:
    from joulemill.monitor.accounting.totals import observed

    a, b = ServerSample(10, time.time(), {}), ServerSample(20, time.time() - 3600, {})
    assert observed("a", a, b).duration_s == pytest.approx(10)
