"""For crash tests: everything that programs do to files is recorded, in order.

`recording(folder)` notes every write, truncate, sync, create, rename and delete below `folder`: SQLite's
through a VFS that is the default one meanwhile, that of modules of ours (the highest seq, the mirror) through
a stand-in for their `os`. What a power cut may leave of it is built by `crash_disk.py`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import apsw

_VFS_NAME = "titian-crash"


class Op(NamedTuple):
    """One thing that was done. `what`: write, size, sync, names, create, rename, delete, mark. `names` syncs
    a folder; `at` is a write's offset or a new size; a `mark` is a note of the test's."""

    what: str
    path: str = ""
    at: int = 0
    data: bytes = b""
    note: Any = None


class Recorder:
    """What was done, in order. `path`s are relative to the folder; what lies outside is not recorded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ops: list[Op] = []

    def add(self, what: str, path: str | os.PathLike[str], at: int = 0, data: bytes = b"") -> None:
        """Note one thing that was done to a file."""
        name = os.path.relpath(path, self.folder)
        if not name.startswith("..") and not name.endswith("-shm"):
            self.ops.append(Op(what, name, at, data))

    def mark(self, note: Any) -> None:
        """Note what the test knows at this point."""
        self.ops.append(Op("mark", note=note))


@contextmanager
def recording(folder: Path, *modules: ModuleType) -> Iterator[Recorder]:
    """Record what is done below `folder` by SQLite (files opened in the body) and through the `os` of
    `modules`."""
    recorder = Recorder(folder)
    vfs = _Vfs(recorder)
    before = [module.__dict__["os"] for module in modules]
    stand_in = _Os(recorder)
    for module in modules:
        module.__dict__["os"] = stand_in
    try:
        yield recorder
    finally:
        for module, real in zip(modules, before, strict=True):
            module.__dict__["os"] = real
        vfs.unregister()


class _Vfs(apsw.VFS):
    """SQLite's own, with a record. It is the default one while it is registered: nobody has to name it."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._base = apsw.vfs_names()[0]
        super().__init__(_VFS_NAME, self._base, makedefault=True)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        fresh = path is not None and not os.path.exists(path)
        opened = _File(self._recorder, self._base, name, flags, path)
        if fresh and path is not None:
            self._recorder.add("create", path)
            log = flags[0] & (apsw.SQLITE_OPEN_WAL | apsw.SQLITE_OPEN_MAIN_JOURNAL)
            opened.names_too = bool(log)  # of a log that SQLite makes it syncs the folder with the first sync
        return opened

    def xDelete(self, filename: str, syncdir: bool) -> None:
        super().xDelete(filename, syncdir)
        self._recorder.add("delete", filename)
        if syncdir:
            self._recorder.add("names", os.path.dirname(filename))


class _File(apsw.VFSFile):
    def __init__(
        self,
        recorder: Recorder,
        base: str,
        name: str | apsw.URIFilename | None,
        flags: list[int],
        path: str | None,
    ) -> None:
        super().__init__(base, name, flags)  # None: a temporary file
        self._recorder, self._path, self.names_too = recorder, path, False

    def xWrite(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._note("write", offset, bytes(data))

    def xTruncate(self, newsize: int) -> None:
        super().xTruncate(newsize)
        self._note("size", newsize)

    def xSync(self, flags: int) -> None:
        super().xSync(flags)
        self._note("sync")
        if self.names_too and self._path is not None:
            self._recorder.add("names", os.path.dirname(self._path))
            self.names_too = False

    def _note(self, what: str, at: int = 0, data: bytes = b"") -> None:
        if self._path is not None:
            self._recorder.add(what, self._path, at, data)


class _Os:
    """Stands in for the module `os`: what changes files is recorded, everything else is `os`'s own."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._paths: dict[int, str] = {}
        self._appends: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def open(self, path: str | os.PathLike[str], flags: int, mode: int = 0o777, **more: Any) -> int:
        fresh = not os.path.exists(path)
        fd = os.open(path, flags, mode, **more)
        self._paths[fd] = os.fspath(path)
        (self._appends.add if flags & os.O_APPEND else self._appends.discard)(fd)
        if fresh:
            self._recorder.add("create", path)
        elif flags & os.O_TRUNC:
            self._recorder.add("size", path, 0)
        return fd

    def close(self, fd: int) -> None:
        self._paths.pop(fd, None)
        os.close(fd)

    def pwrite(self, fd: int, data: bytes, offset: int) -> int:
        done = os.pwrite(fd, data, offset)
        self._recorder.add("write", self._paths[fd], offset, bytes(data[:done]))
        return done

    def write(self, fd: int, data: bytes) -> int:
        at = os.fstat(fd).st_size if fd in self._appends else os.lseek(fd, 0, os.SEEK_CUR)
        done = os.write(fd, data)
        self._recorder.add("write", self._paths[fd], at, bytes(memoryview(data)[:done]))
        return done

    def writev(self, fd: int, parts: Iterable[bytes]) -> int:
        return self.write(fd, b"".join(parts))

    def ftruncate(self, fd: int, length: int) -> None:
        os.ftruncate(fd, length)
        self._recorder.add("size", self._paths[fd], length)

    def truncate(self, path: str | os.PathLike[str] | int, length: int) -> None:
        os.truncate(path, length)
        self._recorder.add("size", self._paths[path] if isinstance(path, int) else path, length)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)
        path = self._paths[fd]
        self._recorder.add("names" if os.path.isdir(path) else "sync", path)

    fdatasync = fsync

    def replace(self, old: str | os.PathLike[str], new: str | os.PathLike[str]) -> None:
        os.replace(old, new)
        self._recorder.ops.append(
            Op(
                "rename",
                os.path.relpath(old, self._recorder.folder),
                note=os.path.relpath(new, self._recorder.folder),
            )
        )

    rename = replace

    def unlink(self, path: str | os.PathLike[str]) -> None:
        os.unlink(path)
        self._recorder.add("delete", path)

    remove = unlink
