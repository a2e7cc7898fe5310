"""Doctor's questions to a server: what it is, what it counts, whose clock; and the exit code of the verb."""

from __future__ import annotations

import json

import pytest
from simulated.mock_server import MockPlan, mock_process

from joulemill.cli import main
from joulemill.servers.introduction import ahead_s


def test_the_clock_is_narrowed_by_looks_at_different_moments() -> None:
    """A server 100 s ahead whose Date is made once a second, 0.3 s after the full one."""
    looks = []
    for i in range(8):
        ours = 1000.0 + 0.19 * i
        made = (ours + 100.0 - 0.3) // 1.0 + 0.3
        looks.append((ours - 0.001, ours + 0.001, float(int(made))))
    ahead, half = ahead_s(looks) or (0.0, 9.0)
    assert ahead - half <= 100.0 <= ahead + half and half < 0.65
    assert ahead_s([(10.0, 10.0, 12.0)]) == (3.0, 1.0) and ahead_s([]) is None
    stepped, wide = ahead_s([(10.0, 10.0, 12.0), (11.0, 11.0, 99.0)]) or (0.0, 0.0)
    assert stepped - wide <= 2.0 and stepped + wide >= 90.0


def test_a_server_that_answers_is_named_and_exits_0(capsys: pytest.CaptureFixture[str]) -> None:
    with mock_process(MockPlan()) as url:
        assert main(["doctor", "--url", url, "--duration", "0.2s"]) == 0
    said = capsys.readouterr().out
    assert "vllm 0.0.mock; model mock-model; context 8,192 tokens" in said
    assert "counters of vllm" in said and "output_tok_total" in said
    assert "the server's is this machine's" in said


def test_a_key_goes_to_the_metrics_page_and_json_holds_the_server(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOULEMILL_API_KEY", "s3cret-key")
    with mock_process(MockPlan(api_key="s3cret-key", dialect="llamacpp")) as url:
        assert main(["doctor", "--url", url, "--duration", "0.2s", "--json"]) == 0
        server = json.loads(capsys.readouterr().out)["server"]
        assert (server["kind"], server["context_tok"], server["dialect"]) == ("llama.cpp", 4096, "llamacpp")
        assert main(["doctor", "--url", url, "--duration", "0.2s", "--meter", "declared:idle=1W,busy=2W"]) == 0
        assert main(["doctor", "--url", url, "--duration", "0.2s", "--meter", "hwmon:name=nothing"]) == 1
        monkeypatch.setenv("JOULEMILL_API_KEY", "wrong-key")
        assert main(["doctor", "--url", url, "--duration", "0.2s"]) == 1
    assert "the key was refused" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--model", "m"], ["--metrics-url", "http://h/metrics"], ["--url", "nowhere"]])
def test_what_cannot_be_asked(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--duration", "0.2s", *words]) == 2
    assert capsys.readouterr().err.strip().count("\n") == 0
