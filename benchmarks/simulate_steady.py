"""A steady closed loop, simulated step by step, against the closed form of ``predict``, on random deployments.

    python benchmarks/simulate_steady.py --deployments 200

Each deployment draws a model, a board, an engine profile, a power cap, lengths and a number of users; answers scatter
by half around their mean, so that requests do not end together. Printed are distances of rate, J/token and power

* from the closed form as it is: with the habits of the load generators that its coefficients were fitted to, whose
  requests of one length end together and come back in clumps (``clump``, ``poll``), and a fitted mean context;
* from the closed form of the same loop: no clumps, and the context that the lengths give.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from joulemill.catalog.serving import rates
from joulemill.physics.serving.batch import most_that_fit_req, swept
from joulemill.physics.serving.continuous_batching import Rates, Steady
from joulemill.physics.serving.deployed import shard_of
from joulemill.physics.serving.deployment import Deployment
from joulemill.physics.serving.workload import Workload
from joulemill.prediction.predict import resolved
from joulemill.prediction.question import PredictionRequest
from joulemill.simulation.fleet import Fleet, play
from joulemill.simulation.replica_cost import kv_tok_capacity, step_cost
from joulemill.simulation.resting import always_loaded
from joulemill.simulation.scheduler import VLLM, VLLM_SYNCHRONOUS, EngineLimits
from joulemill.simulation.traffic import Traffic

MODELS = (
    ("meta-llama/Llama-3.1-8B", 1),
    ("Qwen/Qwen3-32B", 2),
    ("meta-llama/Llama-3.1-70B", 4),
    ("Qwen/Qwen3-30B-A3B", 1),
    ("openai/gpt-oss-120b", 2),
    ("Qwen/Qwen3-235B-A22B", 8),
    ("mistralai/Mixtral-8x7B-v0.1", 2),
)
BOARDS = ("h100", "h200", "b200")
QUANTITIES = ("rate", "J/token", "power")


@dataclass(frozen=True)
class Loop:
    """A deployment, and users who ask again as soon as they are answered."""

    deployment: Deployment
    rates: Rates
    synchronous: bool
    users: int
    input_tok: int
    output_tok: np.ndarray

    @property
    def workload(self) -> Workload:
        mean = float(self.output_tok.mean())
        return Workload(
            input_tok=self.input_tok,
            output_tok=mean,
            output_spread_ratio=float(self.output_tok.std() / mean),
            batch_req=self.users,
        )

    def simulated(self) -> tuple[float, float, float]:
        """Rate, J/token and watts of the middle of the run."""
        n, d = self.output_tok.size, self.deployment
        previous = np.arange(n) - self.users
        traffic = Traffic(
            arrival_ns=np.zeros(n, dtype=np.int64),
            input_tok=np.full(n, self.input_tok),
            output_tok=self.output_tok,
            previous=np.maximum(previous, -1),
            think_ns=np.zeros(n, dtype=np.int64),
        )
        longest_tok = float(self.input_tok + self.output_tok.max())
        limits = EngineLimits(
            policy=VLLM_SYNCHRONOUS if self.synchronous else VLLM,
            max_num_seqs=self.users,
            max_num_batched_tokens=int(d.prefill_budget_tok),
            kv_tok=kv_tok_capacity(d, longest_tok),
        )
        cost = step_cost(d, self.rates, max_num_seqs=self.users, most_context_tok=longest_tok)
        fleet = Fleet(
            limits=limits,
            cost_at=lambda cap, clock: cost,
            rest=always_loaded(0.0),
            devices_count=d.parallelism.devices,
        )
        run = play(traffic, fleet)
        line, ended = run.timeline, np.sort(run.outcomes.finish_ns)
        middle = (line.start_ns >= ended[n // 6]) & (line.end_ns <= ended[2 * n // 3])
        seconds, joules, tokens = (x[middle].sum() for x in (line.duration_s, line.device_j, line.output_tok))
        return tokens / seconds, joules / tokens, joules / seconds

    def closed_form(self, own: Rates) -> tuple[float, float, float]:
        """The same by ``steady``."""
        d = self.deployment
        at: Steady = swept(d, self.workload, shard_of(d), own, np.array([float(self.users)]))
        return float(at.rate_tok_s[0]), float(at.energy_j_tok[0]), float(at.power_w[0]) * d.parallelism.devices

    def distances(self) -> np.ndarray:
        """Simulated over closed form − 1: as it is, and of the same loop; a column a quantity."""
        ours = np.array(self.simulated())
        return np.array([ours / np.array(self.closed_form(own)) - 1.0 for own in (self.rates, unclumped(self.rates))])


def unclumped(own: Rates) -> Rates:
    """Coefficients of a loop whose requests end one by one, with the context that the lengths give."""
    arrivals = replace(own.host.arrivals, clump_ratio=1e-9, lock_ratio=1e-9, poll_count=1.0)
    return replace(own, host=replace(own.host, arrivals=arrivals, context_ratio=1.0, spread_ratio=1.0))


def drawn(draw: np.random.Generator) -> Loop | None:
    """A loop; None where its users do not fit."""
    model, devices = MODELS[draw.integers(len(MODELS))]
    users = int(2.0 ** draw.uniform(0.0, 8.0))
    input_tok, mean_tok = (int(np.exp(draw.uniform(np.log(64), np.log(most)))) for most in (4096, 1024))
    engine = ("vllm", "vllm-0.19")[draw.integers(2)]
    question = PredictionRequest(
        model=model, device=BOARDS[draw.integers(3)], devices=devices, tp=devices, engine=engine
    )
    cap_ratio = draw.uniform(0.6, 1.0)
    capped = draw.random() < 0.3
    answers = np.maximum(1, np.rint(mean_tok * draw.uniform(0.5, 1.5, max(100, 12 * users)))).astype(np.int64)
    deployment, _, profile, _ = resolved(question)
    if capped and deployment.device.tdp_w:
        deployment = replace(deployment, power_cap_w=cap_ratio * deployment.device.tdp_w)
    loop = Loop(deployment, rates(profile), engine == "vllm", users, input_tok, answers)
    fits = most_that_fit_req(deployment, loop.workload, shard_of(deployment), loop.rates)
    return loop if fits >= 1.5 * users else None


def summary(name: str, distances: Sequence[np.ndarray]) -> None:
    table = np.array(distances)
    print(f"{name}: {len(table)} deployments")
    for quantity, column in zip(QUANTITIES, table.T, strict=True):
        apart = np.abs(column)
        print(
            f"  {quantity:8} median {np.median(apart):.1%}, p90 {np.quantile(apart, 0.9):.1%}, "
            f"within 5 %: {np.mean(apart < 0.05):.0%}, mean {column.mean():+.1%}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = np.random.default_rng(arguments.seed)
    tables: list[np.ndarray] = []
    while len(tables) < arguments.deployments:
        loop = drawn(draw)
        if loop is not None:
            tables.append(loop.distances())
    summary("from the closed form as it is", [t[0] for t in tables])
    summary("from the closed form of the same loop", [t[1] for t in tables])


if __name__ == "__main__":
    main()
