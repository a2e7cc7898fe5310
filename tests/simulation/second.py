"""A second implementation of one replica: one object a request, one loop pass a step, no sums in closed form.

Written from the scheduler's rules (docs/simulation.md), not from the engine's code; only step costs are shared.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from joulemill.simulation.cost import TICKS, StepCost
from joulemill.simulation.traffic import Traffic


@dataclass(kw_only=True)
class Job:
    """A request."""

    at: int
    prompt: int
    answer: int
    names: list[int] = field(default_factory=list)
    done: int = 0
    out: int = 0
    blocks: int = 0
    shared: int = 0
    first_ns: int = -1
    end_ns: int = -1
    lost: int = 0
    decodes: bool = False

    @property
    def todo(self) -> int:
        """Tokens to compute before the next one of the answer."""
        return self.prompt + self.out


@dataclass(kw_only=True)
class Loop:
    """A replica without prefix caching: synchronous, or one step ahead.

    apart: prompts have steps of their own; whole: a prompt is computed in one step; reserve: share of its answer that
    must have room beside those of all that run.
    """

    cost: StepCost
    slots: int
    budget: int
    blocks: int
    ahead: bool
    block_tok: int = 16
    apart: bool = False
    whole: bool = False
    reserve: float | None = None

    def play(self, traffic: Traffic) -> list[Job]:
        """Serve all of it."""
        columns = (traffic.arrival_ns.tolist(), traffic.input_tok.tolist(), traffic.output_tok.tolist())
        self.jobs = [Job(at=at, prompt=tok, answer=out) for at, tok, out in zip(*columns, strict=True)]
        self.waiting: list[Job] = []
        self.running: list[Job] = []
        self.chunks: list[tuple[Job, int]] | None = None
        clock, coming = 0, list(self.jobs)
        while coming or self.waiting or self.running:
            if not self.waiting and not self.running:
                clock = max(clock, coming[0].at * TICKS)
            while coming and coming[0].at * TICKS <= clock:
                self.waiting.append(coming.pop(0))
            clock = self.step(clock)
        return self.jobs

    def free(self) -> int:
        """Blocks that nobody has."""
        return self.blocks - sum(j.blocks for j in self.running)

    def need(self, job: Job, tok: int) -> int:
        """Blocks that ``job`` lacks for ``tok`` tokens."""
        return max(-(-tok // self.block_tok) - job.blocks, 0)

    def step(self, clock: int) -> int:
        """One step from ``clock``; when it ends."""
        if not self.ahead:
            self.chunks = None
        decoding, lost = self.decoding(), False
        while sum(self.need(j, j.prompt + j.out) for j in decoding) > self.free():
            victim = self.running.pop()
            victim.blocks, victim.done, victim.lost, victim.decodes = 0, 0, victim.lost + 1, False
            self.waiting.insert(0, victim)
            self.chunks = [c for c in self.chunks or [] if c[0] is not victim]
            decoding, lost = self.decoding(), True
        for j in decoding:
            j.blocks += self.need(j, j.prompt + j.out)
        if not self.ahead or (not self.chunks and not decoding):
            self.chunks = self.plan(len(decoding), lost)
        chunks = self.chunks or []
        joining = [j for j, _ in chunks if j.done == j.todo]
        if self.ahead:
            self.chunks = self.plan(len(decoding) + len(joining), lost)
        return self.run(clock, chunks, decoding, joining)

    def decoding(self) -> list[Job]:
        """Who decodes in the next step."""
        planned = [j for j, _ in self.chunks or []]
        return [j for j in self.running if j.decodes and j not in planned]

    def plan(self, decoding: int, lost: bool) -> list[tuple[Job, int]]:
        """Chunks of a step beside so many that decode."""
        budget, chunks = self.budget - (0 if self.apart else decoding), []
        for job in [j for j in self.running if not j.decodes and j.done < j.todo]:
            n = min(job.todo - job.done, budget)
            if n > 0 and self.need(job, job.done + n) <= self.free():
                chunks.append((job, n))
                budget -= n
                job.blocks += self.need(job, job.done + n)
                job.done += n
        while self.waiting and budget > 0 and len(self.running) < self.slots and not lost:
            job = self.waiting[0]
            n = min(job.todo, budget)
            if self.need(job, n) > self.free() or (self.whole and n < job.todo) or not self.reserved(job):
                break
            self.running.append(self.waiting.pop(0))
            job.blocks += self.need(job, n)
            job.done = n
            chunks.append((job, n))
            budget -= n
        return chunks

    def reserved(self, job: Job) -> bool:
        """Whether ``job`` fits with its answer beside those that run with theirs."""
        if self.reserve is None or not self.running:
            return True
        all_blocks = [
            -(-(j.prompt + math.ceil(self.reserve * j.answer)) // self.block_tok) for j in [*self.running, job]
        ]
        return sum(all_blocks) <= self.blocks

    def run(self, clock: int, chunks: list[tuple[Job, int]], decoding: list[Job], joining: list[Job]) -> int:
        """Compute a step."""
        if chunks and self.apart:
            decoding = []
        behind = sum(j.prompt + j.out - 1 for j in decoding)
        if chunks:
            tok = sum(n for _, n in chunks)
            depth = sum(n * (j.done - n + n / 2) for j, n in chunks) if not self.ahead else self.depth(chunks)
            ticks = self.cost.mixed(len(decoding), behind, tok, depth / tok)[0]
        else:
            ticks = self.cost.decode(len(decoding), behind)[0]
        clock += ticks
        for job in [*decoding, *joining]:
            job.out += 1
            job.done, job.decodes = max(job.done, job.prompt + job.out - 1), True
            if job.first_ns < 0:
                job.first_ns = clock // TICKS
            if job.out == job.answer:
                job.end_ns = clock // TICKS
                job.blocks = 0
                self.running.remove(job)
        return clock

    def depth(self, chunks: list[tuple[Job, int]]) -> float:
        """Σ tokens · tokens before them; what the plan ahead has taken of the same prompts already is not behind."""
        later = {id(j): n for j, n in self.chunks or []}
        return sum(n * (j.done - later.get(id(j), 0) - n + n / 2) for j, n in chunks)
