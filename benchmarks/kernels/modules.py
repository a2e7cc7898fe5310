"""Measured modules as arrays: latent attention, sparse attention, linear attention. See ``rows``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from benchmarks.kernels.rows import DTYPES, OPS, Rows, codes, origin, rows_of, table
from benchmarks.kernels.work import (
    attended_pairs,
    latent_decode,
    latent_prefill,
    linear_decode,
    linear_prefill,
    sparse_attention,
)

#: DeepSeek V3 and its kin: hidden width, query rank, latent width, rotary width, key and value widths of a head.
HIDDEN, Q_RANK, LATENT, ROPE, NOPE, VALUE = 7168.0, 1536.0, 512.0, 64.0, 128.0, 128.0
#: Tokens that DeepSeek's sparse attention chooses.
CHOSEN = 2048.0


def column(t: dict[str, np.ndarray], name: str, keep: np.ndarray) -> np.ndarray:
    return t[name][keep].astype(float)


def projections(tokens: np.ndarray, heads: np.ndarray, dtype: str, absorbed: bool) -> tuple:
    """The products of a latent-attention module: down and up projections, absorbed products, output."""
    one = np.ones_like(tokens)
    products = [
        (tokens, one * (Q_RANK + LATENT + ROPE), one * HIDDEN, dtype),
        (tokens, heads * (NOPE + ROPE), one * Q_RANK, dtype),
        (tokens, one * HIDDEN, heads * VALUE, dtype),
    ]
    if absorbed:  # one small product a head; their weights add up to heads·2·NOPE·LATENT
        products.append((tokens, heads * (NOPE + VALUE), one * LATENT, "bf16"))
    else:
        products.append((tokens, heads * (NOPE + VALUE), one * LATENT, dtype))
    return tuple(products)


def parts(path: Path):
    """(table, mask, KV dtype, dtype of the products, compute dtype) for each kind of row of a module's file."""
    t = table(path)
    products = t.get("gemm_type", np.full(len(t["latency"]), "none"))
    for kv in np.unique(t["kv_cache_dtype"]):
        for name in np.unique(products):
            for act in np.unique(t["mla_dtype"]):
                keep = (t["kv_cache_dtype"] == kv) & (products == name) & (t["mla_dtype"] == act) & (t["latency"] > 0)
                if keep.sum() >= 100:
                    yield t, keep, str(kv), str(name), str(act)


def prefill_dtype(act: str, kv: str) -> str:
    return DTYPES[act] + ("" if act == kv else "_kv8")


def eager_floor(latency_s: np.ndarray) -> np.ndarray:
    return np.full(len(latency_s), np.quantile(latency_s, 0.02))


def latents() -> list[Rows]:
    """Latent attention in both phases; a group is (heads, batch)."""
    out = []
    for path in sorted([*OPS.glob("*generation_mla_*"), *OPS.glob("*context_mla_*"), *OPS.glob("*mla_*_module*")]):
        device, framework = origin(path)
        for t, keep, kv, name, act in parts(path):
            b, h = column(t, "batch_size", keep), column(t, "num_heads", keep)
            kv_byte = 2.0 if kv == "bfloat16" else 1.0
            if "generation" in path.name:
                context = column(t, "step", keep) + 1.0
                family, tokens, work = "latent_decode", b, latent_decode(b, context, h, kv_byte)
                order, dtype = context, DTYPES[kv]
            else:
                isl = column(t, "isl", keep)
                family, tokens, order = "latent_prefill", b * isl, isl
                work, dtype = latent_prefill(b, isl, attended_pairs(isl), h), prefill_dtype(act, kv)
            key = (family, dtype, device, framework, "" if name == "none" else "module")
            gemms = () if name == "none" else projections(tokens, h, DTYPES[name], "generation" in path.name)
            out.append(rows_of(key, t, keep, work, codes(h, b), order, gemms=gemms))
    return out


def listed(context: np.ndarray, framework: str) -> np.ndarray:
    """Tokens that the sparse kernel walks: vLLM's always a full list, TensorRT-LLM's only those that exist."""
    return np.full_like(context, CHOSEN) if framework == "vllm" else np.minimum(context, CHOSEN)


def sparses() -> list[Rows]:
    """Sparse attention modules in both phases; a group is (heads, batch)."""
    out = []
    for path in sorted(OPS.glob("*dsa_*_module*")):
        device, framework = origin(path)
        for t, keep, kv, name, act in parts(path):
            b, h = column(t, "batch_size", keep), column(t, "num_heads", keep)
            kv_byte = 2.0 if kv == "bfloat16" else 1.0
            floor = None
            if "generation" in path.name:
                context = column(t, "step", keep) + 1.0
                family, tokens, order, dtype = "sparse_decode", b, context, DTYPES[kv]
                work = sparse_attention(b, context, h, kv_byte, chosen=listed(context, framework))
            else:
                isl, past = column(t, "isl", keep), column(t, "step", keep)
                family, tokens, order, dtype = "sparse_prefill", b * isl, isl, DTYPES[act]
                seen = attended_pairs(isl, past) / isl
                work = sparse_attention(tokens, seen, h, kv_byte, index_queries=isl, chosen=listed(seen, framework))
                if framework == "vllm":
                    floor = eager_floor(t["latency"][keep] * 1e-3)
            more = {} if floor is None else {"floor_s": floor}
            gemms = projections(tokens, h, DTYPES[name], absorbed=True)
            out.append(
                rows_of(
                    (family, dtype, device, framework, "module"), t, keep, work, codes(h, b), order, gemms=gemms, **more
                )
            )
    return out


def linears() -> list[Rows]:
    """Chunked and recurrent linear attention; a group is a model's (heads, width)."""
    out = []
    for path in sorted(OPS.glob("*linear_attention*")):
        t, (device, framework) = table(path), origin(path)
        for source in ("chunk_gated_delta_rule", "mamba_chunk_scan_combined", "fused_recurrent_gated_delta_rule"):
            keep = (t["kernel_source"] == source) & (t["latency"] > 0)
            if not keep.any():
                continue
            b, n = column(t, "batch_size", keep), column(t, "seq_len", keep)
            mamba = "d_state" in t
            h = column(t, "nheads" if mamba else "num_v_heads", keep)
            k = column(t, "d_state" if mamba else "head_k_dim", keep)
            v = column(t, "head_dim" if mamba else "head_v_dim", keep)
            group, variant = codes(t["model_name"][keep], h), "mamba2" if mamba else "gdn"
            if source.startswith("fused"):
                family, work = "linear_decode", linear_decode(b, h, k, v)
            else:
                chunk = column(t, "chunk_size", keep) if mamba else 64.0
                family, work = "linear_prefill", linear_prefill(b, n, h, k, v, chunk)
            out.append(rows_of((family, "bf16", device, framework, variant), t, keep, work, group, b * n))
    return out
