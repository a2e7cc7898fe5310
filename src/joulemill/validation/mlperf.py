"""MLPerf's node wall power → rows that can be predicted: what its benchmarks ask, and how submissions run them.

Mean answers are those that MLCommons' submission checker demands (``TOKENS_PER_SAMPLE``: llama2-70b 294.45, mixtral
144.84, llama3.1-405b 684.68, deepseek-r1 3886.23), or those of CNN/DailyMail (778 in, about 73 out). Mean prompts of
llama2-70b and mixtral come from the lengths of MLCommons' own samples (openshift-psap/performance-dashboard,
``mlperf-data/summaries``, 7cd1065d and 67033bae), of which 600 and 1,500 rows were read: 212 ± 6 tokens of OpenOrca;
422 ± 10, a third each of GSM8K with worked examples (662), OpenOrca up to 2,048 (414) and MBXP (190).
What submissions do not state is assumed, and said: weights in 4 bits where devices multiply in 4 bits, else 8; a KV
cache in 8 bits; as few devices a replica as hold the weights in 70 % of their memory; 768 requests per device, or what
NVIDIA's configurations of H200 name (``gpu_batch_size``: llama2-70b 806, mixtral 3,072; that of Mixtral may be of a
later round than v4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from joulemill.errors import InputError
from joulemill.physics.hardware.device import Device
from joulemill.physics.model.architecture import Architecture
from joulemill.physics.model.precision import Precision
from joulemill.physics.serving.deployment import Parallelism
from joulemill.physics.serving.shard import shard

BATCH_REQ, WEIGHTS_RATIO, SPREAD_RATIO = 768.0, 0.7, 0.6
#: Power limit of Max-Q settings over TDP: 500 of 700 W in NVIDIA's configurations of H200 for Llama 2 70B (v4.1,
#: ``closed/NVIDIA/configs``); assumed of others.
MAX_Q_RATIO = 500.0 / 700.0
NOTE = (
    "batch is not stated: 806 a device of Llama 2 70B, 3,072 of Mixtral, as NVIDIA's configurations of H200 have it "
    "(that of Mixtral perhaps of a later round), 768 of others (assumed); prompts have 212 and 422 tokens on average, "
    "read from parts of MLCommons' samples; a replica takes as few devices as hold it; "
    "4-bit weights where devices have 4-bit units, else 8-bit, and a KV cache in 8 bits (assumed)"
)
MAX_Q_NOTE = (
    "Max-Q is taken as a power limit of 0.71 TDP: 500 W, as NVIDIA's v4.1 configurations of Llama 2 70B on H200 state; "
    "assumed of others"
)


def cooling_note(row: Mapping[str, str]) -> str:
    """How the node was cooled, and what that means for its fans."""
    stated = (row.get("sys_cooling") or "").strip().lower()
    return f"cooling: {stated}, as stated" if stated else "cooling is not stated: an air-cooled node's fans are assumed"


@dataclass(frozen=True, slots=True)
class WallTask:
    """What one MLPerf benchmark asks of which model. ``concurrency``: most requests in flight a device."""

    model: str
    input_tok: float
    output_tok: float
    concurrency: float = BATCH_REQ


#: By what the benchmark's name holds. Inputs of deepseek-r1 and gpt-oss are assumed.
TASKS: dict[str, WallTask] = {
    "llama270b": WallTask("meta-llama/Llama-2-70b-chat-hf", 212.0, 294.0, 806.0),
    "mixtral8x7b": WallTask("mistralai/Mixtral-8x7B-v0.1", 422.0, 144.0, 3072.0),
    "llama31405b": WallTask("meta-llama/Llama-3.1-405B-Instruct", 9400.0, 685.0),
    "llama318b": WallTask("meta-llama/Llama-3.1-8B-Instruct", 778.0, 73.0),
    "gptj": WallTask("EleutherAI/gpt-j-6b", 778.0, 73.0),
    "deepseekr1": WallTask("deepseek-ai/DeepSeek-R1", 200.0, 3886.0),
    "gptoss120b": WallTask("openai/gpt-oss-120b", 500.0, 1300.0),
}


def task_of(benchmark: str) -> WallTask:
    """What ``benchmark`` ("llama2-70b-99.9", "llama3_1-405b") asks. InputError for one that is not known."""
    plain = "".join(c for c in benchmark.lower() if c.isalnum())
    for word, task in TASKS.items():
        if word in plain:
            return task
    raise InputError(
        f"MLPerf benchmark {benchmark!r} is not known; known are llama2-70b, llama3.1-8b, llama3.1-405b, "
        "mixtral-8x7b, gptj, deepseek-r1, gpt-oss-120b"
    )


def weights_word(device: Device) -> str:
    """Word for the weights that submissions on ``device`` use."""
    return "fp4" if "fp4" in device.peak_flop_s else "fp8"


def replicas_of(a: Architecture, precision: Precision, device: Device, devices: int) -> Parallelism:
    """Replicas over all ``devices`` of a node, each a tensor group of as few as hold the weights."""
    whole = shard(a, precision, device, Parallelism(1)).weight_byte
    tensor = 1
    while tensor < devices and whole / tensor > WEIGHTS_RATIO * device.memory_byte:
        tensor *= 2
    tensor = min(tensor, devices)
    return Parallelism(tensor, 1, 1, max(devices // tensor, 1))


def is_max_q(row: Mapping[str, str]) -> bool:
    """Whether the system's name says that it ran for efficiency."""
    return "maxq" in (row.get("system") or "").lower().replace("-", "")
