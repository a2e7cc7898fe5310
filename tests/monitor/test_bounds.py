"""Lower bounds of what speaks to the network: none that is known to be open."""

from __future__ import annotations

import pytest

from tests.lowest import lowest

#: First versions without the holes that their makers tell of (as of November 2026), and which those are.
SAFE = {
    "starlette": ((1, 3, 1), "path from the Host header (GHSA-86qp-5c8j-p5mr), form limits (GHSA-82w8-qh3p-5jfq)"),
    "fastapi": ((0, 134), "the first that takes a Starlette without these"),
    "h11": ((0, 16), "chunked bodies that two servers read apart (CVE-2025-43859)"),
    "aiohttp": ((3, 14, 3), "unbounded decompression (CVE-2025-69223), heap read in the parser (CVE-2026-69244)"),
    "uvicorn": ((0, 32), "none is known"),
}


@pytest.mark.finding("F48")
@pytest.mark.parametrize("name", sorted(SAFE))
def test_no_version_that_is_known_to_be_open_is_allowed(name: str) -> None:
    least, why = SAFE[name]
    assert tuple(int(p) for p in lowest()[name].split(".")) >= least, f"{name}: {why}"
