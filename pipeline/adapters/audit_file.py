"""Inspection, steps 1 to 7: what people did on this side, one line an act, each bound to the line before.

audit.ndjson    0600, only ever added to; a line is written, and on the disk, before its act is done
    {"version": 1, "n": 7, "at_ms": 0, "who": "made", "via": "command line", "what": "pause",
     "target": "biometric", "reason": "office hours", "detail": {}, "prev": "SHA-256 of the line before"}

Several processes write (the console, the command line): an exclusive `flock` on the file, for as long as a
line takes. A line that a power cut tore stays as it is, and the next one is bound to it: nothing is undone.
Why a file and not a table: docs/decisions/0012-the-audit-log-is-a-chain-of-lines.md.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from pipeline.errors import DiskFull, StoreError, UsageError

NAME = "audit.ndjson"
VERSION = 1
#: How long to wait for another process that is writing a line, seconds.
WAIT_S = 10.0
WHO_CHARS_MAX, REASON_CHARS_MAX, LINE_BYTES_MAX = 100, 500, 16_384
_NIK = re.compile(r"(?<!\d)\d{16}(?!\d)")
_KEYS = ("n", "at_ms", "who", "via", "what", "target", "reason", "detail", "prev")
_BLOCK = 1 << 16


class Looked(NamedTuple):
    """What a look through the whole file found: `entries` (whole lines), `torn` (numbers of lines that a
    power cut tore), `wrong` (empty, or where the chain is broken), and the SHA-256 of the last line."""

    entries: int
    torn: list[int]
    wrong: str
    head: str


class AuditFile:
    """The log in a side's folder. Reading takes no lock: whole lines never change."""

    def __init__(self, folder: Path, now_ms: Callable[[], int] = lambda: int(time.time() * 1000)) -> None:
        self.path = folder / NAME
        self._now_ms = now_ms

    def add(
        self,
        who: str,
        via: str,
        what: str,
        target: str,
        reason: str = "",
        detail: dict[str, Any] | None = None,
    ) -> int:
        """Write an act down, durably, before it is done; returns the line's `n`.

        Raises `UsageError` (the words are too long, or hold a NIK), `DiskFull`, `StoreError`: then nothing
        was written, and the act must not be done.
        """
        with self.writing() as log:
            return log.add(who, via, what, target, reason, detail)

    @contextmanager
    def writing(self) -> Iterator[Writing]:
        """Hold the log for an act that reads, changes and writes a file: two such acts do not cross."""
        fd = self._open()
        try:
            self._lock(fd)
            yield Writing(self.path, fd, self._now_ms)
        finally:
            os.close(fd)

    def read(self, limit: int, what: str | None = None) -> list[dict[str, Any]]:
        """The newest `limit` acts (of that kind), newest first; lines that do not read are passed over."""
        found: list[dict[str, Any]] = []
        lines = (_parsed(line) for line in self._backwards())
        wanted = (one for one in lines if one is not None and what in (None, one["what"]))
        while len(found) < limit and (one := next(wanted, None)) is not None:
            found.append(one)
        return found

    def check(self) -> str:
        """Empty, or which line does not follow from the one before."""
        return self.look().wrong

    def look(self) -> Looked:
        """Read everything and follow the chain, to its first break."""
        number, prev, torn, count = 0, "", [], 0
        for number, line in enumerate(self._lines(), start=1):
            one = _parsed(line)
            if one is None:
                torn.append(number)
            else:
                count += 1
                if wrong := _wrong(one, count, prev):
                    return Looked(count, torn, f"line {number} of {self.path} {wrong}", prev)
            prev = _hash(line)
        return Looked(count, torn, "", prev)

    def _lines(self) -> Iterator[bytes]:
        try:
            with self.path.open("rb") as file:
                yield from (line.removesuffix(b"\n") for line in file)
        except FileNotFoundError:
            return

    def _backwards(self) -> Iterator[bytes]:
        """The lines from the last to the first, without holding more than a block and a line."""
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            at, held = file.seek(0, os.SEEK_END), b""
            while at:
                size = min(at, _BLOCK)
                at -= size
                file.seek(at)
                first, *rest = (file.read(size) + held).split(b"\n")
                held = first
                yield from (line for line in reversed(rest) if line)
            if held:
                yield held

    def _open(self) -> int:
        _need_owner(self.path.parent)
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as why:
            raise _foreign(why, self.path) from why

    def _lock(self, fd: int) -> None:
        deadline_s, idle = time.monotonic() + WAIT_S, threading.Event()
        while True:
            try:
                return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise StoreError(
                        f"another process holds {self.path} for more than {WAIT_S:.0f} s: nothing was done; "
                        "see which one (`fuser` on that file), and try again"
                    ) from None
                idle.wait(0.01)
            except OSError as why:
                raise StoreError(
                    f"{self.path} cannot be locked ({why.strerror}): put the folder on a local disk"
                ) from why


