"""What tests of the explorer ask: one deployment as texts, how they are read, a table of measured runs, a plan."""

from __future__ import annotations

from joulemill.cli import Parser
from joulemill.commands.explore import reader

READ = reader(Parser)
PLAIN = {"model": "Qwen/Qwen3-32B", "device": "h100", "devices": "2", "concurrency": "32"}
RUNS = (
    "model_id,gpu_model,num_gpus,weight_precision,max_num_seqs,avg_batch_size,avg_input_len,avg_output_len,"
    "output_throughput_tokens_per_sec,avg_power_watts,energy_per_token_joules,median_itl_ms\n"
    "Qwen/Qwen3-8B,H100,1,bfloat16,64,60.5,512,512,2950,610,0.207,19.8\n"
    "nobody/no-model,H100,1,bfloat16,64,60.5,512,512,2950,610,0.207,19.8\n"
)
#: A plan with one limit.
PLAN = """
[[site]]
name = "lab"
it_power_limit = "12 kW"
pue = 1.3

[[pool]]
name = "boards"
site = "lab"
device = "h100"
owned_count = 16

[[model]]
name = "Qwen/Qwen3-8B"
precisions = ["fp8"]

[[demand]]
name = "chat"
model = "Qwen/Qwen3-8B"
rate = "unlimited"
input_tokens = 512
output_tokens = 256
"""
