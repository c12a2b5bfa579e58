"""How Celery is set up on each side. Its messages are nudges: "look for work"; they carry no packet.

Task and queue names never change (a message with an unknown name is acknowledged and gone). Why each setting
is as it is stands beside it; the traps are Celery's and kombu's own.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from celery import Celery
from celery.schedules import schedule
from kombu import Exchange, Queue

PUSH = "titian.push"
PULL = "titian.pull"
INTAKE = "titian.intake"
VALIDATE = "titian.validate"
DELIVER = "titian.deliver"

#: task -> seconds between beat's nudges. A nudge that waits longer than its period is dropped.
REGION_BEAT = {PUSH: 5.0, PULL: 5.0}
CENTER_BEAT = {INTAKE: 5.0, VALIDATE: 5.0, DELIVER: 5.0}


def steady_now() -> datetime:
    """The time for beat: it only rises. A wall clock set back by hours would silence beat for hours."""
    return datetime(2000, 1, 1, tzinfo=UTC) + timedelta(seconds=time.monotonic())


def make_application(name: str, broker_url: str, tasks: Iterable[str], beat: dict[str, float]) -> Celery:
    """A Celery application whose every task has a queue of its own name."""
    app = Celery(name, broker=broker_url, set_as_current=False)
    app.conf.update(_settings(list(tasks), beat))
    return app


def _settings(tasks: list[str], beat: dict[str, float]) -> dict[str, Any]:
    return {
        "task_serializer": "msgpack",
        "accept_content": ["msgpack", "json"],  # never pickle
        "result_backend": None,
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": False,
        # The default exchange only: a named one without its binding drops messages silently.
        "task_queues": [Queue(task, Exchange("", type="direct"), routing_key=task) for task in tasks],
        "task_routes": {task: {"queue": task, "routing_key": task} for task in tasks},
        "task_default_queue": tasks[0],
        "task_default_exchange": "",
        "task_create_missing_queues": False,
        "worker_prefetch_multiplier": 1,
        "task_acks_late": False,  # a nudge that is lost is made again by the next period
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,  # the default gives up after 100
        "broker_transport_options": {
            "socket_timeout": 10.0,  # none by default: a publish on a dead connection would wait for ever
            "socket_connect_timeout": 5.0,
            "health_check_interval": 15,
            "visibility_timeout": 3600,
        },
        "task_publish_retry": False,
        "worker_proc_alive_timeout": 30.0,
        "beat_scheduler": "celery.beat:Scheduler",  # in memory: no file that could be half written
        "beat_schedule": {f"look for work: {task}": _often(task, period) for task, period in beat.items()},
        "timezone": "UTC",
        "enable_utc": True,
    }


def _often(task: str, period_s: float) -> dict[str, Any]:
    """Beat's nudge of `task`; one that waits longer than its period is dropped."""
    return {
        "task": task,
        "schedule": schedule(period_s, nowfun=steady_now),
        "options": {"expires": period_s},
    }
