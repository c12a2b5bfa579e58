"""Tells an alarm to the outside: a POST to a URL, or a command with JSON on its standard input.

Neither gets a secret of ours: not in the payload, not in the environment. Neither can hold us up for longer
than its time. What comes back is one sentence, empty where it was taken; it never has the URL, in which
people put tokens.
"""

from __future__ import annotations

import http.client
import json
import os
import shlex
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from pipeline.inspection.alarms_told import Tell
from pipeline.settings import AlarmsPart

VERSION = 1
#: How long the webhook may take to answer, and the command to end, seconds.
WEBHOOK_S, COMMAND_S = 10.0, 30.0
#: How much of what a command said on standard error is shown, bytes.
_SAID_MAX = 300
#: Takes a payload; what went wrong, or "".
Sender = Callable[[Mapping[str, Any]], str]


def payload(tell: Tell, side: str, region: str, at_ms: int) -> dict[str, Any]:
    """What is told, as JSON (docs/alarms.md). `region` is empty at the center."""
    return {
        "version": VERSION,
        "event": tell.event,
        "side": side,
        "region": region,
        "code": tell.code,
        "level": tell.level,
        "text": tell.text,
        "do": tell.do,
        "since": _iso(tell.stands_since_ms),
        "since_ms": tell.stands_since_ms,
        "over_ms": tell.over_ms,
        "at_ms": at_ms,
    }


def senders(limits: AlarmsPart) -> dict[str, Sender]:
    """The sinks that the settings name, `webhook` and `command`."""
    found: dict[str, Sender] = {}
    if limits.webhook:
        found["webhook"] = lambda value: post(limits.webhook, value)
    if limits.command:
        found["command"] = lambda value: run_command(limits.command, value)
    return found


def post(url: str, value: Mapping[str, Any], timeout_s: float = WEBHOOK_S) -> str:
    """POST it; a redirection is not followed. What went wrong, or ""."""
    where, began_s = urlsplit(url), time.monotonic()
    made = http.client.HTTPSConnection if where.scheme == "https" else http.client.HTTPConnection
    headers = {"Content-Type": "application/json; charset=utf-8", "User-Agent": "titian"}
    try:
        connection = made(where.hostname or "", where.port, timeout=timeout_s)
        cut = threading.Timer(timeout_s, lambda: _cut(connection))
        cut.daemon = True
        cut.start()  # the time of a socket is per read: who drips must end, too
        try:
            path = (where.path or "/") + (f"?{where.query}" if where.query else "")
            connection.request("POST", path, json.dumps(value).encode(), headers)
            status = connection.getresponse().status
        finally:
            cut.cancel()
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as why:
        if time.monotonic() - began_s >= timeout_s:
            return f"{where.hostname} did not answer within {timeout_s:g} s"
        return f"{where.hostname} did not take it: {' '.join(str(why).split()) or type(why).__name__}"[:200]
    return "" if 200 <= status < 300 else f"{where.hostname} answered {status}"


def _cut(connection: http.client.HTTPConnection) -> None:
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(2)


def run_command(command: str, value: Mapping[str, Any], timeout_s: float = COMMAND_S) -> str:
    """Run it, without a shell, in a process group of its own that is killed when its time is up. Success is
    exit code 0. What went wrong, or ""."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("TITIAN_")}
    argv = shlex.split(command)
    with tempfile.TemporaryFile() as said:
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
                env=environment,
                start_new_session=True,
            )
        except OSError as why:
            return f"{argv[0]} cannot be started: {why.strerror}"
        try:
            process.communicate(json.dumps(value).encode(), timeout=timeout_s)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"{argv[0]} took longer than {timeout_s:.0f} s and was killed"
        if process.returncode == 0:
            return ""
        said.seek(0)
        text = " ".join(said.read(_SAID_MAX).decode("utf-8", "replace").split())
        return f"{argv[0]} ended with {process.returncode}" + (f": {text}" if text else "")


def _iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
