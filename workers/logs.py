"""Logs: structlog to standard error, which `titian up` keeps by process. Ids and counts only, never a name.

One line a slice, when it did something; JSON or plain as the settings say.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, cast

import structlog

from pipeline.settings import LogPart


def set_up_logs(settings: LogPart) -> None:
    """Structured lines from us, and the standard library's from Celery, in one form on standard error."""
    level = getattr(logging, settings.level.upper())
    last: Any = (
        structlog.processors.JSONRenderer()
        if settings.form == "json"
        else structlog.processors.LogfmtRenderer(key_order=["timestamp", "level", "event"], drop_missing=True)
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(
        stream=sys.stderr,
        level=max(level, logging.WARNING),
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )


def log(role: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a role (`push`, `pull`, `intake` ...)."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(role=role))
