"""The embedded Valkey as a process: its start, its end, and what is left of it after a kill."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection  # type: ignore[attr-defined]
from redis.backoff import NoBackoff
from redis.retry import Retry

from pipeline.adapters.file_lock import is_alive
from pipeline.errors import NotFound, Unreachable, UsageError
from workers.embedded import ValkeyServer
from workers.embedded_files import find_binary, socket_folder


def until(done: Callable[[], object], deadline_s: float = 15.0) -> None:
    end_s = time.monotonic() + deadline_s
    while not done():
        assert time.monotonic() < end_s, "it did not happen in time"
        time.sleep(0.02)


def pid_of(server: ValkeyServer) -> int:
    return int((server.folder / "valkey.pid").read_text())


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ValkeyServer]:
    made = ValkeyServer(tmp_path / "a folder with spaces")
    made.start()
    yield made
    made.stop()


def test_it_answers_on_its_socket_and_nowhere_else(server: ValkeyServer) -> None:
    assert server.alive()
    with server.client() as client:
        assert client.config_get("port") == {"port": "0"}
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_celery_s_transport_gets_in_with_the_same_user(server: ValkeyServer) -> None:
    with Connection(server.celery_url) as connection:  # type: ignore[no-untyped-call]
        queue = connection.SimpleQueue("q")
        queue.put({"n": 1}, serializer="json")
        got = queue.get(timeout=10)
        got.ack()
        queue.close()
    assert got.payload == {"n": 1}
    assert server.celery_url.startswith("redis+socket://titian:")


def test_only_we_can_look_into_its_files(server: ValkeyServer) -> None:
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.socket_path.parent.stat().st_mode) == 0o700
    for name in ("admin.password", "users.acl", "valkey.conf", "valkey.log"):
        assert stat.S_IMODE((server.folder / name).stat().st_mode) == 0o600, name
    with (
        redis.Redis(unix_socket_path=str(server.socket_path), retry=Retry(NoBackoff(), 0)) as nobody,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        nobody.ping()


def test_another_process_reaches_it_though_its_environment_differs(
    server: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    other = ValkeyServer(server.folder)
    assert other.url == server.url
    assert other.alive()


def test_a_stop_and_a_start_keep_the_password_and_what_it_held(server: ValkeyServer) -> None:
    url = server.url
    with server.client() as client:
        client.set("k", "v")
    server.stop()
    assert not server.alive()
    assert not server.socket_path.exists()
    server.start()
    with server.client() as client:
        assert client.get("k") == b"v"
    assert server.url == url


def test_what_was_written_before_a_kill_is_there_after_it(server: ValkeyServer) -> None:
    with server.client() as client:
        client.set("k", "v")
    os.kill(pid_of(server), signal.SIGKILL)
    until(lambda: not server.alive())
    assert server.socket_path.exists()  # left over, in the way of nobody
    server.start()
    with server.client() as client:
        assert client.get("k") == b"v"


def test_one_that_an_earlier_life_left_running_is_stopped_first(tmp_path: Path) -> None:
    first = ValkeyServer(tmp_path / "v")
    first.prepare()
    orphan = subprocess.Popen(
        [str(find_binary()), str(first.config)], stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        until(first.alive)
        second = ValkeyServer(tmp_path / "v")
        second.start()
        assert orphan.wait(10) == 0  # asked to end, not killed
        assert second.alive()
        assert pid_of(second) != orphan.pid
        second.stop()
    finally:
        orphan.kill()
        orphan.wait()


def test_a_pid_file_that_names_somebody_else_s_process_harms_nobody(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as bystander:
        server = ValkeyServer(tmp_path / "v")
        server.prepare()
        (server.folder / "valkey.pid").write_text(f"{bystander.pid}\n")
        server.start()
        assert server.alive()
        assert bystander.poll() is None
        server.stop()
        bystander.kill()


def test_a_damaged_append_only_file_is_set_aside_and_it_starts_empty(server: ValkeyServer) -> None:
    with server.client() as client:
        client.set("k", "v" * 100)
    server.stop()
    (held,) = (server.folder / "appendonlydir").glob("*.incr.aof")
    held.write_bytes(b"\xff" * 64 + held.read_bytes())
    server.start()
    with server.client() as client:
        assert client.dbsize() == 0
    assert (server.folder / "appendonlydir.damaged").is_dir()


def test_a_port_that_is_taken_is_told_in_its_own_words(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = ValkeyServer(tmp_path / "v", port=taken.getsockname()[1])
        with pytest.raises(Unreachable, match="Address already in use"):
            server.start()


def test_memory_has_its_bound_and_writes_beyond_it_are_refused(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path / "v", maxmemory_bytes=4 * 1024 * 1024)
    server.start()
    with server.client() as client:
        client.set("first", "there")

        def fill() -> None:
            for n in range(64):
                client.set(f"k{n}", b"x" * 256 * 1024)

        with pytest.raises(redis.exceptions.OutOfMemoryError):
            fill()
        assert client.get("first") == b"there"
    server.stop()


def test_over_tcp_it_is_dialled_where_it_can_be_reached(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = ValkeyServer(tmp_path / "v", port=port, host="0.0.0.0", socket=False)
    server.start()
    assert server.url.endswith(f"@127.0.0.1:{port}/0")
    assert server.celery_url == server.url
    with server.client() as client:
        assert client.ping()
    server.stop()


def test_before_its_first_start_it_has_no_address(tmp_path: Path) -> None:
    server = ValkeyServer(tmp_path / "v")
    assert not server.alive()
    with pytest.raises(NotFound, match="titian up"):
        _ = server.url


def test_a_server_that_nobody_could_reach_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        ValkeyServer(tmp_path, port=None, socket=False)


def test_a_socket_folder_that_somebody_else_has_laid_out_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_short_path = Path("/tmp") / f"t{os.getpid()}"
    with_short_path.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(with_short_path))
    place = socket_folder(tmp_path)
    assert place.parent == with_short_path
    place.chmod(0o777)
    with pytest.raises(UsageError, match="not ours alone"):
        socket_folder(tmp_path)
    place.rmdir()
    with_short_path.rmdir()


def test_a_long_runtime_folder_gives_way_to_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(long))
    place = socket_folder(tmp_path)
    assert len(os.fsencode(place / "s")) < 108
    place.rmdir()


PARENT = """
import sys
from pathlib import Path
from workers.embedded import ValkeyServer
server = ValkeyServer(Path(sys.argv[1]))
server.start()
print((server.folder / "valkey.pid").read_text().strip(), flush=True)
sys.stdin.read()
"""


def test_it_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("PR_SET_PDEATHSIG is Linux's")
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "v")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
        parent.wait(10)
        until(lambda: not is_alive(pid))
    after = ValkeyServer(tmp_path / "v")
    after.start()
    assert after.alive()
    after.stop()
