"""The worked example of docs/model.md: computed by hand here, and by Joulemill; the two are compared by a test.

``python docs/worked_example.py`` writes the table into docs/model.md and the figure docs/img/worked_example.svg.
Everything here is plain arithmetic on published facts (Llama 3.1 8B, H100 data sheet) and on the fitted coefficients of
the catalog; nothing of Joulemill's physics is imported.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "model.md"
FIGURE = ROOT / "docs" / "img" / "worked_example.svg"
START, END = "<!-- worked example: written by docs/worked_example.py -->", "<!-- end of the worked example -->"

#: Llama 3.1 8B, from its config.json.
LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCABULARY = 32, 4096, 14336, 32, 8, 128, 128256
#: NVIDIA H100 SXM5 80 GB, from its data sheet: dense 16-bit peak [flop/s], bandwidth [byte/s], TDP [W].
PEAK_FLOP_S, BANDWIDTH_BYTE_S, TDP_W = 989.4e12, 3.35e12, 700.0
#: The workload: requests in flight, prompt and output tokens; the engine's max_num_batched_tokens.
CONCURRENCY, INPUT_TOK, OUTPUT_TOK, BATCHED_TOK = 32, 512, 512, 8192
ENGINE = "vllm-0.11"
DTYPE_BYTE = 2


def coefficients() -> dict[str, float]:
    """Fitted coefficients of ``ENGINE`` by name."""
    path = next((ROOT / "src" / "joulemill" / "catalog").rglob("serving.csv"))
    with path.open(encoding="utf-8", newline="") as file:
        return {r["parameter"]: float(r["value"]) for r in csv.DictReader(file) if r["engine"] == ENGINE}


def soft_max(a: float, b: float) -> float:
    """(a³ + b³)^⅓."""
    return float((a**3 + b**3) ** (1 / 3))


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: seconds of its parts, and the counts that energy follows."""

    matrices_s: float
    attention_s: float
    prefill_attention_s: float
    launches_s: float
    sampling_s: float
    executed_flop: float
    moved_byte: float

    @property
    def busy_s(self) -> float:
        """Time in which arithmetic or memory works."""
        return self.matrices_s + self.attention_s + self.prefill_attention_s + self.sampling_s

    @property
    def device_s(self) -> float:
        """Time on the device."""
        return self.busy_s + self.launches_s


def layer_parameters() -> float:
    """Parameters of the matrices of one layer: query, key, value, output; gate, up, down."""
    attention = HIDDEN * HEAD_DIM * (2 * HEADS + 2 * KV_HEADS)
    return attention + 3 * HIDDEN * FFN


def kv_byte_tok() -> float:
    """KV cache of one token: keys and values of all layers."""
    return 2.0 * LAYERS * KV_HEADS * HEAD_DIM * DTYPE_BYTE


def step(c: dict[str, float], decode: float, context: float, prompt: float, sampled: float) -> Step:
    """A step with ``decode`` sequences at ``context`` tokens each, ``prompt`` prompt tokens, ``sampled`` head rows."""
    memory, rows = c["memory"] * BANDWIDTH_BYTE_S, decode + prompt
    compute = c["wide_compute"] * PEAK_FLOP_S
    parameters, head = LAYERS * layer_parameters(), float(HIDDEN * VOCABULARY)
    matrices_s = soft_max(DTYPE_BYTE * parameters / memory, 2 * parameters * rows / compute)
    matrices_s += soft_max(DTYPE_BYTE * head / memory, 2 * head * sampled / compute)
    activations_byte = 12.0 * LAYERS * HIDDEN * DTYPE_BYTE * rows
    matrices_s += activations_byte / memory
    kv_byte = decode * context * kv_byte_tok()
    attention_flop_tok = 2.0 * LAYERS * HEADS * 2 * HEAD_DIM
    decode_flop = decode * context * attention_flop_tok
    attention_s = soft_max(
        kv_byte / (c["attention_memory"] * BANDWIDTH_BYTE_S), decode_flop / (c["latent_attention"] * PEAK_FLOP_S)
    )
    prompt_flop = prompt * attention_flop_tok * INPUT_TOK / 2
    waited_flop = prompt_flop + prompt * attention_flop_tok * c["prefill_grain"] / 2  # time, but no joules
    sampling_byte = sampled * VOCABULARY * c["sampling"]
    return Step(
        matrices_s=matrices_s,
        attention_s=attention_s,
        prefill_attention_s=waited_flop / (c["prefill_attention"] * PEAK_FLOP_S),
        launches_s=kernels() * c["kernel"],
        sampling_s=sampling_byte / memory,
        executed_flop=2 * parameters * rows + 2 * head * sampled + decode_flop + prompt_flop,
        moved_byte=DTYPE_BYTE * (parameters + head) + activations_byte + kv_byte + sampling_byte,
    )


