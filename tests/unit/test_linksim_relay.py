"""The relay on real sockets and real time: slow, far, finite, cut, and clean afterwards."""

from __future__ import annotations

import random
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial

import pytest

from pipeline.errors import UsageError
from pipeline.linksim import (
    PROFILES,
    Address,
    LinkProfile,
    Relay,
    RelayStats,
    Trace,
    figures,
    parse_trace,
)

ANYWHERE = Address("127.0.0.1", 0)
FAST = LinkProfile(100_000_000, 100_000_000, delay_ms=0, buffer_bytes=256 * 1024)
SLOW = PROFILES["regency-2m"]


def until(condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain until {what}"
        time.sleep(0.005)


class Link:
    """A relay with a server behind it, and both ends of every connection made through it."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._server.settimeout(10)

    def start(self, profile: LinkProfile, *, seed: int = 0, trace_up: Trace | None = None) -> Relay:
        to = Address("127.0.0.1", self._server.getsockname()[1])
        self.relay = self._stack.enter_context(Relay(ANYWHERE, to, profile, seed=seed, trace_up=trace_up))
        return self.relay

    def client(self) -> socket.socket:
        return self._stack.enter_context(socket.create_connection(self.relay.address, timeout=10))

    def accept(self) -> socket.socket:
        server = self._stack.enter_context(self._server.accept()[0])
        server.settimeout(10)
        return server

    def connect(self) -> tuple[socket.socket, socket.socket]:
        return self.client(), self.accept()

    def stop_serving(self) -> None:
        self._server.close()


@pytest.fixture
def link() -> Iterator[Link]:
    with ExitStack() as stack:
        yield Link(stack)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("linksim")]


def receive(sock: socket.socket, n_bytes: int) -> bytes:
    data = bytearray()
    while len(data) < n_bytes and (more := sock.recv(65536)):
        data += more
    return bytes(data)


def push_what_fits(sock: socket.socket, *, quiet_s: float = 0.3) -> int:
    """Sends until nothing has been taken for `quiet_s`; the bytes that were taken."""
    sock.setblocking(False)
    taken = 0
    while select.select([], [sock], [], quiet_s)[1]:
        taken += sock.send(b"x" * 16384)
    return taken


def ping(client: socket.socket, server: socket.socket) -> None:
    """One byte there and one back: from here on the connection is open at both ends."""
    client.sendall(b"?")
    assert server.recv(1) == b"?"
    server.sendall(b"!")
    assert client.recv(1) == b"!"


def readable(sock: socket.socket, seconds: float) -> bool:
    return bool(select.select([sock], [], [], seconds)[0])


def in_background(action: Callable[[], object]) -> threading.Thread:
    """Runs it beside the test; that its connection ends with the test is expected."""

    def run_it() -> None:
        with suppress(OSError):
            action()

    thread = threading.Thread(target=run_it, daemon=True)
    thread.start()
    return thread


def test_bytes_arrive_equal_in_both_directions_with_their_end(link: Link) -> None:
    relay = link.start(FAST)
    client, server = link.connect()
    up, down = random.Random(1).randbytes(700_001), random.Random(2).randbytes(300_003)
    senders = [in_background(lambda: client.sendall(up)), in_background(lambda: server.sendall(down))]
    assert receive(server, len(up)) == up
    assert receive(client, len(down)) == down
    for sender in senders:
        sender.join(10)
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    server.sendall(b"still open this way")
    assert receive(client, 19) == b"still open this way"
    server.close()
    assert client.recv(1) == b""
    until(lambda: relay.stats().connections_open == 0, "the connection is over")
    stats = relay.stats()
    assert (stats.connections, stats.resets) == (1, 0)
    assert (stats.up.payload_bytes, stats.down.payload_bytes) == (len(up), len(down) + 19)
    assert 1.03 < stats.up.wire_bytes / stats.up.payload_bytes < 1.06


@pytest.mark.parametrize("rate_bit_s", [2_000_000, 10_000_000])
def test_the_rate_is_the_profiles(link: Link, rate_bit_s: int) -> None:
    link.start(replace(SLOW, rate_up_bit_s=rate_bit_s, delay_ms=5))
    client, server = link.connect()
    n_bytes = rate_bit_s // 8
    in_background(lambda: client.sendall(bytes(2 * n_bytes)))
    receive(server, 10_000)
    start = time.monotonic()
    got = len(receive(server, n_bytes))
    rate = got * 1500 / 1448 * 8 / (time.monotonic() - start)
    assert rate / rate_bit_s == pytest.approx(1.0, abs=0.06)


def test_an_answer_takes_a_round_trip(link: Link) -> None:
    link.start(replace(FAST, delay_ms=60))
    client, server = link.connect()
    client.sendall(b"?")
    assert server.recv(1) == b"?"
    start = time.monotonic()
    server.sendall(b"!")
    assert client.recv(1) == b"!"
    client.sendall(b"?")
    assert server.recv(1) == b"?"
    assert 0.119 <= time.monotonic() - start < 0.3


def test_a_full_buffer_stops_the_sender_and_is_a_delay_for_others(link: Link) -> None:
    link.start(replace(SLOW, rate_up_bit_s=400_000, delay_ms=0, buffer_bytes=32 * 1024))
    bulk, _bulk_server = link.connect()
    other, other_server = link.connect()
    bulk.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * 1024)
    in_background(lambda: bulk.sendall(bytes(400_000)))
    until(lambda: link.relay.stats().up.queued_wire_bytes > 30_000, "the buffer is full")
    start = time.monotonic()
    other.sendall(b"?")
    assert other_server.recv(1) == b"?"
    assert 0.5 < time.monotonic() - start < 1.5  # 32 KiB take 0.66 s at 400 kbit/s


def test_a_sender_blocks_on_a_link_that_stands_still(link: Link) -> None:
    relay = link.start(SLOW)
    client, _server = link.connect()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
    relay.cut()
    taken = push_what_fits(client)
    assert 64 * 1024 <= taken < 1024 * 1024
    assert relay.stats().up.queued_wire_bytes <= SLOW.buffer_bytes


def test_a_receiver_that_does_not_read_blocks_its_sender(link: Link) -> None:
    link.start(FAST)
    client, server = link.connect()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    taken = push_what_fits(client)
    assert taken < 16 * 1024 * 1024
    assert len(receive(server, taken)) == taken


def test_two_senders_share_the_line_equally(link: Link) -> None:
    link.start(replace(SLOW, rate_up_bit_s=4_000_000, delay_ms=5, buffer_bytes=16 * 1024))
    pairs = [link.connect(), link.connect()]
    for client, _server in pairs:
        in_background(partial(client.sendall, bytes(350_000)))
    counts = [0, 0]

    def count(n: int, server: socket.socket) -> None:
        while counts[n] < 350_000 and (data := server.recv(65536)):
            counts[n] += len(data)

    for n, (_client, server) in enumerate(pairs):
        in_background(partial(count, n, server))
    until(lambda: max(counts) >= 250_000, "one has most of it")
    assert min(counts) / max(counts) > 0.85


def test_a_black_hole_delivers_nothing_and_then_everything_in_order(link: Link) -> None:
    relay = link.start(replace(FAST, delay_ms=5))
    client, server = link.connect()
    ping(client, server)
    relay.cut()
    data = random.Random(3).randbytes(50_000)
    client.sendall(data)
    client.shutdown(socket.SHUT_WR)
    server.sendall(b"down")
    assert not readable(server, 0.2)
    assert not readable(client, 0.05)
    assert relay.stats().cut == "blackhole"
    relay.restore()
    assert receive(server, len(data) + 1) == data
    assert receive(client, 4) == b"down"
    assert relay.stats().cut is None


def test_who_gave_up_connecting_during_a_black_hole_never_arrives_and_who_waits_does(link: Link) -> None:
    relay = link.start(FAST)
    relay.cut()
    with socket.socket() as gave_up:
        gave_up.setblocking(False)
        gave_up.connect_ex(relay.address)
        connected = bool(select.select([], [gave_up], [], 0.1)[1])
        assert not connected or sys.platform != "linux"
    with socket.socket() as waits:
        waits.setblocking(False)
        waits.connect_ex(relay.address)
        relay.restore()
        assert select.select([], [waits], [], 10)[1]
        waits.setblocking(True)
        waits.sendall(b"here")
        server = link.accept()
        assert receive(server, 4) == b"here"
        server.close()
    until(lambda: relay.stats().connections_open == 0, "it is over")
    assert relay.stats().connections == 1


def test_a_cut_of_some_seconds_ends_by_itself(link: Link) -> None:
    relay = link.start(FAST)
    client, server = link.connect()
    start = time.monotonic()
    relay.cut_for(0.3)
    client.sendall(b"?")
    assert server.recv(1) == b"?"
    assert 0.29 <= time.monotonic() - start < 1.0


def test_a_reset_closes_what_is_open_and_what_comes_until_it_is_over(link: Link) -> None:
    relay = link.start(FAST)
    client, server = link.connect()
    relay.cut("reset")
    for sock in (client, server):
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    with pytest.raises(ConnectionError):
        link.client().recv(1)
    until(lambda: relay.stats().resets == 2, "both are counted")
    relay.restore()
    client, server = link.connect()
    client.sendall(b"again")
    assert receive(server, 5) == b"again"


def test_a_server_that_is_not_there_shows_as_a_reset(link: Link) -> None:
    link.start(FAST)
    link.stop_serving()
    with pytest.raises(ConnectionResetError):
        link.client().recv(1)


@pytest.mark.parametrize("opened_first", [True, False])
@pytest.mark.parametrize("from_client", [True, False])
def test_a_reset_travels_to_the_other_side(link: Link, opened_first: bool, from_client: bool) -> None:
    relay = link.start(FAST)
    client, server = link.connect()
    if opened_first:
        ping(client, server)
    breaks, sees = (client, server) if from_client else (server, client)
    breaks.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    breaks.close()
    with pytest.raises(ConnectionResetError):
        sees.recv(1)
    until(lambda: relay.stats().resets == 1, "it is counted")


def test_the_link_can_change_under_an_open_connection(link: Link) -> None:
    relay = link.start(replace(SLOW, rate_up_bit_s=64_000))
    client, server = link.connect()
    client.sendall(bytes(60_000))  # 7.5 s at the first rate
    start = time.monotonic()
    relay.set_profile(FAST)
    receive(server, 60_000)
    assert time.monotonic() - start < 2


def test_a_stopped_relay_keeps_its_figures_and_is_gone(link: Link) -> None:
    relay = link.start(FAST)
    client, server = link.connect()
    client.sendall(b"12345")
    receive(server, 5)
    relay.cut()
    relay.stop()
    relay.stop()
    assert relay.stats().up.payload_bytes == 5
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with pytest.raises(ConnectionRefusedError):
        link.client()
    with pytest.raises(UsageError, match="stopped"):
        relay.restore()


def test_an_address_that_is_taken_is_named(link: Link) -> None:
    relay = link.start(FAST)
    with pytest.raises(UsageError, match=str(relay.address.port)):
        Relay(relay.address, relay.address, FAST)


def test_the_live_figures_say_rate_queue_and_cut(link: Link) -> None:
    relay = link.start(FAST)
    before = relay.stats()
    client, server = link.connect()
    client.sendall(bytes(10_000))
    receive(server, 10_000)
    relay.cut()
    after: RelayStats = relay.stats()
    line = figures(before, after, 1.0)
    assert "up 8" in line
    assert "10,000 B" in line
    assert line.endswith("1 open, 0 resets | CUT (blackhole)")


def test_a_recorded_link_lets_bytes_go_when_the_recording_says(link: Link) -> None:
    # 20 packets at once, then nothing for half a second
    recording = parse_trace(["1"] * 20 + ["500"])
    relay = link.start(FAST, trace_up=recording)
    client, server = link.connect()
    in_background(lambda: client.sendall(bytes(400_000)))
    receive(server, 30_000)
    start = time.monotonic()
    receive(server, 4 * 21 * 1448)
    rounds_s = time.monotonic() - start
    assert 1.4 < rounds_s < 3.5
    relay.follow(None)
    assert len(receive(server, 200_000)) >= 200_000
    assert time.monotonic() - start - rounds_s < 2
