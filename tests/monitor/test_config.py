"""A configuration's faults: each one line, in plain words, with the target's name and what to write instead."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from joulemill.cli import main
from joulemill.errors import InputError
from joulemill.monitor.checking import faults
from joulemill.monitor.config import MonitorConfig, load_config
from joulemill.monitor.config_checks import notices

TARGET = "[[target]]\nname='chat-0'\nmodel='Qwen/Qwen3-8B'\nmetrics_url='http://x/'\n"
SITE = "[[site]]\nname='hall-1'\n"
FAULTS = [
    (
        TARGET.replace("metrics_url", "metric_url"),
        "target 'chat-0': unknown key 'metric_url'; did you mean metrics_url?",
    ),
    ("perod_s=1\n" + TARGET, "unknown key 'perod_s'; did you mean period_s?"),
    (TARGET + "device='h1000'", "target 'chat-0': device 'h1000' is not in the catalog; did you mean h100"),
    (TARGET.replace("Qwen3", "Qwen33") + "device='h100'", "target 'chat-0': model 'Qwen/Qwen33-8B' is not"),
    (TARGET.replace("Qwen3", "Qwen33"), "did you mean Qwen/Qwen3-8B"),
    (SITE + TARGET + "site='hal-1'", "target 'chat-0': no [[site]] is called 'hal-1'; did you mean 'hall-1'?"),
    ("period_s=inf\n" + TARGET, "period_s must be a finite number"),
    ("meter_period_s=nan\n" + TARGET, "meter_period_s must be"),
    ("period_s=1e9\n" + TARGET, "period_s must be at most 86400"),
    (TARGET + "devices_count=0", "target 'chat-0': devices_count must be at least 1"),
    (TARGET + "slo_ttft='5'", "target 'chat-0': slo_ttft: '5' has no unit"),
    (TARGET + "slo_tpot=200", 'target \'chat-0\': slo_tpot = 200 has no unit; write "200 ms" or "200 s"'),
    (TARGET + "devices_count=2000000000", "target 'chat-0': devices_count must be at most 1e+06"),
    ("period_s=true\n" + TARGET, "period_s must not be true"),
    (TARGET + "devices_count=true", "target 'chat-0': devices_count must not be true"),
    (SITE + "carbon_by_hour_g_kwh=[1,2]\n" + TARGET, "site 'hall-1': carbon_by_hour_g_kwh takes a list of 24"),
    ("[[site]]\nsite_file='none.toml'\n" + TARGET, "none.toml"),
    ("[[site]]\npue=120\nname='x'\n" + TARGET, "site 'x': pue"),
    (TARGET.replace("name='chat-0'\n", ""), "[[target]] number 1: name is missing"),
    (TARGET + "meters=['nvml']\n" + TARGET.replace("chat-0", "b") + "meters=['nvml']", "targets 'chat-0' and 'b'"),
    (TARGET + "dialect='vlm'", "target 'chat-0': there is no server dialect 'vlm'"),
    (TARGET + "labels=5", "target 'chat-0': labels must be a table"),
    ("target=5", "[[target]]"),
    ("[[discover]]\nfil='x'", "[[discover]] number 1: unknown key 'fil'; did you mean file?"),
    ("[store]\nurl='ftp://x'", "store.url must be a http"),
    ("x=" + "[" * 5000, ""),
]


@pytest.mark.parametrize(("text", "says"), FAULTS, ids=range(len(FAULTS)))
def test_each_fault_is_one_line_that_says_what_to_write(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "c.toml").write_text(text)
    with pytest.raises(InputError) as fault:
        load_config(tmp_path / "c.toml")
    message = str(fault.value)
    assert says in message and "\n" not in message and message.startswith(str(tmp_path / "c.toml"))
    assert "Input should" not in message and "target.0" not in message
    assert main(["monitor", str(tmp_path / "c.toml"), "--once"]) == 2


def test_a_site_file_and_a_site_table_are_one_dialect(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_text(
        'name = "far"\npue = 1.2\nit_power_limit = "30 MW"\ncarbon_gco2e_kwh = 100\nprice_currency_kwh = 0.1\n'
        'currency = "EUR"\n'
    )
    (tmp_path / "c.toml").write_text(
        "[[site]]\nsite_file='site.toml'\n[[site]]\nsite_file='site.toml'\nname='near'\npue_ratio=1.4\n"
        + TARGET
        + "site='far'\nslo_tpot='50 ms'\n"
    )
    config = load_config(tmp_path / "c.toml")
    far, near = config.sites()
    assert (far.site, far.pue_ratio, far.power_limit_w, far.carbon_g_kwh) == ("far", 1.2, 30e6, pytest.approx(100))
    assert (near.site, near.pue_ratio, near.price_kwh, near.currency) == ("near", 1.4, pytest.approx(0.1), "EUR")
    assert config.target[0].slo_s() == (None, 0.05)


def test_a_model_of_ones_own_is_taken_where_it_is_said_or_unlike_any(tmp_path: Path) -> None:
    for text in (TARGET.replace("Qwen3", "Qwen33") + "own_model=true", TARGET.replace("Qwen/Qwen3-8B", "m")):
        (tmp_path / "c.toml").write_text(text)
        assert load_config(tmp_path / "c.toml").target[0].device is None


def test_what_is_named_and_described_nowhere_is_told_at_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("CHAT_TOKEN", raising=False)
    (tmp_path / "c.toml").write_text(
        TARGET.replace("http://x/", "http://127.0.0.1:9/") + "site='hal-1'\ntoken_env='CHAT_TOKEN'\n"
    )
    assert main(["monitor", "check", str(tmp_path / "c.toml")]) == 2
    told = capsys.readouterr().err
    assert "target 'chat-0': no [[site]] is called 'hal-1': its PUE, carbon and cost stay unknown" in told
    assert "target 'chat-0': token_env: the environment has no CHAT_TOKEN" in told
    monkeypatch.setenv("CHAT_TOKEN", "secret")
    described = load_config_of(tmp_path, SITE + TARGET + "site='hall-1'\ntoken_env='CHAT_TOKEN'\n")
    assert notices(described, os.environ) == []


def load_config_of(folder: Path, text: str) -> MonitorConfig:
    (folder / "c.toml").write_text(text)
    return load_config(folder / "c.toml")


@pytest.mark.parametrize("other", ["http://127.0.0.1:8000/metrics", "http://LOCALHOST:8000/metrics/"])
def test_one_page_is_not_two_targets(other: str, tmp_path: Path) -> None:
    """Its tokens would be counted twice, and J/token halved."""
    text = TARGET.replace("http://x/", "http://127.0.0.1:8000/metrics")
    twice = text + text.replace("chat-0", "chat-1").replace("http://127.0.0.1:8000/metrics", other)
    with pytest.raises(InputError, match=r"'chat-0' and 'chat-1' name the same metrics page .* counted twice"):
        load_config_of(tmp_path, twice)
    assert len(load_config_of(tmp_path, text).target) == 1


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("[[discover]]\nfile = 'nosuch.json'\n", "[[discover]] nosuch.json: cannot be read"),
        ("[[discover]]\nhttp_sd_url = 'http://127.0.0.1:1/'\n", "[[discover]] http://127.0.0.1:1/"),
        ("[store]\nurl = 'http://127.0.0.1:1'\n", "[store] http://127.0.0.1:1"),
    ],
)
def test_check_tries_the_sources_of_targets_too(source: str, says: str, tmp_path: Path) -> None:
    assert [f[: len(says)] for f in faults(load_config_of(tmp_path, source))] == [says]


def test_check_tries_the_pages_that_a_document_names(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text('[{"targets": ["127.0.0.1:1"], "labels": {"model": "m"}}]')
    (one,) = faults(load_config_of(tmp_path, f"[[discover]]\nfile = '{tmp_path / 't.json'}'\n"))
    assert "127.0.0.1:1" in one
    (tmp_path / "t.json").write_text("[]")
    (none,) = faults(load_config_of(tmp_path, f"[[discover]]\nfile = '{tmp_path / 't.json'}'\n"))
    assert none.endswith("names no target")
