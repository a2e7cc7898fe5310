"""Measured kernels as arrays: latency, watts, the work of each row, and the group that is left out together.

Reads ``<project>/../shared/data/ops/*.parquet`` (see docs/kernels.md for where they come from).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from benchmarks.kernels.law import KernelWork
from benchmarks.kernels.work import (
    attended_pairs,
    decode_attention,
    experts_touched,
    gemm,
    moe,
    prefill_attention,
    windowed_context,
)

OPS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "ops"
#: Datasheet facts of the two measured boards: dense FLOP/s by dtype, bytes/s, L2 bytes, power limit.
BOARDS = {
    "h200": {"bf16": 989.4e12, "fp8": 1978.9e12, "byte_s": 4.8e12, "cache": 50e6, "sm": 132, "limit": 700.0},
    "b200": {
        "bf16": 2250e12,
        "fp8": 4500e12,
        "fp4": 9000e12,
        "byte_s": 8.0e12,
        "cache": 126e6,
        "sm": 148,
        "limit": 1000.0,
    },
}
#: Bytes of a weight and of an activation, scales included; and the unit that multiplies them.
WEIGHT = {
    "bf16": 2.0,
    "fp8": 1.0,
    "fp8_block": 1.0002,
    "nvfp4": 0.5625,
    "int4": 0.516,
    "mxfp4": 0.53125,
    "w4a8": 0.53125,
}
ACT = {"bf16": 2.0, "fp8": 1.0, "fp8_block": 1.03, "nvfp4": 0.5625, "int4": 2.0, "mxfp4": 2.0, "w4a8": 1.03}
PEAK = {
    "bf16": "bf16",
    "fp8": "fp8",
    "fp8_block": "fp8",
    "nvfp4": "fp4",
    "int4": "bf16",
    "mxfp4": "bf16",
    "w4a8": "fp8",
    "bf16_kv8": "bf16",
}
#: Decode attention under this many cached tokens costs as much as one block of them; left out.
SHORTEST = 64
#: More readings than this in one mean are not looked for.
MOST_READINGS = 40
HEADS = ("num_heads", "num_key_value_heads", "head_dim")
DTYPES = {
    "bfloat16": "bf16",
    "fp8": "fp8",
    "fp8_block": "fp8_block",
    "nvfp4": "nvfp4",
    "int4_wo": "int4",
    "w4a16_mxfp4": "mxfp4",
    "w4a8_mxfp4_mxfp8": "w4a8",
}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Rows of one kernel: (family, dtype, device, framework, variant); every array has the same length.

    group    shapes that are left out together; order: the size along which neighbors in a group are compared
    read_count  power readings, 100 ms apart, behind each row's mean
    floor_s  time of the host's launches where the kernel was timed without a CUDA graph; 0 where it was not
    base_*   what a measured module spends beside its attention, predicted from its matrix products
    gemms    those products: (rows, columns, depth, dtype)
    """

    key: tuple[str, str, str, str, str]
    latency_s: np.ndarray
    power_w: np.ndarray
    work: KernelWork
    group: np.ndarray
    order: np.ndarray
    tag: np.ndarray
    floor_s: np.ndarray
    read_count: np.ndarray
    base_s: np.ndarray
    base_flop: np.ndarray
    base_byte: np.ndarray
    gemms: tuple[tuple[np.ndarray, np.ndarray, np.ndarray, str], ...] = ()

    def where(self, keep: np.ndarray) -> Rows:
        arrays = {f.name: getattr(self, f.name)[keep] for f in fields(self) if f.name not in ("key", "work", "gemms")}
        gemms = tuple((m[keep], n[keep], k[keep], dtype) for m, n, k, dtype in self.gemms)
        return replace(self, work=picked(self.work, keep), gemms=gemms, **arrays)

    @property
    def board(self) -> dict[str, float]:
        return BOARDS[self.key[2]]

    @property
    def peak_flop_s(self) -> float:
        return self.board[PEAK[self.key[1]]]


def picked(work: KernelWork, keep: np.ndarray) -> KernelWork:
    """The work of some rows."""
    return KernelWork(
        work.flop[keep],
        work.byte[keep],
        tuple(x[keep] for x in work.compute_measures),
        tuple(x[keep] for x in work.memory_measures),
        np.asarray(work.pass_byte)[keep],
    )


def table(path: Path) -> dict[str, np.ndarray]:
    t = pq.read_table(path)
    columns = {c: np.asarray(t[c].to_numpy(zero_copy_only=False)) for c in t.column_names}
    return columns | {"read_count": loop_readings(columns["latency"], columns["power"])}


def told_readings(power_w: np.ndarray) -> np.ndarray:
    """Readings behind each mean of whole milliwatts, at least: the least n for which n · mean is a whole number."""
    out = np.zeros(len(power_w))
    for n in range(1, MOST_READINGS + 1):
        whole = np.abs(power_w * 1e3 * n - np.round(power_w * 1e3 * n)) < 2e-3 * n
        out = np.where((out == 0) & whole, n, out)
    return out


