"""The disk that a region's stores lie on: how much room it has, and a ballast to throw off when it has none.

A full disk fails deletes and settlements too (SQLite writes a log to delete), so new packets are refused
early, while there is still room for everything else; and a file of a few MiB is held ready to be given up.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import DiskFull


def free_bytes(folder: Path) -> int:
    """Bytes that we may still write on the disk of `folder`."""
    stat = os.statvfs(folder)
    return stat.f_bavail * stat.f_frsize


def check_room(folder: Path, size: int, low_water_bytes: int) -> None:
    """Raise `DiskFull` if `size` more bytes would leave less than `low_water_bytes` (0: never)."""
    if low_water_bytes == 0:
        return
    free = free_bytes(folder)
    if free - size < low_water_bytes:
        raise DiskFull(
            f"the disk that holds {folder} has {_mib(free)} left and the outbox stops at "
            f"{_mib(low_water_bytes)} (low_water_bytes); nothing was stored. Free space, then run it again"
        )


@dataclass(frozen=True)
class Ballast:
    """A file of `size` bytes that holds room (0: there is none)."""

    path: Path
    size: int

    def lay(self, low_water_bytes: int) -> None:
        """Lay it out if it is not there and the disk has room for it above the low water."""
        if not self.size or self.path.exists():
            return
        if free_bytes(self.path.parent) < low_water_bytes + 2 * self.size:
            return
        made = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with suppress(OSError):
            fd = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.posix_fallocate(fd, 0, self.size)
                os.replace(made, self.path)
            except OSError:
                made.unlink(missing_ok=True)
            finally:
                os.close(fd)

    def give_up(self) -> None:
        """Let its room go."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


def _mib(size: int) -> str:
    return f"{size / 1024 / 1024:.0f} MiB"
