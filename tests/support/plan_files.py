"""A plan's file for tests: one site, eight boards, one model; and the same with other values."""

from __future__ import annotations

from pathlib import Path

PLAN = """\
name = "eight boards"

[[site]]
name = "lab"
it_power_limit = "6 kW"
pue = 1.3
carbon_gco2e_kwh = 350
price_currency_kwh = 0.2
currency = "EUR"

[[pool]]
name = "h100"
site = "lab"
device = "h100"
owned_count = 8
unused = "off"

[[model]]
name = "Qwen/Qwen3-32B"
precisions = ["bf16", "fp8"]
power_caps = ["500 W"]
tp = [2]
concurrency = [8, 32, 64]

[[demand]]
name = "chat"
model = "Qwen/Qwen3-32B"
rate = "unlimited"
input_tokens = 800
output_tokens = 250
slo_tpot = "40 ms"
"""


def plan_file(folder: Path, *changes: tuple[str, str]) -> Path:
    """``PLAN`` with texts replaced, each of which must be there."""
    text = PLAN
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    path = folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return path
