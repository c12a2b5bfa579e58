"""The simulator's two forms agree: one scenario through the relay (real time) and through the virtual link.

The same profile, the same timetable, the same traffic: whole segments, as many unanswered as a window allows.
Where they differ, and how far they may: a full buffer drops on virtual time and holds back in the relay, so
the line is as busy and the queue as long either way. After a cut the virtual sender finds out by its timer,
while the relay, whose connections lost nothing, goes on at once: one retransmission timeout is between them.
"""

from __future__ import annotations

import select
import socket
import statistics
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

import pytest

from pipeline.linksim import SEGMENT_BYTES, Address, Event, LinkProfile, Relay, parse_script
from pipeline.linksim.virtual import VirtualLink, VirtualProfile
from pipeline.linksim.virtual_flows import WindowFlow

PROFILE = LinkProfile(2_000_000, 2_000_000, delay_ms=40, buffer_bytes=64 * 1024)
HALVES_S, CUT_S, BACK_S, END_S = 1.2, 2.4, 3.3, 4.2
SCRIPT = parse_script(f"at {HALVES_S} rate 1M; at {CUT_S} cut {BACK_S - CUT_S:.1f}")
LOOK_EVERY_S = 0.02

#: What may lie between the two: of carried bytes (measured: 0.005; on a busy machine 0.02); of the median
#: queue, or in seconds of it (one segment, 0.006 to 0.012; busy 0.024); of a lone segment's round trip; and
#: of the first byte after the cut (0.37 and 0.40; the first timeout is 1.0 and 1.2 s after the last answer).
CARRIED_SHARE = 0.04
QUEUE_SHARE, QUEUE_S = 0.10, 0.04
ALONE_S = 0.02
BACK_AGAIN_S = 0.6
#: What is on its way when a cut begins may still be answered so long.
TRAILING_S = 0.1


@dataclass
class Seen:
    """One run: answered bytes by then, what stood before the line, in seconds of it, and the round trip of a
    segment that is alone."""

    alone_s: float = 0.0
    answered: list[tuple[float, int]] = field(default_factory=list)
    queue: list[tuple[float, float]] = field(default_factory=list)

    def carried(self, from_s: float, to_s: float) -> int:
        """Bytes answered in that time."""
        return self._by(to_s) - self._by(from_s)

    def _by(self, at_s: float) -> int:
        return max((total for when, total in self.answered if when <= at_s), default=0)

    def queue_s(self, from_s: float, to_s: float) -> float:
        """The median of what stood before the line."""
        return statistics.median(wait for when, wait in self.queue if from_s <= when <= to_s)

    def first_after(self, at_s: float) -> float:
        """When the first answer came after that."""
        return next(when for when, _ in self.answered if when >= at_s)


class FixedWindow:
    """A throttle that always says the same."""

    def __init__(self, window_bytes: int) -> None:
        self.window_bytes = window_bytes

    @property
    def pace_bytes_s(self) -> float:
        return 0.0

    def on_sent(self, now_s: float, sent_bytes: int) -> None: ...
    def on_acked(self, now_s: float, acked_bytes: int, rtt_s: float | None) -> None: ...
    def on_lost(self, segments: int) -> None: ...
    def on_down(self) -> None: ...
    def on_up(self, now_s: float) -> None: ...


def on_virtual_time(window_segments: int) -> Seen:
    seen = Seen()
    rate_bit_s, delay_s = PROFILE.rate_up_bit_s, PROFILE.delay_ms / 1000
    link = VirtualLink(VirtualProfile(rate_bit_s, delay_s, PROFILE.buffer_bytes), look_every_s=LOOK_EVERY_S)
    flow = WindowFlow(link, FixedWindow(window_segments * SEGMENT_BYTES))

    def do(event: Event) -> None:
        if event.do == "rate":
            link.change(rate_bit_s=event.value)
        else:
            link.cut()
            link.after(event.value, link.restore)

    def note() -> None:
        if not seen.answered or seen.answered[-1][1] != flow.delivered_bytes:
            seen.answered.append((link.now_s, flow.delivered_bytes))
        link.after(0.002, note)

    for event in SCRIPT.events():
        link.at(event.at_s, lambda event=event: do(event))  # type: ignore[misc]
    note()
    link.run(END_S)
    seen.alone_s = next(when for when, total in seen.answered if total)  # of the window, it is the first
    seen.queue = [(look.at_s, look.queue_s) for look in link.looks]
    return seen