def loop_readings(latency: np.ndarray, power_w: np.ndarray, width: int = 51) -> np.ndarray:
    """Readings, 100 ms apart, in the loop that timed each kernel.

    A file's loops repeat a kernel a set number of times, up to about a second: how long one lasted follows from the
    kernel's time. What a single mean tells is a lower bound (a mean of ten may look like one of five), so each row
    takes the 90 % quantile of what the rows of like time tell.
    """
    order = np.argsort(latency, kind="stable")
    told = told_readings(power_w)[order]
    padded = np.pad(told, width // 2, mode="edge")
    out = np.empty(len(told))
    out[order] = np.quantile(np.lib.stride_tricks.sliding_window_view(padded, width), 0.9, axis=1)
    return out


#: Folds that whole groups are shared out to.
FOLDS = 4


def fold_of(rows: Rows) -> np.ndarray:
    """Fold in which a row's group is left out; groups are shared out evenly, in an order drawn once."""
    groups, index = np.unique(rows.group, return_inverse=True)
    return (np.random.default_rng(0).permutation(len(groups)) % FOLDS)[index]


def codes(*columns: np.ndarray) -> np.ndarray:
    """One integer for every distinct combination of the columns."""
    out = np.zeros(len(columns[0]), dtype=np.int64)
    for column in columns:
        _, inverse = np.unique(column, return_inverse=True)
        out = out * (inverse.max() + 1) + inverse
    return np.unique(out, return_inverse=True)[1]


def wide(x: np.ndarray, n: int) -> np.ndarray:
    return np.broadcast_to(np.asarray(x, dtype=float), (n,)).copy()


def rows_of(key, t, keep, work, group, order, **more) -> Rows:
    """Rows of table ``t`` where ``keep``, with their work."""
    n = int(keep.sum())
    full = KernelWork(
        wide(work.flop, n),
        wide(work.byte, n),
        tuple(wide(x, n) for x in work.compute_measures),
        tuple(wide(x, n) for x in work.memory_measures),
        wide(work.pass_byte, n),
    )
    return Rows(
        key=key,
        latency_s=t["latency"][keep] * 1e-3,
        power_w=t["power"][keep].astype(float),
        work=full,
        group=group,
        order=np.asarray(order, float),
        tag=more.get("tag", np.zeros(n)),
        floor_s=more.get("floor_s", np.zeros(n)),
        read_count=t["read_count"][keep],
        base_s=np.zeros(n),
        base_flop=np.zeros(n),
        base_byte=np.zeros(n),
        gemms=more.get("gemms", ()),
    )


def origin(path: Path) -> tuple[str, str]:
    """(device, framework) of a file."""
    return path.name[:4], path.name.split("__")[2].split("-")[0]


def floor_by(latency_s: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Launch floor [s] of rows timed eagerly: the fastest decile among rows of the same ``size``."""
    out = np.empty(len(latency_s))
    for value in np.unique(size):
        same = size == value
        out[same] = np.quantile(latency_s[same], 0.1)
    return out


def gemms() -> list[Rows]:
    """Dense matrix products; a group is an (n, k) pair."""
    out = []
    for path in sorted(OPS.glob("*__gemm__*")):
        t, (device, framework) = table(path), origin(path)
        for name in np.unique(t["gemm_dtype"]):
            dtype = DTYPES[str(name)]
            keep = (t["gemm_dtype"] == name) & (t["latency"] > 0)
            m, n, k = (t[c][keep].astype(float) for c in ("m", "n", "k"))
            work = gemm(m, n, k, WEIGHT[dtype], ACT[dtype])
            floor = floor_by(t["latency"][keep] * 1e-3, m) if (dtype, framework) == ("fp8_block", "vllm") else 0.0 * m
            out.append(rows_of(("gemm", dtype, device, framework, ""), t, keep, work, codes(n, k), m, floor_s=floor))
    return out


def decodes() -> list[Rows]:
    """Decode attention with grouped queries; a group is (heads, KV heads, head size, window).

    TensorRT-LLM's rows are left out: they say 12 TB/s of a memory that has 8, so their loop must share its blocks.
    """
    out = []
    for path in sorted(OPS.glob("*vllm*generation_attention*")):
        t, (device, framework) = table(path), origin(path)
        for kv in np.unique(t["kv_cache_dtype"]):
            keep = (t["kv_cache_dtype"] == kv) & (t["latency"] > 0) & (t["step"] >= SHORTEST - 1)
            b, h, g, d = (
                t[c][keep].astype(float) for c in ("batch_size", "num_heads", "num_key_value_heads", "head_dim")
            )
            window = t["window_size"][keep].astype(float)
            cut = (window > 0) & (t["step"][keep] >= window)
            context = windowed_context(t["step"][keep] + 1.0, window)
            work = decode_attention(b, context, h, g, d, 2.0 if kv == "bfloat16" else 1.0)
            key = ("decode_attention", DTYPES[str(kv)], device, framework, "")
            group = codes(h, g, d, window)
            out.append(rows_of(key, t, keep, work, group, b * context, tag=d + 0.5 * cut))
    return out


def prefills() -> list[Rows]:
    """Prefill attention with grouped queries; a group is (heads, KV heads, head size, window)."""
    out = []
    for path in sorted(OPS.glob("*context_attention*")):
        t, (device, framework) = table(path), origin(path)
        for act in np.unique(t["attn_dtype"]):
            for kv in np.unique(t["kv_cache_dtype"]):
                keep = (t["kv_cache_dtype"] == kv) & (t["attn_dtype"] == act) & (t["latency"] > 0)
                if not keep.any():
                    continue
                b, s, h, g, d = (
                    t[c][keep].astype(float)
                    for c in ("batch_size", "isl", "num_heads", "num_key_value_heads", "head_dim")
                )
                window = t["window_size"][keep].astype(float)
                pairs = attended_pairs(s, 0.0, np.where(window > 0, window + 128.0, np.inf))
                work = prefill_attention(b, s, pairs, h, g, d, kv_byte=2.0 if kv == "bfloat16" else 1.0)
                dtype = DTYPES[str(act)] + ("" if kv == act else "_kv8")
                out.append(
                    rows_of(
                        ("prefill_attention", dtype, device, framework, ""),
                        t,
                        keep,
                        work,
                        codes(h, g, d, window),
                        b * s,
                        tag=d,
                    )
                )
    return out


def by_tag(rows: list[Rows], name: str) -> list[Rows]:
    """Each distinct tag (a head size, a routing) as rows of their own; the tag ends the dtype's place in the key."""
    out = []
    for r in rows:
        for tag in np.unique(r.tag):
            part = r.where(r.tag == tag)
            out.append(replace(part, key=(*r.key[:4], f"{name}{int(tag)}" + ("w" if tag % 1 else ""))))
    return out


#: Routing of the benchmark → gamma shape of the experts' popularity, and growth of the worst rank's load with ranks.
ROUTING = {"balanced": (np.inf, 0.0), "power_law_1.01": (1.0, 0.1), "power_law_1.2": (0.8, 0.12)}


def moes() -> list[Rows]:
    """Routed experts; a group is a model's (hidden, inner, top-k, experts); a tag says which routing."""
    out = []
    for path in sorted(OPS.glob("*__moe__*")):
        t, (device, framework) = table(path), origin(path)
        for name in np.unique(t["moe_dtype"]):
            for source in np.unique(t["kernel_source"]):
                keep = (t["moe_dtype"] == name) & (t["kernel_source"] == source) & (t["latency"] > 0)
                if keep.sum() < 100:
                    continue
                out.append(_moe(t, keep, ("moe", DTYPES[str(name)], device, framework, str(source))))
    return out


def _moe(t, keep, key) -> Rows:
    tokens, h, i, k, e, tp, ep = (
        t[c][keep].astype(float)
        for c in ("num_tokens", "hidden_size", "inter_size", "topk", "num_experts", "moe_tp_size", "moe_ep_size")
    )
    local, choices = e / ep, tokens * k / ep
    routing = t["distribution"][keep]
    touched = np.maximum(np.minimum(local, choices), 1.0)
    for name, (evenness, skew) in ROUTING.items():
        s = routing == name
        if np.isfinite(evenness):
            choices[s] *= ep[s] ** skew
            touched[s] = experts_touched(choices[s] / k[s], local[s], np.minimum(k, local)[s], evenness)
    work = moe(
        choices,
        touched,
        h,
        i / tp,
        WEIGHT[key[1]],
        2.0 if "nongated" in key[4] else 3.0,
        slots=tokens * k if key[3] == "vllm" else choices,
    )
    tag = np.unique(routing, return_inverse=True)[1]
    return rows_of(key, t, keep, work, codes(h, i, k, e), tokens, tag=tag)


def pooled(rows: list[Rows]) -> list[Rows]:
    """Rows of the same key as one; equal groups stay together."""
    keyed: dict[tuple[str, ...], list[Rows]] = {}
    for r in rows:
        keyed.setdefault(r.key, []).append(r)
    return [same[0] if len(same) == 1 else _joined(same) for same in keyed.values()]


def _joined(rows: list[Rows]) -> Rows:
    works = [r.work for r in rows]

    def joined(pick) -> np.ndarray:
        return np.concatenate([pick(w) for w in works])

    first = works[0]
    work = KernelWork(
        joined(lambda w: w.flop),
        joined(lambda w: w.byte),
        tuple(joined(lambda w, i=i: w.compute_measures[i]) for i in range(len(first.compute_measures))),
        tuple(joined(lambda w, i=i: w.memory_measures[i]) for i in range(len(first.memory_measures))),
        joined(lambda w: np.asarray(w.pass_byte)),
    )
    arrays = {
        f.name: np.concatenate([getattr(r, f.name) for r in rows])
        for f in fields(rows[0])
        if f.name not in ("key", "work", "gemms")
    }
    return replace(rows[0], work=work, gemms=(), **arrays)
