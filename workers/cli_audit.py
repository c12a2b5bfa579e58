"""The command over what people did on a side: `audit`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, folder_of, no, note

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder

_Limit = Annotated[int, typer.Option("--limit", metavar="N", min=1, help="At most so many, the newest.")]
_What = Annotated[
    str | None,
    typer.Option("--what", metavar="ACT", show_default=False, help="Only these: pause, retry, drop, ..."),
]
_Check = Annotated[bool, typer.Option("--check", help="Whether a line was changed, removed or put between.")]


def audit(
    data: Data = None, as_json: Json = False, limit: _Limit = 100, what: _What = None, check: _Check = False
) -> None:
    """Who did what on this side, when and why, newest first: pauses, caps, retries, drops, holds, notices.

    Each line is written before its act, and bound to the line before. Exit code 1 if --check finds one that
    does not follow.

    \b
    Examples:
      titian audit --limit 20 --data region
      titian audit --what drop --json --data region
      titian audit --check --data region
    """
    from pipeline.inspection.audit import audit_document
    from workers import render

    folder = folder_of(data)
    if check:
        _checked(folder, as_json)
        return
    found = audit_document(folder.path, folder.settings.side, limit, what)
    if as_json:
        render.print_json(found)
    elif not found["acts"]:
        note("nobody has done anything here yet" if what is None else f"nothing of that kind ({what})")
    else:
        head = ["n", "when", "who", "what", "target", "why"]
        render.table(head, [list(_row(one)) for one in found["acts"]], right=[0])


def _checked(folder: Folder, as_json: bool) -> None:
    from pipeline.inspection.audit import check_document
    from workers import render

    found = check_document(folder.path, folder.settings.side)
    if as_json:
        render.print_json(found)
    elif not found["wrong"]:
        print(f"{found['acts']:,} acts, each follows from the one before; the last is {found['head'] or '-'}")
    if found["torn"] and not as_json:
        note(f"torn by a power cut, and passed over: line {', '.join(map(str, found['torn']))}")
    if found["wrong"]:
        no("" if as_json else found["wrong"])


def _row(one: dict[str, Any]) -> Iterator[str]:
    from workers import render

    yield str(one["n"])
    yield render.when(one["at_ms"])
    login = one["detail"].get("login")
    yield render.clean(one["who"] + (f" ({login})" if login else ""))
    yield render.clean(one["what"] + (f" (to {one['of']})" if one["of"] else ""))
    yield render.clean(one["target"])
    yield render.clean(_why(one))


def _why(one: dict[str, Any]) -> str:
    """The reason; of a line that adds something to an act, what that is."""
    if not one["of"]:
        return str(one["reason"]) or "-"
    detail = one["detail"]
    if "failed" in detail:
        return f"it failed: {detail['failed']}"
    said = [f"{name} {detail[name]}" for name in detail if name not in ("of", "login")]
    return ", ".join(said)


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(audit)
