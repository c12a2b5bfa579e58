"""A Python whose clock is wrong: stands in for `sys.executable` of a side, its workers and its commands.

    wrong_clock.py OFFSET_FILE [-I] -m MODULE [ARGUMENT...]

Runs MODULE with `time.time`, `time.time_ns` and `datetime.now` shifted by the seconds in OFFSET_FILE, which
are read again all the time, so that the clock can be set while the process runs. Children started by
`sys.executable` have the same clock. Monotonic time and the kernel's own times stay right, as on a real
machine whose clock is set.
"""

from __future__ import annotations

import datetime
import os
import runpy
import sys
import time
from pathlib import Path
from typing import Any

_REAL_NS = time.time_ns


def set_clock(offset_file: Path, seconds: float) -> None:
    """The clock is off by so much from now on."""
    fresh = offset_file.with_suffix(".new")
    fresh.write_text(str(seconds))
    os.replace(fresh, offset_file)


def shift(offset_file: Path) -> None:
    """Shift this process's wall clocks."""

    def offset_s() -> float:
        return float(offset_file.read_text())

    class Shifted(datetime.datetime):
        """`datetime` that reads the wrong clock."""

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return super().now(tz) + datetime.timedelta(seconds=offset_s())

        @classmethod
        def utcnow(cls) -> Any:
            return super().now(datetime.UTC).replace(tzinfo=None) + datetime.timedelta(seconds=offset_s())

    time.time_ns = lambda: _REAL_NS() + int(offset_s() * 1e9)
    time.time = lambda: time.time_ns() / 1e9
    datetime.datetime = Shifted  # type: ignore[misc]


def main() -> None:
    """See the module."""
    offset_file, me, *rest = sys.argv[1:]
    rest = [one for one in rest if one != "-I"]
    assert rest[0] == "-m", rest
    del sys.path[0]  # as -I: not the folder of this file
    shift(Path(offset_file))
    sys.executable = me
    sys.argv = rest[1:]
    runpy.run_module(rest[1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
