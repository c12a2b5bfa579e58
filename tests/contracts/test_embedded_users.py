"""What a region may do on the center's Valkey, tried on the real server: everything else is denied."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from pipeline.errors import UsageError
from workers.embedded import AclUser, ValkeyServer, region_acl, region_user
from workers.embedded_users import password_sha256

PASSWORD = "a-long-random-one"
UP, CTL, DOWN = "titian:{1806}:up", "titian:{1806}:ctl", "titian:{1806}:down"
OTHER_UP, OTHER_DOWN = "titian:{1807}:up", "titian:{1807}:down"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    users = [region_user(code, password_sha256(PASSWORD)) for code in ("1806", "1807")]
    made = ValkeyServer(tmp_path_factory.mktemp("valkey"), port=free_port(), users=users, appendonly=False)
    made.start()
    with made.client() as client:
        client.xadd(DOWN, {"f": "to 1806"}, id="7-1")
        client.xadd(OTHER_DOWN, {"f": "to 1807"}, id="7-1")
    yield made
    made.stop()


def connect(server: ValkeyServer, username: str, password: str = PASSWORD) -> redis.Redis:
    assert server.port is not None
    return redis.Redis(
        port=server.port, username=username, password=password, retry=Retry(NoBackoff(), 0), socket_timeout=5
    )


@pytest.fixture
def region(server: ValkeyServer) -> Iterator[redis.Redis]:
    with connect(server, "region-1806") as client:
        yield client


def run(client: Any, *command: str) -> Any:
    return client.execute_command(*command)


ALLOWED = [
    ("PING",),
    ("XADD", UP, "9-1", "f", "x"),
    ("XADD", CTL, "*", "f", "x"),
    ("XLEN", UP),
    ("XLEN", CTL),
    ("XREAD", "COUNT", "10", "STREAMS", DOWN, "0-0"),
    ("XREAD", "BLOCK", "1", "STREAMS", DOWN, "9999-0"),
    ("XDEL", DOWN, "99-1"),
]

DENIED = [
    # its own streams, the wrong way round
    ("XADD", DOWN, "*", "f", "x"),
    ("XREAD", "STREAMS", UP, "0"),
    ("XREAD", "STREAMS", CTL, "0"),
    ("XREAD", "STREAMS", DOWN, UP, "0", "0"),
    ("XRANGE", DOWN, "-", "+"),
    ("XDEL", UP, "9-1"),
    ("XDEL", CTL, "9-1"),
    ("XLEN", DOWN),
    ("XTRIM", UP, "MAXLEN", "0"),
    ("XTRIM", DOWN, "MAXLEN", "0"),
    ("XINFO", "STREAM", UP),
    ("XSETID", UP, "9-9"),
    ("XGROUP", "CREATE", DOWN, "g", "0"),
    ("XREADGROUP", "GROUP", "g", "c", "STREAMS", DOWN, ">"),
    ("DEL", UP),
    ("UNLINK", DOWN),
    ("EXPIRE", UP, "1"),
    ("RENAME", UP, "titian:{1806}:old"),
    ("EXISTS", UP),
    ("TYPE", UP),
    ("DUMP", UP),
    ("COPY", DOWN, UP),
    # others' and the center's keys
    ("XADD", OTHER_UP, "*", "f", "x"),
    ("XREAD", "STREAMS", OTHER_DOWN, "0"),
    ("XREAD", "STREAMS", DOWN, OTHER_DOWN, "0", "0"),
    ("XDEL", OTHER_DOWN, "7-1"),
    ("XLEN", OTHER_UP),
    ("XADD", "titian:{1806}:upper", "*", "f", "x"),
    ("XADD", "titian:{18", "*", "f", "x"),
    ("GET", "titian:{1806}:hint"),
    ("HGETALL", "titian:{1806}:attempts"),
    ("SET", "mine", "1"),
    # the server
    ("KEYS", "*"),
    ("SCAN", "0"),
    ("DBSIZE",),
    ("SELECT", "1"),
    ("INFO",),
    ("CONFIG", "GET", "*"),
    ("CONFIG", "SET", "maxmemory", "1"),
    ("EVAL", "return 1", "0"),
    ("FUNCTION", "LIST"),
    ("FLUSHALL",),
    ("FLUSHDB",),
    ("SHUTDOWN", "NOSAVE"),
    ("ACL", "LIST"),
    ("ACL", "SETUSER", "region-1806", "+@all"),
    ("CLIENT", "LIST"),
    ("CLIENT", "KILL", "TYPE", "normal"),
    ("CLIENT", "PAUSE", "1000"),
    ("MONITOR",),
    ("SUBSCRIBE", "c"),
    ("PUBLISH", "c", "m"),
    ("MULTI",),
    ("REPLICAOF", "NO", "ONE"),
    ("SYNC",),
    ("MODULE", "LIST"),
    ("SAVE",),
    ("BGREWRITEAOF",),
]


@pytest.mark.parametrize("command", ALLOWED, ids=" ".join)
def test_a_region_may_do_what_the_hop_needs(region: redis.Redis, command: tuple[str, ...]) -> None:
    # Raises where it is denied; the answer is the server's, never an error of permissions.
    assert not isinstance(run(region, *command), Exception)


@pytest.mark.parametrize("command", DENIED, ids=" ".join)
def test_a_region_may_do_nothing_else(region: redis.Redis, command: tuple[str, ...]) -> None:
    with pytest.raises(NoPermissionError):
        run(region, *command)


def test_denied_commands_have_changed_nothing(server: ValkeyServer, region: redis.Redis) -> None:
    for command in (("XDEL", OTHER_DOWN, "7-1"), ("XADD", OTHER_UP, "*", "f", "x"), ("FLUSHALL",)):
        with pytest.raises(NoPermissionError):
            run(region, *command)
    with server.client() as admin:
        assert admin.xlen(OTHER_DOWN) == 1
        assert admin.xlen(DOWN) == 1
        assert admin.xlen(OTHER_UP) == 0


@pytest.mark.parametrize("protocol", [2, 3])
def test_a_plain_client_of_either_protocol_signs_in(server: ValkeyServer, protocol: int) -> None:
    assert server.port is not None
    with redis.Redis(
        port=server.port, username="region-1806", password=PASSWORD, protocol=protocol
    ) as client:
        assert client.ping()


def test_nobody_comes_in_without_a_name_or_with_a_wrong_password(server: ValkeyServer) -> None:
    assert server.port is not None
    with (
        redis.Redis(port=server.port, retry=Retry(NoBackoff(), 0)) as nobody,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        nobody.ping()
    with (
        connect(server, "region-1806", "wrong") as wrong,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        wrong.ping()
    with connect(server, "default", "") as default, pytest.raises(redis.exceptions.AuthenticationError):
        default.ping()


# --- users while it runs --------------------------------------------------------------------------


def test_a_region_admitted_while_it_runs_signs_in_and_the_others_keep_their_connections(
    server: ValkeyServer, region: redis.Redis
) -> None:
    assert region.ping()
    with server.client() as admin:
        before = {client["id"] for client in admin.client_list() if client["user"] == "region-1806"}
    # As `titian admit` does: another object, in another process, which knows only the folder.
    ValkeyServer(server.folder, port=server.port).set_user(region_user("3171", password_sha256("new")))
    with connect(server, "region-3171", "new") as added:
        assert added.xadd("titian:{3171}:up", {"f": "x"}, id="1-1") == b"1-1"
    assert region.ping()
    with server.client() as admin:
        after = {client["id"] for client in admin.client_list() if client["user"] == "region-1806"}
    assert before
    assert before <= after
    server.del_user("region-3171")


def test_a_new_password_ends_the_connections_made_with_the_old_one(server: ValkeyServer) -> None:
    server.set_user(region_user("3172", password_sha256("old")))
    with connect(server, "region-3172", "old") as before:
        assert before.ping()
        server.set_user(region_user("3172", password_sha256("new")))
        with pytest.raises(Disconnected):  # the cut itself, then the refusal
            before.ping()
        with pytest.raises(redis.exceptions.AuthenticationError):
            before.ping()
    with connect(server, "region-3172", "new") as after:
        assert after.ping()
    server.del_user("region-3172")


def test_a_revoked_region_is_out_at_once_and_stays_out(server: ValkeyServer) -> None:
    server.set_user(region_user("3173", password_sha256(PASSWORD)))
    with connect(server, "region-3173") as client:
        assert client.ping()
        server.del_user("region-3173")
        server.del_user("region-3173")  # twice does no harm
        with pytest.raises(Disconnected):
            client.ping()
        with pytest.raises(redis.exceptions.AuthenticationError):
            client.ping()


def test_rules_that_valkey_does_not_understand_change_nothing(server: ValkeyServer) -> None:
    before = (server.folder / "users.acl").read_text()
    with pytest.raises(UsageError, match="refuses the user odd"):
        server.set_user(AclUser.with_password("odd", "x", "+nosuchcommand"))
    assert (server.folder / "users.acl").read_text() == before
    with connect(server, "region-1806") as client:
        assert client.ping()


def test_users_set_by_many_at_once_are_all_there(server: ValkeyServer) -> None:
    codes = [f"32{n:02}" for n in range(8)]

    def admit(code: str) -> None:
        ValkeyServer(server.folder, port=server.port).set_user(region_user(code, password_sha256(PASSWORD)))

    threads = [threading.Thread(target=admit, args=(code,)) for code in codes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with server.client() as admin:
        names: Any = admin.acl_users()
    assert {f"region-{code}" for code in codes} <= set(names)


@pytest.mark.parametrize(
    ("name", "digest", "rules"),
    [
        ("two words", "0" * 64, "+ping"),
        ("line\nbreak", "0" * 64, "+ping"),
        ("default", "0" * 64, "+ping"),
        ("short", "0" * 63, "+ping"),
        ("clear", "secret", "+ping"),
        ("breaks", "0" * 64, "+ping\nuser evil on nopass ~* +@all"),
        ("open", "0" * 64, "nopass +@all"),
    ],
)
def test_a_user_that_would_not_stay_within_its_line_is_refused(name: str, digest: str, rules: str) -> None:
    with pytest.raises(UsageError):
        AclUser(name, digest, rules)


def test_our_own_user_cannot_be_changed_by_its_name(server: ValkeyServer) -> None:
    with pytest.raises(UsageError):
        server.set_user(AclUser.with_password("titian", "x", "+ping"))
    assert server.alive()


def test_rules_are_for_region_codes_only() -> None:
    with pytest.raises(ValueError, match="region code"):
        region_acl("18*6")