def work(context: float) -> tuple[float, float]:
    """Useful FLOP and bytes of an output token: a decode step of all requests, and its share of a prompt."""
    parameters, head = LAYERS * layer_parameters(), float(HIDDEN * VOCABULARY)
    attention_flop_tok = 2.0 * LAYERS * HEADS * 2 * HEAD_DIM
    activations_byte_tok = 12.0 * LAYERS * HIDDEN * DTYPE_BYTE
    prompt_flop = INPUT_TOK * (2 * parameters + attention_flop_tok * (INPUT_TOK + 1) / 2) + 2 * head
    flop = 2 * (parameters + head) + context * attention_flop_tok + prompt_flop / OUTPUT_TOK
    prompt_byte = INPUT_TOK * (activations_byte_tok + 2 * kv_byte_tok())  # each key is written, and read once
    byte = DTYPE_BYTE * (parameters + head) / CONCURRENCY + (context + 1) * kv_byte_tok() + activations_byte_tok
    return flop, byte + prompt_byte / OUTPUT_TOK


def kernels() -> float:
    """Kernels launched per step: 10 per layer (4 matrices, 2 norms, 3 of attention, 1 of the MLP), 4 around them."""
    return 10.0 * LAYERS + 4.0


def by_hand() -> dict[str, float]:
    """Every quantity of the example."""
    c = coefficients()
    context = INPUT_TOK + c["context"] * 0.5 * OUTPUT_TOK
    arrivals = CONCURRENCY / OUTPUT_TOK
    room_tok = BATCHED_TOK - CONCURRENCY
    burst = 1.0 + c["arrival_burst"] * (CONCURRENCY - 1)
    crowd = 2.299 / math.hypot(1.0, arrivals * INPUT_TOK / room_tok / 0.2222)
    prefill_share = max((1.0 - math.exp(-arrivals * crowd / burst)) / crowd, arrivals * INPUT_TOK / room_tok)
    prompt = arrivals * INPUT_TOK / prefill_share
    plain = step(c, CONCURRENCY, context, 0.0, CONCURRENCY)
    mixed = step(c, CONCURRENCY, context, prompt, CONCURRENCY + prompt / INPUT_TOK)
    host_s = c["step"] + c["sequence"] * CONCURRENCY
    exposed_s = c["overlap"] * (soft_max(plain.device_s, host_s) - plain.device_s) + (1 - c["overlap"]) * host_s
    plain_s = max(plain.device_s + exposed_s, c["front"] * CONCURRENCY)
    exposed_s = plain_s - plain.device_s
    with_s = soft_max(mixed.device_s, c["eager"] * mixed.launches_s)
    exposed_with_s = c["overlap"] * (soft_max(with_s, host_s) - with_s) + (1 - c["overlap"]) * host_s
    mixed_s = max(with_s + exposed_with_s, c["front"] * CONCURRENCY)

    def mean(a: float, b: float) -> float:
        return a + prefill_share * (b - a)

    step_s = mean(plain_s, mixed_s)
    flop, moved = mean(plain.executed_flop, mixed.executed_flop), mean(plain.moved_byte, mixed.moved_byte)
    floor_j = c["wait_power"] * TDP_W * step_s
    busy_j = c["busy_power"] * TDP_W * mean(plain.busy_s, mixed.busy_s)
    flop_j = c["flop_energy"] * TDP_W / PEAK_FLOP_S * flop
    byte_j = c["byte_energy"] * moved
    step_j = floor_j + busy_j + flop_j + byte_j
    rate = CONCURRENCY / step_s
    c_tok, b_tok = work(context)
    ceiling = min(PEAK_FLOP_S / c_tok, BANDWIDTH_BYTE_S / b_tok)
    return {
        "weights": 2.0 * (LAYERS * layer_parameters() + HIDDEN * VOCABULARY),
        "kv": kv_byte_tok(),
        "context": context,
        "matrices": plain.matrices_s,
        "attention": plain.attention_s,
        "launches": plain.launches_s,
        "sampling": plain.sampling_s,
        "host": exposed_s,
        "plain": plain_s,
        "arrivals": arrivals,
        "prefill_share": prefill_share,
        "prompt": prompt,
        "mixed": mixed_s,
        "step": step_s,
        "rate": rate,
        "floor_j": floor_j,
        "busy_j": busy_j,
        "flop_j": flop_j,
        "byte_j": byte_j,
        "power": step_j / step_s,
        "device_j_tok": step_j / CONCURRENCY,
        "c_tok": c_tok,
        "b_tok": b_tok,
        "compute": PEAK_FLOP_S / c_tok,
        "bandwidth": BANDWIDTH_BYTE_S / b_tok,
        "phi": rate / ceiling,
    }


