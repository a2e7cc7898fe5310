"""Where the project and the published data beside it lie, wherever a test stands in the tree."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
#: Published measurements, recordings and cases beside the project; tests that need them skip where they are absent.
SHARED = ROOT.parent / "shared"
DATA = SHARED / "data"
CASES = SHARED / "cases"
RECORDINGS = DATA / "recordings"
