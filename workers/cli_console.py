"""Commands of the console: where it is served, and who may sign in: `console [users|token]`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from workers import cli_console_users
from workers.cli_common import Data, Json, folder_of, note

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from workers.console.users import Users

console = typer.Typer(
    name="console",
    invoke_without_command=True,
    rich_markup_mode=None,
    help="Where this side's pages are, and how to sign in.\n\n"
    "Makes a first token where there is neither a user nor a token.\n\n"
    "\b\nExamples:\n  titian console --data region\n  titian console users add siti --data region",
)


@console.callback()
def show(context: typer.Context, data: Data = None, as_json: Json = False) -> None:
    """See `console`."""
    from pipeline.errors import UsageError
    from workers import render

    if context.invoked_subcommand is not None:
        if data is not None or as_json:
            raise UsageError(f"options go after `{context.invoked_subcommand}` and what follows it")
        return

    folder = folder_of(data)
    found = _document(folder)
    if as_json:
        render.print_json(found)
        return
    said = {"where": found["url"] or "nowhere"}
    said["served"] = "yes" if found["served"] else f"no: {found['why']}"
    said["users"], said["tokens"] = str(found["users"]), str(found["tokens"])
    render.pairs(list(said.items()))
    if found["token"]:
        print(f"\ntoken  {found['token']}")
        note("this token is shown once; it signs in as an operator")
    note(found["sign_in"])


def _document(folder: Folder) -> dict[str, Any]:
    from pipeline.linksim.profile import Address
    from workers.console.serving import listen_at
    from workers.console.users import UserFile

    at, (listens, why, elsewhere) = listen_at(folder), _served(folder)
    known, made = UserFile(folder.path).read(), ""
    others = at is not None and not _is_here(at[0])
    if at is not None and not known.users and not known.tokens and not others:
        made = cli_console_users.make_token(folder, "operator", new=False)
        known = UserFile(folder.path).read()
    # Where it cannot listen another side may: that one's pages are not to be taken for this one's.
    where = listens or (str(Address(*at)) if at and not elsewhere else None)
    return {
        "version": 1,
        "side": folder.settings.side,
        "url": f"http://{where}/" if where else None,
        "served": listens is not None,
        "why": why,
        "open_to_others": others,
        "users": len(known.users),
        "tokens": len(known.tokens),
        "token": made or None,
        "sign_in": _how(known, others),
    }


def _served(folder: Folder) -> tuple[str | None, str, bool]:
    """Where it is served now; else why it is not, and whether it tries to be and cannot."""
    import json

    from workers.console.serving import STATE_NAME
    from workers.looking import is_running

    if not is_running(folder):
        return None, "this side does not run: `titian up`", False
    try:
        said = json.loads((folder.run / STATE_NAME).read_text(encoding="utf-8"))
        return said["listen"], said["why"], said["listen"] is None
    except (OSError, ValueError, KeyError, TypeError):
        off = folder.settings.console.listen == "off"
        return None, "console.listen is off" if off else "it is only starting: ask again", False


def _how(known: Users, others: bool) -> str:
    if others and not known.users:
        return (
            "others can reach console.listen, so nobody signs in before there is a user: "
            "`titian console users add NAME`"
        )
    if known.users:
        return "sign in with a name and a password; `titian console users` adds and removes"
    return "sign in with a token; `titian console users add NAME` gives somebody a password"


def _is_here(host: str) -> bool:
    from workers.console.where import is_here

    return is_here(host)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    console.add_typer(cli_console_users.users)
    console.command("token")(cli_console_users.token)
    app.add_typer(console)
