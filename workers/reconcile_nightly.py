"""Reconciliation once a night, by itself: when it is due, and the job that the region's worker keeps.

The hour is the office's own (its machine's time zone), spread over the regions by a hash of their codes, so
that the center does not compare 514 of them at once. A night that was missed is made up as soon as the side
runs. What fails (the center is away) is tried again after a while.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable

from pipeline.adapters.folder import Folder
from pipeline.adapters.outbox_compare import began_anew_ms
from pipeline.adapters.registry_compare import RegistryCompare
from pipeline.errors import AlreadyRunning
from pipeline.inspection.compared import last_result
from pipeline.ports import Clock
from workers.logs import log
from workers.reconciled import Reconciled
from workers.reconciling import reconcile_folder

#: From which minute of the day on, and over how many of them regions are spread.
FIRST_MINUTE, MINUTES = 2 * 60, 2 * 60
#: After one that failed, the next is tried so much later, seconds.
AGAIN_S = 15 * 60.0
#: How long the center may be silent, seconds: at night there is time.
TIMEOUT_S = 600.0
DAY_MS = 86_400_000
_PAUSE_S = 0.1


def reconcile_due(
    now_ms: int,
    last_ms: int | None,
    region: str,
    local: Callable[[float], time.struct_time] = time.localtime,
) -> bool:
    """Whether a reconciliation is due: the last one was before the latest time of night that is over."""
    return last_ms is None or last_ms < latest_night_ms(now_ms, region, local)


def latest_night_ms(
    now_ms: int, region: str, local: Callable[[float], time.struct_time] = time.localtime
) -> int:
    """The newest time at or before `now_ms` at which the region was to reconcile."""
    spread = int.from_bytes(hashlib.sha256(b"titian night " + region.encode()).digest()[:4], "big") % MINUTES
    today = local(now_ms / 1000)
    since_midnight_ms = ((today.tm_hour * 60 + today.tm_min) * 60 + today.tm_sec) * 1000 + now_ms % 1000
    at_ms = now_ms - since_midnight_ms + (FIRST_MINUTE + spread) * 60_000
    return at_ms if at_ms <= now_ms else at_ms - DAY_MS


class _Stopping(Exception):
    """The side is asked to stop: what was asked is withdrawn, and the night is made up."""


class Nightly:
    """`nightly()` is a job of the keeper (`workers.keeping`): call it every minute or so. It waits for the
    center's answers, in the thread that calls it, and ends early when `stop` is set."""

    def __init__(
        self,
        folder: Folder,
        clock: Clock,
        stop: threading.Event,
        reconcile: Callable[[Folder, Callable[[], object]], Reconciled] | None = None,
    ) -> None:
        self._folder, self._clock, self._stop = folder, clock, stop
        self._reconcile = reconcile or (lambda of, pause: reconcile_folder(of, pause, timeout_s=TIMEOUT_S))
        self._not_before_s = 0.0

    def __call__(self) -> bool:
        """Reconcile if it is due; never more at once. Raises `TitianError` where it fails."""
        if self._clock.now_s() < self._not_before_s or not self.due():
            return False
        self._not_before_s = self._clock.now_s() + AGAIN_S
        try:
            done = self._reconcile(self._folder, self._pause)
        except AlreadyRunning:
            return False
        except _Stopping:
            return False
        log("reconcile").info("reconciled", **done.summary())
        return False

    def due(self) -> bool:
        """See `reconcile_due`. A region that never did counts from when it was made, and one that is being
        rebuilt waits for the end of that. After a new epoch (an old backup, a copy, a lost end) it does not
        wait for the night."""
        records = RegistryCompare(self._folder.path)
        try:
            cursors = records.cursors()
            if cursors.fresh or cursors.back is not None or not cursors.history:
                return False
            last = last_result(self._folder.path)
            last_ms = records.made_ms() if last is None else int(last["at_ms"])
        finally:
            records.close()
        anew_ms = began_anew_ms(self._folder.path)
        if anew_ms is not None and (last is None or last_ms < anew_ms):
            return True
        return reconcile_due(self._clock.now_ms(), last_ms, self._folder.settings.region)

    def _pause(self) -> None:
        if self._stop.wait(_PAUSE_S):
            raise _Stopping
