"""The hardware that a run states: catalog names, a user's TOML whose facts go along, spellings of the count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from joulemill.catalog.stated_device import count_in, device_in, node_in, stated_device
from joulemill.errors import InputError
from joulemill.ledger.manifest import StatedDevice, document, part_of
from tests.support.own_device import OWN


@pytest.fixture
def own(tmp_path: Path) -> Path:
    file = tmp_path / "my.toml"
    file.write_text(OWN)
    return file


def test_the_facts_of_a_file_outlive_it(own: Path) -> None:
    table = part_of(StatedDevice, json.loads(json.dumps(document(stated_device(str(own))))))
    own.unlink()
    device = device_in(table)
    assert (device.name, device.kind, device.memory_bandwidth_byte_s) == ("milan-1core", "cpu", 20e9)
    assert device.peak_flop_s == {"fp32": 60e9}
    with pytest.raises(InputError, match="of your own"):
        node_in(table)


def test_count_within_the_name_or_apart(own: Path) -> None:
    eight = StatedDevice(name="h100-sxm", kind="gpu", count=8)
    assert stated_device("h100:8") == eight == stated_device("h100", 8)
    assert stated_device("h100:8", 8).count == 8
    assert document(stated_device("h100")) == {"name": "h100-sxm", "kind": "gpu", "count": 1, "count_assumed": True}
    assert count_in(stated_device(f"{own}:2")) == 2
    assert device_in(StatedDevice(name="h100", count=8)).name == "h100-sxm"  # as older folders have it


@pytest.mark.parametrize(
    ("text", "count", "message"),
    [
        ("h1000", None, "did you mean"),
        ("h100:0", None, "at least 1"),
        ("h100", 0, "at least 1"),
        ("h100:4", 8, "give one of them"),
        ("nofile.toml", None, "nofile.toml"),
    ],
)
def test_what_cannot_be_is_refused(text: str, count: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        stated_device(text, count)


def test_a_file_without_facts_is_refused_before_any_load(tmp_path: Path) -> None:
    bad = tmp_path / "bad.toml"
    for text, message in (
        ('kind = "gpu"\n', "memory and memory_bandwidth missing"),
        (OWN.replace("cpu", "toaster"), "kind is 'toaster'"),
        (OWN + 'memroy = "3 GB"\n', "not a fact of a device"),
        ("= 3", "device file"),
    ):
        bad.write_text(text)
        with pytest.raises(InputError, match=message):
            stated_device(str(bad))
