"""Which process of this machine serves a URL: the one that listens on its port, from the kernel's own lists.

A local server's CPU time is then its own, and not the whole machine's. Where several processes hold the socket (forked
workers), it is the one that the others come from; a proxy that merely passes connections on is not the server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from joulemill.bench.facts import serves_here
from joulemill.errors import InputError

#: Programs that listen for another's sake: their CPU time is not that of serving.
_PROXIES = {
    *["docker-proxy", "rootlessport", "slirp4netns", "pasta", "kubectl", "ssh", "sshd", "socat"],
    *["nginx", "haproxy", "envoy", "traefik", "caddy"],
}
_LISTENING = "0A"


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """A process of this machine that serves, its program's name, and how it is known."""

    pid: int
    name: str
    known: str


def server_process(
    url: str, embedded_pid: int | None, stated_pid: int | None, proc: Path = Path("/proc")
) -> ServerProcess | None:
    """The process behind ``url``; None where it is not known. Raises InputError for a stated one that is not there."""
    if embedded_pid is not None:
        return ServerProcess(embedded_pid, _name(proc, embedded_pid), "started by this run")
    if stated_pid is not None:
        if not serves_here(url):
            raise InputError(f"`server_pid` {stated_pid}: {url} is another machine, whose processes cannot be seen")
        if not (proc / str(stated_pid)).is_dir():
            raise InputError(f"`server_pid` {stated_pid}: there is no such process on this machine")
        return ServerProcess(stated_pid, _name(proc, stated_pid), "--server-pid")
    parts = urlsplit(url)
    port = parts.port or {"https": 443}.get(parts.scheme, 80)
    return _listener(port, proc) if serves_here(url) else None


def _listener(port: int, proc: Path) -> ServerProcess | None:
    sockets = {f"socket:[{inode}]" for inode in _inodes(port, proc)}
    holders = {pid for pid in _pids(proc) if sockets & _open_files(proc, pid)} if sockets else set()
    roots = [pid for pid in holders if _parent(proc, pid) not in holders]
    if len(roots) != 1 or _name(proc, roots[0]) in _PROXIES or roots[0] in _own_line(proc):
        return None
    return ServerProcess(roots[0], _name(proc, roots[0]), f"it listens on port {port}")


def _own_line(proc: Path) -> set[int]:
    """This process and those that it comes from: a server's time must not hold the client's."""
    line, pid = {os.getpid()}, _parent(proc, os.getpid())
    while pid and pid not in line:
        line.add(pid)
        pid = _parent(proc, pid)
    return line


def _inodes(port: int, proc: Path) -> set[str]:
    """Sockets that listen on ``port``. The tables' addresses are hexadecimal; the inode is the tenth column."""
    rows = [line.split() for table in ("tcp", "tcp6") for line in _text(proc / "net" / table).splitlines()[1:]]
    wanted = f"{port:04X}"
    return {r[9] for r in rows if len(r) > 9 and r[3] == _LISTENING and r[1].rpartition(":")[2] == wanted}


def _pids(proc: Path) -> Iterator[int]:
    with suppress(OSError):
        yield from (int(name) for name in os.listdir(proc) if name.isdigit())


def _open_files(proc: Path, pid: int) -> set[str]:
    """What a process has open; nothing where this user may not look."""
    links: set[str] = set()
    with suppress(OSError):
        for entry in os.scandir(proc / str(pid) / "fd"):
            with suppress(OSError):
                links.add(os.readlink(entry.path))
    return links


def _parent(proc: Path, pid: int) -> int | None:
    fields = _text(proc / str(pid) / "stat").rpartition(")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() else None


def _name(proc: Path, pid: int) -> str:
    return _text(proc / str(pid) / "comm").strip()


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
