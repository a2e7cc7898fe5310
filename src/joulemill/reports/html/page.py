"""Pages and the bodies of their cards, by templates: no script, nothing fetched, every text from outside escaped.

What is marked safe here is what ``reports.svg`` draws, which escapes its own texts, and what a template made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from joulemill.streams import printable
from joulemill.version import __version__

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

#: A card: its title, its body (safe markup), and whether it spans the page.
Card = Mapping[str, Any]
#: A cell of a table: a text, or a text with what stands below it (``numbered``, ``stacked``).
Cell = str | Mapping[str, Any]


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("joulemill.reports", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def rendered(template: str, view: Mapping[str, Any]) -> str:
    """The whole page that ``template`` makes of ``view``."""
    return printable(_environment().get_template(template).render({**view, "version": __version__}))


def cards_page(
    title: str,
    heading: str,
    subtitle: str,
    cards: Sequence[Card],
    notes: Sequence[str] = (),
    *,
    alert: tuple[str, Sequence[str]] | None = None,
    tiles: Sequence[tuple[str, str]] = (),
) -> str:
    """A page of cards. ``alert``: what is said first, and its lines; ``tiles``: names and figures before the cards."""
    view = {"title": title, "heading": heading, "subtitle": subtitle, "alert": alert, "tiles": tiles}
    return rendered("cards.html.j2", {**view, "cards": safe_cards(cards), "notes": notes})


def safe_cards(cards: Sequence[Card]) -> list[Card]:
    """The cards, their bodies marked as the markup that they are."""
    return [{**card, "body": safe(card["body"])} for card in cards]


def safe(markup: str) -> Markup:
    """A picture, or a body made by ``part``."""
    from markupsafe import Markup

    return Markup(markup)


def part(name: str, *values: Any) -> str:
    """A piece of a card: the macro ``name`` of the parts, on ``values``."""
    return str(getattr(_environment().get_template("parts.html.j2").module, name)(*values))


def numbered(text: str) -> Cell:
    """A cell that stays on one line."""
    return {"text": text, "n": True}


def stacked(text: str, under: str, *, number: bool = False, bold: bool = False) -> Cell:
    """A cell with ``under`` small below its text."""
    return {"text": text, "under": under, "n": number, "bold": bold}
