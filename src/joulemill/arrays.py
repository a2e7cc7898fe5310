"""Arrays of floats, named once for annotations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Any shape; docstrings give the axes.
Array = NDArray[np.float64]