def document() -> dict[str, Any]:
    """The same deployment by Joulemill: the JSON of ``predict``."""
    from joulemill.cli import main as joulemill

    words = f"predict --model meta-llama/Llama-3.1-8B-Instruct --device h100 --concurrency {CONCURRENCY} "
    words += f"--input-tokens {INPUT_TOK} --output-tokens {OUTPUT_TOK} --json"
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        joulemill(words.split())
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def by_joulemill() -> dict[str, float]:
    """What Joulemill says of those quantities that it reports."""
    d = document()
    ceilings = {c["name"]: c for c in d["ceilings"]}
    compute, bandwidth = ceilings["compute"], ceilings["memory_bandwidth"]
    return {
        "kv": d["architecture"]["kv_byte_tok"],
        "plain": d["itl_s"]["value"],
        "rate": d["rate_tok_s"]["value"],
        "power": d["device_power_w"]["value"],
        "device_j_tok": d["device_j_tok"]["value"],
        "node_j_tok": d["node_j_tok"]["value"],
        "c_tok": compute["intensity"]["value"],
        "b_tok": bandwidth["intensity"]["value"],
        "compute": compute["rate_tok_s"]["value"],
        "bandwidth": bandwidth["rate_tok_s"]["value"],
        "phi": d["phi"]["value"],
    }


