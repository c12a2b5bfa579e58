"""What `titian doctor` measures of this machine: the folder, the disk, the keys, the environment."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import stat
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from importlib import import_module
from pathlib import Path

from pipeline.adapters.folder import Folder
from pipeline.errors import TitianError
from pipeline.inspection import doctor_settings
from pipeline.inspection.doctor import Check

_FSYNCS = 5


def place_of(name: str) -> str:
    file = import_module(name).__file__
    return str(Path(file).resolve().parent.parent) if file else "?"


def open_to_others(path: Path) -> list[str]:
    """What of the folder others may read or write: any right for group or others."""
    found = []
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        found.append(str(path))
    for one in sorted([*path.iterdir(), *(path / "keys").glob("*")]):
        with suppress(OSError):  # it may go while we look
            mode = one.lstat().st_mode
            if not stat.S_ISLNK(mode) and stat.S_IMODE(mode) & 0o077:
                found.append(one.name)
    return found


def fsync_ms(path: Path) -> float | None:
    """The median of a few durable writes of 4 KiB, milliseconds."""
    probe = path / f".doctor.{os.getpid()}"
    took = []
    try:
        handle = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            for _ in range(_FSYNCS):
                began_s = time.perf_counter()
                os.write(handle, bytes(4096))
                os.fsync(handle)
                took.append((time.perf_counter() - began_s) * 1000)
        finally:
            os.close(handle)
            probe.unlink()
    except OSError:
        return None
    return statistics.median(took)


def keys_check(folder: Folder, now_ms: int) -> Check:
    """Our keys: whether they can be read, and how old the newest is by the date of its file."""
    side = folder.settings.side
    try:
        count = len(folder.private_keys())
        newest_s = max(path.stat().st_mtime for path in (folder.path / "keys").glob("*.json"))
    except TitianError as why:
        return doctor_settings.keys(0, str(why), None, side)
    except (ValueError, KeyError, TypeError, OSError) as why:
        return doctor_settings.keys(0, f"a key cannot be read: {why}", None, side)
    return doctor_settings.keys(count, "", max(0.0, now_ms / 1000 - newest_s) / 86_400, side)


def owners_check(path: Path) -> Check:
    """Whom the folder, and what is in it, belongs to."""
    owner = path.stat().st_uid
    others = [one.name for one in _in_it(path) if _owner(one) not in (owner, None)]
    return doctor_settings.owners(owner == os.geteuid(), others, _user(owner), str(path))


def _in_it(path: Path) -> Iterator[Path]:
    for place in (path, path / "keys", path / "run", path / "run" / "logs"):
        with suppress(OSError):
            yield from sorted(place.iterdir())


def _owner(path: Path) -> int | None:
    with suppress(OSError):  # it may go while we look
        return path.lstat().st_uid
    return None


def _user(uid: int) -> str:
    with suppress(KeyError):
        return pwd.getpwuid(uid).pw_name
    return f"user {uid}"


def zone_check() -> Check:
    """The time zone of this machine."""
    here = datetime.now().astimezone()
    off = here.utcoffset()
    return doctor_settings.zone(here.tzname() or "", 0.0 if off is None else off.total_seconds())


def telling_checks(folder: Folder) -> Iterator[Check]:
    """Whom alarms are told to."""
    limits = folder.settings.alarms
    program = shlex.split(limits.command)[0] if limits.command else ""
    return doctor_settings.telling(limits.webhook, program, bool(program and shutil.which(program)))
