"""The dialects' files: all readable, in our own words only, and bad ones refused with a reason."""

from __future__ import annotations

import pytest

from joulemill.catalog.server_dialects import DialectTerm, QuantitySource, dialect, dialects, read_dialect
from joulemill.errors import InputError
from joulemill.ledger.record import ServerSample

GOOD = """
name="x"
prefix="x"
source="s"
[[quantity]]
name="output_tok_total"
kind="counter"
ways=[{sum=["t{a=b}", "u@v"]}]
"""


def test_all_are_read_and_have_a_source() -> None:
    assert {d.name for d in dialects()} >= {"vllm", "llamacpp", "sglang", "trtllm", "tgi"}
    for found in dialects():
        assert found.source and found.quantities
        assert len({q.name for q in found.quantities}) == len(found.quantities)
        assert "output_tok_total" in {q.name for q in found.quantities}


def test_names_are_those_of_the_record() -> None:
    """The record's docstring is the contract."""
    for found in dialects():
        for quantity in found.quantities:
            assert f"``{quantity.name}``" in (ServerSample.__doc__ or "")


def test_terms() -> None:
    (quantity,) = read_dialect(GOOD, "x.toml").quantities
    assert quantity.ways == (QuantitySource("sum", (DialectTerm("t", "a", "b"), DialectTerm("u", read="v"))),)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('\nname="x"\n', "\n"),
        ("output_tok_total", "tokens"),
        ('kind="counter"', 'kind="gauge"'),
        ('kind="counter"', 'kind="other"'),
        ("{sum=", "{most="),
        ("t{a=b}", "t{a"),
        ("[[quantity]]", "[["),
        ("ways=[", "way=["),
    ],
)
def test_bad_files_are_refused_by_name(old: str, new: str) -> None:
    assert old in GOOD
    with pytest.raises(InputError, match=r"^x\.toml"):
        read_dialect(GOOD.replace(old, new), "x.toml")


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(InputError, match="vllm"):
        dialect("nope")
