"""A real browser on real consoles: Debian's chromium through playwright, and who may sign in.

`Seen` keeps what a page did that nobody should see: errors, broken rules of the policy, requests elsewhere.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.folder import Folder
from tests.sides_rig import until
from workers.console.passwords import hash_password
from workers.console.users import User, UserFile

PASSWORD = "rahasia-sekali-1"
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)
#: How long a page may take to show what it is waited for, milliseconds.
SHOWS_MS = 20_000


def executable() -> str:
    """Where chromium is; skips where it is not."""
    found = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if not found:
        pytest.skip("there is no chromium here (apt install chromium)")
    return found


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a window; skips where there is none, or no driver for it."""
    driver = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not here (pip install '.[browser]')"
    )
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


def let_in(folder: Folder) -> None:
    """`sri` may act there, `budi` may read."""
    password = hash_password(PASSWORD)
    users = UserFile(folder.path)
    users.change(lambda now: now.with_user("sri", User("operator", 0, password)))
    users.change(lambda now: now.with_user("budi", User("reader", 0, password)))


def address_of(folder: Folder) -> str:
    """Where that side's console is, once it is served."""
    place = folder.run / "console.json"
    until(lambda: place.is_file() and json.loads(place.read_text()).get("listen"), what="a console")
    return f"http://{json.loads(place.read_text())['listen']}"


@dataclass
class Seen:
    """What one browser window did. `expected`: parts of messages that a test provokes."""

    base: str
    page: Any
    wrong: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)

    def watch(self) -> None:
        """Write down from now on."""
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda why: self.wrong.append(str(why)))
        self.page.on("request", self._asked)

    def _said(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.wrong.append(f"{message.type}: {message.text} {message.location.get('url', '')}")

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base + "/", "data:")):
            self.elsewhere.append(request.url)

    def check(self) -> None:
        """Nothing went wrong, and nobody else was asked for anything."""
        wrong = [one for one in self.wrong if not any(part in one for part in self.expected)]
        assert not wrong
        assert not self.elsewhere

    def sign_in(self, user: str = "sri", password: str = PASSWORD, path: str = "/") -> Any:
        """Through the form; returns the page."""
        self.page.goto(f"{self.base}/login?next={path}")
        self.page.fill("input[name=name] >> nth=0", user)
        self.page.fill("input[name=password]", password)
        self.page.click("button.do >> nth=0")
        return self.page


@contextmanager
def window(browser: Any, base: str, **options: Any) -> Iterator[Seen]:
    """A window of its own (cookies and all), in English unless told otherwise; checked at its end."""
    chosen = {"locale": "en", "viewport": {"width": 1200, "height": 900}, **options}
    context = browser.new_context(**chosen)
    context.set_default_timeout(SHOWS_MS)
    try:
        seen = Seen(base, context.new_page())
        seen.watch()
        yield seen
        seen.check()
    finally:
        context.close()


def refuse_something(place: Path, seqs: int) -> None:
    """Packets that the center will refuse, into a region's outbox beside the checks of `enqueue`."""
    from pipeline.adapters.outbox_sqlite import SqliteOutbox
    from schemas.lanes import Lane
    from tests.unit.outbox_rig import SMALL_DISK, draft

    outbox = SqliteOutbox(place, SMALL_DISK)
    try:
        now_ms = int(time.time() * 1000)
        drafts = [replace(draft(n, lane=Lane.URGENT), at_ms=now_ms - 60_000 * n) for n in range(seqs)]
        outbox.take(drafts, now_ms)
    finally:
        outbox.close()