class Writing:
    """The log while it is held: see `AuditFile.writing`."""

    def __init__(self, path: Path, fd: int, now_ms: Callable[[], int]) -> None:
        self._path, self._fd, self._now_ms = path, fd, now_ms

    def add(
        self,
        who: str,
        via: str,
        what: str,
        target: str,
        reason: str = "",
        detail: dict[str, Any] | None = None,
    ) -> int:
        """See `AuditFile.add`."""
        _check_words(who, reason)
        size = os.fstat(self._fd).st_size
        n, prev, whole = self._last(size)
        value = {
            "version": VERSION,
            "n": n + 1,
            "at_ms": self._now_ms(),
            "who": who,
            "via": via,
            "what": what,
            "target": target,
            "reason": reason,
            "detail": detail or {},
            "prev": prev,
        }
        line = json.dumps(value, ensure_ascii=False).encode()
        if len(line) > LINE_BYTES_MAX:
            raise UsageError(f"that is too much for one line of {self._path}: do it in smaller parts")
        self._append((b"" if whole else b"\n") + line + b"\n", size)
        return n + 1

    def _last(self, size: int) -> tuple[int, str, bool]:
        """The last entry's `n`, the last line's hash, and whether that line has its end."""
        lines = AuditFile(self._path.parent)._backwards()
        last = next(lines, b"")
        n, line = 0, last
        while line:
            if (one := _parsed(line)) is not None:
                n = one["n"]
                break
            line = next(lines, b"")
        whole = not size or os.pread(self._fd, 1, size - 1) == b"\n"
        return n, _hash(last) if last else "", whole

    def _append(self, data: bytes, size: int) -> None:
        try:
            while data:
                data = data[os.write(self._fd, data) :]
            os.fsync(self._fd)
            if not size:
                _sync_folder(self._path.parent)
        except OSError as why:
            with suppress(OSError):  # half a line says nothing; if this fails too it is passed over
                os.ftruncate(self._fd, size)
            raise _foreign(why, self._path) from why


def _check_words(who: str, reason: str) -> None:
    if not who.strip() or len(who) > WHO_CHARS_MAX:
        raise UsageError(f"say who does it, in at most {WHO_CHARS_MAX} characters (--who NAME)")
    if len(reason) > REASON_CHARS_MAX:
        raise UsageError(f"the reason is longer than {REASON_CHARS_MAX} characters: say it shorter")
    try:
        f"{who}{reason}".encode()
    except UnicodeEncodeError:
        raise UsageError("the reason, or who does it, is no text: say it in UTF-8") from None
    if _NIK.search(who) or _NIK.search(reason):
        raise UsageError("the log of acts keeps no NIK: say it without the number (a packet's id says which)")


def _need_owner(folder: Path) -> None:
    """What a foreign user (root too) writes here the side itself could not read any more."""
    owner = folder.stat().st_uid
    if owner != os.geteuid():
        raise UsageError(
            f"{folder} belongs to {_user(owner)}, and you are {_user(os.geteuid())}: run this as "
            f"{_user(owner)} (`sudo -u {_user(owner)} titian ...`)"
        )


def _user(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"#{uid}"


def _foreign(why: OSError, path: Path) -> Exception:
    if why.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"the disk of {path} is full: the act could not be written down, so it was not done. Free space, "
            "then try again"
        )
    if why.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UsageError(f"{path} cannot be written ({why.strerror}): nothing was done")
    return StoreError(f"{path} cannot be written ({why.strerror}): nothing was done")


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The entry, or `None` where the line is not a whole one."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and all(key in value for key in _KEYS) else None


def _wrong(one: dict[str, Any], n: int, prev: str) -> str:
    if one["prev"] != prev:
        return (
            "does not follow from the line before it: one of the two was changed, or one between was removed"
        )
    return "" if one["n"] == n else f"is number {one['n']} where {n} should be"


def _hash(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
