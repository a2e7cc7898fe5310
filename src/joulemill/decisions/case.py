"""How one constraint is argued before the diagnosis: what settles it, what speaks for it, what against. Pure."""

from __future__ import annotations

from dataclasses import dataclass

#: Share of what is left that evidence takes which settles the matter.
SETTLED = 0.96


@dataclass(slots=True)
class ConstraintCase:
    """One candidate as it is argued: how far a counter settles it, and its weight in what that leaves."""

    settled_ratio: float = 0.0
    weight_ratio: float = 0.0
    seen_for: tuple[str, ...] = ()
    seen_against: tuple[str, ...] = ()

    def settle(self, strength: float, text: str) -> None:
        """A counter that says so, of ``strength`` 0 to 1."""
        self.settled_ratio = max(self.settled_ratio, SETTLED * strength)
        if strength > 0.0:
            self.say(text)
        else:
            self.argue(0.0, text)

    def say(self, text: str) -> None:
        """Seen for it."""
        self.seen_for = (*self.seen_for, text)

    def argue(self, weight: float, text: str) -> None:
        """Speak for it with ``weight``; no weight speaks against it."""
        if weight > 0.0:
            self.weight_ratio = max(self.weight_ratio, weight)
            self.say(text)
        else:
            self.seen_against = (*self.seen_against, text)
