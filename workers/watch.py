"""A side's watching process: `python -I -m workers.watch DATA PARENT_PID`.

It looks at the stores once a second (`workers.watching`), tells alarms, keeps the public notice, and serves
the console. It is a child of `titian up` beside the workers: nothing that it does, or fails to do, holds
them up.
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.folder import Folder, open_folder
from pipeline.adapters.watch_store import WatchStore
from workers.deathsig import die_with_parent
from workers.logs import log, set_up_logs
from workers.looking import look
from workers.watching import LOOK_S, Part, Watching

#: The file that it touches at each look.
TICK = "watch.tick"


def parts_of(folder: Folder, store: WatchStore) -> list[Part]:
    """Everything that wants to see the documents of this side, in order."""
    from workers.watch_alarms import alarms_part
    from workers.watch_health import health_part
    from workers.watch_history import history_part
    from workers.watch_notice import notice_part

    makers = [history_part, alarms_part]
    if folder.settings.side == "region":
        makers += [notice_part, health_part]
    return [make(folder, store) for make in makers]


def watching_of(folder: Folder, stop: threading.Event) -> Watching:
    """The watching thread of that side, not started yet."""
    store = WatchStore(folder.path, lambda text: log("watch").warning("begun_anew", why=text))
    side = folder.settings.side
    parts = parts_of(folder, store)
    return Watching(look(folder), parts, SystemClock(), stop, LOOK_S[side], folder.run / TICK)


def main(argv: list[str]) -> int:
    """Run until a signal stops it."""
    from workers.console.serving import serve

    data, parent = Path(argv[0]), int(argv[1])
    die_with_parent(parent)
    folder = open_folder(data)
    set_up_logs(folder.settings.log)
    stop = threading.Event()
    watching = watching_of(folder, stop)
    watching.start()
    serve(folder, watching, stop)
    stop.set()
    watching.join(2.0)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
