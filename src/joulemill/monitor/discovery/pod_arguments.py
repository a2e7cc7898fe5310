"""What a model server's container says of itself by its arguments: its model and its port. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: Options and variables that name the model, the best first: what is served, then what is loaded.
MODEL_OPTIONS = ("--served-model-name", "--model", "--model-path", "--model-id", "--model-name", "-m")
MODEL_VARIABLES = ("SERVED_MODEL_NAME", "MODEL_NAME", "MODEL_ID", "MODEL", "HF_MODEL_ID", "NIM_MODEL_NAME")
#: Where a server listens that is told nothing, by its image (their documentation).
USUAL_PORTS = (("vllm", 8000), ("sglang", 30000), ("llama", 8080), ("text-generation", 80), ("nim", 8000))
#: A container's arguments are looked at so far (assumed).
MOST_WORDS, MOST_CHARS = 500, 20_000

Containers = Iterable[Mapping[str, Any]]


def words_of(container: Mapping[str, Any]) -> list[str]:
    """Command and arguments as words; a shell's own line is split as the shell would."""
    words: list[str] = []
    for part in (container.get("command"), container.get("args")):
        for text in part if isinstance(part, list) else ():
            words += _split(text) if isinstance(text, str) else []
    return words[:MOST_WORDS]


def _split(text: str) -> list[str]:
    if not re.search(r"\s", text) or len(text) > MOST_CHARS:
        return [text]
    try:
        return shlex.split(text)
    except ValueError:
        return text.split()


def option(words: list[str], names: Iterable[str]) -> str | None:
    """The value of the first of ``names`` that ``words`` have, as ``--name value`` or ``--name=value``."""
    for name in names:
        for at, word in enumerate(words):
            if word.startswith(f"{name}="):
                return word.partition("=")[2]
            if word == name and at + 1 < len(words):
                return words[at + 1]
    return None


def model_of(containers: Containers) -> str | None:
    """The model that a pod serves, as its arguments or its environment name it."""
    for c in containers:
        words = words_of(c)
        served = [
            words[i + 1] for i in range(len(words) - 1) if words[i] == "serve" and words[i + 1][:1] not in ("-", "")
        ]
        model = option(words, MODEL_OPTIONS) or (served[0] if served else None) or _variable(c)
        if model:
            return model
    return None


def _variable(container: Mapping[str, Any]) -> str | None:
    env = container.get("env")
    variables = {
        e.get("name"): e.get("value") for e in (env if isinstance(env, list) else ()) if isinstance(e, Mapping)
    }
    return next((v for n in MODEL_VARIABLES if isinstance(v := variables.get(n), str) and v), None)


def port_of(containers: Containers) -> int | None:
    """The port with the metrics: as it is told to listen, the one called metrics or http, the only one, the usual."""
    every = list(containers)
    stated_port = next((p for c in every if (p := _port(option(words_of(c), ("--port",))))), None)
    declared = [p for c in every for p in _declared(c)]
    named = next((n for wanted in ("metrics", "http") for name, n in declared if name.startswith(wanted)), None)
    only = declared[0][1] if len(declared) == 1 else None
    images = " ".join(str(c.get("image", "")) for c in every).lower()
    usual = next((port for word, port in USUAL_PORTS if word in images), None)
    return stated_port or named or only or usual


def _declared(container: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    ports = container.get("ports")
    for p in ports if isinstance(ports, list) else ():
        if isinstance(p, Mapping) and (number := _port(p.get("containerPort"))):
            yield str(p.get("name", "")), number


def _port(value: Any) -> int | None:
    text = str(value)
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) < 6 and 0 < int(text) < 65536 else None