def through_the_relay(window_segments: int) -> Seen:
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        relay = stack.enter_context(Relay(Address("127.0.0.1", 0), Address(*server.getsockname()), PROFILE))
        client = stack.enter_context(socket.create_connection(relay.address, timeout=15))
        there = stack.enter_context(server.accept()[0])
        there.sendall(b"!")
        assert client.recv(1) == b"!"  # the handshake has crossed the link and is over: time begins here
        threading.Thread(target=answer, args=(there,), daemon=True).start()
        alone_s = min(alone(client) for _ in range(5))
        return replace(drive(client, relay, window_segments), alone_s=alone_s)


def answer(there: socket.socket) -> None:
    """A byte for each whole segment."""
    got = answered = 0
    try:
        while data := there.recv(65_536):
            got += len(data)
            there.sendall(bytes(got // SEGMENT_BYTES - answered))
            answered = got // SEGMENT_BYTES
    except OSError:
        return  # the relay has stopped


def alone(client: socket.socket) -> float:
    began_s = time.monotonic()
    client.sendall(bytes(SEGMENT_BYTES))
    assert client.recv(1)
    return time.monotonic() - began_s


def drive(client: socket.socket, relay: Relay, window_segments: int) -> Seen:
    seen, sent, answered, look_s = Seen(), 0, 0, 0.0
    client.setblocking(False)
    relay.play(SCRIPT)
    began_s = time.monotonic()
    while (now_s := time.monotonic() - began_s) < END_S:
        if now_s >= look_s:
            queued_bytes = relay.stats().up.queued_wire_bytes
            seen.queue.append((now_s, 8 * queued_bytes / relay.profile.rate_up_bit_s))
            look_s = now_s + LOOK_EVERY_S
        room = window_segments * SEGMENT_BYTES - (sent - answered)
        readable, writable, _ = select.select([client], [client] if room else [], [], LOOK_EVERY_S / 4)
        if writable:
            sent += client.send(bytes(min(room, SEGMENT_BYTES)))
        if readable:
            answered += SEGMENT_BYTES * len(client.recv(4096))
            seen.answered.append((time.monotonic() - began_s, answered))
    return seen


@pytest.mark.parametrize(
    "window_segments", [48, 128], ids=["that the buffer holds", "larger than the buffer"]
)
def test_both_forms_of_the_link_carry_delay_and_recover_alike(window_segments: int) -> None:
    real, virtual = through_the_relay(window_segments), on_virtual_time(window_segments)
    assert abs(real.alone_s - virtual.alone_s) < ALONE_S
    for from_s, to_s in ((0.0, HALVES_S), (HALVES_S, CUT_S)):
        carried = real.carried(from_s, to_s), virtual.carried(from_s, to_s)
        assert carried[0] == pytest.approx(carried[1], rel=CARRIED_SHARE)
        queue_s = real.queue_s(from_s + 0.5, to_s), virtual.queue_s(from_s + 0.5, to_s)
        assert queue_s[0] == pytest.approx(queue_s[1], rel=QUEUE_SHARE, abs=QUEUE_S)
    for seen in (real, virtual):
        assert seen.carried(CUT_S + TRAILING_S, BACK_S) == 0
        assert seen.carried(BACK_S, END_S) > 0
    assert abs(real.first_after(BACK_S) - virtual.first_after(BACK_S)) < BACK_AGAIN_S
