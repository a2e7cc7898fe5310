"""The embedded server: llama.cpp's own HTTP server, from the xllamacpp wheel, in a process of its own.

It is a server like any other: driven over loopback HTTP, so that what is measured is what a user of llama.cpp gets.
It listens on a free port, and it never outlives this process: its standard input is a pipe from here, and the end of
that pipe ends it, however this process went. It has its own process group, so that Ctrl-C in the terminal reaches
only the run, which drains first and stops its server then.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from joulemill.catalog.gguf_shards import read_gguf
from joulemill.errors import InputError, MachineError, ServerError
from joulemill.servers.bundled import find_bundled_gguf

KV_TYPES = ("f16", "q8_0", "q4_0")
#: How long it may take to end when asked; it keeps nothing that is worth waiting for, and Ctrl-C ends a run in 3 s.
STOP_S = 1.0
LOG_TAIL_BYTE = 32 << 10


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedOptions:
    """How to run the server. ``gguf`` None: the bundled model; ``threads`` None: the CPUs that this process may use.

    ``context_tok`` is the context of each slot (llama.cpp divides its own figure by the slots; this one is multiplied
    before). ``second_gguf`` is served beside it, at an address of its own, by the same process. ``http_threads``: one
    is busy for each connection, so it bounds the clients served or queued at once.
    Raises InputError for what cannot be.
    """

    gguf: Path | None = None
    threads: int | None = None
    slots: int = 4
    context_tok: int = 2048
    kv_type: str = "f16"
    cache_prompt: bool = True
    seed: int = 0
    draft_gguf: Path | None = None
    draft_tok: int = 8
    second_gguf: Path | None = None
    batch_tok: int = 2048
    microbatch_tok: int = 512
    http_threads: int = 192
    start_timeout_s: float = 300.0

    def __post_init__(self) -> None:
        if self.kv_type not in KV_TYPES:
            raise InputError(f"KV-cache type {self.kv_type!r} is unknown; use one of {', '.join(KV_TYPES)}")
        for name in ("slots", "context_tok", "draft_tok", "batch_tok", "microbatch_tok", "http_threads", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}; it must be 1 or more")

    @property
    def thread_count(self) -> int:
        """Threads that compute."""
        if self.threads is not None:
            return self.threads
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class EmbeddedServer:
    """``with EmbeddedServer(EmbeddedOptions()) as server:`` … ``server.url``. Stopped on leaving, whatever happens.

    Raises InputError (an unreadable GGUF), MachineError (xllamacpp or the model is not installed), ServerError (it
    stopped or never came up; the message ends with its log).
    """

    def __init__(self, options: EmbeddedOptions | None = None) -> None:
        self.options = options or EmbeddedOptions()
        self.gguf = self.options.gguf or find_bundled_gguf()
        self.url, self.second_url = "", ""
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._last_log = ""

    @property
    def model_name(self) -> str:
        """The model's name as the server serves it: the file's, without ``.gguf``."""
        return self.gguf.stem

    @property
    def pid(self) -> int:
        """Its process, for CPU times; 0 before the start."""
        return self._process.pid if self._process else 0

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> EmbeddedServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it answers. Stops it again when that fails."""
        if self.running:
            return
        if importlib.util.find_spec("xllamacpp") is None:
            raise MachineError("the embedded server is not installed; pip install 'joulemill[embedded]', or give `url`")
        for path in filter(None, (self.gguf, self.options.draft_gguf, self.options.second_gguf)):
            read_gguf(path)
        deadline_s = time.monotonic() + self.options.start_timeout_s
        self._log = tempfile.TemporaryFile(prefix="joulemill-server-")  # noqa: SIM115  it lives as long as the server
        try:
            self._launch()
            announcement = self._announced(deadline_s)
            self.url, self.second_url = announcement["url"], announcement.get("second_url", "")
            self._wait_healthy(deadline_s)
        except BaseException:
            self.stop()
            raise

    def _launch(self) -> None:
        command = [sys.executable, "-m", "joulemill.servers.embedded_process", json.dumps(self._arguments())]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, process_group=0, cwd="/"
        )

    def _arguments(self) -> dict[str, Any]:
        settings = asdict(self.options) | {"threads": self.options.thread_count, "model_name": self.model_name}
        settings["gguf"] = str(self.gguf.resolve())
        for name in ("draft_gguf", "second_gguf"):
            path: Path | None = settings[name]
            settings[name] = str(path.resolve()) if path else None
        # The kernel's "parent died" signal follows the thread that started the child, so only the main one will do.
        settings["parent_pid"] = os.getpid() if threading.current_thread() is threading.main_thread() else None
        return settings

    def _announced(self, deadline_s: float) -> dict[str, str]:
        """The addresses, which the process prints when the models are loaded."""
        assert self._process is not None and self._process.stdout is not None  # noqa: S101
        line = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not line.endswith(b"\n"):
                if not selector.select(max(0.0, deadline_s - time.monotonic())):
                    raise ServerError(self._story(f"did not load within {self.options.start_timeout_s:g} s"))
                piece = os.read(self._process.stdout.fileno(), 4096)
                if not piece:
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        self._process.wait(STOP_S)
                    raise ServerError(self._story(f"stopped while loading (status {self._process.returncode})"))
                line += piece
        return {str(k): str(v) for k, v in json.loads(line).items()}

    def _wait_healthy(self, deadline_s: float) -> None:
        while not self._healthy():
            self.check()
            if time.monotonic() > deadline_s:
                raise ServerError(self._story(f"was not healthy within {self.options.start_timeout_s:g} s"))
            time.sleep(0.05)

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=5)  # past any proxy
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def check(self) -> None:
        """Raises ServerError with the log's end when the server has stopped by itself."""
        if self._process is not None and self._process.poll() is not None:
            raise ServerError(self._story(f"stopped (status {self._process.returncode})"))

    def stop(self) -> None:
        """End it: asked first, killed when it does not hear. Does nothing when it is not running."""
        process = self._process
        if process is None:
            return
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._last_log = self._read_log()
        if self._log is not None:
            self._log.close()
            self._log = None

    def log_tail(self, lines: int = 20) -> str:
        """The last lines of its log, also after the stop."""
        return "\n".join(self._read_log().splitlines()[-lines:])

    def _read_log(self) -> str:
        if self._log is None:
            return self._last_log
        size_byte = os.fstat(self._log.fileno()).st_size
        data = os.pread(self._log.fileno(), LOG_TAIL_BYTE, max(0, size_byte - LOG_TAIL_BYTE))
        return data.decode("utf-8", "replace")

    def _story(self, what: str) -> str:
        log = " | ".join(line.strip() for line in self.log_tail(6).splitlines() if line.strip())
        return f"the embedded server {what}, serving {self.gguf.name}; its log ends: {log or '(empty)'}"


def embedded_version() -> str | None:
    """The wheel and its version, e.g. ``xllamacpp 2026.10.11549`` (= llama.cpp b11549); None where not installed."""
    try:
        return "xllamacpp " + metadata.version("xllamacpp")
    except metadata.PackageNotFoundError:
        return None
