"""What every result has in common: one line, a table for notebooks, a document."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from html import escape
from typing import Any


class Result(ABC):
    """A result: one line in a terminal, a table in a notebook, a document of JSON types."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The document that the command prints with ``--json``."""

    @abstractmethod
    def _line(self) -> str:
        """What it is, in one line."""

    @abstractmethod
    def _rows(self) -> Iterable[tuple[str, str]]:
        """Names and texts of the table."""

    def __repr__(self) -> str:
        return f"<{self._line()}>"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self._rows())
        return f"<table><caption>{escape(self._line())}</caption>{rows}</table>"
