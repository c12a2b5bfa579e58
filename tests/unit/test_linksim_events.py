"""What a relay tells of what happens on it, and how that reads."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.linksim import PROFILES, Address, LinkEvent, LinkProfile, Relay, parse_script, parse_trace
from pipeline.linksim.live import curve, document, in_words

FAST = LinkProfile(100_000_000, 100_000_000, delay_ms=0, buffer_bytes=256 * 1024)
ANYWHERE = Address("127.0.0.1", 0)


class Heard:
    """A relay in front of a server that listens, and what it told."""

    def __init__(self, stack: ExitStack, script: str = "") -> None:
        self.events: list[LinkEvent] = []
        self.server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        to = Address("127.0.0.1", self.server.getsockname()[1])
        self.relay = stack.enter_context(
            Relay(ANYWHERE, to, FAST, script=parse_script(script), on_event=self.events.append)
        )

    def connect(self) -> socket.socket:
        return socket.create_connection(self.relay.address, timeout=10)

    def named(self) -> list[str]:
        return [event.what for event in self.events]

    def details(self, what: str) -> list[dict[str, object]]:
        return [dict(event.detail) for event in self.events if event.what == what]

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"waited in vain until {what}; heard {self.events}"
            time.sleep(0.005)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def test_a_connection_is_told_from_its_beginning_to_its_end(stack: ExitStack) -> None:
    heard = Heard(stack)
    with heard.connect() as client, heard.server.accept()[0]:
        here = "{}:{}".format(*client.getsockname())
    heard.until(lambda: "end" in heard.named(), "it has ended")
    assert heard.details("open") == [{"connection": 1, "client": here}]
    assert heard.details("end") == [{"connection": 1}]
    assert [event.at_s for event in heard.events] == sorted(event.at_s for event in heard.events)


def test_who_connects_while_everything_is_reset_is_told_too(stack: ExitStack) -> None:
    heard = Heard(stack)
    heard.relay.cut("reset")
    with (
        pytest.raises(ConnectionResetError),
        heard.connect() as client,
    ):  # or connecting fails with it already
        client.recv(1)
    heard.until(lambda: "reset" in heard.named(), "it is reset")
    assert [set(one) for one in heard.details("reset")] == [{"client"}]
    assert heard.relay.stats().connections == 0


def test_a_server_that_does_not_answer_is_named_with_why(stack: ExitStack) -> None:
    heard = Heard(stack)
    heard.server.close()
    with heard.connect() as client, pytest.raises(ConnectionResetError):
        client.recv(1)
    heard.until(lambda: "reset" in heard.named(), "it is reset")
    (told,) = heard.details("unreachable")
    assert told["to"] == "{}:{}".format("127.0.0.1", str(told["to"]).rpartition(":")[2])
    assert "refused" in str(told["why"])
    assert heard.relay.stats().unreachable == 1
    assert heard.named() == ["open", "unreachable", "reset"]


def test_what_is_done_to_the_link_is_told_and_nothing_that_did_not_happen(stack: ExitStack) -> None:
    heard = Heard(stack)
    relay = heard.relay
    relay.restore()
    relay.resume()
    assert heard.named() == []
    relay.cut_for(3)
    relay.restore()
    relay.stall("up", 2.5)
    relay.resume()
    relay.set_rate(up=128_000)
    relay.set_foreground(2, "down")
    relay.half_open("client")
    relay.follow(parse_trace(["1", "2"], "tiny"), "down")
    relay.set_profile(PROFILES["vsat-512k"])
    assert [in_words(event) for event in heard.events] == [
        "cut (blackhole) for 3 s",
        "restored",
        "stall, up for 2.5 s",
        "resumed up",
        "rate 128 kbit/s up",
        "2 flows of others, down",
        "half-open client",
        "trace tiny down",
        "profile 512 kbit/s, 600 ms round trip, 64 KiB buffer",
    ]


def test_a_script_tells_each_of_its_steps_and_when_they_end(stack: ExitStack) -> None:
    script = "at 0 cut up 0.05; at 0.1 stall down 0.05; at 0.2 delay 7; at 0.2 jitter 1; at 0.25 reset"
    heard = Heard(stack, script)
    heard.until(lambda: heard.named().count("restored") == 2, "all has been played")
    assert heard.named() == [
        *("cut", "restored", "stall", "resumed", "delay", "jitter", "cut", "restored"),
    ]
    assert in_words(heard.events[0]) == "cut (blackhole, up) for 0.05 s"
    at_s = {event.what: event.at_s for event in reversed(heard.events)}
    assert 0.05 <= at_s["restored"] - at_s["cut"] < 1
    assert 0.2 <= at_s["delay"] < 2


def test_a_document_counts_what_was_carried(stack: ExitStack) -> None:
    heard = Heard(stack)
    with heard.connect() as client, heard.server.accept()[0] as server:
        client.sendall(b"12345")
        assert server.recv(5) == b"12345"
        found = document(heard.relay.stats(), 2.0)
    assert found["up"] == {
        "payload_bytes": 5,
        "wire_bytes": 5 + 2 * 52,
        "foreground_wire_bytes": 0,
        "queued_wire_bytes": 0,
        "mean_bit_s": (5 + 2 * 52) * 4,
        "stalled": False,
    }
    assert (found["seconds"], found["connections"], found["cut"]) == (2.0, 1, None)


@given(st.lists(st.floats(0, 1e9), max_size=80), st.floats(1, 1e9))
def test_a_curve_has_a_bar_for_each_value_and_no_bar_for_nothing(values: list[float], most: float) -> None:
    drawn = curve(values, most)
    assert len(drawn) == len(values)
    assert [bar == " " for bar in drawn] == [value == 0 for value in values]
    assert all(bar == "█" for bar, value in zip(drawn, values, strict=True) if value >= most)
    in_order = [drawn[at] for at, _ in sorted(enumerate(values), key=lambda one: one[1])]
    assert in_order == sorted(in_order)
