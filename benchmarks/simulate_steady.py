"""A steady closed loop, simulated step by step, against the closed form of ``predict``, on random deployments.

    python benchmarks/simulate_steady.py --deployments 200

Each deployment draws a model, a board, an engine profile, a power cap, lengths and a number of users; answers scatter
by half around their mean, so that requests do not end together. Printed are distances of rate, J/token and power

* from the closed form as it is: with the habits of the load generators that its coefficients were fitted to, whose
  requests of one length end together and come back together (``arrival_burst``, ``scheduler_interval``), and a
  fitted mean context;
* from the closed form of the same loop: no bursts, and the context that the lengths give.

Every deployment that is not within 5 % of the closed form as it is gets its reasons: differences between the two are
taken away one after another (``LADDER``) until rate, J/token and power are within 5 %, and those that took at least a
point of distance away are named. ``--rows`` prints a line a deployment.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
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
WITHIN = 0.05
#: A difference is named where taking it away brings the two closer by so much.
NAMED = 0.01
#: More than any board draws.
UNLIMITED_W = 1e6
#: Differences between ``predict`` and the engine loop, in the order in which they are taken away.
LADDER = (
    "prompts come in clumps",
    "mean context is fitted",
    "a slot stands empty for a step",
    "power limit holds over the mean step",
    "run is short",
)


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
            concurrency=self.users,
        )

    def simulated(self) -> np.ndarray:
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
            max_num_batched_tokens=int(d.max_batched_tok),
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
        return np.array([tokens / seconds, joules / tokens, joules / seconds])

    def closed_form(self, own: Rates) -> np.ndarray:
        """The same by ``steady``."""
        d = self.deployment
        at: Steady = swept(d, self.workload, shard_of(d), own, np.array([float(self.users)]))
        power_w = float(at.power_w[0]) * d.parallelism.devices
        return np.array([float(at.rate_tok_s[0]), float(at.energy_j_tok[0]), power_w])

    def rungs(self) -> Iterator[np.ndarray]:
        """Simulated over closed form − 1, a column a quantity: as they are, then without one difference more each."""
        ours, apart = self.simulated(), one_by_one(self.rates)
        for own in (self.rates, apart, own_context(apart)):
            yield ours / self.closed_form(own) - 1.0
        same, loop = own_context(apart), replace(self, synchronous=True)
        yield loop.simulated() / loop.closed_form(same) - 1.0
        loop = replace(loop, deployment=replace(self.deployment, power_cap_w=UNLIMITED_W))
        yield loop.simulated() / loop.closed_form(same) - 1.0
        loop = replace(loop, output_tok=np.tile(self.output_tok, 4))
        yield loop.simulated() / loop.closed_form(same) - 1.0


@dataclass(frozen=True)
class Compared:
    """How far a loop is from its closed form: as it is, and of the same loop; why, where it is not within 5 %."""

    as_it_is: np.ndarray
    same_loop: np.ndarray
    reasons: tuple[str, ...]
    left: float


def compared(loop: Loop) -> Compared:
    rungs, seen, reasons = loop.rungs(), [], []
    for name in ("", *LADDER):
        seen.append(next(rungs))
        now = np.abs(seen[-1]).max()
        if name and np.abs(seen[-2]).max() - now >= NAMED:
            reasons.append(name)
        if now < WITHIN and len(seen) >= 3:
            break
        if now < WITHIN and len(seen) < 3:
            seen += [next(rungs) for _ in range(3 - len(seen))]
            break
    return Compared(seen[0], seen[2], tuple(reasons), float(now))


def one_by_one(own: Rates) -> Rates:
    """Coefficients of a loop whose requests end and come back one by one."""
    arrivals = replace(own.host.arrivals, arrival_burst_ratio=1e-9, lock_ratio=1e-9, scheduler_interval_count=1.0)
    return replace(own, host=replace(own.host, arrivals=arrivals))


def own_context(own: Rates) -> Rates:
    """The same with the context that the lengths give."""
    return replace(own, host=replace(own.host, context_ratio=1.0, spread_ratio=1.0))


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
            f"within 5 %: {np.mean(apart < WITHIN):.0%}, mean {column.mean():+.1%}"
        )


def told(loop: Loop, of: Compared) -> str:
    d = loop.deployment
    apart = ", ".join(f"{q} {x:+.1%}" for q, x in zip(QUANTITIES, of.as_it_is, strict=True))
    why = " + ".join(of.reasons) if of.left < WITHIN else f"not explained ({of.left:.1%} left)"
    cap = f", {d.power_cap_w:.0f} W" if d.power_cap_w else ""
    head = f"{d.architecture.name} on {d.parallelism.devices} {d.device.name}{cap}: {loop.users} users, "
    return f"{head}{loop.input_tok} + {loop.output_tok.mean():.0f} tok: {apart}: {why or 'within 5 %'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deployments", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", action="store_true", help="a line a deployment")
    arguments = parser.parse_args()
    draw = np.random.default_rng(arguments.seed)
    rows: list[Compared] = []
    while len(rows) < arguments.deployments:
        loop = drawn(draw)
        if loop is None:
            continue
        rows.append(compared(loop))
        if arguments.rows:
            print(told(loop, rows[-1]), flush=True)
    summary("from the closed form as it is", [r.as_it_is for r in rows])
    summary("from the closed form of the same loop", [r.same_loop for r in rows])
    near = [r for r in rows if np.abs(r.as_it_is).max() < WITHIN]
    print(f"rate, J/token and power all within 5 % as they are: {len(near)} of {len(rows)}; of the others")
    far = [r for r in rows if np.abs(r.as_it_is).max() >= WITHIN]
    for name in LADDER:
        print(f"  {sum(name in r.reasons for r in far):4}  {name}")
    print(f"  {sum(r.left >= WITHIN for r in far):4}  not explained")


if __name__ == "__main__":
    main()
