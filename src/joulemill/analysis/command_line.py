"""The command that makes a run again, from its manifest. Pure.

Only what differs from the command's own defaults is said. Keys and header values are never kept, so they are not here;
each run salts its prompts anew, so that a repeated command meets no cache of the first.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any

from joulemill.ledger.manifest import Manifest, RunOptions

#: Option of the manifest → flag, and the value that the flag has by itself.
_FLAGS: dict[str, tuple[str, Any]] = {
    "url": ("--url", None),
    "model": ("--model", None),
    "api": ("--api", "chat"),
    "gguf": ("--gguf", None),
    "threads": ("--threads", None),
    "slots": ("--max-num-seqs", None),
    "context_tok": ("--context", None),
    "kv_type": ("--kv-dtype", None),
    "draft_gguf": ("--draft-gguf", None),
    "rate_req_s": ("--rate", None),
    "burstiness": ("--burstiness", 1.0),
    "trace": ("--trace", None),
    "requests": ("--requests", None),
    "input_tokens": ("--input-tokens", "128"),
    "output_tokens": ("--output-tokens", "64"),
    "shared_prefix_tok": ("--shared-prefix", 0),
    "seed": ("--seed", 0),
    "retries": ("--retries", 2),
    "site_path": ("--site", None),
    "quality": ("--quality", "small"),
    "metrics_url": ("--metrics-url", None),
    "precision": ("--precision", None),
    "architecture_path": ("--architecture", None),
    "turns": ("--turns", 1),
}
_TIMES: dict[str, tuple[str, Any]] = {
    "duration_s": ("--duration", None),
    "warmup_s": ("--warmup", 8.0),
    "idle_s": ("--idle", 5.0),
    "timeout_s": ("--timeout", 300.0),
    "sample_period_s": ("--sample-period", 0.2),
    "slo_ttft_s": ("--slo-ttft", None),
    "slo_tpot_s": ("--slo-tpot", None),
}
_USER = re.compile(r"(?<=//)[^/@\s]+@")


def command_line(manifest: Manifest) -> str | None:
    """``joulemill bench …`` with shell quoting; None for a run that another tool made, or of before this was kept."""
    if manifest.imported is not None or manifest.asked.loop is None:
        return None
    words = [word for flag, value in _stated_flags(manifest.asked, manifest) for word in (flag, value) if word]
    return " ".join(("joulemill bench", *(shlex.quote(w) for w in words)))


def _stated_flags(options: RunOptions, manifest: Manifest) -> Iterator[tuple[str, str]]:
    for key, (flag, default) in _FLAGS.items():
        value = getattr(options, key)
        if value is not None and value != default:
            yield flag, _USER.sub("", str(value))
    yield from _seconds(options)
    yield from _others(options)
    device = manifest.device
    if device is not None and device.name:
        yield "--device", f"{device.name}{'.toml' if device.facts else ''}:{device.count or 1}"


def _seconds(options: RunOptions) -> Iterator[tuple[str, str]]:
    for key, (flag, default) in _TIMES.items():
        value = getattr(options, key)
        if value is not None and value != default:
            yield flag, f"{value:g}s"


def _others(options: RunOptions) -> Iterator[tuple[str, str]]:
    """Options whose flags are not simply their values."""
    if options.quality is None and "quality" in (options.members or ()) and options.quality_stated is None:
        yield "--quality", "none"
    if options.loop == "closed" and options.concurrency not in (None, 4):
        yield "--concurrency", str(options.concurrency)
    if options.cache_prompt is False:
        yield "--no-prompt-cache", ""
    yield from (("--meter", str(meter)) for meter in options.meters or () if meter != "auto")