#: Key, what it is, how it is computed, factor to the unit shown, unit, digits after the point.
ROWS: tuple[tuple[str, str, str, float, str, int], ...] = (
    ("weights", "matrices read per step", "2 byte × (layers + head)", 1e-9, "GB", 2),
    ("kv", "KV cache", "2 × 32 layers × 8 heads × 128 × 2 byte", 1e-3, "kB/tok", 1),
    ("context", "mean context S of a decoding request", "I + κ·O/2", 1, "tok", 0),
    ("matrices", "decode step: matrices and head", "W/(η_mem·β) ∨ 2N·b/(η_mat·π), + activations", 1e3, "ms", 2),
    ("attention", "… attention", "b·S·kv/(η_att·β) ∨ FLOP", 1e3, "ms", 2),
    ("launches", "… kernel launches", "324 × τ_kernel", 1e3, "ms", 2),
    ("sampling", "… sampling", "b·V·σ/(η_mem·β)", 1e3, "ms", 2),
    (
        "host",
        "… host time that the device waits for",
        "τ_step + b·τ_seq, less what overlaps; the step at least b·τ_front",
        1e3,
        "ms",
        2,
    ),
    ("plain", "decode step t(b, 0)", "sum", 1e3, "ms", 2),
    ("arrivals", "requests that end, and begin, per step, λ", "b/O", 1, "", 4),
    ("prefill_share", "share of steps with a prefill, f", "(1 − e^(−λC/burst))/C", 1, "", 4),
    ("prompt", "prompt tokens in such a step, p", "λ·I/f", 1, "tok", 0),
    ("mixed", "step with a prefill t(b, p)", "as above with b + p rows, ∨ launches outside a graph", 1e3, "ms", 2),
    ("step", "mean step T", "(1 − f)·t(b, 0) + f·t(b, p)", 1e3, "ms", 2),
    ("rate", "**token rate**", "b/T", 1, "tok/s", 0),
    ("floor_j", "energy per step: floor", "s_floor·TDP·T", 1, "J", 2),
    ("busy_j", "… while kernels run", "s_busy·TDP·T_busy", 1, "J", 2),
    ("flop_j", "… arithmetic", "s_flop·TDP/π × FLOP", 1, "J", 2),
    ("byte_j", "… memory traffic", "ε_byte × bytes", 1, "J", 2),
    ("power", "**device power**", "energy of a step ÷ T", 1, "W", 0),
    ("device_j_tok", "**energy per token, device**", "energy of a step ÷ b", 1e3, "mJ/tok", 0),
    ("node_j_tok", "energy per token, node", "an eighth of host, fans and loss added", 1e3, "mJ/tok", 0),
    ("c_tok", "FLOP per output token, c", "2N + attention, + prompt ÷ O", 1e-9, "GFLOP/tok", 1),
    ("b_tok", "bytes per output token", "W/b + (S + 1)·kv + activations, + prompt ÷ O", 1e-6, "MB/tok", 0),
    ("compute", "compute ceiling", "π/c", 1, "tok/s", 0),
    ("bandwidth", "**memory bandwidth ceiling**", "β ÷ bytes per token", 1, "tok/s", 0),
    ("phi", "**Φ**", "rate ÷ lowest ceiling", 1, "", 3),
)


def table() -> str:
    """The example as a Markdown table: quantity, formula, by hand, by Joulemill."""
    hand, computed = by_hand(), by_joulemill()
    lines = ["| quantity | formula | by hand | `joulemill predict` |", "|---|---|--:|--:|"]
    for key, what, how, factor, unit, digits in ROWS:
        cells = [f"{v[key] * factor:,.{digits}f} {unit}".strip() if key in v else "" for v in (hand, computed)]
        lines.append(f"| {what} | {subscripted(how)} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def subscripted(formula: str) -> str:
    """``η_mem`` as η with an index."""
    return re.sub(r"\b([ητεs])_([a-z]+)", r"\1<sub>\2</sub>", formula)


def bar(y: float, parts: list[tuple[str, float, str]], total: float, unit: str, digits: int) -> list[str]:
    """A stacked bar at ``y`` whose length is its sum; labels inside where they fit, else above and below in turn."""
    x, width, above = 150.0, 560.0, True
    lines: list[str] = []
    for name, value, color in parts:
        w = value / total * width
        lines.append(f'<rect x="{x:.1f}" y="{y}" width="{w:.1f}" height="34" fill="{color}"/>')
        if w > 62:
            lines.append(f'<text x="{x + w / 2:.1f}" y="{y + 15}" class="in">{name}</text>')
            lines.append(f'<text x="{x + w / 2:.1f}" y="{y + 28}" class="in">{value:.{digits}f}</text>')
        elif w > 12:
            at_y = y - 4 if above else y + 46
            lines.append(f'<text x="{x + w / 2:.1f}" y="{at_y}" class="over">{name} {value:.{digits}f}</text>')
            above = not above
        x += w
    lines.append(
        f'<text x="{x + 6:.1f}" y="{y + 22}" class="sum">{sum(v for _, v, _ in parts):.{digits}f} {unit}</text>'
    )
    return lines


def figure() -> str:
    """The example as one SVG: where the time of a decode step goes, where the joules go, rate below its ceilings."""
    h, node_j = by_hand(), by_joulemill()["node_j_tok"]
    blue, teal, sand, grey, rust = "#2f6f9f", "#2a8c82", "#b08b4f", "#7d8791", "#b3543a"
    ms = [
        (n, h[k] * 1e3, c)
        for n, k, c in (
            ("matrices", "matrices", blue),
            ("attention", "attention", teal),
            ("launches", "launches", sand),
            ("sampling", "sampling", rust),
            ("host", "host", grey),
        )
    ]
    mj = [
        (n, h[k] / CONCURRENCY * 1e3, c)
        for n, k, c in (
            ("floor", "floor_j", grey),
            ("busy", "busy_j", sand),
            ("arithmetic", "flop_j", rust),
            ("memory", "byte_j", blue),
        )
    ]
    mj.append(("host, fans, loss", (node_j - h["device_j_tok"]) * 1e3, "#9aa7b1"))
    out = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 330" font-family="system-ui, sans-serif" '
        'font-size="12" role="img" '
        'aria-label="Worked example: time of a decode step, energy per token, rate below its ceilings">',
        "<style>.in{fill:#fff;text-anchor:middle;font-size:11px}.over{fill:#333;text-anchor:middle;font-size:10px}"
        ".sum{fill:#222;font-weight:600}.row{fill:#222}.axis{fill:#666;font-size:10px;text-anchor:middle}</style>",
        '<rect width="820" height="330" fill="#fff"/>',
        '<text x="10" y="52" class="row">decode step [ms]</text>',
        *bar(32, ms, sum(v for _, v, _ in ms), "ms", 2),
        '<text x="10" y="130" class="row">energy per token</text>',
        '<text x="10" y="145" class="row">at the node [mJ]</text>',
        *bar(112, mj, sum(v for _, v, _ in mj), "mJ", 0),
    ]
    return "\n".join([*out, *ceilings_of(h), "</svg>"]) + "\n"


