"""Whether an act is meant by whoever is signed in, and not by a page of a stranger in the same browser.

Three things have to agree: the cookie is `SameSite=Strict`; the browser says that our own page sent it
(`Sec-Fetch-Site`, or `Origin` where it does not send that: over plain http from another machine); and the
form holds the word of this session. (With a `Referrer-Policy` of `no-referrer` browsers would send `Origin:
null` with our own forms too: so it is `same-origin`.)
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from workers.console.auth import Access, session_of, who_of
from workers.console.passwords import same

FIELD, HEADER = "csrf", "x-csrf"


def is_from_us(connection: HTTPConnection) -> bool:
    """Whether the browser says that our own page sent it."""
    headers = connection.headers
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    origin = headers.get("origin")
    if origin is None:
        return False
    return bool(headers.get("host")) and urlsplit(origin).netloc.lower() == headers["host"].strip().lower()


def is_meant(connection: HTTPConnection, access: Access, word: str) -> bool:
    """Whether a POST is meant. `word`: what came in `FIELD` or `HEADER`."""
    who = who_of(connection)
    if who is not None and who.by_bearer:  # no browser adds that header by itself
        return True
    session = session_of(connection)
    if connection.url.path == "/login":
        before = connection.cookies.get(access.before_cookie, "")
        wanted = access.before(before) if before else ""
    else:
        wanted = "" if session is None else session.csrf
    return bool(wanted) and same(wanted, word) and is_from_us(connection)
