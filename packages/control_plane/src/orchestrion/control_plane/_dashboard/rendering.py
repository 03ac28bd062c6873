"""From what is shown to HTML: every text is escaped by the templates' engine, and none is marked as safe."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .assets import version
from .words import age, share, size, stamp

TEMPLATES: Final = Path(__file__).parent / "templates"


@cache
def environment() -> Environment:
    """Return the templates."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(age=age, size=size, stamp=stamp, share=share, part=_part)
    made.globals["static"] = f"/ui/static/{version()}"
    return made


def render(template: str, /, **context: Any) -> bytes:
    """Return a page.

    Args:
        template: The name of its template.
        **context: What the template shows.
    """
    return environment().get_template(template).render(context).encode("utf-8", "replace")


def _part(text: object) -> str:
    """Return a text as one part of a path."""
    return quote(str(text), safe="")
