"""One replica of an engine that batches continuously, step by step, or many alike steps at once. Deterministic.

A step carries one token of every sequence that decodes, and chunks of prompts up to the engine's budget. Between steps
requests end, come in, or lose their place in the KV cache. While nothing of that happens, the loop goes k steps at once
(``cost``): to the first of the next end, the last free block, the next context knot. What comes in between cuts the
stretch at the first step that begins after it (``accept``). Clocks are whole ticks, so that going step by step ends
at the same tick.
"""

from __future__ import annotations

import math
from collections import deque
from heapq import heappop, heappush

from joulemill.simulation.cost import TICKS, StepCost
from joulemill.simulation.intervals import Intervals
from joulemill.simulation.kv_blocks import KvBlocks
from joulemill.simulation.requests import RequestTable
from joulemill.simulation.scheduler import EngineLimits

#: A chunk of a prompt: request, tokens, tokens before them, whether its first token comes out of this step.
Chunk = tuple[int, int, int, bool]


class Replica:
    """A replica at work.

    end          tick at which the steps that run now end; −1: nothing runs
    waiting      requests that have no place yet, first come first
    finished     requests that ended in the last steps, for whoever drives the loop
    """

    def __init__(
        self,
        index: int,
        table: RequestTable,
        limits: EngineLimits,
        cost: StepCost,
        *,
        least_interval_ns: int = 0,
        fast_forward: bool = True,
    ) -> None:
        self.index, self.table, self.limits, self.cost = index, table, limits, cost
        policy = limits.policy
        self.max_running_req = limits.max_num_seqs
        self.block_tok = policy.block_tok
        self.blocks = KvBlocks(
            limits.blocks_count, max(1, table.block_tok // policy.block_tok), table.hashes is not None
        )
        self.intervals = Intervals(least_interval_ns)
        self.waiting: deque[int] = deque()
        self.running: dict[int, None] = {}
        self.partial: list[int] = []
        self.finished: list[int] = []
        self.end = -1
        self.events_count = 0
        self._fast = fast_forward
        self._planned: list[Chunk] = []
        self._chunks: list[Chunk] = []
        self._grain = cost.grain_count
        self._grow = round(limits.step_yield_tok * cost.grain_count)
        self._steps = 0
        self._decode_req = 0
        self._grains = 0
        self._phases = [0] * policy.block_tok
        self._ends: list[int] = []
        self._size = max(len(table.input_tok), 1)
        self._reserved_count = 0
        self._prompt_kv_tok = 0
        self._cached_tok = 0
        self._wait_ns = 0.0
        self._seen_ns = 0
        self._start = self._count = self._first = self._slope = 0
        self._taken_count = 0
        self._held_back = False
        self._moved_j = 0.0
        self._spent_j = (0.0, 0.0, 0.0)
        self._share = (0.0, 0.0, 0.0)

    # ------------------------------------------------------------------ what drivers see

    @property
    def load_req(self) -> int:
        """Requests that it has, running and waiting."""
        return len(self.running) + len(self.waiting)

    @property
    def kv_ratio(self) -> float:
        """Share of the KV cache in use."""
        return self.blocks.used_count / max(self.blocks.total_count, 1)

    def accept(self, i: int, tick: int) -> None:
        """Request ``i`` comes at ``tick``: it waits, and steps that begin later see it."""
        self._watch(tick)
        self.waiting.append(i)
        self.table.replica[i] = self.index
        self.cut(tick)

    def cut(self, tick: int) -> None:
        """End the stretch that runs at the first step that ends at ``tick`` or later."""
        if self.end > tick and self._count > 1:
            self._count = min(self._count, self._steps_until(tick - self._start))
            self.end = self._start + self._stretch_ticks(self._count)

    def _watch(self, tick: int) -> None:
        now_ns = tick // TICKS
        self._wait_ns += len(self.waiting) * float(now_ns - self._seen_ns)
        self._seen_ns = now_ns

    # ------------------------------------------------------------------ steps

    def begin(self, tick: int) -> bool:
        """Start what comes next at ``tick``; whether anything runs."""
        if not self.running and not self.waiting:
            return False
        if self._seen_ns * TICKS != tick:
            self._watch(tick)
        self._make_room()
        ahead = self.limits.policy.lookahead
        chunks = self._planned if ahead else self._plan()
        if ahead:
            if not chunks and not self._decode_req:
                chunks = self._plan()
            self._planned = []
            if self.waiting or self.partial:
                self._planned = self._plan([c for c in chunks if c[3]])
        if not chunks and not self._decode_req:
            return False
        self._chunks, self._start = chunks, tick
        self.events_count += 1
        if chunks:
            self._run_mixed()
        else:
            self._run_stretch()
        return True

    def _run_mixed(self) -> None:
        chunks, table = self._chunks, self.table
        start_ns = self._start // TICKS
        prefill_tok, depth, largest = 0, 0, 0
        for i, n, past, _ in chunks:
            prefill_tok += n
            depth += n * (2 * past + n)
            largest = max(largest, n)
            if table.admitted_ns[i] < 0:
                table.admitted_ns[i] = start_ns
        together = self.limits.policy.mixed_steps
        decode_req, grains = (self._decode_req, self._grains) if together else (0, 0)
        rank_tok = prefill_tok if self.limits.ranks_count == 1 else self._busiest_tok(prefill_tok, largest)
        ticks, energy_j = self.cost.mixed(decode_req, grains, rank_tok, depth / (2 * prefill_tok))
        alone_j = self.cost.decode(decode_req, grains)[1]
        self._count = 1 if decode_req else 0
        self._spent(energy_j - alone_j)
        self.end = self._start + ticks

    def _busiest_tok(self, prefill_tok: int, largest_tok: int) -> int:
        return max(-(-prefill_tok // self.limits.ranks_count), largest_tok)

    def _run_stretch(self) -> None:
        b, grains, cost = self._decode_req, self._grains, self.cost
        at = cost.segment(b, grains)
        self._spent_j = (0.0, cost.energy_j[b][at], cost.energy_grain_j[b][at])
        slope = cost.time_ticks_grain[b][at]
        self._first = cost.time_ticks[b][at] + slope * grains
        self._slope = slope * b * self._grow
        count = 1
        if self._fast and not self._planned and not self._held_back:
            count = self._stretch_steps(at)
        self._count = count
        self.end = self._start + self._stretch_ticks(count)

    def _stretch_steps(self, at: int) -> int:
        """Steps until a request ends, a block is missing or the next context knot is reached; at least one."""
        b, knots = self._decode_req, self.cost.context_grains
        count = self._ends[0] // self._size - self._steps
        if at + 2 < len(knots):
            count = min(count, -((self._grains - knots[at + 1] * b) // (b * self._grow)))
        free = self.blocks.total_count - self.blocks.used_count
        if b * (self._moved_tok(count) // self.block_tok + 1) > free:
            count = min(count, self._steps_that_fit(free, count))
        return max(count, 1)

    def _steps_that_fit(self, free: int, most: int) -> int:
        """The most steps up to ``most`` whose new blocks are free; they grow with the steps."""
        low, high = 1, max(most, 1)
        while low < high:
            middle = (low + high + 1) // 2
            if self._new_blocks(middle) - self._taken_count <= free:
                low = middle
            else:
                high = middle - 1
        return low

    def _stretch_ticks(self, count: int) -> int:
        return count * self._first + self._slope * (count * (count - 1) // 2)

    def _steps_until(self, ticks: int) -> int:
        """The least steps that last ``ticks`` or longer."""
        first, slope = self._first, self._slope
        half = first - 0.5 * slope
        count = max(1, int(2.0 * ticks / (half + math.sqrt(half * half + 2.0 * slope * ticks))))
        while self._stretch_ticks(count) < ticks:
            count += 1
        while count > 1 and self._stretch_ticks(count - 1) >= ticks:
            count -= 1
        return count

    # ------------------------------------------------------------------ blocks of the KV cache

    def _moved_tok(self, count: int) -> int:
        """Tokens that a sequence goes on by in ``count`` steps."""
        if self._grow == self._grain:
            return count
        return (self._steps + count) * self._grow // self._grain - self._position()

    def _position(self) -> int:
        return self._steps * self._grow // self._grain

    def _new_blocks(self, count: int) -> int:
        """Blocks that all sequences together begin in ``count`` steps."""
        size = self.block_tok
        if count == 1 and self._grow == self._grain:
            return self._phases[-self._steps % size]
        rounds, rest = divmod(self._moved_tok(count), size)
        need = rounds * self._decode_req
        position = self._position()
        for j in range(rest):
            need += self._phases[-(position + j) % size]
        return need

    def _make_room(self) -> None:
        """Take blocks for the next token of every sequence, if need be from the requests that came in last."""
        self._held_back = False
        if not self._decode_req and not self._taken_count:
            return
        need = self._new_blocks(1)
        while need - self._taken_count > self.blocks.free_count:
            self._preempt(next(reversed(self.running)))
            self._held_back = True
            need = self._new_blocks(1) if self._decode_req else 0
        if need != self._taken_count:
            self.blocks.take(need - self._taken_count)
            self._taken_count = need

    def _preempt(self, i: int) -> None:
        table = self.table
        if table.finish_step[i] >= 0:
            table.answered_tok[i] += self._leave(i)
        else:
            self._prompt_kv_tok -= table.computed_tok[i]
            self.partial = [p for p in self.partial if p != i]
            self._planned = [c for c in self._planned if c[0] != i]
        self._release(i)
        table.preemptions_count[i] += 1
        table.computed_tok[i] = 0
        table.target_tok[i] = table.input_tok[i] + table.answered_tok[i]
        self.waiting.appendleft(i)

    def _release(self, i: int) -> None:
        table, blocks = self.table, self.blocks
        blocks.give(table.own_count[i])
        if table.held[i]:
            blocks.release(table.held[i])
        self._reserved_count -= table.reserved_count[i]
        table.held[i], table.own_count[i], table.reserved_count[i] = (), 0, 0
        del self.running[i]

    # ------------------------------------------------------------------ who comes in

    def _plan(self, joining: list[Chunk] | None = None) -> list[Chunk]:
        """Chunks of the next step: of prompts that have begun, then of those that wait."""
        if not self.partial and not self.waiting:
            return []
        budget = self.limits.step_tok
        if self.limits.policy.mixed_steps:
            budget -= self._decode_req + (len(joining) if joining else 0)
        chunks: list[Chunk] = []
        if self.partial:
            budget = self._go_on(chunks, budget, joining is None)
        while self.waiting and budget > 0 and len(self.running) < self.max_running_req and not self._held_back:
            n = self._admit(self.waiting[0], budget)
            if not n:
                break
            chunks.append(self._chunk(self.waiting.popleft(), n))
            budget -= n
        return chunks

    def _go_on(self, chunks: list[Chunk], budget: int, alone: bool) -> int:
        """Chunks of prompts that have begun; what they leave of the budget. ``alone``: nothing else runs meanwhile, so
        that one must give way where none can go on."""
        table, blocks = self.table, self.blocks
        begun, self.partial = self.partial, []
        for i in begun:
            n = min(table.target_tok[i] - table.computed_tok[i], budget)
            need = self._blocks_of(table.computed_tok[i] + n) - self._blocks_of(table.computed_tok[i])
            if n <= 0 or need > blocks.free_count:
                self.partial.append(i)
                continue
            blocks.take(need)
            table.own_count[i] += need
            chunks.append(self._chunk(i, n))
            budget -= n
        if alone and not chunks and not self._decode_req and len(self.partial) > 1:
            self._preempt(self.partial[-1])
            return self._go_on(chunks, budget, alone)
        return budget

    def _blocks_of(self, tok: int) -> int:
        return -(-tok // self.block_tok)

    def _chunk(self, i: int, n: int) -> Chunk:
        """The next ``n`` tokens of a prompt as a chunk of a step that is planned."""
        table = self.table
        past = table.computed_tok[i]
        table.computed_tok[i] = past + n
        self._prompt_kv_tok += n
        whole = past + n >= table.target_tok[i]
        if not whole:
            self.partial.append(i)
        elif table.hashes is not None:
            self._publish(i, table.hashes[i])
        return i, n, past, whole

    def _publish(self, i: int, hashes: list[int]) -> None:
        table = self.table
        held = table.held[i]
        new = self.blocks.publish(hashes[len(held) :])
        table.own_count[i] -= len(new) * self.blocks.named_count
        table.held[i] = [*held, *new]

    def _admit(self, i: int, budget: int) -> int:
        """Give request ``i`` room for its first chunk; tokens of it, 0 where there is no room."""
        table, blocks, policy = self.table, self.blocks, self.limits.policy
        target = table.target_tok[i]
        shared: list[int] = []
        if table.hashes is not None:
            shared = self._shared(table.hashes[i], target)
        cached_tok = len(shared) * table.block_tok
        n = target - cached_tok
        if n > budget:
            if not policy.chunked:
                return 0
            n = budget
        own = self._blocks_of(cached_tok + n) - len(shared) * blocks.named_count
        if own + blocks.resting_count(shared) > blocks.free_count:
            return 0
        if not self._reserve(i):
            return 0
        blocks.hold(shared)
        blocks.take(own)
        table.held[i], table.own_count[i], table.computed_tok[i] = shared, own, cached_tok
        self._prompt_kv_tok += cached_tok
        self.running[i] = None
        if table.admitted_ns[i] < 0:
            table.cached_tok[i] = cached_tok
        self._cached_tok += cached_tok
        return n

    def _shared(self, hashes: list[int], target: int) -> list[int]:
        """Named blocks of a prompt that are in the cache; its last token is always computed."""
        count = min(self.blocks.matched(hashes), (target - 1) // self.table.block_tok)
        return hashes[:count]

    def _reserve(self, i: int) -> bool:
        """Set aside the blocks of ``i``, its prompt and a share of its answer, as the engine does; False: too few."""
        ratio, table = self.limits.policy.reserve_output_ratio, self.table
        if ratio is None:
            return True
        reserved = self._blocks_of(table.input_tok[i] + math.ceil(ratio * table.output_tok[i]))
        if self.running and self._reserved_count + reserved > self.blocks.total_count:
            return False
        self._reserved_count += reserved
        table.reserved_count[i] = reserved
        return True

    # ------------------------------------------------------------------ what steps end with

    def _spent(self, prefill_j: float) -> None:
        """Joules of the step that begins, of its prompts and of its sequences."""
        b = self._decode_req if self._count else 0
        level_j = slope_j = 0.0
        if b:
            at = self.cost.segment(b, self._grains)
            level_j, slope_j = self.cost.energy_j[b][at], self.cost.energy_grain_j[b][at]
        self._spent_j = (max(prefill_j, 0.0), level_j, slope_j)

    def complete(self) -> None:
        """What the steps that ran end with: tokens, first tokens, ends."""
        count, b = self._count, self._decode_req
        end_ns = self.end // TICKS
        if self.waiting:
            self._wait_ns += len(self.waiting) * float(end_ns - self._seen_ns)
        self._seen_ns = end_ns
        self.finished = []
        tokens = 0
        decode_j, self._moved_j = self._moved_j, 0.0
        kv_tok = self._prompt_kv_tok + self._grains / self._grain
        if count:
            if count > 1:
                self.blocks.take(self._new_blocks(count) - self._taken_count)
            self._taken_count = 0
            tokens = b * self._moved_tok(count)
            kv_tok += b * 0.5 * (count - 1) * self._grow / self._grain
            decode_j += self._decoded(count)
        prefill_j = self._spent_j[0] if self._chunks else 0.0
        if count and self._ends[0] < (self._steps + 1) * self._size:
            tokens -= self._end_answers(end_ns)
        prefill_tok = 0
        if self._chunks:
            prefill_tok, first = self._end_prompts(end_ns, prefill_j)
            tokens += first
        self.intervals.add(
            end_ns, (b, kv_tok, self._wait_ns), (prefill_tok, self._cached_tok, tokens), (prefill_j, decode_j)
        )
        self._wait_ns, self._cached_tok, self.end = 0.0, 0, -1
        self._chunks = []

    def _decoded(self, count: int) -> float:
        """Go on by ``count`` steps of all sequences; joules of them, which each has its share of."""
        b, grains, steps = self._decode_req, self._grains, self._steps
        _, level_j, slope_j = self._spent_j
        series = count * (count - 1) // 2
        flat, per_grain, moment = self._share
        flat += count * level_j / b
        per_grain += count * slope_j
        moment += slope_j * self._grow * (count * steps + series)
        self._share = (flat, per_grain, moment)
        self._steps = steps + count
        self._grains = grains + b * self._grow * count
        return count * level_j + slope_j * (count * grains + b * self._grow * series)

    def _end_answers(self, end_ns: int) -> int:
        """Requests whose last token is out; tokens beyond their ends, which nobody gets."""
        table, over = self.table, 0
        limit = (self._steps + 1) * self._size
        while self._ends and self._ends[0] < limit:
            step, i = divmod(heappop(self._ends), self._size)
            if table.finish_step[i] != step:
                continue
            left = table.output_tok[i] - table.answered_tok[i]
            over += self._leave(i) - left
            table.answered_tok[i] = table.output_tok[i]
            table.finish_ns[i] = end_ns
            self._release(i)
            self.finished.append(i)
        while self._ends and table.finish_step[self._ends[0] % self._size] != self._ends[0] // self._size:
            heappop(self._ends)
        return over

    def _leave(self, i: int) -> int:
        """Request ``i`` decodes no more; tokens that it went on by. Its share of the energy is settled."""
        table, begun = self.table, self.table.begun_step[i]
        moved = self._position() - begun * self._grow // self._grain
        grains = table.kv_tok[i] * self._grain + self._grow * (self._steps - begun)
        self._decode_req -= 1
        self._grains -= grains
        self._phases[(table.kv_tok[i] - begun * self._grow // self._grain) % self.block_tok] -= 1
        blocks = self._blocks_of(table.kv_tok[i] + moved) - self._blocks_of(table.kv_tok[i])
        table.own_count[i] += blocks
        flat, per_grain, moment = (now - then for now, then in zip(self._share, table.share_j[i], strict=True))
        base = table.kv_tok[i] * self._grain - self._grow * begun
        table.energy_j[i] += flat + base * per_grain + moment
        table.finish_step[i] = -1
        return moved

    def _end_prompts(self, end_ns: int, prefill_j: float) -> tuple[int, int]:
        """Prompts that are computed: their first tokens are out. Tokens computed, tokens put out."""
        table = self.table
        prefill_tok = sum(c[1] for c in self._chunks)
        first = 0
        for i, n, _, whole in self._chunks:
            table.energy_j[i] += prefill_j * n / prefill_tok
            if not whole:
                continue
            first += 1
            self._prompt_kv_tok -= table.target_tok[i]
            table.answered_tok[i] += 1
            if table.first_token_ns[i] < 0:
                table.first_token_ns[i] = end_ns
            if table.answered_tok[i] >= table.output_tok[i]:
                table.finish_ns[i] = end_ns
                self._release(i)
                self.finished.append(i)
            else:
                self._join(i)
        return prefill_tok, first

    def _join(self, i: int) -> None:
        """Request ``i`` decodes from the next step on."""
        table, position = self.table, self._position()
        kv_tok = table.target_tok[i]
        table.begun_step[i], table.kv_tok[i], table.share_j[i] = self._steps, kv_tok, self._share
        goal = position + table.output_tok[i] - table.answered_tok[i]
        finish = -(-goal * self._grain // self._grow)
        table.finish_step[i] = finish
        heappush(self._ends, finish * self._size + i)
        self._decode_req += 1
        self._grains += kv_tok * self._grain
        self._phases[(kv_tok - position) % self.block_tok] += 1
