"""Bundle files on disk (`schemas.bundle`): read from one end to the other, or opened to append.

What is appended is durable when `append` returns: one write and one sync for all entries of a call. A file
that ends within an entry (a stick pulled out, a power cut) is cut back to its last whole entry when it is
opened to append; one that is damaged before its end is left as it is.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pipeline.errors import AlreadyRunning, DiskFull, NotFound, StoreError
from schemas.bundle import START, BundleReader, Damage, End, Entry, Mark, pack_entries

_READ_BYTES = 1024 * 1024

#: Called with (bytes that are read, bytes in all).
Progress = Callable[[int, int], None]


def store_error(path: Path, why: OSError, doing: str) -> StoreError:
    """An error of the disk in our words."""
    if why.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(f"the disk that holds {path} is full; free space there, then run it again")
    return StoreError(f"{path} cannot be {doing}: {why.strerror}; look at that disk, its owner and mode")


class BundleSource:
    """The entries of a file, in order, read once. `end` and `damages` are known when all is read.

    Raises `NotFound`, `StoreError`, and `BundleDamaged` unless `salvage` is asked for. `start` is a mark of
    an earlier reading of this file, to go on from; nothing behind `stop` (bytes) is read.
    """

    def __init__(
        self,
        path: Path,
        start: Mark = START,
        *,
        stop: int | None = None,
        salvage: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self.path = path
        self._stop = stop
        self.end: End | None = None
        self._reader = BundleReader(start, salvage=salvage)
        self._start = start
        self._progress = progress

    @property
    def damages(self) -> list[Damage]:
        """What was passed over."""
        return self._reader.damages

    @property
    def mark(self) -> Mark:
        """After the entry that was handed out last."""
        return self._reader.mark

    def __iter__(self) -> Iterator[Entry]:
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(f"there is no file {self.path}") from None
        except OSError as why:
            raise store_error(self.path, why, "read") from why
        try:
            yield from self._entries(handle)
        finally:
            os.close(handle)

    def _entries(self, handle: int) -> Iterator[Entry]:
        at, size = self._start.size, os.fstat(handle).st_size
        while True:
            wanted = _READ_BYTES if self._stop is None else min(_READ_BYTES, max(0, self._stop - at))
            try:
                data = os.pread(handle, wanted, at)
            except OSError as why:
                raise store_error(self.path, why, "read") from why
            if not data:
                break
            at += len(data)
            yield from self._reader.feed(data)
            if self._progress is not None:
                self._progress(at, max(size, at))
        self.end = self._reader.end()


class BundleFile:
    """A file that is being written. Only one program at a time: `AlreadyRunning` for the next one.

    Opening verifies what is there, from the first byte on, and cuts a torn end off; raises `BundleDamaged`
    where it is damaged before that (nothing is changed then), `StoreError`, `DiskFull`.
    """

    def __init__(self, path: Path, *, progress: Progress | None = None) -> None:
        self.path = path
        self.mark = START
        try:
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        except OSError as why:
            raise store_error(path, why, "written") from why
        try:
            self._lock()
            self._verify(progress)
        except BaseException:
            os.close(self._fd)
            raise

    def append(self, frames: Sequence[bytes]) -> Mark:
        """Add an entry for each frame, durably; returns the mark after them. After an error nothing of them
        counts, and the file must be opened anew."""
        data, mark = pack_entries(frames, self.mark)
        try:
            write_all(self._fd, data)
            os.fdatasync(self._fd)
        except OSError as why:
            with suppress(OSError):
                os.ftruncate(self._fd, self.mark.size)
            self.close()
            raise store_error(self.path, why, "written") from why
        self.mark = mark
        return mark

    def close(self) -> None:
        """Let go of it."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> BundleFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AlreadyRunning(f"another program is writing {self.path}") from None
        except OSError:
            return  # a stick's file system may have no locks

    def _verify(self, progress: Progress | None) -> None:
        source = BundleSource(self.path, progress=progress)
        for _ in source:
            pass
        assert source.end is not None
        self.mark, torn_bytes = source.end
        try:
            if torn_bytes:
                os.ftruncate(self._fd, self.mark.size)
            os.fsync(self._fd)
            sync_folder(self.path.parent)
        except OSError as why:
            raise store_error(self.path, why, "written") from why


def write_all(fd: int, data: bytes) -> None:
    """Write all of it; raises `OSError`."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; raises `OSError`."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    except OSError as why:
        if why.errno != errno.EINVAL:  # some file systems of sticks cannot sync a folder
            raise
    finally:
        os.close(handle)
