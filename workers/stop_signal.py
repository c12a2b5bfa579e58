"""A wish to stop, set by a signal: safe to set in a handler while the same thread waits for it.

(`threading.Event` is not: its `set` takes a lock that the interrupted `wait` may hold.)
"""

from __future__ import annotations

import os
import select
import signal
from contextlib import suppress


class StopSignal:
    """Set once, for good. `signals` set it from now on; make it in the main thread then."""

    def __init__(self, *signals: signal.Signals) -> None:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._poll = select.poll()
        self._poll.register(self._read, select.POLLIN)
        for signum in signals:
            signal.signal(signum, lambda *_: self.set())

    def set(self) -> None:
        """Ask to stop, from any thread or handler."""
        with suppress(BlockingIOError):
            os.write(self._write, b"s")

    def is_set(self) -> bool:
        """Whether it was asked for."""
        return self.wait(0.0)

    def wait(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds; whether it was asked for."""
        return bool(self._poll.poll(max(0, int(timeout * 1000))))
