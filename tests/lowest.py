"""The lowest versions that pyproject.toml allows of what speaks to the network, as a constraints file for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent
#: What reads what strangers send; the rest (numpy, scipy …) never sees a socket.
NETWORK = ("aiohttp", "fastapi", "h11", "prometheus-client", "pydantic", "starlette", "uvicorn", "jinja2")


def lowest() -> dict[str, str]:
    """Name → lowest allowed version."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    stated = [*project["dependencies"], *project["optional-dependencies"]["monitor"]]
    pairs = dict(re.fullmatch(r"([\w.-]+)>=([\d.]+)", s).groups() for s in stated)  # type: ignore[union-attr]
    return {name: pairs[name] for name in NETWORK}


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in lowest().items()))
