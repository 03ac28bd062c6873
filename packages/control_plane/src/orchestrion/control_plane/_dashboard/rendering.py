"""From what is shown to HTML: every text is escaped by the templates' engine, and none is marked as safe."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import trio

from .assets import version
from .words import age, share, size, stamp, until

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES: Final = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """Return the templates."""
    # Imported when the first page is asked for: a server without a browser has no use for it.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(age=age, size=size, stamp=stamp, share=share, until=until, part=_part)
    made.globals["static"] = f"/ui/static/{version()}"
    return made


def render(template: str, /, **context: Any) -> bytes:
    """Return a page.

    Args:
        template: The name of its template.
        **context: What the template shows.
    """
    return environment().get_template(template).render(context).encode("utf-8", "replace")


async def render_in_turns(template: str, /, **context: Any) -> bytes:
    """Return a page as `render` does, and let others have their turn while a large one is made."""
    parts = list[str]()
    for part in environment().get_template(template).generate(context):
        parts.append(part)
        if len(parts) % _PARTS_A_TURN == 0:
            await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
    return "".join(parts).encode("utf-8", "replace")


_PARTS_A_TURN: Final = 500
"""Some milliseconds."""


def _part(text: object) -> str:
    """Return a text as one part of a path."""
    return quote(str(text), safe="")
