"""The console of a real folder without a socket: users, and a browser that has signed in."""

from __future__ import annotations

import asyncio
import atexit
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import Folder, open_folder
from pipeline.testing.clock import ManualClock
from tests.unit.cli_rig import Sides
from workers.console.app import make_app
from workers.console.auth import Access
from workers.console.passwords import hash_password, hash_token
from workers.console.side import Side
from workers.console.users import Role, Token, User, UserFile
from workers.looking import look
from workers.making import admit_region, make_center, make_region
from workers.watching import Watching

ORIGIN = "http://127.0.0.1:6381"
PASSWORD = "a long password"
#: scrypt at its cheapest: what is tried here is who gets in, not how long it takes.
CHEAP = (2, 1, 1)
BROWSER = {"accept": "text/html,application/xhtml+xml"}


def add_user(folder: Path, name: str, role: Role) -> None:
    user = User(role, 0, hash_password(PASSWORD, CHEAP))
    UserFile(folder).change(lambda users: users.with_user(name, user))


def add_token(folder: Path, name: str, role: Role, token: str) -> str:
    UserFile(folder).change(lambda users: users.with_token(name, Token(role, 0, hash_token(token))))
    return token


@dataclass
class Console:
    """One side's console, its clock, and the thread that looks (which looks when it is told to)."""

    folder: Folder
    clock: ManualClock = field(default_factory=ManualClock)
    stop: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.watching = Watching(look(self.folder), [], SystemClock(), self.stop, 1.0)
        self.access = Access(self.folder, self.clock.now_s)
        self.app = make_app(Side(self.folder, self.watching), self.access)

    def browser(self, origin: str = ORIGIN, address: str = "127.0.0.1") -> Browser:
        """Somebody who has not signed in."""
        return Browser(self.app, origin, address)

    def signed_in(self, name: str) -> Browser:
        """Somebody who has."""
        browser = self.browser()
        answer = browser.sign_in(name)
        assert answer.status_code == 303, answer.text
        return browser


@dataclass
class Browser:
    """What a browser does: it keeps cookies, and says where a form came from."""

    app: Starlette
    origin: str
    address: str
    cookies: httpx.Cookies = field(default_factory=httpx.Cookies)

    def ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request, in a loop of its own."""

        async def asked() -> httpx.Response:
            way = httpx.ASGITransport(app=self.app, client=(self.address, 50_000))
            async with httpx.AsyncClient(transport=way, base_url=self.origin, cookies=self.cookies) as client:
                answer = await client.request(method, path, **more)
                self.cookies = client.cookies
                return answer

        return asyncio.run(asked())

    def get(self, path: str, **headers: str) -> httpx.Response:
        """A page, or with another `accept` something else."""
        return self.ask("GET", path, headers=BROWSER | headers)

    def word(self, path: str = "/search") -> str:
        """The `csrf` of the forms on that page."""
        found = re.search(r'name="?csrf"? value="([^"]+)"', self.get(path).text)
        assert found is not None, f"no form on {path}"
        return found[1]

    def post(
        self,
        path: str,
        fields: Mapping[str, Any],
        *,
        word: str | None = None,
        origin: str | None = None,
        **headers: str,
    ) -> httpx.Response:
        """Send a form with its word, from our own page."""
        sent = {**fields, "csrf": self.word() if word is None else word}
        return self.ask(
            "POST", path, data=sent, headers={"origin": origin or self.origin} | BROWSER | headers
        )

    def sign_in(self, name: str, password: str = PASSWORD, after: str = "/") -> httpx.Response:
        fields = {"name": name, "password": password, "next": after}
        return self.post("/login", fields, word=self.word("/login"))


def console_of(folder: Path, looked: bool = True) -> Console:
    """That folder's console, with an operator `siti` and a reader `budi`."""
    add_user(folder, "siti", "operator")
    add_user(folder, "budi", "reader")
    console = Console(open_folder(folder))
    if looked:
        console.watching.look()
    return console


@cache
def _made() -> Path:
    """Both sides, made once in a process: nothing runs on them, and every test gets a copy."""
    place = Path(tempfile.mkdtemp(prefix="titian-console-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    center = make_center(place / "center", "127.0.0.1:1", "")
    admit_region(center, "1806", place / "1806.join", again=False, address="127.0.0.1:1")
    make_region(place / "region", place / "1806.join")
    return place


def copied_sides(to: Path) -> Sides:
    """A center and its region 1806."""
    for side in ("center", "region"):
        shutil.copytree(_made() / side, to / side)
    return Sides(to / "center", to / "region")
