"""Wrong input to predict, levers, gate, validate, calibrate and site files: exit 2, one line, nothing silent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.cli import main
from tests.support.command_lines import LEVERS, PREDICT, one_line

BENCH = ["bench", "--url", "http://127.0.0.1:9", "--model", "m"]

#: Flags of a deployment, for predict and levers alike; what the line says.
DEPLOYMENT = [
    (["--slo-tpot", "50"], "--slo-tpot: '50' has no unit; write 50ms, 50s or 50min"),
    (["--slo-ttft", "2"], "--slo-ttft: '2' has no unit"),
    (["--slo-tpot", "-5ms"], "--slo-tpot: '-5ms' cannot be"),
    (["--slo-tpot", "0ms"], "--slo-tpot: '0ms' cannot be"),
    (["--slo-tpot", "9 W"], "has unit 'W'; it needs s, e.g. ms or s"),
    (["--slo-tpot", "1" * 400 + "s"], "implausibly large"),
    (["--slo-tpot", "nan"], "is not a number with a unit"),
    (["--power-cap", "500"], "--power-cap: '500' has no unit; write 500W, 500kW or 500MW"),
    (["--power-cap", "500mW"], "--power-cap: '500mW' cannot be; it must lie between 1 W and 20 kW"),
    (["--power-cap", "500kW"], "--power-cap: '500kW' cannot be"),
    (["--power-cap", "1 kW"], "power cap is 1 kW, above the 700 W that NVIDIA H100"),
    (["--power-cap", "50 W"], "power cap is 50 W, but NVIDIA H100 SXM5 80 GB draws about"),
    (["--tp", "0"], "--tp 0: it must lie between 1 and"),
    (["--ep", "0"], "--ep 0"),
    (["--dp", "-1"], "--dp -1"),
    (["--devices", "0"], "--devices 0"),
    (["--devices", "1000000000"], "--devices 1000000000: it must lie between 1 and 1,000,000"),
    (["--tp", "1.5"], "--tp: invalid int value: '1.5'"),
    (["--concurrency", "1.5"], "--concurrency: '1.5' is not a whole number"),
    (["--concurrency", "0"], "--concurrency: '0' cannot be; it must lie between 1 and"),
    (["--concurrency", "1e9"], "--concurrency: '1e9' cannot be"),
    (["--concurrency", "8,16"], "--concurrency 8,16: one value per call"),
    (["--device", "h100,h200"], "--device h100,h200: one value per call, e.g. --device h100; for several, loop"),
    (["--output-tokens", "0.5"], "--output-tokens: '0.5' cannot be; it must lie between 1 tok and"),
    (["--input-tokens", "0"], "--input-tokens: '0' cannot be"),
    (["--input-tokens", "many"], "--input-tokens: 'many' is not a number"),
    (["--output-spread", "100"], "--output-spread: '100' would be 10,000%; did you mean 100%?"),
    (["--output-spread", "-1"], "--output-spread: '-1' cannot be"),
    (["--cached", "50"], "--cached: '50' would be 5,000%; did you mean 50%?"),
    (["--cached", "-1%"], "--cached: '-1%' cannot be"),
    (["--rate", "-1"], "--rate: '-1' cannot be"),
    (["--rate", "1e400"], "--rate: '1e400' is an implausibly large"),
    (["--max-num-seqs", "0.5"], "--max-num-seqs: '0.5' cannot be"),
    (["--device", "h1000"], "did you mean"),
    (["--device", "h100:4", "--devices", "2"], "--device h100:4: states 4 devices, --devices 2; give one of them"),
    (["--model", "Qwen/Qwen33-32B"], "did you mean Qwen/Qwen3-32B"),
    (["--engine", "vlm"], "vllm"),
    (["--site", "nowhere.toml"], "nowhere.toml"),
    (["--fit-slo"], "--fit-slo needs a target"),
    (["--slo-tpt", "5ms"], "--slo-tpot"),
    (["--gpu-memory-utilization", "90"], "--gpu-memory-utilization: '90' would be 9,000%; did you mean 90%?"),
    (["--gpu-memory-utilization", "1%"], "--gpu-memory-utilization"),
    (["--max-num-batched-tokens", "0"], "--max-num-batched-tokens: '0' cannot be"),
]
ONE = ["predict", "--model", "Qwen/Qwen3-8B", "--device"]
OTHERS = [
    ([*ONE, "h1000:4"], "device 'h1000' is not in the catalog; did you mean"),
    ([*ONE, "h100:0"], "the number of devices must be at least 1, not 0"),
    ([*ONE, "h100:1000000000"], "--device h100:1000000000: the devices must be at most 1,000,000"),
    (["gate", "a", "b", "--max-increase", "5"], "did you mean 5%?"),
    (["gate", "a", "b", "--max-increase", "0.5"], "did you mean 0.5%?"),
    (["gate", "a", "b", "--max-increase", "-5%"], "write a share above 0"),
    (["gate", "a", "b", "--max-increase", "nan"], "is not a number"),
    (["gate", "a", "b", "--min-quality", "90"], "did you mean 90%?"),
    (["gate", "a", "b", "--run-noise", "2"], "did you mean 2%?"),
    (["validate", "nofile.csv"], "nofile.csv"),
    (["calibrate", "norun", "--model", "Qwen/Qwen3-8B", "--device", "h100"], "norun"),
    ([*LEVERS, "--cap", "70"], "--cap: '70' would be 7,000%; did you mean 70%?"),
    ([*LEVERS, "--cap", "0"], "--cap"),
    ([*LEVERS, "--drafted", "0"], "--drafted"),
    ([*LEVERS, "--beyond", "hardwear"], "hardwear"),
    (["levers", "nofolder"], "nofolder: no such run"),
    (["levers"], "name what to study"),
    ([*BENCH, "--slo-tpot", "50"], "--slo-tpot: '50' has no unit; write 50ms, 50s or 50min"),
    ([*BENCH, "--slo-ttft", "1"], "--slo-ttft: '1' has no unit"),
    ([*BENCH, "--duration", "30"], "--duration: '30' has no unit; write 30ms, 30s or 30min"),
    ([*BENCH, "--duration", "-3s"], "--duration"),
    ([*BENCH, "--warmup", "5"], "--warmup: '5' has no unit"),
    ([*BENCH, "--idle", "5"], "--idle: '5' has no unit"),
    ([*BENCH, "--timeout", "5"], "--timeout: '5' has no unit"),
    ([*BENCH, "--sample-period", "1"], "--sample-period: '1' has no unit"),
    ([*BENCH, "--concurrency", "1000000"], "--concurrency"),
    ([*BENCH, "--rate", "-1"], "--rate"),
]
SITES = [
    ("it_power_limit = 40", "it_power_limit: '40' has no unit; write 40W, 40kW or 40MW"),
    ('it_power_limit = "40"', "it_power_limit: '40' has no unit"),
    ('it_power_limit = "500mW"', "it_power_limit: '500mW' cannot be"),
    ('it_power_limit = "1e30 W"', "it_power_limit: '1e30 W' cannot be"),
    ("pue = 120", "pue = 120 cannot be"),
    ("pue = 0.9", "pue is 0.9; PUE is facility energy ÷ IT energy"),
    ("carbon_gco2e_kwh = 1e12", "carbon_gco2e_kwh = 1000000000000.0 cannot be"),
    ("carbon_gco2e_kwh = 0.32", "if those are kilograms, write 320"),
    ('it_power_limit = "1,5 MW"', "'1,5 MW' has a mark inside its digits; leave it out, or write a point"),
    ('it_power_limit = "1_500 kW"', "has a mark inside its digits"),
    (f'name = "{"n" * 400}"', "name has 400 characters, more than 300; shorten it"),
    ("carbon_gco2e_kwh = -5", "carbon_gco2e_kwh = -5 cannot be"),
    ("price_currency_kwh = 1e9", "price_currency_kwh = 1000000000.0 cannot be"),
    ("puee = 1.2", "unknown key 'puee'; did you mean pue?"),
    ("", "says nothing"),
    ("pue = ", "site file"),
]
WHOLE = 'memory = "80 GB"\nmemory_bandwidth = "3.35 TB/s"\npeak_bf16 = "989 Tflop/s"\ntdp = "700 W"'
DEVICES = [
    ("memory = 80", "memory: '80' has no unit; write 80MB, 80GB or 80GiB"),
    ('tdp = "500 kW"', "tdp: '500 kW' cannot be"),
    (WHOLE.replace("3.35 TB/s", "3.35 GB/s"), "is one of them off by a prefix?"),
    (WHOLE.replace("989 T", "989 G"), "0.295 flop per byte, where 0.5 to 10,000 are believed"),
    (WHOLE.replace("80 GB", "80 TB"), "memory of 80 TB cannot be of one device; is it in GB?"),
    ('memori = "80 GiB"', "memori is not a fact of a device; did you mean memory"),
]


@pytest.mark.parametrize("verb", [PREDICT, LEVERS], ids=["predict", "levers"])
@pytest.mark.parametrize(("flags", "says"), DEPLOYMENT, ids=lambda x: " ".join(x)[:40] if isinstance(x, list) else "")
def test_a_deployment_flag(verb: list[str], flags: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    one_line([*verb, *flags], says, capsys)


@pytest.mark.parametrize(("words", "says"), OTHERS, ids=lambda x: " ".join(x)[:60] if isinstance(x, list) else "")
def test_other_verbs(words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--out", str(tmp_path / "out")] if words[0] == "bench" else []
    one_line([*words, *more], says, capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("line", "says"), SITES)
@pytest.mark.parametrize("verb", [PREDICT, ["show", "site"]], ids=["predict", "show"])
def test_a_site_file(verb: list[str], line: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "s.toml"
    path.write_text(line + "\n")
    one_line([*verb, *(["--site"] if verb is PREDICT else []), str(path)], says, capsys)


@pytest.mark.parametrize(("line", "says"), DEVICES)
def test_a_device_file(line: str, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "d.toml"
    path.write_text(f'kind = "gpu"\n{line}\n')
    one_line([*PREDICT, "--device", str(path)], says, capsys)


def test_a_count_stands_with_the_name_as_in_bench(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*ONE, "h100:4", "--json"]) == 0
    deployment = json.loads(capsys.readouterr().out)["deployment"]
    assert (deployment["device"], deployment["devices"]) == ("h100", 4)
    one_line(["show", "device", "h100:4"], "states a count with the name; here, give them separately: h100, 4", capsys)


def test_an_error_is_one_document_with_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*PREDICT, "--slo-tpot", "50", "--json"]) == 2
    said = json.loads(capsys.readouterr().out)
    assert said["error"]["exit_code"] == 2 and "50ms" in said["error"]["message"]
