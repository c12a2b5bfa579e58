"""What goes wrong on a link, each direction by itself and changed while running, on real sockets."""

from __future__ import annotations

import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from pipeline.errors import UsageError
from pipeline.linksim import Address, Direction, LinkProfile, Relay, Side
from pipeline.linksim.live import standing

FAST = LinkProfile(100_000_000, 100_000_000, delay_ms=0, buffer_bytes=256 * 1024)


def until(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.005)


class Pair:
    """A relay, a client through it, and the server's end of that connection."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        to = Address("127.0.0.1", self._listener.getsockname()[1])
        self.relay = stack.enter_context(Relay(Address("127.0.0.1", 0), to, FAST))
        self.client, self.server = self.connect()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Open at both ends, since a byte has gone there and back."""
        client = self._stack.enter_context(socket.create_connection(self.relay.address, timeout=10))
        server = self._stack.enter_context(self._listener.accept()[0])
        server.settimeout(10)
        assert passes(client, server)
        assert passes(server, client)
        return client, server

    def side(self, name: Side) -> socket.socket:
        return self.client if name == "client" else self.server


@pytest.fixture
def pair() -> Iterator[Pair]:
    with ExitStack() as stack:
        yield Pair(stack)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("linksim")]


def silent(sock: socket.socket, seconds: float = 0.15) -> bool:
    return not select.select([sock], [], [], seconds)[0]


def passes(sender: socket.socket, receiver: socket.socket) -> bool:
    sender.sendall(b"x")
    return receiver.recv(1) == b"x"


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_stall_stops_its_direction_only_and_loses_nothing(pair: Pair, direction: Direction) -> None:
    sender, receiver = (pair.client, pair.server) if direction == "up" else (pair.server, pair.client)
    pair.relay.stall(direction)
    sender.sendall(b"late")
    assert passes(receiver, sender)
    assert silent(receiver)
    stats = pair.relay.stats()
    assert (stats.up.stalled, stats.down.stalled) == (direction == "up", direction == "down")
    pair.relay.resume(direction)
    assert receiver.recv(4) == b"late"
    assert pair.relay.stats().resets == 0


@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_cut_of_one_direction_lets_the_other_go_on(pair: Pair, direction: Direction) -> None:
    sender, receiver = (pair.client, pair.server) if direction == "up" else (pair.server, pair.client)
    pair.relay.cut(direction=direction)
    sender.sendall(b"late")
    assert passes(receiver, sender)
    assert silent(receiver)
    stats = pair.relay.stats()
    assert standing(stats) == f"CUT (blackhole, {direction})"
    pair.relay.restore()
    assert receiver.recv(4) == b"late"
    assert standing(pair.relay.stats()) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere connections seem to open")
def test_nobody_connects_while_one_direction_is_cut(pair: Pair) -> None:
    pair.relay.cut(direction="down")
    with pytest.raises(TimeoutError):
        socket.create_connection(pair.relay.address, timeout=0.3)


def test_one_direction_cannot_be_reset(pair: Pair) -> None:
    with pytest.raises(UsageError, match="both directions"):
        pair.relay.cut("reset", "up")
    assert passes(pair.client, pair.server)


def test_a_stall_of_some_seconds_ends_by_itself(pair: Pair) -> None:
    start = time.monotonic()
    pair.relay.stall("up", 0.3)
    assert passes(pair.client, pair.server)
    assert 0.29 <= time.monotonic() - start < 2


def test_a_stall_outlasts_a_cut_and_a_cut_a_stall(pair: Pair) -> None:
    pair.relay.stall("up")
    pair.relay.cut_for(0.05)
    pair.client.sendall(b"x")
    until(lambda: pair.relay.stats().cut is None, "the cut is over")
    assert silent(pair.server)
    pair.relay.cut()
    pair.relay.resume("up")
    assert silent(pair.server)
    pair.relay.restore()
    assert pair.server.recv(1) == b"x"


def test_a_new_stall_takes_the_place_of_the_one_before(pair: Pair) -> None:
    pair.relay.stall("both", 0.05)
    pair.relay.stall("both")
    pair.client.sendall(b"x")
    assert silent(pair.server, 0.3)
    pair.relay.restore()
    assert pair.server.recv(1) == b"x"


@pytest.mark.parametrize("gone", ["client", "server"])
def test_of_a_half_open_connection_one_side_is_reset_and_the_other_hears_nothing(
    pair: Pair, gone: Side
) -> None:
    left, stays = pair.side(gone), pair.side("server" if gone == "client" else "client")
    pair.relay.half_open(gone)
    with pytest.raises(ConnectionResetError):
        left.recv(1)
    stays.sendall(b"are you there?")
    assert silent(stays)
    assert pair.relay.stats().connections_open == 1
    client, server = pair.connect()  # who comes anew is carried as ever
    assert passes(client, server)
    stays.close()
    until(lambda: pair.relay.stats().connections_open == 1, "the kept side is let go")


def test_a_half_open_connection_blocks_its_writer_in_the_end(pair: Pair) -> None:
    pair.relay.half_open("server")
    pair.client.setblocking(False)
    taken = 0
    while select.select([], [pair.client], [], 0.3)[1]:
        taken += pair.client.send(bytes(65536))
    assert 32 * 1024 < taken < 16 * 1024 * 1024


def test_a_reset_ends_a_half_open_connection(pair: Pair) -> None:
    pair.relay.half_open("server")
    pair.relay.cut("reset")
    with pytest.raises(ConnectionResetError):
        pair.client.recv(1)


def test_each_direction_has_its_own_rate(pair: Pair) -> None:
    pair.relay.set_rate(up=80_000)
    assert (pair.relay.profile.rate_up_bit_s, pair.relay.profile.rate_down_bit_s) == (80_000, 100_000_000)
    start = time.monotonic()
    pair.server.sendall(bytes(14_480))
    got = 0
    while got < 14_480:
        got += len(pair.client.recv(65536))
    assert time.monotonic() - start < 1.0
    pair.client.sendall(bytes(5_000))  # 0.52 s at 80 kbit/s
    start, got = time.monotonic(), 0
    while got < 5_000:
        got += len(pair.server.recv(65536))
    assert 0.25 < time.monotonic() - start < 2
    pair.relay.set_rate(1_000_000, down=2_000_000)
    assert (pair.relay.profile.rate_up_bit_s, pair.relay.profile.rate_down_bit_s) == (1_000_000, 2_000_000)


def test_a_rate_that_cannot_be_is_refused_and_nothing_changes(pair: Pair) -> None:
    with pytest.raises(UsageError, match="above 0"):
        pair.relay.set_rate(up=0)
    assert pair.relay.profile == FAST
