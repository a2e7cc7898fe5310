"""The command in the report makes the same options again."""

from __future__ import annotations

import argparse
import shlex

import pytest

from joulemill.analysis.command_line import command_line
from joulemill.api.benching import bench_options
from joulemill.bench.options import BenchOptions
from joulemill.catalog.stated_device import stated_device
from joulemill.commands import bench
from joulemill.ledger.manifest import Manifest, RunOptions, part_of
from tests.support.manifests import manifest_of


@pytest.mark.parametrize(
    "options",
    [
        BenchOptions(url="http://127.0.0.1:8000", model="a b"),
        BenchOptions(url="http://h:1", concurrency=16, duration_s=40.0, quality=None, seed=3, slo_ttft_s=0.5),
        BenchOptions(url="http://h:1", rate_req_s=1.5, burstiness=2.0, requests=30, meters=("nvml", "rapl")),
        BenchOptions(url="http://h:1", input_tokens="64-256", warmup_s=2.0, device=stated_device("h100:8")),
    ],
)
def test_parsed_again_it_is_the_same_run(options: BenchOptions) -> None:
    manifest = Manifest(options=part_of(RunOptions, options.manifest()), device=options.device)
    words = shlex.split(command_line(manifest) or "")
    assert words[:2] == ["joulemill", "bench"]
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    again = bench_options(**bench.arguments_of(parser.parse_args(words[2:])))
    assert again.manifest() == options.manifest() and again.device == options.device


def test_no_secret_and_no_command_of_an_import() -> None:
    manifest = manifest_of({"options": BenchOptions(url="http://user:secret@h:1").manifest()})
    assert "secret" not in (command_line(manifest) or "")
    assert command_line(manifest_of({"imported": {"tool": "x"}, "options": {"loop": "closed"}})) is None
    assert command_line(manifest_of({"options": {"concurrency": 4}})) is None
