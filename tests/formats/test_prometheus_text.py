from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemill.formats.prometheus_text import TextSample, parse_exposition


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
    assert samples[0] == TextSample("a", {}, 1.0)
    assert samples[1] == TextSample("a:b", {"x": "1", "y": "two words, and } brace"}, 0.0025)
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


@pytest.mark.finding("F35")
@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_only_a_newline_ends_a_line(end: str) -> None:
    assert parse_exposition(f'a{{x="1{end}2"}} 3\r\nb 4\r\n') == [
        TextSample("a", {"x": f"1{end}2"}, 3.0),
        TextSample("b", {}, 4.0),
    ]


def test_a_hostile_line_costs_no_time() -> None:
    many = ",".join(f'l{i}="x"' for i in range(7000))
    for line in (
        f"m{{{many}}} 1",
        "m{" + 'a="' * 20_000,
        "m{" * 30_000,
        'm{a="' + "\\" * 60_000,
        "m " + " " * 60_000 + "x",
    ):
        with pytest.raises(ValueError, match="line 1"):
            parse_exposition(line)


def test_names_that_nobody_asked_for_are_not_looked_at() -> None:
    page = 'go_gc{quantile="0"} 1\nbroken{a= 1\npower{gpu="0"} 300\n'
    assert parse_exposition(page, {"power"}.__contains__) == [TextSample("power", {"gpu": "0"}, 300.0)]
    for bad in ("power{gpu= 1\n", "<html>\n"):
        with pytest.raises(ValueError, match="line 1"):
            parse_exposition(bad, {"power"}.__contains__)


@pytest.mark.parametrize("value", ["one", "1_0", "\u0663", "N/A", "1.2.3", "0x10"])
def test_a_value_that_is_no_number_is_unknown_for_a_meter_and_refused_otherwise(value: str) -> None:
    page = f'power{{gpu="0"}} {value}\npower{{gpu="1"}} 300\n'
    values = [s.value for s in parse_exposition(page, {"power"}.__contains__)]
    assert values[0] != values[0] and values[1] == 300.0
    with pytest.raises(ValueError, match="line 1"):
        parse_exposition(page)
