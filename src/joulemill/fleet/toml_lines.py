"""Where in a TOML file a key stands: the line for a message, which the standard parser does not keep."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

_TABLE = re.compile(r"^\s*\[\[?\s*([\w.-]+)\s*\]\]?\s*(#.*)?$")
_KEY = re.compile(r"""^\s*(?:"([^"]+)"|'([^']+)'|([\w-]+))\s*(?:=|\.)""")
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')
#: Table name, its number among those of its name, key ("" for the header) → line, from 1.
Lines = Mapping[tuple[str, int, str], int]


def key_lines(text: str) -> Lines:
    """The line of every table header and of every key directly in a table.

    >>> key_lines('name = "x"\\n[[site]]\\npue = 1.2\\n[[site]]\\n')[("site", 0, "pue")]
    3
    """
    lines: dict[tuple[str, int, str], int] = {}
    tables: Counter[str] = Counter()
    table, depth, multiline = ("", 0), 0, ""
    for number, written in enumerate(text.splitlines(), 1):
        if multiline:
            multiline = "" if multiline in written else multiline
            continue
        line = _QUOTED.sub(lambda m: m.group().replace("[", " ").replace("]", " ").replace("#", " "), written)
        if depth <= 0:
            header, key = _TABLE.match(line), _KEY.match(line)
            if header:
                name = header.group(1)
                table = (name, tables[name])
                tables[name] += 1
                lines.setdefault((*table, ""), number)
                continue
            if key:
                lines.setdefault((*table, next(g for g in key.groups() if g)), number)
        multiline = next((q for q in ('"""', "'''") if written.count(q) % 2), "")
        bare = line.split("#")[0]
        depth += bare.count("[") + bare.count("{") - bare.count("]") - bare.count("}")
    return lines
