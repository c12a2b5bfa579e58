"""Who asks, and what they may: the one place where the console decides it.

A browser signs in with a name and a password, or with a token, and gets a cookie (`sessions.py`). A program
sends `Authorization: Bearer TOKEN`, and may only read. Who is removed from the users' file is out at once.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Literal, NamedTuple

from starlette.requests import HTTPConnection

from pipeline.adapters.folder import Folder
from pipeline.errors import StoreDamaged
from workers.console.attempts import Attempts
from workers.console.sessions import Session, Sessions, Who, keyed
from workers.console.side import Side
from workers.console.users import UserFile, Users
from workers.console.where import is_here, listen_host
from workers.logs import log

#: Where the guard leaves what it found out, in the scope of a request.
WHO, SESSION, HOST_IS_OURS, FORM = "titian.who", "titian.session", "titian.host", "titian.form"
_BEARER = "bearer "
#: Several people may sign in at once, but a password costs 32 MiB to try.
_TRIES_AT_ONCE = 2
_DIGITS = re.compile(r"\d{8}")
#: `damaged`: the users' file is there, and cannot be read.
Shut = Literal["", "nobody", "open_without_user", "damaged"]


class Tried(NamedTuple):
    """What came of signing in: the id of a session, or why not and (`wait`) for how long, seconds."""

    identity: str
    why: Literal["", "wrong", "wait", "shut"] = ""
    wait_s: float = 0.0


class Access:
    """The users, sessions and tries of one console. Used by several threads."""

    def __init__(self, folder: Folder, now_s: Callable[[], float] = time.monotonic) -> None:
        console = folder.settings.console
        self.users, self.sessions, self.attempts = (
            UserFile(folder.path),
            Sessions(console.session_s),
            Attempts(),
        )
        self.here = is_here(listen_host(console.listen))
        # Cookies are the same for every port of a machine: two sides on one must not share a name.
        mark = hashlib.sha256(str(folder.path).encode()).hexdigest()[:8]
        self.cookie, self.before_cookie = f"titian-{mark}", f"titian-before-{mark}"
        self._secret, self._now_s = secrets.token_bytes(32), now_s
        self._lock, self._trying = threading.Lock(), threading.BoundedSemaphore(_TRIES_AT_ONCE)

    def everybody(self) -> Users:
        """As the users' file says; where it is damaged, nobody."""
        try:
            return self.users.read()
        except StoreDamaged as why:
            log("console").error("users cannot be read", why=str(why))
            return Users()

    def shut(self) -> Shut:
        """Why nobody can sign in here; empty where somebody can."""
        try:
            known = self.users.read()
        except StoreDamaged:
            return "damaged"
        if not known.users and not self.here:
            return "open_without_user"
        return "" if known.users or known.tokens else "nobody"

    def session(self, connection: HTTPConnection, *, touch: bool = True) -> Session | None:
        """The session of that browser, where it still counts."""
        identity = connection.cookies.get(self.cookie, "")
        with self._lock:
            found = self.sessions.get(identity, self._now_s(), touch=touch) if identity else None
        if found is None or not self._still(found.who):
            return None
        return found

    def bearer(self, connection: HTTPConnection) -> Who | None:
        """Whoever sends a token of ours in the header."""
        header = connection.headers.get("authorization", "")
        if header[: len(_BEARER)].lower() != _BEARER:
            return None
        found = self.everybody().token(header[len(_BEARER) :].strip())
        return (
            None if found is None else Who(f"token {found[0]}", found[1].role, found[1].hash, by_bearer=True)
        )

    def sign_in(self, address: str, name: str, password: str, token: str) -> Tried:
        """Begin a session with a password, or with a token (`name`: who holds it, if they say so)."""
        if self.shut():
            return Tried("", "shut")
        with self._lock:
            wait_s = self.attempts.wait_s(address, self._now_s())
        if wait_s:
            return Tried("", "wait", wait_s)
        who = self._by_token(token, name) if token else self._by_password(name, password)
        if who is None:
            log("console").warning("not signed in", address=address)
            return Tried("", "wrong")
        with self._lock:
            self.attempts.was_right(address)
            identity = self.sessions.begin(who, self._now_s())
        log("console").info("signed in", who=who.name, address=address)
        return Tried(identity)

    def sign_out(self, connection: HTTPConnection) -> None:
        """That browser's session ends."""
        with self._lock:
            self.sessions.end(connection.cookies.get(self.cookie, ""))

    def before(self, identity: str) -> str:
        """The word that stands in the form of whoever has not signed in yet and has that cookie."""
        return keyed(self._secret, identity)

    def _by_password(self, name: str, password: str) -> Who | None:
        name = name.strip().lower()
        with self._trying:
            user = self.everybody().signs_in(name, password)
        return None if user is None else Who(name, user.role, user.password.hash)

    def _by_token(self, token: str, name: str) -> Who | None:
        found = self.everybody().token(token.strip())
        if found is None:
            return None
        said = " ".join("".join(c if c.isprintable() else " " for c in name).split())[:40]
        if _DIGITS.search(said):  # perhaps a NIK: it goes into no log
            said = ""
        return Who(
            f"{said} (token {found[0]})" if said else f"token {found[0]}", found[1].role, found[1].hash
        )

    def _still(self, who: Who) -> bool:
        known = self.everybody()
        users = any(one.password.hash == who.proof and one.role == who.role for one in known.users.values())
        return users or any(one.hash == who.proof and one.role == who.role for one in known.tokens.values())


def who_of(connection: HTTPConnection) -> Who | None:
    """Who asks, as the guard found out; `None`: nobody whom we know."""
    found = connection.scope.get(WHO)
    return found if isinstance(found, Who) else None


def session_of(connection: HTTPConnection) -> Session | None:
    """The session of who asks; `None`: in none."""
    found = connection.scope.get(SESSION)
    return found if isinstance(found, Session) else None


def is_local(connection: HTTPConnection) -> bool:
    """Whether it comes from this machine: not through a proxy on it, nor by a page that took our address."""
    headers = connection.headers
    if connection.client is None or "forwarded" in headers or "x-forwarded-for" in headers:
        return False
    if not connection.scope.get(HOST_IS_OURS, True):
        return False
    try:
        return ip_address(connection.client.host).is_loopback
    except ValueError:
        return False


def may_read(connection: HTTPConnection, side: Side) -> bool:
    """Whether it may read the metrics: signed in, with a token, from this machine, or open to all."""
    return who_of(connection) is not None or is_local(connection) or side.folder.settings.console.metrics_open
