"""The examples of how to run the monitor: they parse, and name options and keys that exist."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import pytest

from joulemill.commands.monitor import add_arguments
from joulemill.monitor.config import load_config
from tests.support.paths import ROOT

EXAMPLES = ROOT / "examples"
yaml = pytest.importorskip("yaml")


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_arguments(parser)
    return parser.parse_args(arguments)


def test_the_configuration_of_the_readme_is_one() -> None:
    config = load_config(EXAMPLES / "monitor.toml")
    assert config.target[0].device == "h100" and config.sites()[0].pue_ratio == 1.3
    text = (EXAMPLES / "monitor.toml").read_text()
    told = set(re.findall(r"^# (\w+) = ", text, re.MULTILINE)) | set(re.findall(r"^# ?(\w+) = ", text, re.MULTILINE))
    known = set(type(config.target[0]).model_fields) | {"file", "refresh_s"}
    assert told <= known


def test_the_unit_starts_what_exists() -> None:
    text = (EXAMPLES / "monitor" / "joulemill-monitor.service").read_text()
    command = re.search(r"^ExecStart=\S+/joulemill monitor (.*)$", text, re.MULTILINE)
    assert command is not None
    found = options(command[1].split())
    assert found.listen == "127.0.0.1:9477" and found.store == Path("/var/lib/joulemill/fleet.db")


def test_the_container_starts_what_exists() -> None:
    text = (EXAMPLES / "monitor" / "Containerfile").read_text()
    found = options(json.loads(text.rsplit("CMD ", 1)[1]))
    assert found.listen == "0.0.0.0:9477" and found.token_env == "PAGE_TOKEN"


def test_the_manifest_holds_a_configuration_and_options_that_exist(tmp_path: Path) -> None:
    parts = {d["kind"]: d for d in yaml.safe_load_all((EXAMPLES / "monitor" / "kubernetes.yaml").read_text())}
    (tmp_path / "monitor.toml").write_text(parts["ConfigMap"]["data"]["monitor.toml"])
    config = load_config(tmp_path / "monitor.toml")
    assert config.discover[0].port == 8000 and config.discover[0].kubernetes_url
    container = parts["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert options(container["args"]).store == Path("/data/fleet.db")
    assert parts["Role"]["rules"][0]["verbs"] == ["get", "list"]  # it only looks


def test_the_manual_names_every_key_and_option() -> None:
    text = (EXAMPLES.parent / "docs" / "monitor.md").read_text()
    config = load_config(EXAMPLES / "monitor.toml")
    for model in (type(config.target[0]), type(config.site[0])):
        for field in model.model_fields:
            assert f"`{field}`" in text, field
    for word in ("--listen", "--store", "--store-max", "--raw-days", "--token-env"):
        assert word in text
