"""Pages that say what the codes of refusals mean, and what to do: the same for everybody, and open to all."""

from __future__ import annotations

from html import escape
from typing import Any, Final

from litestar import Request, Router, get
from litestar.types import ASGIApp
from orchestrion.control_plane._access import ACCESS
from orchestrion.control_plane._problem_table import MEANINGS, PROBLEMS_PATH
from orchestrion.control_plane._problems import status_of_code
from orchestrion.shared_types import NotFound

from .answers import Raw

_HTML: Final = "text/html; charset=utf-8"


def problem_handlers() -> Router:
    """Return the handlers of what explains the `type` of problem documents."""

    @get(PROBLEMS_PATH, opt={ACCESS: None}, name="problems")
    async def all_of_them() -> ASGIApp:
        items = "".join(
            f'<li><a href="{PROBLEMS_PATH}/{code}">{code}</a>: {escape(meaning.means)}</li>\n'
            for code, meaning in sorted(MEANINGS.items())
        )
        return _page("What refusals mean", f"<ul>\n{items}</ul>")

    @get(f"{PROBLEMS_PATH}/{{code:str}}", opt={ACCESS: None}, name="problem")
    async def one(request: Request[Any, Any, Any]) -> ASGIApp:
        code = request.path_params["code"]
        meaning = MEANINGS.get(code)
        if meaning is None:
            msg = f"there is no code {code!r:.80}"
            raise NotFound(msg, remedy=f"See what there is: {PROBLEMS_PATH}")
        lines = (
            f"<p>{escape(meaning.means)}</p>",
            f"<p><strong>What to do:</strong> {escape(meaning.do)}</p>",
            f"<p>It comes with the status {status_of_code(code)}, unless the answer says another.</p>",
            f'<p><a href="{PROBLEMS_PATH}">All codes</a></p>',
        )
        return _page(code, "\n".join(lines))

    return Router("/", route_handlers=[all_of_them, one], dto=None, return_dto=None)


def _page(title: str, body: str) -> Raw:
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{title}</title>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n{body}\n</main>\n</body>\n</html>\n"
    )
    return Raw(200, text.encode(), media_type=_HTML)
