"""One worker process: `python -I -m workers.run ROLE DATA PARENT_PID`.

`-I` keeps a folder named `workers` in the current directory from being imported instead of ours. The process
dies with its parent; the roles are `region`, `intake`, `validate` and `deliver`.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from workers.deathsig import die_with_parent

#: role -> (task queues, threads of the pool, beat). Residents need their own thread each, and two more.
ROLES = {
    "region": (("titian.push", "titian.pull"), 6, True),
    "intake": (("titian.intake",), 4, True),
    "validate": (("titian.validate",), 2, False),
    "deliver": (("titian.deliver",), 3, False),
}


def arguments(role: str, host: str) -> list[str]:
    """Celery's command line for a role. Warm stop by signal; heartbeats and events on for monitors."""
    queues, threads, beat = ROLES[role]
    line = ["worker", "-Q", ",".join(queues), "-P", "threads", "-c", str(threads), "-n", f"{role}@{host}"]
    line += ["-E", "--without-gossip", "--without-mingle", "--loglevel", "WARNING"]
    return [*line, "-B"] if beat else line


def main(argv: list[str]) -> int:
    """Run the worker until a signal stops it."""
    role, data, parent = argv[0], Path(argv[1]), int(argv[2])
    die_with_parent(parent)
    logging.captureWarnings(True)
    from celery.signals import worker_ready

    from pipeline.adapters.folder import open_folder
    from workers.logs import set_up_logs
    from workers.nudges import follow

    folder = open_folder(data)
    set_up_logs(folder.settings.log)
    if role == "region":
        from workers.region import region_application

        take_over = "--take-over" in argv[3:]
        app, host = region_application(folder, take_over=take_over), folder.settings.region
    else:
        from workers.center import center_application

        app, host = center_application(folder), "center"

    def begin(**_: object) -> None:
        """Beat's first nudge comes a period (5 s) after its start: do not wait for it."""
        for task in ROLES[role][0]:  # a queue has the name of its task
            follow(app, task)

    worker_ready.connect(begin, weak=False)
    app.worker_main(arguments(role, host))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
