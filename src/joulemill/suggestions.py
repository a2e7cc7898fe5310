"""The known names nearest to a misspelt one, as every message suggests them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

#: Share of letters in common from which a name is a likely slip.
NEAR_RATIO = 0.6
#: A name that the word begins, or is begun by, is near from this many letters on.
_BEGINNING_COUNT = 3
#: Names are not compared beyond this length: no known one is as long.
_LONGEST = 120
#: So many known names are all listed where none is near.
_LISTED_COUNT = 30


def nearest(word: str, known: Iterable[str], *, most: int = 1, least_ratio: float = NEAR_RATIO) -> tuple[str, ...]:
    """Up to ``most`` of ``known`` that ``word`` may have meant, the likeliest first; letter case and dashes are alike.

    >>> nearest("h10", ["h100-sxm", "mi300x", "a10"], most=2), nearest("zzz", ["h100-sxm"])
    (('h100-sxm', 'a10'), ())
    """
    asked = _letters(word)
    scored = [(_score(asked, _letters(name)), name) for name in dict.fromkeys(known)]
    likely = sorted((s for s in scored if s[0] >= least_ratio), key=lambda s: -s[0])
    return tuple(name for _, name in likely[:most])


def meant(word: str, known: Iterable[str], *, most: int = 1) -> str:
    """``did you mean X?`` for a misspelt word; where none is near, the known names, the first of them if many.

    >>> meant("lats", ["last", "first"]), meant("q", ["last", "first"])
    ('did you mean last?', 'there are last, first')
    """
    names = tuple(dict.fromkeys(known))
    near = nearest(word, names, most=most)
    if near:
        return f"did you mean {', '.join(near)}?"
    if not names:
        return "there are none"
    more = f" and {len(names) - _LISTED_COUNT} more" if len(names) > _LISTED_COUNT else ""
    return f"there are {', '.join(names[:_LISTED_COUNT])}{more}"


def _letters(text: str) -> str:
    return re.sub(r"[-_\s.]+", "", text[:_LONGEST].lower())


def _score(asked: str, name: str) -> float:
    """Likeness from 0 to 1. A beginning is likelier than its length says: ``vllm`` for ``vllm-0.11``."""
    matcher = SequenceMatcher(None, asked, name, autojunk=False)
    ratio = matcher.ratio() if matcher.real_quick_ratio() >= NEAR_RATIO / 2 else 0.0
    begins = min(len(asked), len(name)) >= _BEGINNING_COUNT and (name.startswith(asked) or asked.startswith(name))
    return max(ratio, NEAR_RATIO + 0.4 * ratio) if begins else ratio
