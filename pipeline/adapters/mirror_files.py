"""Step 2: the mirror on a second disk: segments in the form of bundles, appended by several processes.

    PATH/1806.id                      which mirror this is: 16 hexadecimal digits, made once
    PATH/1806.state                   where the newest segment ends; its lock is that of the mirror
    PATH/1806-k3v9qa-000001.titian    a segment, named by the first packet in it: one epoch, no manifest

The state is written after a segment's sync, and is synced itself for a new one only. So where it does not fit
the segment (a power cut, a killed writer), nobody has to find out why: the next entry begins a new one, and
what is torn stays as it is. A packet's entries are never in two segments. A disk that is not mounted leaves
an empty folder, which has no `.id`: it is not written to, where an earlier one is known.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import struct
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from pipeline.adapters.bundle_file import sync_folder, write_all
from pipeline.adapters.high_water import HighWater
from pipeline.adapters.mirror_scan import SEGMENT_NAME, Segment, last_seq, segments_in
from pipeline.errors import NotFound, StoreError
from schemas.bundle import START, Mark, pack_entries, pack_entry

#: A segment is not made longer than this, bytes (one packet that is longer has one of its own).
SEGMENT_BYTES = 64 * 1024 * 1024
_FORM = struct.Struct(">8s64s8sQQQ32s")
_STATE = b"TITIANMS"
_CHECK_BYTES = 8
_FULL = (errno.ENOSPC, errno.EDQUOT)


class _State(NamedTuple):
    """`name` of the newest segment (empty: none), its `mark`, and the highest seq of `epoch` in any."""

    name: str = ""
    epoch: str = ""
    highest: int = 0
    mark: Mark = START

    def pack(self) -> bytes:
        plain = _FORM.pack(
            _STATE,
            self.name.encode(),
            self.epoch.encode(),
            self.highest,
            self.mark.size,
            self.mark.entries,
            self.mark.chain,
        )
        return plain + _check(plain)


class MirrorFolder:
    """The mirror of `region` in `path`, by the id `known` where it was used before. May be shared by threads,
    and kept over a fork. Methods raise `OSError` where the disk does not do what it should, and `StoreError`
    where the mirror is not there."""

    def __init__(self, path: Path, region: str, known: str = "", segment_bytes: int = SEGMENT_BYTES) -> None:
        self.path = path
        self.region = region
        self.id = known
        self._segment_bytes = segment_bytes
        self._pid = os.getpid()
        self._thread_lock = threading.Lock()
        self._lock_fd = -1
        self._open_name, self._open_fd = "", -1

    # --- writing --------------------------------------------------------------------------------

    def append(self, epoch: str, first: int, last: int, frames: Sequence[bytes]) -> None:
        """Add entries for packets `first` to `last`: one write and one sync for all of them."""
        size = sum(len(frame) + 12 for frame in frames)
        with self._locked() as state:
            state = self._place(state, epoch, first, size)
            data, mark = pack_entries(frames, state.mark)
            try:
                write_all(self._open_fd, data)
                os.fdatasync(self._open_fd)
            except OSError as why:
                self._take_back(state)
                if why.errno not in _FULL:  # after a sync that failed nothing is built upon that file
                    self._say(state._replace(name="", mark=START))
                raise
            done = state._replace(mark=mark, epoch=epoch, highest=_highest(state, epoch, last))
            self._say(done, sync=not state.mark.entries)

    def append_alone(self, epoch: str, seq: int, frames: Iterable[bytes]) -> None:
        """A packet that is too large to be held: in a segment of its own, that has its name when it is whole.
        Others append meanwhile."""
        with self._locked():
            pass  # it is there, and the one that is known
        made = self.path / f".{self.region}-{epoch}-{seq:06d}.{os.getpid()}.part"
        fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            mark = START
            for frame in frames:
                data, mark = pack_entry(frame, mark)
                write_all(fd, data)
            os.fsync(fd)
        except BaseException:
            with suppress(OSError):
                os.unlink(made)
            raise
        finally:
            os.close(fd)
        with self._locked() as state:
            os.replace(made, self._free_name(epoch, seq))
            sync_folder(self.path)
            self._say(state._replace(epoch=epoch, highest=_highest(state, epoch, seq)), sync=True)

    def remove(self, segment: Segment) -> None:
        """Delete a segment whose packets the center has."""
        os.unlink(segment.path)

    def close(self) -> None:
        """Let go of the files."""
        with self._thread_lock:
            self._close()

    # --- reading --------------------------------------------------------------------------------

    def segments(self) -> list[Segment]:
        """Every segment of this region, by epoch and first packet."""
        with self._locked() as state:
            found = segments_in(self.path, self.region)
        return [
            one._replace(size=state.mark.size, current=True) if one.path.name == state.name else one
            for one in found
        ]

    def highest(self, epoch: str) -> HighWater | None:
        """The highest seq of `epoch` that is on this disk; `None` where none is known. What was written and
        synced after the state was (a power cut, a kill) counts."""
        with self._locked() as state:
            found = state.highest if state.epoch == epoch else 0
        if state.name.startswith(f"{self.region}-{epoch}-"):
            with suppress(NotFound):
                found = max(found, last_seq(self.path / state.name, state.mark))
        return HighWater(epoch, found) if found else None

    # --- inside ---------------------------------------------------------------------------------

    @contextmanager
    def _locked(self) -> Iterator[_State]:
        """The lock of all threads and processes, and what the state says under it."""
        if self._pid != os.getpid():  # a fork: the parent's files and locks are not ours
            self._pid, self._thread_lock, self._lock_fd = os.getpid(), threading.Lock(), -1
            self._open_name, self._open_fd = "", -1
        with self._thread_lock:
            try:
                if self._lock_fd < 0 or not self._still_there():
                    self._close()
                    self._open()
                fcntl.flock(self._lock_fd, fcntl.LOCK_EX)
                yield self._read()
                fcntl.flock(self._lock_fd, fcntl.LOCK_UN)
            except BaseException:
                self._close()
                raise

    def _still_there(self) -> bool:
        """Whether what is open is what lies there now: what a deleted file holds is read by nobody."""
        held = os.fstat(self._lock_fd)
        try:
            found = os.stat(self.path / f"{self.region}.state")
        except OSError:
            return False
        return (held.st_dev, held.st_ino) == (found.st_dev, found.st_ino)

    def _open(self) -> None:
        path = self.path / f"{self.region}.id"
        if not self.id:
            self.path.mkdir(mode=0o700, exist_ok=True)
        try:
            found = path.read_text("ascii")[:16]
        except FileNotFoundError:
            found = ""
        except UnicodeDecodeError:
            found = "?"
        if self.id and found != self.id:
            raise StoreError(
                f"{self.path} is not the mirror that was there: is its disk mounted? If another disk shall "
                "take its place, name a folder of another name as `mirror` in the settings, and start again"
            )
        if not found:
            found = self._make_id(path)
        self.id = found
        lock = self.path / f"{self.region}.state"
        self._lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _make_id(self, path: Path) -> str:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:  # another process was quicker
            return path.read_text("ascii")[:16]
        try:
            made = secrets.token_hex(8)
            write_all(fd, made.encode())
            os.fsync(fd)
        finally:
            os.close(fd)
        sync_folder(self.path)
        return made

    def _read(self) -> _State:
        data = os.pread(self._lock_fd, _FORM.size + _CHECK_BYTES, 0)
        plain, check = data[: _FORM.size], data[_FORM.size :]
        if len(check) != _CHECK_BYTES or check != _check(plain):
            return _State()
        magic, name, epoch, highest, size, entries, chain = _FORM.unpack(plain)
        if magic != _STATE:
            return _State()
        mark = Mark(size, entries, chain)
        return _State(name.rstrip(b"\0").decode(), epoch.rstrip(b"\0").decode(), highest, mark)

    def _say(self, state: _State, *, sync: bool = False) -> None:
        os.pwrite(self._lock_fd, state.pack(), 0)
        if sync:  # so that after a power cut it still names the newest segment, whose end is then looked at
            os.fdatasync(self._lock_fd)

    def _place(self, state: _State, epoch: str, first: int, size: int) -> _State:
        """Open the segment that takes `size` more bytes: the newest one if it fits, or a new one."""
        found = SEGMENT_NAME.fullmatch(state.name)
        fits = found is not None and found[2] == epoch and state.mark.size + size <= self._segment_bytes
        if fits and (self._open_name == state.name or self._open_segment(state)):
            stat = os.fstat(self._open_fd)
            if stat.st_nlink and stat.st_size == state.mark.size:
                return state
        self._close_segment()
        path = self._free_name(epoch, first)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._open_name, self._open_fd = path.name, os.open(path, flags, 0o600)
        sync_folder(self.path)
        return state._replace(name=path.name, mark=START)

    def _open_segment(self, state: _State) -> bool:
        self._close_segment()
        try:
            fd = os.open(self.path / state.name, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        tail = os.pread(fd, _CHECK_BYTES, max(0, state.mark.size - _CHECK_BYTES))
        if tail != state.mark.chain[:_CHECK_BYTES]:
            os.close(fd)
            return False
        self._open_name, self._open_fd = state.name, fd
        return True

    def _take_back(self, state: _State) -> None:
        """What was written of a call that failed goes, so that a full disk is not filled with halves."""
        with suppress(OSError):
            if state.mark.entries:
                os.ftruncate(self._open_fd, state.mark.size)
            else:
                os.unlink(self.path / state.name)

    def _free_name(self, epoch: str, first: int) -> Path:
        stem, n = f"{self.region}-{epoch}-{first:06d}", 1
        path = self.path / f"{stem}.titian"
        while path.exists():
            n += 1
            path = self.path / f"{stem}.{n}.titian"
        return path

    def _close_segment(self) -> None:
        if self._open_fd >= 0:
            os.close(self._open_fd)
        self._open_name, self._open_fd = "", -1

    def _close(self) -> None:
        self._close_segment()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        self._lock_fd = -1


def _highest(state: _State, epoch: str, seq: int) -> int:
    return max(seq, state.highest) if state.epoch == epoch else seq


def _check(plain: bytes) -> bytes:
    return hashlib.sha256(plain).digest()[:_CHECK_BYTES]
