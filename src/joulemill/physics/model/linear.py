"""One matrix of a block, and how tensor parallelism splits it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from joulemill.physics.model.precision import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """One matrix, inputs x outputs, and how tensor parallelism splits it.

    Outputs come in three parts: ``split`` (split by tp), ``kv`` (split by tp but never below one of ``kv_heads``), and
    ``whole`` (on every device). ``row_parallel``: the inputs are split instead, and a sum over devices follows.
    """

    name: str
    tensor: Tensor
    inputs: int
    split: int = 0
    kv: int = 0
    kv_heads: int = 1
    whole: int = 0
    row_parallel: bool = False
    bias: bool = False

    @property
    def outputs(self) -> int:
        """Columns of the uncut matrix."""
        return self.split + self.kv + self.whole

    @property
    def parameters(self) -> int:
        """Weights and biases of the uncut matrix."""
        return self.inputs * self.outputs + (self.outputs if self.bias else 0)
