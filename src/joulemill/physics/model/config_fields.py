"""Reading the fields of a model's config: nested text config, aliases, kinds of value, and which fields nobody read.

Knows spelling only; what the fields mean is in ``architecture_families`` and ``architecture_config``. Every value is
checked before it is used: a number is finite, whole where it counts something, and no larger than any real model's.
Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from joulemill.errors import InputError
from joulemill.physics.model.ignored_fields import is_harmless, is_tower, is_usual

#: Where multimodal configs keep the language model.
_NESTED = ("text_config", "language_config", "llm_config", "thinker_config", "language_model_config", "text_model")
_DEEPEST = 6
#: No model has more of anything that a config counts, nor more layers.
MOST = 1 << 32
MOST_LAYERS = 4096
_SHOWN = 60
_LONGEST_LIST = 1 << 16


def text_config(config: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """The language model's own fields, nested configs merged over the outer ones.

    Raises InputError where ``config`` is not a model config at all.
    """
    if not isinstance(config, Mapping):
        raise InputError("a model config must be a JSON object, as config.json is")
    if depth > _DEEPEST:
        raise InputError(f"text_config of the model config is nested more than {_DEEPEST} deep")
    merged = {k: v for k, v in config.items() if k not in _NESTED}
    for name in _NESTED:
        inner = config.get(name)
        if isinstance(inner, Mapping):
            merged |= {k: v for k, v in text_config(inner, depth + 1).items() if v is not None or k not in merged}
    return merged


def nested_config(config: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The nested language model's config, None where the config is of a language model itself."""
    return next((config[n] for n in _NESTED if isinstance(config.get(n), Mapping)), None)


