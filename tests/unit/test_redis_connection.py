"""A connection to the broker on links that are slow, stuck, hostile, shared with a child, or closed."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.adapters.redis_connection import BrokerConnection
from pipeline.adapters.redis_dial import Endpoint
from pipeline.errors import LinkDown

Peer = Callable[[socket.socket], None]


@contextlib.contextmanager
def broker(peer: Peer, **changes: float | str) -> Iterator[BrokerConnection]:
    """A connection to a server that treats every caller as `peer` says."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    threads: list[threading.Thread] = []

    def serve(sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            peer(sock)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                threads.append(threading.Thread(target=serve, args=(sock,)))
                threads[-1].start()

    acceptor = threading.Thread(target=accept)
    acceptor.start()
    at = Endpoint("127.0.0.1", listener.getsockname()[1], **{"notsent_bytes": 4096, **changes})  # type: ignore[arg-type]
    connection = BrokerConnection(at)
    try:
        yield connection
    finally:
        connection.close()
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for thread in (acceptor, *threads):
            thread.join(10)


def silent(sock: socket.socket) -> None:
    """Takes everything and never answers."""
    while sock.recv(65536):
        pass


def test_a_slow_link_is_not_down_while_it_moves() -> None:
    taken_s: list[float] = []

    def slow(sock: socket.socket) -> None:
        begin_s, left = time.monotonic(), 400_000
        while left > 0 and (data := sock.recv(16_384)):
            left -= len(data)
            time.sleep(0.03)  # the line, not a wait for anything
        taken_s.append(time.monotonic() - begin_s)
        sock.sendall(b"$3\r\n1-1\r\n")
        silent(sock)

    with broker(slow, stalled_s=0.3) as connection:
        connection.post("frame", b"XADD", bytes(400_000))
        answers: list[object] = []
        while not answers:
            answers += connection.answers(0.1)
    assert answers == [("frame", b"1-1")]
    assert taken_s[0] > 0.6, "the link was not slow enough to prove anything"


def test_a_link_that_stands_still_is_down_after_the_stall_time() -> None:
    with broker(silent, stalled_s=0.2) as connection:
        connection.post(1, b"XADD", bytes(100))
        begin_s = time.monotonic()
        with pytest.raises(LinkDown, match="no progress"):
            connection.answers(5.0)
        assert 0.1 < time.monotonic() - begin_s < 2.0
        assert connection.owed == 0


def test_answers_that_came_before_the_peer_went_are_handed_out_first() -> None:
    def answers_once(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"$3\r\n1-1\r\n")

    with broker(answers_once) as connection:
        connection.post("a", b"XADD")
        connection.post("b", b"XADD")
        assert connection.answers(5.0) == [("a", b"1-1")]
        with pytest.raises(LinkDown):
            connection.answers(5.0)


def test_another_service_on_the_port_is_link_down_with_its_words() -> None:
    def web(sock: socket.socket) -> None:
        sock.recv(100)
        sock.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        silent(sock)

    with broker(web) as connection, pytest.raises(LinkDown, match="HTTP"):
        connection.call(b"XLEN", b"k")


def test_a_peer_that_refuses_is_link_down_and_names_the_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(LinkDown, match=f"127.0.0.1:{port}"):
        BrokerConnection(Endpoint("127.0.0.1", port)).call(b"XLEN", b"k")


def test_closing_ends_a_call_that_waits_and_the_socket_is_let_go() -> None:
    over: list[str] = []
    with broker(silent) as connection:

        def call() -> None:
            try:
                connection.call(b"XLEN", b"k")
            except LinkDown as why:
                over.append(str(why))

        thread = threading.Thread(target=call)
        thread.start()
        deadline_s = time.monotonic() + 10
        while not connection.owed:
            assert time.monotonic() < deadline_s
        connection.close()
        thread.join(1.0)
        assert len(over) == 1
        assert connection._sock is None


def test_a_child_process_leaves_its_parents_connection_alone() -> None:
    def echo_count(sock: socket.socket) -> None:
        while sock.recv(1000):
            sock.sendall(b":7\r\n")

    with broker(echo_count) as connection:
        assert connection.call(b"XLEN", b"k") == 7
        parents = connection._sock
        connection._pid = os.getpid() + 1  # as a child sees it
        connection._dial.pid = os.getpid() + 1  # type: ignore[union-attr]
        duplicate = socket.socket(fileno=os.dup(parents.fileno()))  # type: ignore[union-attr]  # the parent's
        with duplicate:
            assert connection.call(b"XLEN", b"k") == 7
            assert connection._sock is not parents
            duplicate.setblocking(True)
            duplicate.sendall(b"*1\r\n$4\r\nPING\r\n")
            assert duplicate.recv(100) == b":7\r\n"


def test_signing_in_may_take_longer_than_connecting() -> None:
    """Behind a full buffer on a thin line the broker's answer comes seconds after the connection is there."""

    def slow(sock: socket.socket) -> None:
        first = threading.Event()
        while sock.recv(65536):
            first.wait(0.0 if first.is_set() else 0.6)
            first.set()
            sock.sendall(b"+OK\r\n")

    asked = {
        "connect_timeout_s": 0.2,
        "auth_timeout_s": 10.0,
        "username": "region-1806",
        "password": "secret",
    }
    with broker(slow, **asked) as connection:
        assert connection.call("PING") == b"OK"
