"""Who may sign in to the console: `console users [add|passwd|remove|list]`, `console token`."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Data, Json, folder_of, note

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from workers.console.passwords import Hashed
    from workers.console.users import Role, UserFile, Users

_Name = Annotated[str, typer.Argument(metavar="NAME", help="A name such as siti or siti@kantor.")]
_Stdin = Annotated[
    str, typer.Argument(metavar="[-]", show_default=False, help="-: the password is the first line of stdin.")
]
_Role = Annotated[
    str,
    typer.Option("--role", metavar="ROLE", help="reader: looks. operator: also pauses, retries, drops ..."),
]

users = typer.Typer(name="users", no_args_is_help=True, rich_markup_mode=None, help="Who may sign in.")


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

    folder = folder_of(data)
    made = make_token(folder, _role(role), new=new)
    if as_json:
        render.print_json({"version": 1, "token": made, "role": role})
    else:
        print(made)
        note(f"it is kept nowhere: only its hash is. Where to use it: titian console --data {folder.path}")


def _file(folder: Folder) -> UserFile:
    from workers.console.users import UserFile

    return UserFile(folder.path)


def make_token(folder: Folder, role: Role, *, new: bool) -> str:
    """A token that nobody has yet; `new`: all others end."""
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
