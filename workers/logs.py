"""Logs: structlog to standard error, which `titian up` keeps by process. Ids and counts only, never a name.

One line a slice, when it did something; JSON or plain as the settings say. A NIK that an error's text brings
along (16 digits: nothing else of ours has just so many) is taken out of every line, of Celery's too.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

from pipeline.settings import LogPart

_NIK = re.compile(r"(?<!\d)\d{16}(?!\d)")
_TAKEN_OUT = "(16 digits)"


def without_niks(text: str) -> str:
    """The text with each NIK taken out."""
    return _NIK.sub(_TAKEN_OUT, text)


def _no_niks(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {key: without_niks(value) if isinstance(value, str) else value for key, value in event.items()}


class _Formatter(logging.Formatter):
    """Celery's lines, and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return without_niks(super().format(record))


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
            _no_niks,
            last,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING))


def log(role: str) -> structlog.typing.FilteringBoundLogger:
    """The logger of a role (`push`, `pull`, `intake` ...)."""
    return cast("structlog.typing.FilteringBoundLogger", structlog.get_logger(role=role))
