"""A conversation: what was said in it so far, which each of its turns sends again, and how many tokens that is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from joulemill.servers.client import Answer


@dataclass
class Conversation:
    """One user's turns. ``history`` are (role, text) pairs; ``history_tok`` their tokens as the server counted them.

    ``busy`` keeps its turns in order: the next one is sent when the one before has ended.
    """

    history: tuple[tuple[str, str], ...] = ()
    history_tok: int = 0
    turns: int = 0
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    def add_turn(self, text: str, answer: Answer) -> None:
        """A turn has ended well: ``text`` was asked and answered."""
        self.history = (*self.history, ("user", text), ("assistant", answer.text))
        self.history_tok = (answer.prompt_tok or 0) + (answer.output_tok or 0)
        self.turns += 1
