"""The timeline of one replica while it grows: steps are put together until an interval is long enough."""

from __future__ import annotations

from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulemill.simulation.timeline import ReplicaState, Timeline

_WHOLE = ("start_ns", "end_ns", "state", "prefill_tok", "cached_tok", "output_tok")
_REAL = ("decode_req", "waiting_req", "kv_tok", "prefill_j", "decode_j", "idle_j", "transition_j")


class Intervals:
    """Intervals of a replica. ``add`` steps while it works, ``rest`` for what lies between; both without gap."""

    def __init__(self, least_ns: int) -> None:
        self._least_ns = least_ns
        self._whole, self._real = array("q"), array("d")
        self._start_ns = self._end_ns = 0
        self._decode, self._kv, self._wait = 0.0, 0.0, 0.0
        self._prefill_tok = self._cached_tok = self._output_tok = 0
        self._prefill_j = self._decode_j = 0.0

    @property
    def end_ns(self) -> int:
        """Until when it is written."""
        return self._end_ns

    def add(
        self, end_ns: int, load: tuple[int, float, float], tokens: tuple[int, int, int], spent_j: tuple[float, float]
    ) -> None:
        """Steps until ``end_ns``: sequences, tokens in the KV cache, request·ns that waited; tokens computed, cached,
        put out; joules of prompts, of decoding."""
        duration_ns = end_ns - self._end_ns
        self._decode += load[0] * duration_ns
        self._kv += load[1] * duration_ns
        self._wait += load[2]
        self._prefill_tok += tokens[0]
        self._cached_tok += tokens[1]
        self._output_tok += tokens[2]
        self._prefill_j += spent_j[0]
        self._decode_j += spent_j[1]
        self._end_ns = end_ns
        if end_ns - self._start_ns >= self._least_ns:
            self.flush()

    def flush(self) -> None:
        """End the interval that has begun."""
        duration_ns = self._end_ns - self._start_ns
        if duration_ns <= 0:
            return
        tokens = (self._prefill_tok, self._cached_tok, self._output_tok)
        means = (self._decode / duration_ns, self._wait / duration_ns, self._kv / duration_ns)
        self._put(ReplicaState.ACTIVE, tokens, means, (self._prefill_j, self._decode_j, 0.0, 0.0))
        self._decode = self._kv = self._wait = 0.0
        self._prefill_tok = self._cached_tok = self._output_tok = 0
        self._prefill_j = self._decode_j = 0.0

    def rest(self, end_ns: int, state: ReplicaState, spent_j: float, waiting_req: float = 0.0) -> None:
        """Until ``end_ns`` the replica rests in ``state``, or goes from one to another."""
        self.flush()
        if end_ns <= self._end_ns:
            return
        self._end_ns = end_ns
        moving = state == ReplicaState.TRANSITION
        joules = (0.0, 0.0, 0.0 if moving else spent_j, spent_j if moving else 0.0)
        self._put(state, (0, 0, 0), (0.0, waiting_req, 0.0), joules)

    def _put(
        self,
        state: ReplicaState,
        tokens: tuple[int, int, int],
        means: tuple[float, float, float],
        joules: tuple[float, float, float, float],
    ) -> None:
        self._whole.extend((self._start_ns, self._end_ns, state, *tokens))
        self._real.extend((*means, *joules))
        self._start_ns = self._end_ns

    def columns(self, replica: int) -> dict[str, NDArray[Any]]:
        """All intervals as columns of a ``Timeline``."""
        whole = np.frombuffer(self._whole, dtype=np.int64).reshape(-1, len(_WHOLE))
        real = np.frombuffer(self._real, dtype=np.float64).reshape(-1, len(_REAL))
        by_name: dict[str, NDArray[Any]] = dict(zip(_WHOLE, whole.T, strict=True))
        return {"replica": np.full(len(whole), replica), **by_name, **dict(zip(_REAL, real.T, strict=True))}


def timeline_of(parts: list[Intervals]) -> Timeline:
    """The timelines of replicas 0, 1, …, as one."""
    columns = [part.columns(i) for i, part in enumerate(parts)]
    return Timeline(**{name: np.concatenate([c[name] for c in columns]) for name in columns[0]})
