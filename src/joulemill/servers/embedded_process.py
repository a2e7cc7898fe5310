"""The process of the embedded server: ``python -m joulemill.servers.embedded_process '<options as JSON>'``.

Loads the model, prints ``{"url": …}`` (and ``second_url`` for a second model) on one line of standard output, then
serves until its standard input ends. The parent holds the other end of that pipe and nobody else, so the kernel closes
it when the parent goes, even by SIGKILL.
Imports little: this process's memory and start are part of what is measured.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_WARNINGS = 2  # llama.cpp's verbosity: errors and warnings; a line for each request would cost time


def main() -> None:
    """Serve until standard input ends."""
    options = json.loads(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _die_with(options["parent_pid"])
    threading.Thread(target=_watch_stdin, daemon=True).start()
    import xllamacpp

    try:
        servers = {"url": xllamacpp.Server(parameters(xllamacpp, options))}
        if options["second_gguf"]:
            beside = {"gguf": options["second_gguf"], "model_name": "second", "draft_gguf": None}
            servers["second_url"] = xllamacpp.Server(parameters(xllamacpp, {**options, **beside}))
    except RuntimeError as error:  # llama.cpp has logged the cause above; a traceback would push it out of sight
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    sys.stdout.write(json.dumps({name: s.listening_address for name, s in servers.items()}) + "\n")
    sys.stdout.flush()
    threading.Event().wait()


def _watch_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _die_with(parent_pid: int | None) -> None:
    """Have the kernel kill this process when the parent's main thread ends: it also works while the model loads."""
    if parent_pid is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it went before the call
        os._exit(1)


def parameters(xllamacpp: Any, options: Mapping[str, Any]) -> Any:
    """llama.cpp's parameters for ``options`` (``embedded.EmbeddedOptions`` as a dict, with names resolved)."""
    params = xllamacpp.CommonParams()
    params.model.path = options["gguf"]
    params.model_alias = {options["model_name"]}
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.endpoint_metrics = params.endpoint_props = params.endpoint_slots = True
    params.ui = False
    params.verbosity = _WARNINGS
    params.fit_params = False  # it would change what was asked for to fit the memory
    params.n_threads_http = options["http_threads"]
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options["threads"]
    params.n_parallel = options["slots"]
    params.kv_unified = False
    params.n_ctx = options["context_tok"] * options["slots"]
    params.n_batch, params.n_ubatch = options["batch_tok"], options["microbatch_tok"]
    params.cache_prompt = options["cache_prompt"]
    params.cache_ram_mib = 0  # by default it keeps old prompts in up to 8 GiB of main memory
    params.sampling.seed = options["seed"]
    _set_kv_type(xllamacpp, params, options["kv_type"])
    if options["draft_gguf"]:
        _set_draft(xllamacpp, params, options)
    return params


def _set_kv_type(xllamacpp: Any, params: Any, kv_type: str) -> None:
    stored = getattr(xllamacpp.ggml_type, f"GGML_TYPE_{kv_type.upper()}")
    params.cache_type_k = params.cache_type_v = stored
    if kv_type != "f16":  # a quantized V cache needs it
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED


def _set_draft(xllamacpp: Any, params: Any, options: Mapping[str, Any]) -> None:
    draft = params.speculative.draft
    draft.mparams.path = options["draft_gguf"]
    draft.n_max = options["draft_tok"]
    draft.cpuparams.n_threads = draft.cpuparams_batch.n_threads = options["threads"]
    params.speculative.types = [xllamacpp.common_speculative_type.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]


if __name__ == "__main__":
    main()
