"""Who may use a side's console: the file that says so, written by the command line and read by the console.

console-users.json    0600: {"version": 1,
    "users":  {NAME: {"role": "operator", "made_ms": 0, "n": 32768, "r": 8, "p": 3, "salt": hex, "hash": ..}},
    "tokens": {ID: {"role": "reader", "made_ms": 0, "hash": SHA-256 hex}}}

The console reads it anew when it has changed: who is removed, or gets another password, is out at once.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import write_private
from pipeline.errors import NotFound, StoreDamaged, StoreError, UsageError
from workers.console.passwords import NOBODY, Hashed, hash_token, is_password, same

NAME = "console-users.json"
VERSION = 1
Role = Literal["reader", "operator"]
ROLES: tuple[Role, ...] = ("reader", "operator")
USERS_MAX, TOKENS_MAX = 200, 50
_NAME = re.compile(r"[a-z0-9][a-z0-9._@-]{0,39}")


@dataclass(frozen=True)
class User:
    """A person with a password."""

    role: Role
    made_ms: int
    password: Hashed


@dataclass(frozen=True)
class Token:
    """A token, of which only the hash is known."""

    role: Role
    made_ms: int
    hash: str


@dataclass(frozen=True)
class Users:
    """Everybody who may sign in: by name, and tokens by their id."""

    users: dict[str, User] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)

    def signs_in(self, name: str, password: str) -> User | None:
        """That user, if this is the password; takes as long for one who is not there."""
        user = self.users.get(name)
        right = is_password(NOBODY if user is None else user.password, password)
        return user if right and user is not None else None

    def token(self, token: str) -> tuple[str, Token] | None:
        """The id of a token, and what it is for."""
        sought = hash_token(token)
        found = [(name, one) for name, one in self.tokens.items() if same(one.hash, sought)]
        return found[0] if found else None

    def with_user(self, name: str, user: User) -> Users:
        """These and that one."""
        if len({*self.users, name}) > USERS_MAX:
            raise UsageError(f"a side has at most {USERS_MAX} users: `titian console users remove NAME`")
        return replace(self, users={**self.users, name: user})

    def without_user(self, name: str) -> Users:
        """These but that one; raises `NotFound`."""
        if name not in self.users:
            raise NotFound(f"there is no user {name[:60]!r}: `titian console users list` lists them")
        return replace(self, users={one: user for one, user in self.users.items() if one != name})

    def with_token(self, name: str, token: Token) -> Users:
        """These and that one."""
        if len(self.tokens) >= TOKENS_MAX:
            raise UsageError(f"a side has at most {TOKENS_MAX} tokens: `titian console token --new` ends all")
        return replace(self, tokens={**self.tokens, name: token})


def check_name(name: str) -> str:
    """A user's name, in small letters; raises `UsageError`."""
    lowered = name.strip().lower()
    if not _NAME.fullmatch(lowered) or re.fullmatch(r"\d{16}", lowered):
        raise UsageError(
            f"{name[:60]!r} is no user's name: letters, digits and . _ @ - (40 at most, and not a NIK)"
        )
    return lowered


class UserFile:
    """The file in a side's folder. Where there is none, there is nobody."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._lock = threading.Lock()
        self._seen: tuple[tuple[int, int, int] | None, Users] = (None, Users())

    def read(self) -> Users:
        """Everybody, as the file says now. Raises `StoreDamaged` where it cannot be read: then nobody."""
        with self._lock:
            mark = self._mark()
            if mark is None:
                self._seen = (None, Users())
            elif mark != self._seen[0]:
                self._seen = (mark, _parsed(self.path))
            return self._seen[1]

    def change(self, make: Callable[[Users], Users]) -> Users:
        """Write what `make` makes of everybody; two processes that change it do not cross."""
        with FileLock(self.path.with_suffix(".lock")).held() as got:
            if not got:
                raise StoreError(f"another process is changing {self.path}: try again")
            changed = make(self.read())
            write_private(self.path, _text(changed))
        return changed

    def _mark(self) -> tuple[int, int, int] | None:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def _text(users: Users) -> str:
    value = {
        "version": VERSION,
        "users": {
            name: {"role": one.role, "made_ms": one.made_ms, **one.password._asdict()}
            for name, one in users.users.items()
        },
        "tokens": {
            name: {"role": one.role, "made_ms": one.made_ms, "hash": one.hash}
            for name, one in users.tokens.items()
        },
    }
    return json.dumps(value, indent=2) + "\n"


def _parsed(path: Path) -> Users:
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
        if value["version"] > VERSION:
            raise StoreDamaged(
                f"{path} has version {value['version']}, this Titian reads {VERSION}: update it"
            )
        users = {
            name: User(_role(one), int(one["made_ms"]), Hashed(*(one[key] for key in Hashed._fields)))
            for name, one in value["users"].items()
        }
        tokens = {
            name: Token(_role(one), int(one["made_ms"]), str(one["hash"]))
            for name, one in value["tokens"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as why:
        raise StoreDamaged(
            f"{path} cannot be read ({type(why).__name__}): put it aside, then make the users anew"
        ) from None
    return Users(users, tokens)


def _role(entry: dict[str, Any]) -> Role:
    if entry["role"] not in ROLES:
        raise ValueError(entry["role"])
    return cast("Role", entry["role"])
