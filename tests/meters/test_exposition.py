from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.meters.exposition import Sample, parse_exposition


def test_what_the_format_allows() -> None:
    page = """\
# HELP a words with {braces} and "quotes"
# TYPE a gauge
a 1
a:b{x="1",y="two words, and } brace",} 2.5e-3
esc{p="C:\\\\dir\\"q\\"\\nnext"} NaN
inf{} +Inf 1395066363000
om{le="0.5"} 3 1395066363.5 # {trace="x"} 0.1 1395066363
  spaced   {a="b"}   4
"""
    samples = parse_exposition(page.replace("spaced   {", "spaced{"))
    assert samples[0] == Sample("a", {}, 1.0)
    assert samples[1] == Sample("a:b", {"x": "1", "y": "two words, and } brace"}, 0.0025)
    assert samples[2].labels == {"p": 'C:\\dir"q"\nnext'} and samples[2].value != samples[2].value
    assert samples[3].value == float("inf") and samples[3].t_wall_s == 1395066363.0
    assert samples[4].t_wall_s == 1395066363.5
    assert samples[5].labels == {"a": "b"}


@given(labels=st.dictionaries(st.from_regex(r"[a-z_][a-z0-9_]{0,8}", fullmatch=True), st.text(max_size=20), max_size=4))
def test_labels_come_back_as_they_were(labels: dict[str, str]) -> None:
    def escaped(text: str) -> str:
        return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

    clean = {k: "".join(c for c in v if c.isprintable() or c == "\n") for k, v in labels.items()}
    text = ",".join(f'{k}="{escaped(v)}"' for k, v in clean.items())
    assert parse_exposition(f"m{{{text}}} 1")[0].labels == clean


@pytest.mark.parametrize("line", ["<html>", "a", 'a{b="c} 1', "a{b=c} 1", "a one", "1a 1"])
def test_what_is_not_of_the_format_is_refused_with_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse_exposition(f"ok 1\n{line}\n")
