"""Steps 2 to 7: a lease that a dead process frees: an exclusive `flock` on a file, never waited for.

The lock belongs to the open file, so two `FileLock`s on one path exclude each other between processes and
between threads alike. The file holds the holder's process id and a newline, for people and for `status`; what
counts is the lock. The file is never deleted: another one could lock the old file while a third makes a new
one. A forked child must not keep its parent's lease alive, so it closes its copies at once.
"""

from __future__ import annotations

import fcntl
import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.errors import StoreError

#: What may stand in the file, bytes.
_PID_BYTES_MAX = 32


class FileLock:
    """One lease on `path` (mode 0600; its folder must exist). See the module."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd: int | None = None
        self._inside = threading.Lock()

    def try_acquire(self) -> bool:
        """Take the lease if it is free; never waits. False also if this object holds it already.

        Raises `StoreError` where the file cannot be opened or the file system has no locks.
        """
        with self._inside:
            if self._fd is not None:
                return False
            fd = self._open()
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            except OSError as why:
                os.close(fd)
                raise StoreError(
                    f"{self.path} cannot be locked ({why.strerror}): put the folder on a local disk"
                ) from why
            _write_pid(fd)
            self._fd = fd
            _held.add(self)
            return True

    def release(self) -> None:
        """Let go; nothing if it is not held."""
        with self._inside:
            fd, self._fd = self._fd, None
            _held.discard(self)
            if fd is not None:
                with suppress(OSError):
                    os.ftruncate(fd, 0)
                os.close(fd)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """`with lock.held() as got:` takes the lease if it is free and lets go at the end."""
        got = self.try_acquire()
        try:
            yield got
        finally:
            if got:
                self.release()

    def holder(self) -> int | None:
        """The process id of who holds it, or `None`. It only reads: a look never makes an acquire fail.

        After a kill the file still names the dead process; one that took over its number would be taken for
        the holder. Only `try_acquire` is sure.
        """
        try:
            first, newline, _ = self.path.read_bytes()[:_PID_BYTES_MAX].partition(b"\n")
        except OSError:
            return None
        if not newline or not first.isdigit():
            return None
        pid = int(first)
        return pid if is_alive(pid) else None

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as why:
            raise StoreError(f"the lock {self.path} cannot be opened: {why.strerror}") from why

    def _forget(self) -> None:
        """In a forked child: close the copy; the parent's lock stays as it is."""
        fd, self._fd = self._fd, None
        self._inside = threading.Lock()
        if fd is not None:
            with suppress(OSError):
                os.close(fd)


def is_alive(pid: int) -> bool:
    """Whether a process of that id exists, a zombie not counted where the system can tell."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    with suppress(OSError, IndexError):  # no /proc: what the signal said holds
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        return stat.rpartition(")")[2].split()[0] not in ("Z", "X")
    return True


def _write_pid(fd: int) -> None:
    """The id first and the cut after it: whoever reads in between finds a whole first line."""
    with suppress(OSError):  # a full disk: the lock holds without its text
        text = f"{os.getpid()}\n".encode()
        os.pwrite(fd, text, 0)
        os.ftruncate(fd, len(text))


_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _after_fork() -> None:
    for lock in list(_held):
        lock._forget()
    _held.clear()


os.register_at_fork(after_in_child=_after_fork)
