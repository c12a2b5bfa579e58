"""Step 2: the highest seq in a second, tiny file, so that a tail lost from the outbox is noticed.

One flipped bit in a write-ahead log makes SQLite drop every commit behind it, silently and consistently; a
restored backup does the same. This file is written and synced after each commit and before `enqueue` returns,
and stays out of backups: a number in it above the outbox's own means that acknowledged packets are gone.

    file = "TITIANHW" | epoch (8 bytes, padded) | u64 seq | 8 bytes of SHA-256 over these 24     (32 bytes)

Where each packet lies on a mirror, durably, that tells how far the numbers went: then this file is
written but not waited for, and begins with "TITIANHU" instead, so that nobody takes it for synced.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import threading
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import StoreError

_FORM = struct.Struct(">8s8sQ")
_MAGIC, _NOT_SYNCED = b"TITIANHW", b"TITIANHU"
_SIZE = _FORM.size + 8


class HighWater(NamedTuple):
    """What the file says: packets 1 to `seq` of `epoch` were acknowledged to their producers."""

    epoch: str
    seq: int


class HighWaterFile:
    """The file, open in one thread of one process (a lock of an open file is not shared by others)."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as why:
            raise StoreError(f"{path} cannot be opened: {why.strerror}; look at its owner and mode") from why

    def read(self) -> HighWater | None:
        """What it says; `None` if it is new, cut off or damaged."""
        return self._look()[0]

    def raise_to(self, epoch: str, seq: int, *, sync: bool = True) -> None:
        """Let it say at least `seq` of `epoch`, durably. Processes that commit together share one sync: who
        finds a higher number under the lock knows that it is on the disk already, unless the file says that
        it was not waited for (`sync` false: the packet itself lies on the mirror, durably)."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            try:
                self._check_place()
                now, synced = self._look()
                if now is not None and now.epoch == epoch and now.seq >= seq:
                    if synced or not sync:
                        return
                    seq = now.seq
                self._put(epoch, seq, sync)
                self._check_place()
            finally:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        except OSError as why:
            raise StoreError(
                f"{self.path} cannot be written: {why.strerror}. What was enqueued is kept, but a loss of it "
                "would not be noticed: mend this before going on"
            ) from why

    def close(self) -> None:
        """Let go of it."""
        os.close(self._fd)

    def is_replaced(self) -> bool:
        """Whether the path leads to another file now. Raises `StoreError` where it leads to none: a number in
        a deleted file is read by nobody."""
        held = os.fstat(self._fd)
        try:
            found = os.stat(self.path)
        except OSError:
            raise self._gone() from None
        return (held.st_dev, held.st_ino) != (found.st_dev, found.st_ino)

    def _check_place(self) -> None:
        if self.is_replaced():
            raise self._gone()

    def _gone(self) -> StoreError:
        return StoreError(
            f"{self.path} was deleted or replaced while it was in use: a loss of what was enqueued since "
            "would not be noticed. Look at the disk and at who did it, then start this program again"
        )

    def _look(self) -> tuple[HighWater | None, bool]:
        """What it says, and whether that was synced."""
        data = os.pread(self._fd, _SIZE, 0)
        if len(data) < _SIZE or data[_FORM.size :] != _check(data[: _FORM.size]):
            return None, False
        magic, epoch, seq = _FORM.unpack_from(data)
        if magic not in (_MAGIC, _NOT_SYNCED):
            return None, False
        return HighWater(epoch.rstrip(b"\0").decode("ascii"), seq), magic == _MAGIC

    def _put(self, epoch: str, seq: int, sync: bool) -> None:
        plain = _FORM.pack(_MAGIC if sync else _NOT_SYNCED, epoch.encode("ascii"), seq)
        os.pwrite(self._fd, plain + _check(plain), 0)
        if sync:
            os.fdatasync(self._fd)


class HighWaterFiles:
    """The same file for all threads and processes that share this object: each opens it for itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    def read(self) -> HighWater | None:
        """See `HighWaterFile`."""
        return self._held().read()

    def raise_to(self, epoch: str, seq: int, *, sync: bool = True) -> None:
        """See `HighWaterFile`. After an error, or where another file has come in its place (with another
        database, which has told its users), it is opened anew."""
        try:
            if self._held().is_replaced():
                self.close()
            self._held().raise_to(epoch, seq, sync=sync)
        except StoreError:
            self.close()
            raise

    def close(self) -> None:
        """Let go of what this thread holds open."""
        held: HighWaterFile | None = getattr(self._local, "file", None)
        if held is not None:
            held.close()
            self._local.file = None

    def _held(self) -> HighWaterFile:
        local = self._local
        if getattr(local, "pid", 0) != os.getpid() or getattr(local, "file", None) is None:
            local.file, local.pid = HighWaterFile(self._path), os.getpid()
        held: HighWaterFile = local.file
        return held


def _check(plain: bytes) -> bytes:
    return hashlib.sha256(plain).digest()[:8]
