"""What a view prints, as a terminal of a given width would show it."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from rich.console import Console


def on_screen(show: Callable[..., None], value: Any, width: int = 80, **options: Any) -> str:
    """The text that ``show(value, console, **options)`` prints, without colour."""
    screen = io.StringIO()
    show(value, Console(file=screen, width=width, color_system=None), **options)
    return screen.getvalue()
