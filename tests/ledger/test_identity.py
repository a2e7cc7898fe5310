from __future__ import annotations

import numpy as np
import pytest

from joulemill.ledger.findings import Reason
from joulemill.ledger.identity import (
    Identity,
    count_findings,
    identity_of,
    interleaved,
    known_apart,
    listed,
    unnamed_findings,
)

UUID = "GPU-6f0a1c2e-3b4d-4e5f-8a9b-0c1d2e3f4a5b"


@pytest.mark.parametrize(
    ("device", "identity"),
    [
        (UUID, Identity.UUID),
        (f"node-1:9400/{UUID}", Identity.UUID),
        ("MIG-6f0a1c2e-3b4d-4e5f-8a9b-0c1d2e3f4a5b", Identity.UUID),
        ("0xd59b2f1c0a3e4b5c", Identity.UUID),
        ("00000000:3B:00.0", Identity.PCI),
        ("0", Identity.INDEX),
        ("GPU3", Identity.INDEX),
        ("host:9400/nvidia7", Identity.INDEX),
        ("card1", Identity.INDEX),
        ("Power Supply Bay 1 left", Identity.LABEL),
        ("NVIDIA H100 80GB HBM3", Identity.NONE),
        ("NVIDIA-H100-80GB-HBM3", Identity.NONE),
        ("Tesla T4", Identity.NONE),
        ("A100-SXM4-80GB", Identity.NONE),
        ("H100", Identity.NONE),
        ("MI300X", Identity.NONE),
        ("AMD Instinct MI300X", Identity.NONE),
        ("GPU", Identity.NONE),
        ("device", Identity.NONE),
        ("", Identity.NONE),
    ],
)
def test_a_name_alone_is_no_identity(device: str, identity: Identity) -> None:
    assert identity_of(device) is identity


def test_fewer_or_more_boards_than_expected_refuse_and_are_named() -> None:
    (few,) = count_findings("device", ["0", "2"], 4)
    assert (
        few.fatal
        and few.code is Reason.MISSING_DEVICE
        and few.detail == "2 of 4 expected are metered (0, 2); 2 missing"
    )
    (many,) = count_findings("device", [str(i) for i in range(8)], 4)
    assert many.fatal and many.code is Reason.UNEXPECTED_DEVICE and "8 are metered (0, 1, 2" in many.detail
    assert not count_findings("device", ["0", "1"], 2) and not count_findings("device", ["0"], None)


def test_readings_without_identity_are_of_one_board_only_where_that_is_stated() -> None:
    for expected in (None, 2, 8):
        assert [f.code for f in unnamed_findings("device", ["GPU"], expected)] == [Reason.NO_IDENTITY]
    assert not unnamed_findings("device", ["GPU"], 1)
    assert not unnamed_findings("device", ["0", UUID], None)


def test_uuids_and_indexes_of_two_exporters_may_be_the_same_boards() -> None:
    assert known_apart([UUID], [UUID.replace("6f", "7f")]) and not known_apart([UUID], [UUID])
    assert not known_apart([UUID], ["0"]) and not known_apart(["0"], ["1"]) and not known_apart(["GPU"], ["GPU"])
    assert known_apart(["a:9400/0"], ["b:9400/0"]) and not known_apart(["a:9400/0"], ["A:9401/1"])


def test_rows_of_one_poll_come_in_bursts() -> None:
    polls = np.arange(0.0, 20.0, 1.0)
    four = np.concatenate([polls + 0.002 * board for board in range(4)])
    two = np.concatenate([polls, polls + 0.004])
    steady = polls + np.random.default_rng(1).normal(0.0, 0.05, len(polls))
    assert interleaved(four) and interleaved(two)
    assert not interleaved(steady) and not interleaved([0.0, 1.0]) and not interleaved(np.delete(polls, 7))


def test_a_long_list_names_the_first_in_order() -> None:
    assert listed([f"gpu{i}" for i in range(11)]).startswith("gpu0, gpu1, gpu2, gpu3")
    assert listed([f"gpu{i}" for i in range(11)]).endswith("gpu7 and 3 more")
