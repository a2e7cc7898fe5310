"""Blocks of a KV cache: how many are in use, and which prompts' blocks are still there for others. Pure.

As vLLM v1 has it: whole blocks of a prompt are known by their hash, each over all that stands before it. What nobody
uses any more stays until its room is needed; the least recently used goes first, and of one request its last block
before its first. Blocks that no hash names (answers, ends of prompts) wait in the same line.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence


class KvBlocks:
    """Counts of blocks, and the prefix cache.

    used_count    blocks that requests hold;  total_count  all;  named_count  blocks that a hash of the traffic covers
    """

    __slots__ = ("_holders", "_junk", "_line", "_resting", "_sharing", "named_count", "total_count", "used_count")

    def __init__(self, total_count: int, named_count: int, sharing: bool) -> None:
        self.total_count, self.used_count, self.named_count = total_count, 0, named_count
        self._holders: dict[int, int] = {}
        self._line: OrderedDict[int, int] = OrderedDict()
        self._resting = 0
        self._junk = 0
        self._sharing = sharing

    @property
    def free_count(self) -> int:
        """Blocks that a request can have: empty ones, and those that nobody uses."""
        return self.total_count - self.used_count

    def matched(self, hashes: Sequence[int]) -> int:
        """How many of the first ``hashes`` are in the cache."""
        for i, name in enumerate(hashes):
            if name not in self._holders and name not in self._line:
                return i
        return len(hashes)

    def resting_count(self, hashes: Sequence[int]) -> int:
        """Blocks of ``hashes`` that nobody uses: taking them uses up room."""
        return sum(name in self._line for name in hashes) * self.named_count

    def take(self, count: int) -> None:
        """Use ``count`` more blocks; the caller has looked that they are free."""
        self.used_count += count
        if self._sharing and self._resting > self.total_count - self.used_count:
            self._evict()

    def _evict(self) -> None:
        while self._resting > self.total_count - self.used_count:
            name, count = self._line.popitem(last=False)
            over = self._resting - (self.total_count - self.used_count)
            if name < 0 and count > over:
                self._line[name] = count - over
                self._line.move_to_end(name, last=False)
                count = over
            self._resting -= count

    def give(self, count: int) -> None:
        """Blocks that no hash names are used no more."""
        self.used_count -= count
        if self._sharing and count:
            self._junk -= 1
            self._line[self._junk] = count
            self._resting += count

    def hold(self, hashes: Sequence[int]) -> None:
        """Use blocks that are in the cache."""
        for name in hashes:
            holders = self._holders.get(name, 0)
            if not holders:
                count = self._line.pop(name)
                self._resting -= count
                self.used_count += count
            self._holders[name] = holders + 1

    def publish(self, hashes: Sequence[int]) -> list[int]:
        """Name blocks that the caller has taken and computed; those that were new, which it holds from now on."""
        new = [name for name in dict.fromkeys(hashes) if name not in self._holders and name not in self._line]
        for name in new:
            self._holders[name] = 1
        return new

    def release(self, hashes: Sequence[int]) -> None:
        """Use these no more; they stay in the cache, the last of them the first to go."""
        for name in reversed(hashes):
            holders = self._holders[name] - 1
            if holders:
                self._holders[name] = holders
                continue
            del self._holders[name]
            self._line[name] = self.named_count
            self._resting += self.named_count
            self.used_count -= self.named_count

    def forget(self) -> None:
        """Nothing is cached any more: the memory was let go of."""
        self._line.clear()
        self._resting = 0
