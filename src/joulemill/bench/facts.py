"""What a run's manifest says of where it ran: the machine, the server, the model's header."""

from __future__ import annotations

import ipaddress
import os
import platform
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joulemill.ledger.manifest import ClientMachine, GgufDescription, ServerDescription
from joulemill.servers.endpoint import Endpoint, EndpointFacts
from joulemill.version import __version__

#: Longer texts of a model's header (chat templates, word lists) are left out of the manifest.
_LONGEST_TEXT = 400


def machine_facts(proc: Path = Path("/proc")) -> ClientMachine:
    """This machine: CPU model, CPUs, memory, kernel, what virtualises it. What cannot be read is None."""
    cpuinfo = _pairs(proc / "cpuinfo")
    memory = _pairs(proc / "meminfo").get("MemTotal", "").split()
    return ClientMachine(
        cpu=cpuinfo.get("model name") or cpuinfo.get("CPU part") or platform.machine(),
        cpus=os.cpu_count(),
        cpus_usable=len(os.sched_getaffinity(0)),
        memory_byte=int(memory[0]) * 1024 if memory and memory[0].isdigit() else None,
        system=platform.system(),
        kernel=platform.release(),
        architecture=platform.machine(),
        virtual="hypervisor" in cpuinfo.get("flags", "").split() if cpuinfo else None,
        members=None,
    )


def serves_here(url: str) -> bool:
    """Whether the server at ``url`` runs on this machine, as far as its address says: loopback, or our own name."""
    host = (urlsplit(url).hostname or "").lower()
    if host in ("localhost", socket.gethostname().lower()):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def version_facts() -> dict[str, str]:
    """Versions that bear on the figures."""
    import aiohttp
    import numpy

    return {
        "joulemill": __version__,
        "python": platform.python_version(),
        "aiohttp": aiohttp.__version__,
        "numpy": numpy.__version__,
    }


def server_facts(endpoint: Endpoint, facts: EndpointFacts, *, embedded: bool, slots: int | None) -> ServerDescription:
    """What the server says of itself. ``slots``: of the embedded server; else what llama.cpp tells."""
    slot_count = facts.props.get("total_slots")
    return ServerDescription(
        url=endpoint.url,
        api=endpoint.api,
        embedded=embedded,
        kind=facts.kind,
        version=facts.version,
        model=facts.model,
        models=tuple(facts.models),
        max_context_tok=facts.max_context_tok,
        metrics_url=facts.metrics_url,
        slots=slots or (slot_count if isinstance(slot_count, int) else None),
        ignore_eos=facts.takes_ignore_eos,
        members=None,
    )


def gguf_facts(path: Path) -> GgufDescription:
    """The model's header: short metadata, and each tensor's name, shape, type and bytes.

    Raises InputError for a file that is no GGUF.
    """
    from joulemill.catalog.gguf_shards import read_whole_gguf

    header = read_whole_gguf(path)
    return GgufDescription(
        file=path.name,
        file_byte=header.file_size_byte,
        weight_byte=header.weight_byte,
        weight_count=header.weight_count,
        metadata={k: v for k, v in _plain(header.metadata).items() if v is not None},
        tensors=tuple((t.name, t.shape, t.type_name, t.size_byte) for t in header.tensors),
        members=None,
    )


def _plain(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in metadata.items() if _short(v)}


def _short(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _LONGEST_TEXT
    return isinstance(value, int | float | bool | tuple)


def _pairs(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in reversed(text.splitlines()))
    return {name.strip(): value.strip() for name, colon, value in pairs if colon}
