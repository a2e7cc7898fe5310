"""What every result has in common: one line, a table for notebooks, a document."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from html import escape
from typing import Any

from joulemill.api.frames import frame_of


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

    def text(self) -> str:
        """All of it for people, where it takes more than a line."""
        return str(self)

    def to_frame(self, backend: str | None = None) -> Any:
        """The table of the notebook as a dataframe: name, text. ``backend``: pandas, polars or pyarrow."""
        rows = list(self._rows())
        return frame_of({"name": [name for name, _ in rows], "text": [text for _, text in rows]}, backend)

    def __str__(self) -> str:
        return " ".join(self._line().splitlines())

    def __repr__(self) -> str:
        return f"<{self}>"

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self._rows())
        return f"<table><caption>{escape(str(self))}</caption>{rows}</table>"