def ceilings_of(h: dict[str, float]) -> list[str]:
    """Ceilings as bars on a logarithmic axis, and the rate as a line through them."""

    def x(rate: float) -> float:
        return 150.0 + math.log10(rate / 1e3) / math.log10(1e5 / 1e3) * 560.0

    lines = ['<text x="10" y="206" class="row">ceilings [tok/s]</text>']
    lines += ['<text x="10" y="221" class="axis" style="text-anchor:start">logarithmic axis</text>']
    for i, (name, key) in enumerate((("memory bandwidth", "bandwidth"), ("compute", "compute"))):
        y = 192 + 40 * i
        lines.append(f'<circle cx="{x(h[key]):.1f}" cy="{y + 10}" r="6" fill="#2f6f9f"/>')
        lines.append(
            f'<line x1="150" x2="{x(h[key]):.1f}" y1="{y + 10}" y2="{y + 10}" stroke="#2f6f9f" stroke-width="2"/>'
        )
        lines.append(f'<text x="{x(h[key]) + 11:.1f}" y="{y + 14}" class="sum">{name} {h[key]:,.0f}</text>')
    at = x(h["rate"])
    lines.append(
        f'<line x1="{at:.1f}" x2="{at:.1f}" y1="186" y2="278" stroke="#b3543a" '
        'stroke-width="2" stroke-dasharray="4 3"/>'
    )
    lines.append(
        f'<text x="{at + 5:.1f}" y="275" fill="#b3543a">rate {h["rate"]:,.0f} = '
        f"Φ {h['phi']:.2f} × lowest ceiling</text>"
    )
    for tick in (1e3, 1e4, 1e5):
        lines.append(f'<line x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="286" y2="292" stroke="#666"/>')
        lines.append(f'<text x="{x(tick):.1f}" y="306" class="axis">{tick:,.0f}</text>')
    lines.append('<line x1="150" x2="710" y1="286" y2="286" stroke="#666"/>')
    return lines


def written(page: str) -> str:
    """``page`` with the table of today."""
    before, rest = page.split(START, 1)
    return f"{before}{START}\n{table()}\n{END}{rest.split(END, 1)[1]}"


def main() -> int:
    """Write the table and the figure."""
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
    FIGURE.write_text(figure(), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
