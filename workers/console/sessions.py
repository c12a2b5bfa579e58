"""Who has signed in, pure: time is an argument. Kept in memory only: a restart signs everybody out."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field

from workers.console.users import Role

SESSIONS_MAX = 1_000


@dataclass(frozen=True)
class Who:
    """Somebody who may look, and (`operator`) act. `proof`: the hash that let them in (of the password or the
    token): where that is there no longer, they are out. `by_bearer`: by a header, in no session."""

    name: str
    role: Role
    proof: str
    by_bearer: bool = False

    @property
    def operator(self) -> bool:
        """Whether they may act."""
        return self.role == "operator"


@dataclass
class Session:
    """One browser that has signed in. `csrf` stands in each of its forms."""

    who: Who
    csrf: str
    seen_s: float


@dataclass
class Sessions:
    """All of them, by a random id that only the browser knows. One ends `idle_s` after its last request."""

    idle_s: float
    _found: OrderedDict[bytes, Session] = field(default_factory=OrderedDict)

    def begin(self, who: Who, now_s: float) -> str:
        """A new one; returns its id, for the cookie."""
        identity = secrets.token_urlsafe(32)
        self._found[_key(identity)] = Session(who, secrets.token_urlsafe(32), now_s)
        while len(self._found) > SESSIONS_MAX:
            self._found.popitem(last=False)
        return identity

    def get(self, identity: str, now_s: float, *, touch: bool = True) -> Session | None:
        """That one, if it has not ended; `touch`: this is a request of it."""
        key = _key(identity)
        session = self._found.get(key)
        if session is None:
            return None
        if now_s - session.seen_s > self.idle_s:
            del self._found[key]
            return None
        if touch:
            session.seen_s = now_s
            self._found.move_to_end(key)
        return session

    def end(self, identity: str) -> None:
        """It ends now."""
        self._found.pop(_key(identity), None)


def _key(identity: str) -> bytes:
    """Looked up by its hash, so that the time of a lookup says nothing of the ids there are."""
    return hashlib.sha256(identity.encode("utf-8", "surrogateescape")).digest()


def keyed(secret: bytes, text: str) -> str:
    """A word that only who has `secret` can make of `text`."""
    return hmac.new(secret, text.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()
