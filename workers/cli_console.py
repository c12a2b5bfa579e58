"""Commands of the console: where it is served, and who may sign in: `console [users|token]`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, folder_of, note

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from workers.console.passwords import Hashed
    from workers.console.users import Role, Users

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A name such as siti or siti@kantor.")]
_Stdin = Annotated[
    str, typer.Argument(metavar="[-]", show_default=False, help="-: the password is the first line of stdin.")
]
_Role = Annotated[
    str,
    typer.Option("--role", metavar="ROLE", help="reader: looks. operator: also pauses, retries, drops ..."),
]

console = typer.Typer(
    name="console",
    invoke_without_command=True,
    rich_markup_mode=None,
    help="Where this side's pages are, and how to sign in.\n\n"
    "Makes a first token where there is neither a user nor a token.\n\n"
    "\b\nExamples:\n  titian console --data region\n  titian console users add siti --data region",
)
users = typer.Typer(name="users", no_args_is_help=True, rich_markup_mode=None, help="Who may sign in.")


@console.callback()
def show(context: typer.Context, data: Data = None, as_json: Json = False) -> None:
    """See `console`."""
    if context.invoked_subcommand is not None:
        return
    from workers import render

    folder = folder_of(data)
    found = _document(folder)
    if as_json:
        render.print_json(found)
        return
    said = {"where": found["url"] or "nowhere (console.listen is off)"}
    said["served"] = "yes" if found["served"] else f"no: {found['why']}"
    said["users"], said["tokens"] = str(found["users"]), str(found["tokens"])
    render.pairs(list(said.items()))
    if found["token"]:
        print(f"\ntoken  {found['token']}")
        note("this token is shown once; it signs in as an operator")
    note(found["sign_in"])


@users.command("add")
def users_add(
    name: _Name, stdin: _Stdin = "", role: _Role = "operator", data: Data = None, as_json: Json = False
) -> None:
    """Let somebody sign in; the password is asked for twice.

    \b
    Examples:
      titian console users add siti --role reader --data region
      titian console users add siti - < password.txt
    """
    from pipeline.errors import UsageError
    from workers.console.users import User, check_name

    folder, name, chosen = folder_of(data), check_name(name), _role(role)
    file = _file(folder)
    if name in file.read().users:
        raise UsageError(f"there is a user {name} already: `titian console users passwd {name}`")
    user = User(chosen, _now_ms(), _password(stdin))
    _change(folder, "console user added", name, lambda known: known.with_user(name, user), role=chosen)
    _say(as_json, f"{name} may sign in as {chosen}", user=name, role=chosen)


@users.command("passwd")
def users_passwd(name: _Name, stdin: _Stdin = "", data: Data = None, as_json: Json = False) -> None:
    """Give somebody another password; they are signed out.

    \b
    Examples:
      titian console users passwd siti --data region
    """
    from dataclasses import replace

    from workers.console.users import check_name

    folder, name = folder_of(data), check_name(name)
    _file(folder).read().without_user(name)  # raises where there is no such user
    password = _password(stdin)
    _change(
        folder,
        "console password changed",
        name,
        lambda known: known.without_user(name).with_user(name, replace(known.users[name], password=password)),
    )
    _say(as_json, f"{name} has another password", user=name)


@users.command("remove")
def users_remove(name: _Name, data: Data = None, as_json: Json = False) -> None:
    """Shut somebody out, at once.

    \b
    Examples:
      titian console users remove siti --data region
    """
    folder, name = folder_of(data), name.strip().lower()
    _file(folder).read().without_user(name)
    _change(folder, "console user removed", name, lambda known: known.without_user(name))
    _say(as_json, f"{name} may no longer sign in", user=name)


@users.command("list")
def users_list(data: Data = None, as_json: Json = False) -> None:
    """Who may sign in, and which tokens there are.

    \b
    Examples:
      titian console users list --data region
    """
    from workers import render

    known = _file(folder_of(data)).read()
    found = [("user", name, one.role, one.made_ms) for name, one in sorted(known.users.items())]
    found += [("token", name, one.role, one.made_ms) for name, one in sorted(known.tokens.items())]
    if as_json:
        keys = ("what", "name", "role", "made_ms")
        render.print_json({"version": 1, "found": [dict(zip(keys, one, strict=True)) for one in found]})
    elif found:
        rows = [[what, name, role, render.when(made_ms)] for what, name, role, made_ms in found]
        render.table(["what", "name", "role", "made"], rows)
    else:
        note("nobody: `titian console users add NAME`")


@console.command("token")
def token(
    role: _Role = "reader",
    new: Annotated[bool, typer.Option("--new", help="All tokens that there are end now.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a token, for a program (`Authorization: Bearer TOKEN`) or to sign in with; it is shown once.

    \b
    Examples:
      titian console token --data region
      titian console token --role operator --new --data region
    """
    from workers import render

    made = _make_token(folder_of(data), _role(role), new=new)
    if as_json:
        render.print_json({"version": 1, "token": made, "role": role})
    else:
        print(made)
        note("it is kept nowhere: only its hash is")


