from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from joulemill.figure import Basis, Figure
from joulemill.jsonable import plain


class Color(Enum):
    RED = "red"


@dataclass(frozen=True)
class Inner:
    values: tuple[float, ...]
    color: Color


def test_what_a_value_becomes() -> None:
    inner = Inner((1.0, math.nan, -math.inf), Color.RED)
    assert plain(inner) == {"values": [1.0, None, None], "color": "red"}
    assert plain({1: MappingProxyType({"a": (inner,)}), Color.RED: {2}}) == {
        "1": {"a": [{"values": [1.0, None, None], "color": "red"}]},
        "red": [2],
    }
    assert plain([np.float64(math.nan), np.arange(2), np.int64(3), np.bool_(True)]) == [None, [0, 1], 3, True]
    assert plain(Figure(2.0, "W", Basis.MEASURED))["basis"] == "measured"


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON)
def test_what_is_json_stays_as_it_is(value: object) -> None:
    assert plain(value) == value and json.dumps(plain(value)) == json.dumps(value)
