"""Passwords and tokens of the console, pure: only their hashes are ever kept.

A password is slow to try (scrypt, a salt of its own); a token has 256 random bits: one SHA-256 is enough.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NamedTuple

#: scrypt's n, r, p: 32 MiB and about a quarter of a second a try (OWASP's cheat sheet, 2024, its third line).
COST = (1 << 15, 8, 3)
CHARS_MIN, CHARS_MAX = 10, 256
_SALT_BYTES, _HASH_BYTES = 16, 32
#: What is asked for at most of a file that somebody else may have written: 256 MiB.
_COST_MAX = 1 << 28
TOKEN_PREFIX = "titian_"


class Hashed(NamedTuple):
    """A password as it is kept: how costly, with which salt, and what came out (hex)."""

    n: int
    r: int
    p: int
    salt: str
    hash: str


#: Whom nobody is: an unknown name takes as long as a known one.
NOBODY = Hashed(*COST, "00" * _SALT_BYTES, "00" * _HASH_BYTES)


def hash_password(password: str, cost: tuple[int, int, int] = COST) -> Hashed:
    """That password, kept. Raises ValueError that says what is wrong with it."""
    if len(password) < CHARS_MIN:
        raise ValueError(f"a password has at least {CHARS_MIN} characters")
    if len(password) > CHARS_MAX:
        raise ValueError(f"a password has at most {CHARS_MAX} characters")
    salt = secrets.token_bytes(_SALT_BYTES)
    return Hashed(*cost, salt.hex(), _scrypt(password, salt, *cost).hex())


def is_password(kept: Hashed, password: str) -> bool:
    """Whether it is that one; takes as long either way."""
    password = password[: CHARS_MAX + 1]
    try:
        found = _scrypt(password, bytes.fromhex(kept.salt), kept.n, kept.r, kept.p)
        return hmac.compare_digest(found, bytes.fromhex(kept.hash))
    except ValueError:  # a damaged entry opens nothing
        return False


def new_token() -> str:
    """A token: to be shown once."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """As it is kept (hex)."""
    return hashlib.sha256(token.encode()).hexdigest()


def same(one: str, other: str) -> bool:
    """Whether they are equal, in a time that does not say where they differ."""
    return hmac.compare_digest(one.encode(), other.encode())


def _scrypt(password: str, salt: bytes, n: int, r: int, p: int) -> bytes:
    if 128 * n * r * p > _COST_MAX:
        raise ValueError("too costly")
    memory = 128 * r * (n + p + 2)
    return hashlib.scrypt(password.encode(), salt=salt, n=n, r=r, p=p, maxmem=2 * memory, dklen=_HASH_BYTES)