def _document(folder: Folder) -> dict[str, Any]:
    from workers.console.serving import listen_at
    from workers.console.users import UserFile

    at, (listens, why) = listen_at(folder), _served(folder)
    known, made = UserFile(folder.path).read(), ""
    others = at is not None and not _is_here(at[0])
    if at is not None and not known.users and not known.tokens and not others:
        made = _make_token(folder, "operator", new=False)
        known = UserFile(folder.path).read()
    where = listens or (f"{_bracketed(at[0])}:{at[1]}" if at else None)
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


def _served(folder: Folder) -> tuple[str | None, str]:
    """Where it is served now, and else why it is not."""
    import json

    from workers.console.serving import STATE_NAME
    from workers.looking import is_running

    if not is_running(folder):
        return None, "this side does not run: `titian up`"
    try:
        said = json.loads((folder.run / STATE_NAME).read_text(encoding="utf-8"))
        return said["listen"], said["why"]
    except (OSError, ValueError, KeyError, TypeError):
        return None, "it is only starting, or console.listen is off"


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


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _file(folder: Folder) -> Any:
    from workers.console.users import UserFile

    return UserFile(folder.path)


def _make_token(folder: Folder, role: Role, *, new: bool) -> str:
    import secrets
    from dataclasses import replace

    from workers.console.passwords import hash_token, new_token
    from workers.console.users import Token

    made, name = new_token(), secrets.token_hex(3)
    kept = Token(role, _now_ms(), hash_token(made))

    def change(known: Users) -> Users:
        return (replace(known, tokens={}) if new else known).with_token(name, kept)

    _change(folder, "console token made", name, change, role=role, others_end=new)
    return made


def _change(folder: Folder, what: str, target: str, make: Any, **detail: Any) -> None:
    from workers.acts import Actor, recorded

    with recorded(folder, Actor.at_the_machine(), what, target, **detail):
        _file(folder).change(make)


def _role(text: str) -> Role:
    from pipeline.errors import UsageError
    from workers.console.users import ROLES

    found = next((one for one in ROLES if one == text), None)
    if found is None:
        raise UsageError(f"{text[:40]!r} is no role: it is one of {', '.join(ROLES)}")
    return found


def _password(stdin: str) -> Hashed:
    """A password from whoever sits there, asked for twice; with `-` the first line of stdin."""
    import getpass

    from pipeline.errors import UsageError
    from workers.cli_common import said
    from workers.console.passwords import hash_password

    if stdin not in ("", "-"):
        raise UsageError("a password is no argument (others could see it): leave it out, or give - and stdin")
    if stdin == "-":
        password = said("-", "password")
    elif not sys.stdin.isatty():
        raise UsageError("nobody is there to be asked for a password: give - and the password on stdin")
    else:
        password = getpass.getpass("password: ")
        if password != getpass.getpass("again: "):
            raise UsageError("the two were not the same: nothing was changed")
    try:
        return hash_password(password)
    except ValueError as why:
        raise UsageError(str(why)) from None


def _say(as_json: bool, sentence: str, **found: Any) -> None:
    from workers import render

    if as_json:
        render.print_json({"version": 1, **found})
    else:
        print(sentence)


def _now_ms() -> int:
    return int(time.time() * 1000)


def register(app: typer.Typer) -> None:
    """Add these commands."""
    console.add_typer(users)
    app.add_typer(console)
