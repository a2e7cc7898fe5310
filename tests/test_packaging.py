"""What a core install drags in: its size, and what must not be in it."""

from __future__ import annotations

import re
from importlib import metadata

LIMIT_BYTE = 250e6
BANNED = {"torch", "pandas", "pyarrow", "tensorflow", "transformers"}


def core_distributions() -> dict[str, metadata.Distribution]:
    """Joulemill and everything it requires without extras, transitively, as installed here."""
    found: dict[str, metadata.Distribution] = {}
    todo = ["joulemill"]
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # a requirement behind a marker for another platform or Python
        for requirement in found[name].requires or []:
            if "extra ==" not in requirement:
                todo.append(re.match(r"[\w.-]+", requirement)[0])  # type: ignore[index]
    return found


def installed_byte(distribution: metadata.Distribution) -> int:
    files = distribution.files or []
    return sum(f.size or 0 for f in files if not str(f).endswith(".pyc"))


def test_core_install_is_small() -> None:
    sizes = {name: installed_byte(d) for name, d in core_distributions().items()}
    assert {"numpy", "scipy", "aiohttp"} <= set(sizes)
    assert sum(sizes.values()) < LIMIT_BYTE, sorted(sizes.items(), key=lambda kv: -kv[1])[:6]


def test_nothing_heavy_is_required() -> None:
    assert not BANNED & set(core_distributions())
