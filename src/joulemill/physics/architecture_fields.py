"""Reading the fields of a model's config: nested text config, aliases, types, and which fields nobody has read.

Knows spelling only; what the fields mean is in ``architecture_families`` and ``architecture_config``. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from joulemill.errors import InputError

#: Where multimodal configs keep the language model.
_NESTED = ("text_config", "language_config", "llm_config", "thinker_config", "language_model_config")
#: Fields whose names look structural; one of these that is set, unread and not harmless is stated as an approximation.
_STRUCTURAL = re.compile(
    r"(expert|heads?(_|$)|layers?(_|$)|window|chunk|rank|_dim$|_size$|kernel|topk|top_k|interval|latent|shar|mtp|altup|laurel|engram)"
)
#: Structural in name, without effect on the work: positions, training, initialisation, routing details, other towers.
_HARMLESS = re.compile(
    r"(rope|rotary|init|loss|dropout|eps$|token_id|image|video|audio|vision|pretraining|max_window_layers|n_group$|topk_group|"
    r"topk_method|group_size|output_|ep_size|router_|_coef|cache|position|moe_layer_freq|norm_type|layernorm|layer_norm_epsilon|"
    r"num_logits|hidden_dropout|auto_map|rescale|precision|time_step|mamba_|use_mamba|qk_head_dim|scale|gating|capacity|"
    r"vocab_size_per|mtp_use|mtp_transformer|tp_size|batch|logit|beta|alpha|keep_top|layer_freq|index_|per_layer_input_gate|"
    r"softcap|use_mtp|full_attention_interval|first_last_layers|bidirectional|query_pre|chunk_size|full_precision|moe_.*(bias|score|renorm|stat)|pad_|seq_length|attn_type|norm_topk)"
)


def text_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """The language model's own fields, nested configs merged over the outer ones.

    Raises InputError where ``config`` is not a model config at all.
    """
    if not isinstance(config, Mapping):
        raise InputError("a model config must be a JSON object, as config.json is")
    merged = {k: v for k, v in config.items() if k not in _NESTED}
    for name in _NESTED:
        inner = config.get(name)
        if isinstance(inner, Mapping):
            merged |= {k: v for k, v in text_config(inner).items() if v is not None or k not in merged}
    return merged


class Fields:
    """The fields of one config under all their names, remembering which were read."""

    def __init__(self, config: Mapping[str, Any], defaults: Mapping[str, Any]) -> None:
        self._values = dict(defaults) | {k: v for k, v in config.items() if v is not None or k not in defaults}
        self._read: set[str] = set()
        self.approximations: list[str] = []
        self.model_type = str(self._values.get("model_type", "")).lower()

    def get(self, *names: str, default: Any = None) -> Any:
        """The first of ``names`` that is set and not null, else ``default``."""
        self._read.update(names)
        for name in names:
            value = self._values.get(name)
            if value is not None:
                return value
        return default

    def integer(self, *names: str, default: int | None = None) -> int:
        """An integer field that must be there unless it has a ``default``. InputError names the field otherwise."""
        value = self.get(*names, default=default)
        if isinstance(value, list) and value and len({str(v) for v in value}) == 1:
            value = value[0]
        if value is None:
            raise InputError(
                f"the model config has no {names[0]!r} (nor {', '.join(names[1:]) or 'another name for it'})"
            )
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value) or value < 0:
            raise InputError(f"{names[0]!r} in the model config is {value!r}; it must be a whole number, 0 or more")
        return int(value)

    def positive(self, *names: str, default: int | None = None) -> int:
        """An integer field that is at least 1."""
        value = self.integer(*names, default=default)
        if value < 1:
            raise InputError(f"{names[0]!r} in the model config is {value}; it must be 1 or more")
        return value

    def flag(self, *names: str, default: bool = False) -> bool:
        """A boolean field."""
        return bool(self.get(*names, default=default))

    def sequence(self, *names: str) -> list[Any] | None:
        """A list field, None where it is missing or empty."""
        value = self.get(*names)
        return list(value) if isinstance(value, (list, tuple)) and value else None

    def approximate(self, text: str) -> None:
        """State an approximation, once."""
        if text not in self.approximations:
            self.approximations.append(text)

    def unread(self) -> tuple[str, ...]:
        """Set fields that look structural and that nothing has read."""
        return tuple(
            sorted(
                k
                for k, v in self._values.items()
                if k not in self._read
                and v not in (None, False, 0, [], {})
                and not isinstance(v, (dict, str))
                and _STRUCTURAL.search(k)
                and not _HARMLESS.search(k)
            )
        )
