"""What a server says is bounded by what was asked and what arrived, and holds no secret of ours."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from joulemill.analysis.run import analyze
from joulemill.bench.options import BenchOptions
from joulemill.bench.progress import NullProgress
from joulemill.bench.run import RunContext, measure
from joulemill.errors import JoulemillError, ServerError
from joulemill.formats.plain_text import plain_text, secrets_of
from joulemill.ledger.record import RequestOutcome, RunRecord
from joulemill.recording.writer import read_run
from joulemill.servers import bundled
from joulemill.servers.client import Answer, Ask, _retry_after_s, ask, open_session
from joulemill.servers.endpoint import Endpoint, check_endpoint
from tests.support.hostile_server import CHUNK, Hostile, events, honest, last

pytestmark = pytest.mark.apart

KEY = "sk-Very+Secret/123456"


def answered(stream: bytes, question: Ask | None = None) -> Answer:
    async def run() -> Answer:
        async with Hostile(answer=lambda n, body: stream).up() as url, open_session(1) as session:
            return await ask(
                session, Endpoint(url=url, model="m", api_key=KEY), question or Ask(text="one two", max_tok=8)
            )

    return asyncio.run(run())


def ran(server: Hostile, out: Path, display: NullProgress | None = None, **given: Any) -> RunRecord:
    short: dict[str, Any] = {
        "requests": 8,
        "warmup_s": 0.0,
        "idle_s": 0.1,
        "concurrency": 2,
        "input_tokens": "40",
        "output_tokens": "4",
        "meters": ("declared:idle=60W,busy=180W",),
        "timeout_s": 5.0,
        "retries": 1,
    }

    async def run() -> Path:
        async with server.up() as url:
            options = BenchOptions(url=url, out=out / "run", **{**short, **given})
            return await measure(options, display, RunContext(api_key=KEY))

    return read_run(asyncio.run(run()))


@pytest.mark.finding("F14")
@pytest.mark.parametrize("count", [1e8, 1e9, 2**40, 2**53 - 1, 1000])
def test_tokens_that_neither_were_asked_nor_arrived_are_not_believed(count: float) -> None:
    answer = answered(events(last(output_tok=count)))
    assert (answer.outcome, answer.output_tok) == (RequestOutcome.NO_USAGE, None)
    assert "8 were asked and 0 chunks came" in (answer.error or "")


@pytest.mark.finding("F14")
def test_a_server_that_runs_over_is_believed_as_far_as_it_sent() -> None:
    answer = answered(events(*[CHUNK] * 300, last(output_tok=300)))
    assert (answer.outcome, answer.output_tok) == (RequestOutcome.OK, 300)
    assert answered(events(*[CHUNK] * 3, last(output_tok=10**7))).outcome is RequestOutcome.NO_USAGE
    assert answered(events(CHUNK, last(output_tok=16))).outcome is RequestOutcome.OK  # many tokens in one chunk


@pytest.mark.finding("F14")
@pytest.mark.parametrize("field", ["prompt_tok", "cached", "reasoning"])
def test_other_counts_are_bounded_too(field: str) -> None:
    usage: dict[str, Any] = {"prompt_tok": {"prompt_tok": 2**40}}.get(field, {})
    usage |= {"cached": {"prompt_tokens_details": {"cached_tokens": 41}}}.get(field, {})
    usage |= {"reasoning": {"completion_tokens_details": {"reasoning_tokens": 5}}}.get(field, {})
    answer = answered(events(*[CHUNK] * 4, last(**usage)))
    assert (answer.prompt_tok, answer.cached_tok, answer.reasoning_tok) == (
        None if usage.get("prompt_tok") else 40,
        None,
        None,
    )


@pytest.mark.finding("F14")
def test_a_run_of_such_answers_is_refused_and_small(tmp_path: Path) -> None:
    def answer(number: int, body: dict[str, Any]) -> bytes:
        return honest(number, body) if number < 5 or number % 2 else events(last(output_tok=2**40))

    record = ran(Hostile(answer=answer), tmp_path)
    assert {r.output_tok for r in record.requests} == {4, None}
    assert "no_usage" in "".join(analyze(record).warnings)


ECHOES: dict[str, Callable[[str], bytes]] = {
    "error event": lambda key: events({"error": {"message": f"bad Bearer {key}"}}),
    "error event, cut": lambda key: events({"error": {"message": "x" * 290 + key}}),
    "finish_reason": lambda key: events(CHUNK, last(finish=f"stop {key}")),
    "no JSON": lambda key: f"data: {'y' * 40}{key}\n\n".encode(),
    "error line": lambda key: f"error: {key}\n\n".encode(),
    "answer": lambda key: events(
        {"choices": [{"index": 0, "delta": {"content": key}, "finish_reason": "stop"}]}, last()
    ),
}


@pytest.mark.finding("F15")
@pytest.mark.parametrize("echo", ECHOES)
def test_a_key_that_comes_back_is_blanked_in_every_part_of_an_answer(echo: str) -> None:
    answer = answered(ECHOES[echo](KEY))
    said = f"{answer.error} {answer.finish_reason} {answer.text}"
    assert "Very" not in said and "Secret" not in said


@pytest.mark.finding("F15")
@pytest.mark.parametrize("echo", [e for e in ECHOES if e != "answer"])
def test_a_run_keeps_and_tells_no_key(echo: str, tmp_path: Path) -> None:
    class Ear(NullProgress):
        heard = ""

        def note(self, text: str) -> None:
            self.heard += text

    def answer(number: int, body: dict[str, Any]) -> bytes:
        return honest(number, body) if number < 4 else ECHOES[echo](KEY)

    ear, said = Ear(), ""
    server = Hostile(answer=answer, version=f"1.0 {KEY}", metrics="# nothing")
    try:
        record = ran(server, tmp_path, ear, headers=(("X-Tenant-Key", KEY + "2"),))
        said = str(record.status_reason)
    except JoulemillError as fault:
        said = str(fault)
    kept = b"".join(p.read_bytes() for p in (tmp_path / "run").iterdir())
    for text in (kept.decode(), said, ear.heard):
        assert "Very+Secret" not in text
    assert "X-Tenant-Key" in kept.decode()


def test_secrets_are_blanked_as_json_and_urls_spell_them() -> None:
    secrets = secrets_of('k"y+1', (("X-A", "Basic dXNlcjpwdw=="), ("X-B", "1")))
    shown = plain_text('{"e": "k\\"y+1"} k"y+1 k%22y%2B1 dXNlcjpwdw== 1', secrets)
    assert shown == '{"e": "[key]"} [key] [key] [key] 1'


def test_headers_and_key_go_to_the_servers_own_address_alone() -> None:
    endpoint = Endpoint(url="http://a:8000", model="m", api_key=KEY, extra_headers=(("X-T", "secret-1"),))
    assert set(endpoint.headers("http://a:8000/metrics")) == {"Authorization", "X-T"}
    for url in ("http://a:8001/metrics", "https://a:8000/metrics", "http://b:8000/metrics", "http://a.evil:8000/"):
        assert endpoint.headers(url) == {}
    assert KEY not in repr(endpoint) and "secret-1" not in repr(endpoint)


@pytest.mark.finding("F17")
@pytest.mark.finding("F41")
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("Mon, 01 Jan 99999999999 00:00:00 GMT", None),
        ("Mon, 01 Jan 9999 00:00:00 GMT", 1e9),
        ("7", 7.0),
        ("99999999999", 1e9),
        ("9" * 5000, 1e9),
        ("-5", None),
        ("inf", None),
        ("nan", None),
        ("٣", None),
        ("²", None),
        ("", None),
        ("Mon, 01 Jan 1990 00:00:00 GMT", 0.0),
        ("Mon, 99 Jan 2030 99:99:99 GMT", None),
        ("\ud800", None),
        ("Mon, 01 Jan 2999 00:00:00 -9999", None),
    ],
)
def test_any_retry_after_is_a_bounded_number_or_nothing(value: str, seconds: float | None) -> None:
    got = _retry_after_s(value)
    assert got == seconds or (seconds is None and got is not None and 0.0 <= got <= 1e9)


@pytest.mark.finding("F17")
@pytest.mark.finding("F41")
@pytest.mark.parametrize("value", ["Mon, 01 Jan 99999999999 00:00:00 GMT", "99999999999"])
def test_a_server_that_asks_to_wait_for_ever_ends_the_run_at_once_and_it_is_told(value: str, tmp_path: Path) -> None:
    notes: list[str] = []
    display = NullProgress()
    display.note = notes.append  # type: ignore[method-assign]
    with pytest.raises(ServerError, match="429"):
        ran(Hostile(answer=honest, refusal=(429, {"Retry-After": value})), tmp_path, display)
    assert any("asks to wait (Retry-After: for years)" in n for n in notes)


@pytest.mark.finding("F23")
def test_half_characters_cost_no_request(tmp_path: Path) -> None:
    def answer(number: int, body: dict[str, Any]) -> bytes:
        words = len(body["messages"][-1]["content"].split())
        return events(*[CHUNK] * 4, last("\ud800" if number % 2 else "length", prompt_tok=words))

    server = Hostile(answer=answer)
    record = ran(server, tmp_path, requests=20)
    assert len(record.requests) == len(server.asked)
    assert not [e for e in record.events if e["kind"] == "unwritable"]
    assert analyze(record).requests.ok == 20


@pytest.mark.finding("F23")
@pytest.mark.finding("F38")
@pytest.mark.parametrize("name", ["m\ud800", "n" * 200_000, f"m-{KEY}"])
def test_a_models_name_that_cannot_be_kept_is_refused_in_a_short_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="cannot be kept") as caught:
        ran(Hostile(answer=honest, models={"data": [{"id": name}]}), tmp_path)
    str(caught.value).encode()
    assert caught.value.usage and len(str(caught.value)) < 400 and KEY not in str(caught.value)


@pytest.mark.finding("F38")
def test_names_that_are_listed_are_bounded(tmp_path: Path) -> None:
    many = {"data": [{"id": f"{i}" + "x" * 10_000} for i in range(700)]}
    with pytest.raises(ServerError, match="700 models") as caught:
        ran(Hostile(answer=honest, models=many), tmp_path)
    assert len(str(caught.value)) < 1000
    named = {"data": [{"id": "m"}, *({"id": "y" * 10_000} for _ in range(700))]}
    record = ran(Hostile(answer=honest, models=named, version="v" * 100_000), tmp_path, model="m")
    server = record.manifest.server
    assert server is not None and len(str(server)) < 100_000 and len(server.version or "") <= 256


@pytest.mark.parametrize(("status", "models"), [(200, {"data": []}), (500, {}), (404, []), (200, {"data": [5, {}]})])
def test_a_server_that_lists_nothing_is_driven_where_the_model_is_named(
    status: int, models: Any, tmp_path: Path
) -> None:
    server = Hostile(answer=honest, models=models, models_status=status)
    assert ran(server, tmp_path, model="mine").status == "complete"
    assert {body["model"] for body in server.asked} == {"mine"}
    with pytest.raises(ServerError, match="`model=NAME`"):
        ran(Hostile(answer=honest, models=models, models_status=status), tmp_path / "b")


def test_extra_fields_headers_and_another_metrics_page_reach_the_server(tmp_path: Path) -> None:
    page = "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total 5\n"
    server, elsewhere = Hostile(answer=honest), Hostile(answer=honest, metrics=page)

    async def run() -> RunRecord:
        async with server.up() as url, elsewhere.up() as metrics:
            options = BenchOptions(
                url=url,
                out=tmp_path / "run",
                requests=3,
                warmup_s=0.0,
                idle_s=0.2,
                input_tokens="30",
                quality=None,
                output_tokens="4",
                meters=("declared:idle=60W,busy=180W",),
                machine_period_s=0.1,
                extra_body={"top_k": 1},
                headers=(("X-Tenant", "secret-lab"),),
                metrics_url=f"{metrics}/metrics",
            )
            return read_run(await measure(options, None, RunContext(api_key=KEY)))

    record = asyncio.run(run())
    assert all(body["top_k"] == 1 for body in server.asked)
    assert {h["X-Tenant"] for h in server.headers if h["path"] == "/ask"} == {"secret-lab"}
    assert elsewhere.headers and not any("X-Tenant" in h or "Authorization" in h for h in elsewhere.headers)
    assert record.server and record.server[0].values["output_tok_total"] == 5.0
    assert record.manifest.asked.headers == ("X-Tenant",)
    assert "secret-lab" not in "".join(p.read_text() for p in (tmp_path / "run").iterdir())


def test_a_metrics_address_that_does_not_answer_is_refused_before_the_run() -> None:
    async def run() -> None:
        async with Hostile(answer=honest).up() as url, open_session(1) as session:
            await check_endpoint(session, Endpoint(url=url, model="m", metrics=f"{url}/metrics"))

    with pytest.raises(ServerError, match=r"`metrics_url` .* answered 404"):
        asyncio.run(run())


@pytest.mark.finding("F36")
def test_a_model_file_that_was_changed_with_its_time_kept_is_hashed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "model.gguf"
    file.write_bytes(b"A" * 100)
    stat, first = file.stat(), bundled.remembered_sha256(file)
    file.write_bytes(b"B" * 100)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert file.stat().st_mtime_ns == stat.st_mtime_ns and bundled.remembered_sha256(file) != first
