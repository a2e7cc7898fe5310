"""Where a server is, what it says of itself, and the one line for each way in which it cannot be used."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from aiohttp import web
from simulated.mock_server import MockPlan, MockServer

from joulemill.errors import InputError, ServerError
from joulemill.servers.client import Endpoint, EndpointFacts, check_endpoint, open_session


def facts(plan: MockPlan, model: str = "", key: str | None = None) -> EndpointFacts:
    async def run() -> EndpointFacts:
        async with MockServer(plan) as server, open_session(1) as session:
            return await check_endpoint(session, Endpoint(url=server.url, model=model, api_key=key))

    return asyncio.run(run())


def refusal(make: Callable[[], object]) -> str:
    with pytest.raises(ServerError) as caught:
        make()
    assert caught.value.usage and caught.value.exit_code == 2
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "kept", "root"),
    [
        ("http://h:8000", "http://h:8000/v1", "http://h:8000"),
        ("http://h:8000/", "http://h:8000/v1", "http://h:8000"),
        ("http://h:8000/v1/", "http://h:8000/v1", "http://h:8000"),
        ("https://api.h/openai/v1", "https://api.h/openai/v1", "https://api.h/openai"),
        ("https://api.h/paas/v4", "https://api.h/paas/v4", "https://api.h/paas"),
        ("http://[::1]:80/v1/chat/completions", "http://[::1]:80/v1", "http://[::1]:80"),
    ],
)
def test_addresses(given: str, kept: str, root: str) -> None:
    endpoint = Endpoint(url=given, model="m")
    assert (endpoint.url, endpoint.root_url) == (kept, root)
    assert Endpoint(url=kept, model="m") == endpoint
    assert endpoint.ask_url == kept + "/chat/completions"


@pytest.mark.parametrize(
    "url", ["localhost:8000", "", "ftp://h/v1", "http://", "http://u:p@h/v1", "http://h/v1?key=1", "http://h:99999999"]
)
def test_addresses_that_cannot_be(url: str) -> None:
    with pytest.raises(InputError):
        Endpoint(url=url, model="m")


def test_a_key_is_never_shown() -> None:
    assert "secret" not in repr(Endpoint(url="http://h", model="m", api_key="secret"))


def test_facts_of_vllm_and_llamacpp() -> None:
    found = facts(MockPlan(dialect="vllm"))
    assert (found.kind, found.version, found.model, found.max_context_tok) == ("vllm", "0.0.mock", "mock-model", 8192)
    assert found.metrics_url is not None and found.metrics_url.endswith("/metrics") and found.takes_ignore_eos
    found = facts(MockPlan(dialect="llamacpp"))
    assert (found.kind, found.version, found.max_context_tok) == ("llama.cpp", "b0-mock", 4096)
    found = facts(MockPlan(dialect="none"))
    assert (found.kind, found.metrics_url, found.max_context_tok, found.takes_ignore_eos) == (
        "unknown",
        None,
        None,
        False,
    )


def test_models_are_chosen_or_named() -> None:
    assert facts(MockPlan(model="a,b"), "b").model == "b"
    assert "a, b" in refusal(lambda: facts(MockPlan(model="a,b")))
    line = refusal(lambda: facts(MockPlan(model="a,b"), "c"))
    assert "'c'" in line and "a, b" in line


def test_keys() -> None:
    assert facts(MockPlan(api_key="k"), key="k").model == "mock-model"
    assert "requires a key" in refusal(lambda: facts(MockPlan(api_key="k")))
    assert "refused" in refusal(lambda: facts(MockPlan(api_key="k"), key="wrong"))


def check_app(routes: dict[str, tuple[int, str]], model: str = "") -> EndpointFacts:
    async def run() -> EndpointFacts:
        app = web.Application()
        for path, (status, text) in routes.items():

            def reply(_: web.Request, status: int = status, text: str = text) -> web.Response:
                return web.Response(status=status, text=text)

            async def handler(
                request: web.Request, reply: Callable[[web.Request], web.Response] = reply
            ) -> web.Response:
                return reply(request)

            app.router.add_get(path, handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            async with open_session(1) as session:
                return await check_endpoint(
                    session, Endpoint(url=f"http://127.0.0.1:{runner.addresses[0][1]}", model=model)
                )
        finally:
            await runner.cleanup()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("status", "text"),
    [(404, "nothing here"), (200, "<html>hello</html>"), (200, '{"data": []}'), (200, "[1]"), (500, "boom")],
)
def test_not_an_openai_api(status: int, text: str) -> None:
    assert "OpenAI-compatible" in refusal(lambda: check_app({"/v1/models": (status, text)}))


def test_kinds_are_told_by_their_own_documents() -> None:
    models = (200, '{"data": [{"id": "m", "owned_by": "someone"}]}')
    tgi = check_app(
        {"/v1/models": models, "/info": (200, '{"model_id": "m", "version": "3.0", "max_total_tokens": 4096}')}
    )
    assert (tgi.kind, tgi.version, tgi.max_context_tok) == ("tgi", "3.0", 4096)
    ollama = check_app({"/v1/models": models, "/api/version": (200, '{"version": "0.9"}')})
    assert (ollama.kind, ollama.version) == ("ollama", "0.9")
    sglang = check_app({"/v1/models": models, "/get_server_info": (200, '{"tp_size": 1, "version": "0.5"}')})
    assert (sglang.kind, sglang.version) == ("sglang", "0.5")


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ('vllm:generation_tokens_total{model_name="m"} 5\n', "vllm"),
        ("llamacpp:tokens_predicted_total 5\n", "llama.cpp"),
        ('sglang:generation_tokens_total{model_name="m"} 5\n', "sglang"),
        ("process_cpu_seconds_total 5\n", "unknown"),
        ("\x00\xff nothing of ours\n", "unknown"),
    ],
)
def test_a_server_that_lists_no_models_is_told_by_its_counters(line: str, kind: str) -> None:
    found = check_app({"/v1/models": (200, '{"data": []}'), "/metrics": (200, line)}, model="m")
    assert (found.kind, found.model) == (kind, "m") and found.metrics_url is not None


def test_counters_of_another_name_do_not_outvote_what_the_server_says_it_is() -> None:
    models = (200, '{"data": [{"id": "m", "owned_by": "sglang"}]}')
    assert check_app({"/v1/models": models, "/metrics": (200, "vllm:generation_tokens_total 5\n")}).kind == "sglang"


def test_metrics_are_found_where_they_are_text() -> None:
    models = (200, '{"data": [{"id": "m", "owned_by": "tensorrt_llm"}]}')
    found = check_app({"/v1/models": models, "/metrics": (200, "[]"), "/prometheus/metrics": (200, "trtllm_x 1\n")})
    assert (
        found.kind == "trtllm" and found.metrics_url is not None and found.metrics_url.endswith("/prometheus/metrics")
    )


def test_unreachable() -> None:
    async def run() -> None:
        async with MockServer() as gone:
            url = gone.url
        async with open_session(1) as session:
            await check_endpoint(session, Endpoint(url=url, model="m"))

    assert "no server answers" in refusal(lambda: asyncio.run(run()))
