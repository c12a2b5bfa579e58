"""The region's SQLite files: what SQLite, or a row that makes no sense, raises, in our words."""

from __future__ import annotations

from pathlib import Path

import apsw

from pipeline.errors import DiskFull, StoreDamaged, StoreError

#: How long a writer waits for another one, in seconds, before it says so.
BUSY_S = 30.0

#: What to do about a file that is not whole any more.
REBUILD = "Stop this side, keep the folder, and rebuild it in an empty one: titian init region --rebuild"

#: What a damaged file makes SQLite, or those who read a row of it, raise.
FOREIGN = (apsw.Error, TypeError, ValueError, LookupError, OverflowError)


def as_ours(path: Path, why: Exception) -> StoreError:
    """The error of ours that stands for `why`, which one of `FOREIGN` was with the file at `path`."""
    if isinstance(why, apsw.FullError):
        return DiskFull(
            f"the disk that holds {path} is full; nothing was stored. Free space, then run it again"
        )
    if isinstance(why, apsw.BusyError | apsw.LockedError):
        return StoreError(f"another program has held {path} for {BUSY_S:.0f} s; find and stop it")
    if isinstance(why, apsw.CorruptError | apsw.NotADBError | UnicodeDecodeError):
        return StoreDamaged(f"{path} is damaged ({why}). {REBUILD}")
    if isinstance(why, apsw.IOError):
        return StoreError(
            f"the disk could not read or write {path} ({why}). Look at the disk, then run it again: it "
            "is not known whether this was stored"
        )
    if isinstance(why, apsw.ReadOnlyError | apsw.CantOpenError | apsw.PermissionsError):
        return StoreError(f"{path} cannot be opened for writing ({why}); look at its owner and mode")
    if isinstance(why, apsw.Error):
        return StoreError(f"{path}: {type(why).__name__}: {why}")
    return StoreDamaged(
        f"{path} is damaged: what was read there makes no sense ({type(why).__name__}: {why}). {REBUILD}. If "
        "that says the same, it is a defect of Titian's: report it"
    )
