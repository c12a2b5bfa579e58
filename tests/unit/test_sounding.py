"""What is asked beside the reads of `down`, which answers count, and what our kernel offers."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator

import pytest

from pipeline.adapters.redis_connection import BrokerConnection
from pipeline.adapters.redis_dial import Endpoint
from pipeline.adapters.redis_region_link import RedisRegionLink
from pipeline.adapters.sounding import TCP_WINDOW_CLAMP, Question, Sounding
from pipeline.ports import EntryId
from pipeline.region.level import ASK_BYTES
from pipeline.throttle import Controller, ThrottleView


class Noted:
    """Notes what it is told. It wants to know always."""

    window_bytes = 8_000

    def __init__(self) -> None:
        self.received = 0
        self.answers: list[float | None] = []
        self.downs = 0
        self.view: ThrottleView = Controller().view()

    def on_received(self, now_s: float, received_bytes: int) -> None:
        self.received += received_bytes

    def asks(self, now_s: float) -> bool:
        return True

    def on_answer(self, now_s: float, rtt_s: float | None) -> None:
        self.answers.append(rtt_s)

    def on_down(self) -> None:
        self.downs += 1


@contextlib.contextmanager
def connected() -> Iterator[socket.socket]:
    """One end of a TCP connection."""
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()) as one, server.accept()[0]:
        yield one


def sounding(noted: Noted) -> tuple[Sounding, list[Question]]:
    """One whose questions are all answered when it looks."""
    questions: list[Question] = []

    def hear() -> None:
        while questions:
            one.answered(questions.pop(0))

    def post(token: object, _: bytes) -> None:
        assert isinstance(token, Question)
        questions.append(token)

    one = Sounding(noted, post, hear, lambda: -1)
    return one, questions


def test_an_answer_counts_if_it_came_while_we_waited_for_it() -> None:
    noted = Noted()
    one, questions = sounding(noted)
    with connected() as sock:
        one.received(sock, 100)
        one.readable(waited=True)
        one.received(sock, 100)
        one.readable(waited=False)
    assert not questions
    assert noted.received == 200
    assert noted.answers[0] is not None
    assert noted.answers[1:] == [None]


@pytest.mark.skipif(sys.platform != "linux", reason="no TCP_WINDOW_CLAMP elsewhere")
def test_the_kernel_offers_what_is_allowed() -> None:
    noted = Noted()
    one, _ = sounding(noted)
    with connected() as sock:
        least = 3 * sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG)
        for window_bytes in (2 * least, 3 * least, least - 1_000):
            noted.window_bytes = window_bytes
            one.received(sock, 100)
            offered = sock.getsockopt(socket.IPPROTO_TCP, TCP_WINDOW_CLAMP)
            assert offered == max(least, window_bytes)


def test_another_connection_is_said_to_be_one() -> None:
    noted = Noted()
    one, _ = sounding(noted)
    with connected() as first, connected() as second:
        one.received(first, 100)
        one.received(first, 100)
        assert noted.downs == 0
        one.received(second, 100)
    assert noted.downs == 1


def broker(sock: socket.socket) -> None:
    """Answers PING at once; a read gets a part of a frame, and the rest after the first PING."""
    frame = bytes(ASK_BYTES)
    head = b"*1\r\n*2\r\n$1\r\nd\r\n*1\r\n*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nf\r\n$%d\r\n" % len(frame)
    while data := sock.recv(65_536):
        if b"PING" in data:
            sock.sendall(b"+PONG\r\n")
            asked.set()
        if b"XREAD" in data:
            sock.sendall(head + frame[:1_000])
            if asked.wait(10):
                sock.sendall(frame[1_000:] + b"\r\n")


asked = threading.Event()


def test_the_broker_is_asked_while_a_frame_is_still_coming() -> None:
    noted, threads = Noted(), []
    asked.clear()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            for _ in range(2):
                sock = server.accept()[0]
                threads.append(threading.Thread(target=serve, args=(sock,)))
                threads[-1].start()

        def serve(sock: socket.socket) -> None:
            with sock, contextlib.suppress(OSError):
                broker(sock)

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        link = RedisRegionLink("1806", Endpoint("127.0.0.1", server.getsockname()[1]), sounded=noted)
        ((entry, frame),) = link.read_down(EntryId(0, 0), 10)
        link.close()
        for thread in (acceptor, *threads):
            thread.join(10)
    assert entry == EntryId(1, 1)
    assert len(frame) == ASK_BYTES
    assert noted.received > ASK_BYTES


def test_a_connection_that_owes_no_answer_is_not_waited_for() -> None:
    assert BrokerConnection(Endpoint("127.0.0.1", 1)).fileno() == -1
