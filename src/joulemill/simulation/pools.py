"""Disaggregated serving: replicas that compute prompts alone, and replicas that take over what these have computed."""

from __future__ import annotations

from joulemill.simulation.cost import StepCost
from joulemill.simulation.replica import Replica
from joulemill.simulation.requests import RequestTable
from joulemill.simulation.scheduler import EngineLimits


class PrefillReplica(Replica):
    """Computes prompts up to their first tokens; what goes on from there is ``handed`` over."""

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
        super().__init__(index, table, limits, cost, least_interval_ns=least_interval_ns, fast_forward=fast_forward)
        self.handed: list[int] = []

    def complete(self) -> None:
        """Prompts that are computed are handed over."""
        self.handed = []
        super().complete()

    def _join(self, i: int) -> None:
        self._release(i)
        self.handed.append(i)


class DecodeReplica(Replica):
    """Decodes; the KV cache of what it takes over comes from elsewhere. Who loses its place in the KV cache here
    is computed again here."""

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
        super().__init__(index, table, limits, cost, least_interval_ns=least_interval_ns, fast_forward=fast_forward)
        self._computed: set[int] = set()

    def take_over(self, i: int, tick: int, moved_j: float) -> None:
        """Request ``i``, whose prompt is computed, comes at ``tick``; moving its KV cache took ``moved_j``."""
        self._computed.add(i)
        self._moved_j += moved_j
        self.table.energy_j[i] += moved_j
        self.accept(i, tick)

    def begin(self, tick: int) -> bool:
        """Who has room decodes from this step on."""
        self._watch(tick)
        while self.waiting and self.waiting[0] in self._computed and self._enter(self.waiting[0]):
            self._computed.discard(self.waiting.popleft())
        return super().begin(tick)

    def _enter(self, i: int) -> bool:
        """Give request ``i`` its room, if there is any."""
        table = self.table
        need = self._blocks_of(table.target_tok[i])
        if len(self.running) >= self.max_running_req or need > self.blocks.free_count or not self._reserve(i):
            return False
        self.blocks.take(need)
        table.own_count[i] = need
        self.running[i] = None
        self._join(i)
        return True

    def _admit(self, i: int, budget: int) -> int:
        return 0 if i in self._computed else super()._admit(i, budget)