def shown(value: object) -> str:
    """A value for a message, cut short."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer or a nesting too large to print
        text = f"a {type(value).__name__}"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"


class Fields:
    """The fields of one config under all their names, remembering which were read.

    defaults  what the family's published configs leave out
    assumed   what the engines take for a field that is not there under any name (an explicit null stays null)
    outer     names of fields that stand beside a nested language model: they describe the glue, not the model
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        defaults: Mapping[str, Any],
        assumed: Mapping[str, Any] | None = None,
        prefix: str = "",
        outer: Iterable[str] = (),
    ) -> None:
        self._values = dict(defaults) | {k: v for k, v in config.items() if v is not None or k not in defaults}
        self._assumed = dict(assumed or {})
        self._read: set[str] = set()
        self._prefix, self._outer = prefix, frozenset(outer)
        self._sections: dict[str, Fields] = {}
        self.approximations: list[str] = []
        self.model_type = str(self._values.get("model_type", "")).lower()[:_SHOWN]

    def get(self, *names: str, default: Any = None) -> Any:
        """The first of ``names`` that is set and not null, else ``default``."""
        self._read.update(names)
        for name in names:
            value = self._values.get(name)
            if value is not None:
                return value
        if self._assumed and not any(name in self._values for name in names):
            return self._taken(names, default)
        return default

    def _taken(self, names: tuple[str, ...], default: Any) -> Any:
        """What engines assume for a field that the config leaves out, said once."""
        for name in names:
            value = self._assumed.get(name)
            if value is not None:
                self.approximate(f"the config leaves out {name}: {value}, as the engines' own config class has it")
                return value
        return default

    def named(self, *names: str) -> str:
        """The name under which a field of ``names`` is set, for messages."""
        return self._prefix + next((n for n in names if self._values.get(n) is not None), names[0])

    def has(self, *names: str) -> bool:
        """Whether one of ``names`` is set, without reading it."""
        return any(self._values.get(n) is not None or self._assumed.get(n) is not None for n in names)

    def is_list(self, name: str) -> bool:
        """Whether a field is a list with anything in it, without reading it."""
        return isinstance(self._values.get(name), (list, tuple)) and bool(self._values[name])

    def integer(self, *names: str, default: int | None = None, most: int = MOST) -> int:
        """An integer field that must be there unless it has a ``default``. InputError names the field otherwise."""
        value = self.get(*names, default=default)
        if isinstance(value, list) and value and len({shown(v) for v in value}) == 1:
            value = value[0]
        if value is None:
            raise InputError(
                f"the model config has no {names[0]!r} (nor {', '.join(names[1:]) or 'another name for it'})"
            )
        return whole(value, self.named(*names), most)

    def positive(self, *names: str, default: int | None = None, most: int = MOST) -> int:
        """An integer field that is at least 1."""
        value = self.integer(*names, default=default, most=most)
        if value < 1:
            raise InputError(f"{self.named(*names)!r} in the model config is {value}; it must be 1 or more")
        return value

    def number_ratio(self, *names: str, default: float) -> float:
        """A plain factor: a finite number, 0 or more."""
        value = self.get(*names, default=default)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MOST:
            raise InputError(f"{self.named(*names)!r} in the model config is {shown(value)}; it must be a number")
        return float(value)

    def flag(self, *names: str, default: bool = False) -> bool:
        """A boolean field."""
        value = self.get(*names, default=default)
        if not isinstance(value, bool) and value not in (0, 1):
            raise InputError(f"{self.named(*names)!r} in the model config is {shown(value)}; it must be true or false")
        return bool(value)

    def sequence(self, *names: str) -> list[Any] | None:
        """A list field, None where it is missing or empty."""
        value = self.get(*names)
        return list(value) if isinstance(value, (list, tuple)) and value else None

    def indices(self, *names: str, layers: int) -> set[int] | None:
        """Numbers of layers, from a list or a text of numbers by comma; None where missing."""
        value = self.get(*names)
        if value is None:
            return None
        if isinstance(value, (str, list, tuple)) and len(value) > _LONGEST_LIST:
            raise InputError(f"{self.named(*names)!r} in the model config lists more layers than any model has")
        parts = [p for p in value.split(",") if p.strip()] if isinstance(value, str) else value
        if not isinstance(parts, (list, tuple)):
            raise InputError(f"{self.named(*names)!r} in the model config is {shown(value)}; it must list layers")
        return {_layer_number(p, self.named(*names), layers) for p in parts}

    def section(self, name: str) -> Fields | None:
        """A nested object, its own fields remembered too; None where the field is missing. InputError for no object."""
        value = self.get(name)
        if value is None or value == {}:
            return None
        if not isinstance(value, Mapping):
            raise InputError(f"{self._prefix + name!r} in the model config is {shown(value)}; it must be an object")
        if name not in self._sections:
            self._sections[name] = Fields(value, {}, prefix=f"{self._prefix}{name}.")
        return self._sections[name]

    def layer(self, values: Mapping[str, Any]) -> Fields:
        """The same fields with ``values`` in place of those that differ by layer; what is read counts for all."""
        if not values:
            return self
        view = Fields({**self._values, **values}, {}, self._assumed, self._prefix)
        view._read, view._sections, view.approximations = self._read, self._sections, self.approximations
        return view

    def approximate(self, text: str) -> None:
        """State an approximation, once."""
        if text not in self.approximations:
            self.approximations.append(text)

    def unread(self) -> tuple[str, ...]:
        """Set fields that nothing has read and that may change parameters, KV cache or kinds of layer."""
        own = [plain_name(self._prefix + k) for k, v in self._values.items() if self._matters(k, v)]
        inner = [name for section in self._sections.values() for name in section.unread()]
        return tuple(sorted(own + inner))

    def towers(self) -> list[str]:
        """Objects that describe other models beside the language model (vision, sound, speech)."""
        return sorted(k for k, v in self._values.items() if isinstance(v, Mapping) and v and is_tower(k))

    def _matters(self, name: str, value: object) -> bool:
        if name in self._read or name in self._outer or not _is_set(value):
            return False
        if is_usual(name, value) or self._is_own_width(name, value):
            return False
        return not is_harmless(name) and not (isinstance(value, Mapping) and is_tower(name))

    def _is_own_width(self, name: str, value: object) -> bool:
        """OPT's and BERT's embeddings as wide as the model."""
        return name in ("word_embed_proj_dim", "embedding_size") and value == self._values.get("hidden_size")


def plain_name(name: str) -> str:
    """A field's name as it may be printed."""
    return name if name.isprintable() and len(name) <= 2 * _SHOWN else shown(name)


def _is_set(value: object) -> bool:
    """Whether a value says anything: null, false, 0, empty do not."""
    if value is None or isinstance(value, (bool, str, list, tuple, Mapping)):
        return bool(value)
    return value != 0


def whole(value: object, name: str, most: int = MOST) -> int:
    """``value`` as a whole number of 0 to ``most``. InputError names the field."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not _is_whole(value) or value < 0:
        raise InputError(f"{name!r} in the model config is {shown(value)}; it must be a whole number, 0 or more")
    if value > most:
        raise InputError(f"{name!r} in the model config is {shown(value)}; no model has more than {most}")
    return int(value)


def _is_whole(value: float) -> bool:
    return isinstance(value, int) or (math.isfinite(value) and value == int(value))


def _layer_number(part: object, name: str, layers: int) -> int:
    if isinstance(part, str) and part.strip().isascii() and part.strip().isdigit() and len(part.strip()) < 10:
        part = int(part)
    # Lists of some configs go on to the drafting layers.
    return whole(part, name, most=layers + MOST_LAYERS)
