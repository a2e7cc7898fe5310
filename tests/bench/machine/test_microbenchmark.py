"""The machine's own ceilings: plausible, bracketed, cached by machine and thread count."""

from __future__ import annotations

import json
import resource
import subprocess
import time
from pathlib import Path

import pytest

from joulemill.bench.machine import microbenchmark as microbench
from joulemill.bench.machine.microbenchmark import int8_bracket, measure_ceilings, run_probe, usable_threads
from joulemill.bench.machine.microbenchmark_process import compute_rates, memory_rates
from joulemill.errors import InputError, MachineError
from joulemill.figure import Basis
from joulemill.ledger.manifest import MachineLimits, part_of


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microbench, "BUDGET_S", 0.1)
    monkeypatch.setattr(microbench, "QUIET_LOAD_RATIO", 1e9)  # the tests' own load is no reason to measure again


@pytest.mark.usefixtures("quick")
def test_what_a_busy_machine_measured_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure_ceilings(1, cache=tmp_path)
    monkeypatch.setattr(microbench, "QUIET_LOAD_RATIO", -1.0)
    assert measure_ceilings(1, cache=tmp_path)["cached"] is False


@pytest.mark.usefixtures("quick")
def test_measured_once_then_cached(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    first = measure_ceilings(1, cache=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert spent_s < 30, "0.2 s of probing plus two starts of Python, in CPU time: neighbors do not count"
    again = measure_ceilings(1, cache=tmp_path)
    assert (first.pop("cached"), again.pop("cached")) == (False, True) and first == again
    assert json.loads(json.dumps(first)) == first
    assert len(list(tmp_path.iterdir())) == 1, "no temporary file is left"
    limits = part_of(MachineLimits, first)
    parts = ("compute_flop_s", "compute_int8_flop_s", "memory_bandwidth_byte_s")
    figures = {name: getattr(limits, name).figure() for name in parts}
    flop_s, byte_s = figures["compute_flop_s"], figures["memory_bandwidth_byte_s"]
    for figure in (flop_s, byte_s):
        assert figure.basis == Basis.MEASURED and figure.value and figure.low and figure.high
        assert figure.low <= figure.value <= figure.high
    assert flop_s.value is not None and 1e8 < flop_s.value < 1e12, "one core: 0.1 to 1000 GFLOP/s"
    assert byte_s.value is not None and 1e8 < byte_s.value < 2e11, "one core: 0.1 to 200 GB/s"
    assert "1 thread" in str(flop_s.source) and "20" in str(flop_s.source), "the source says threads and date"


@pytest.mark.usefixtures("quick")
def test_another_thread_count_or_a_refresh_measures_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []

    def fake(args: list[str], blas_threads: int) -> dict[str, object]:
        calls.append((args[0], blas_threads))
        return {"rates": [1e9, 3e9, 2e9], "n": 512, "array_byte": 2**28}

    monkeypatch.setattr(microbench, "run_probe", fake)
    assert measure_ceilings(2, cache=tmp_path)["compute_flop_s"]["value"] == 2e9
    assert not measure_ceilings(3, cache=tmp_path)["cached"]
    assert measure_ceilings(2, cache=tmp_path)["cached"]
    assert not measure_ceilings(2, cache=tmp_path, refresh=True)["cached"]
    assert calls == [("compute", 2), ("memory", 1), ("compute", 3), ("memory", 1), ("compute", 2), ("memory", 1)]


@pytest.mark.usefixtures("quick")
def test_a_spoilt_or_unwritable_cache_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microbench, "run_probe", lambda args, threads: {"rates": [1e9], "n": 512, "array_byte": 2**28})
    measure_ceilings(2, cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_text("{")
    assert not measure_ceilings(2, cache=tmp_path)["cached"]
    assert not measure_ceilings(2, cache=file)["cached"], "a file where the folder should be"


def test_the_cache_lies_where_the_user_keeps_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert microbench.cache_folder() == tmp_path / "joulemill" / "microbench"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert microbench.cache_folder() == Path.home() / ".cache" / "joulemill" / "microbench"


def test_rates_agree_with_the_clock() -> None:
    """Work ÷ rate summed over repetitions must fill the budget, and cannot exceed the time that passed."""
    start = time.perf_counter()
    compute = compute_rates(0.2)
    passed = time.perf_counter() - start
    busy = sum(2.0 * compute["n"] ** 3 / rate for rate in compute["rates"])
    assert 0.1 < busy <= passed
    memory = memory_rates(0.1, 2, 2**25)
    assert memory["array_byte"] == 2**25 and len(memory["rates"]) >= 4


def test_int8_is_bracketed_by_the_instructions() -> None:
    """AVX-512 VNNI: four int8 products where a float32 FMA has one lane."""
    fp32 = {"value": 1e11, "low": 0.9e11, "high": 1.1e11, "when": "2026-01-01"}
    with_vnni = int8_bracket(fp32, ["avx512_vnni", "avx_vnni"])
    assert (with_vnni["low"], with_vnni["value"], with_vnni["high"]) == (1e11, 2e11, pytest.approx(4.4e11))
    assert with_vnni["basis"] == "modelled" and int8_bracket(fp32, [])["high"] == pytest.approx(2.2e11)
    assert int8_bracket(fp32, ["amx_int8"])["high"] > with_vnni["high"]


def test_threads_are_what_the_process_may_use() -> None:
    nproc = int(
        subprocess.run(["nproc"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}).stdout
    )
    assert 1 <= usable_threads() <= nproc


def test_bad_input_and_a_failing_probe() -> None:
    with pytest.raises(InputError, match="between 1 and 4096"):
        measure_ceilings(0)
    with pytest.raises(MachineError, match="compute micro-benchmark failed"):
        run_probe(["compute", "soon"], 1)
