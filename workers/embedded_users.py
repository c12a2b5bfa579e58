"""Steps 3 to 7: who may do what on the embedded Valkey: its users, in a file that is always whole.

The file (`users.acl`, Valkey's format, one `user NAME on #SHA256 RULES` a line) is the truth while the server
runs and between its restarts. `default` is off; `titian` is our own user and may do everything.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pipeline.adapters.folder import write_private
from pipeline.adapters.redis_wire import ctl_key, down_key, up_key
from pipeline.errors import UsageError
from schemas.identity import check_region

#: Our own user: the side's processes sign in as it.
ADMIN = "titian"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class AclUser:
    """A user: `password_sha256` is the hex digest of its password, `rules` are Valkey's ACL rules.

    Raises `UsageError` for a name, digest or rules that would not stay within their line.
    """

    name: str
    password_sha256: str
    rules: str

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None or self.name == "default":
            raise UsageError(
                f"{self.name[:40]!r} is no name for a Valkey user: letters, digits, '_', '.', '-'"
            )
        if _SHA256.fullmatch(self.password_sha256) is None:
            raise UsageError(f"the password of {self.name} must come as SHA-256 in 64 small hex digits")
        if not self.rules.isprintable() or "#" in self.rules or ">" in self.rules or "nopass" in self.rules:
            raise UsageError(f"the rules of {self.name} must be one line and name no password")

    @classmethod
    def with_password(cls, name: str, password: str, rules: str) -> AclUser:
        """The user whose password is `password` in clear; only its digest is kept."""
        return cls(name, password_sha256(password), rules)

    @property
    def line(self) -> str:
        """Its line in the file."""
        return f"user {self.name} on #{self.password_sha256} {self.rules}"


def password_sha256(password: str) -> str:
    """How Valkey keeps a password. Without salt: so passwords are long and random, never chosen."""
    return hashlib.sha256(password.encode()).hexdigest()


def region_user_name(code: str) -> str:
    """The name of the user of region `code`; raises `SchemaError` for what is no region code."""
    return f"region-{check_region(code)}"


def region_user(code: str, password_hash: str) -> AclUser:
    """The user of region `code`; `password_hash` is the SHA-256 of its password in hex."""
    return AclUser(region_user_name(code), password_hash, region_acl(code))


def region_acl(code: str) -> str:
    """What the user of region `code` may do: its three streams, and on each no more than it needs.

    It adds to `ctl` and `up` and asks for their lengths, but cannot read them back or delete from them; it
    reads and deletes from `down`, but cannot write there. A region can cut its own `up` with XADD's MAXLEN (a
    key permission cannot tell); that harms nobody else, and intake sees the gap. PING is for `doctor`.
    """
    check_region(code)
    return (
        f"resetkeys resetchannels -@all +ping +xadd +xlen %W~{ctl_key(code)} %W~{up_key(code)} "
        f"(+xread +xdel %RW~{down_key(code)})"
    )


def admin_user(password: str) -> AclUser:
    """Our own user."""
    return AclUser.with_password(ADMIN, password, "~* &* +@all")


def write_users(path: Path, users: Iterable[AclUser]) -> None:
    """Write the file with exactly these users, whole or not at all, and `default` off."""
    write_lines(path, {user.name: user.line for user in users})


def read_lines(path: Path) -> dict[str, str]:
    """The lines of the file by user, `default` left out; none where there is no file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    found = {line.split(" ", 2)[1]: line for line in lines if line.startswith("user ")}
    found.pop("default", None)
    return found


def write_lines(path: Path, lines: dict[str, str]) -> None:
    """Write the file from lines by user."""
    write_private(path, "\n".join(["user default off resetkeys resetchannels -@all", *lines.values(), ""]))
