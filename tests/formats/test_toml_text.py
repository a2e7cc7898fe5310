"""TOML as editors save it: with a mark, in UTF-16, in what is neither."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

from joulemill import files
from joulemill.catalog.sites import load_site
from joulemill.errors import InputError
from joulemill.formats.toml_text import load_toml


def test_examples() -> None:
    assert doctest.testmod(files).failed == 0


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_an_encoding_is_told_by_the_text(encoding: str, tmp_path: Path) -> None:
    text = 'name = "Köln"\r\npue = 1.2\r\n'
    assert load_toml(text.encode(encoding)) == {"name": "Köln", "pue": 1.2}
    (tmp_path / "s.toml").write_bytes(text.encode(encoding))
    assert load_site(tmp_path / "s.toml").pue_ratio == 1.2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ('name = "Köln"'.encode("latin-1"), r"no text in UTF-8 or UTF-16: byte 10 cannot be read; save it as UTF-8"),
        (b"x = " + b"[" * 100_000, "nested too deeply"),
    ],
)
def test_what_is_no_toml_says_why(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=says):
        load_toml(data)
    (tmp_path / "s.toml").write_bytes(data)
    with pytest.raises(InputError, match=says):
        load_site(tmp_path / "s.toml")
