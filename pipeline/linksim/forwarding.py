"""Beside the way, the link simulator: connections carried through two bottlenecks (asyncio, one loop).

```
 client --recv--> [turn, room] --> Bottleneck up   --> send--> server
 client <--send-- Bottleneck down <-- [turn, room] <--recv-- server
```

Every connection reads one quantum, then waits for its turn and for room in the buffer that all share:
admission goes round, the buffer itself is first in, first out, as in a router. So connections that have
much to send get the same rate each, and a ping waits behind whatever stands in the buffer.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from pipeline.linksim.bottleneck import HEADER_BYTES, SEGMENT_BYTES, Bottleneck
from pipeline.linksim.profile import Address

QUANTUM_S = 0.002
"""A fast line takes several segments at a time, so that what a wake-up costs is paid once in 2 ms."""

UNREAD_BYTES_MAX = 128 * 1024
"""What may wait for a receiver that does not read, before the relay stops reading from its sender."""

RECEIVE_BUFFER_BYTES = 64 * 1024
"""The kernel's buffer in front of the line; left to itself it would grow to megabytes of hidden queue."""


class Mark(Enum):
    """What travels in the order of the bytes but is none: the three ends of TCP's handshakes."""

    OPEN = "open"
    END = "end"
    RESET = "reset"


@dataclass(frozen=True, slots=True)
class Item:
    """What crosses the link in one piece, and what to do with it at the far end."""

    content: bytes | Mark
    arrive: Callable[[bytes | Mark], None]


class Pipe:
    """One direction of the link on real time: a bottleneck, a timer, and the queue for its buffer."""

    def __init__(
        self, rate_bit_s: float, delay_s: float, buffer_bytes: int, jitter_s: float, seed: int
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._line = Bottleneck[Item](
            rate_bit_s, delay_s, buffer_bytes, jitter_s=jitter_s, rng=random.Random(seed)
        )
        self._turn = asyncio.Lock()
        self._room: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self.quantum_bytes = _quantum_bytes(rate_bit_s)

    async def send(self, content: bytes | Mark, arrive: Callable[[bytes | Mark], None]) -> None:
        """Returns once the item is in the buffer; `arrive` is called when it is at the far end."""
        item = Item(content, arrive)
        payload_bytes = len(content) if isinstance(content, bytes) else 0
        async with self._turn:
            while not self._line.offer(item, payload_bytes, self._loop.time()):
                self._room = self._loop.create_future()
                self._arm()
                await self._room
        self._arm()

    def tick(self) -> None:
        """Hands over what has arrived, wakes who waits for room, and sets the timer anew."""
        now = self._loop.time()
        for item in self._line.take(now):
            item.arrive(item.content)
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        self._arm()

    def change(self, rate_bit_s: float, delay_s: float, buffer_bytes: int, jitter_s: float) -> None:
        """The line's properties from now on."""
        self._line.change(rate_bit_s, delay_s, buffer_bytes, self._loop.time(), jitter_s=jitter_s)
        self.quantum_bytes = _quantum_bytes(rate_bit_s)
        self._restart()

    def stall(self) -> None:
        """Nothing moves until `resume`."""
        self._line.stall(self._loop.time())
        self._restart()

    def resume(self) -> None:
        """Everything goes on in order."""
        self._line.resume(self._loop.time())
        self._restart()

    def clear(self) -> None:
        """Forgets what is under way."""
        self._line.clear(self._loop.time())
        self._restart()

    def close(self) -> None:
        """Stops the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def carried(self) -> tuple[int, int, int]:
        """Payload bytes and wire bytes that have crossed, and wire bytes that wait in the buffer."""
        self.tick()
        line = self._line
        return line.carried_payload_bytes, line.carried_wire_bytes, line.queued_bytes

    def _restart(self) -> None:
        self.close()
        self.tick()

    def _arm(self) -> None:
        """Sets the timer to the next event that anybody waits for; never more than one timer."""
        at = self._line.next_arrival_at()
        if self._room is not None and not self._room.done():
            room_at = self._line.next_room_at()
            at = room_at if at is None or (room_at is not None and room_at < at) else at
        if at is None or (self._timer is not None and self._timer.when() <= at):
            return
        self.close()
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.tick()


class _Half:
    """One direction of one connection: reads its source into the pipe, writes what arrives."""

    def __init__(self, pipe: Pipe, end: Callable[[bool], None]) -> None:
        self._pipe = pipe
        self._end = end
        self._arrived: asyncio.Queue[bytes | Mark] = asyncio.Queue()
        self._unread_bytes = 0
        self._drained = asyncio.Event()
        self._drained.set()

    def _arrive(self, content: bytes | Mark) -> None:
        if content is Mark.RESET:
            self._end(True)  # and not to the writer, which would still close with a FIN
            return
        if isinstance(content, bytes):
            self._unread_bytes += len(content)
            if self._unread_bytes > UNREAD_BYTES_MAX:
                self._drained.clear()
        self._arrived.put_nowait(content)

    async def send_mark(self, mark: Mark) -> None:
        """Sends OPEN, END or RESET behind the bytes that were read so far."""
        await self._pipe.send(mark, self._arrive)

    async def wait_open(self) -> None:
        """Returns when OPEN has come through."""
        await self._arrived.get()

    async def read(self, source: socket.socket) -> None:
        """Source to pipe, until its end or its reset has gone into the pipe too."""
        loop = asyncio.get_running_loop()
        while True:
            await self._drained.wait()
            try:
                data = await loop.sock_recv(source, self._pipe.quantum_bytes)
            except OSError:
                await self.send_mark(Mark.RESET)
                return
            if not data:
                await self.send_mark(Mark.END)
                return
            await self._pipe.send(data, self._arrive)

    async def write(self, target: socket.socket, back: _Half) -> None:
        """Pipe to target, until the end has arrived; a target that is gone resets through `back`."""
        loop = asyncio.get_running_loop()
        try:
            while isinstance(content := await self._arrived.get(), bytes):
                await loop.sock_sendall(target, content)
                self._unread_bytes -= len(content)
                if self._unread_bytes <= UNREAD_BYTES_MAX:
                    self._drained.set()
            target.shutdown(socket.SHUT_WR)
        except OSError:
            await back.send_mark(Mark.RESET)
            return
        self._end(False)


class Connection:
    """One client's way through the link, with its handshake paid in round trips as on a real one."""

    def __init__(self, client: socket.socket, to: Address, up: Pipe, down: Pipe) -> None:
        self._client, self._to = client, to
        self._server: socket.socket | None = None
        self._up = _Half(up, self._on_end)
        self._down = _Half(down, self._on_end)
        self._ends = 0
        self._over: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    async def run(self) -> bool:
        """Carries the connection to its end, closes both its sockets; True when it ended by a reset."""
        carrying = asyncio.create_task(self._carry())
        carrying.add_done_callback(self._on_carried)
        was_reset = True
        try:
            was_reset = await self._over
        finally:
            carrying.cancel()
            await asyncio.wait((carrying,))
            for sock in (self._client, self._server):
                if sock is not None:
                    close(sock, reset=was_reset)
        if not carrying.cancelled():
            carrying.result()
        return was_reset

    def abort(self) -> None:
        """Resets both sides at once."""
        self._on_end(True)

    async def _carry(self) -> None:
        await self._up.send_mark(Mark.OPEN)
        await self._up.wait_open()
        try:
            self._server = await _connect(self._to)
        except OSError:
            await self._down.send_mark(Mark.RESET)
            return
        await self._down.send_mark(Mark.OPEN)
        async with asyncio.TaskGroup() as group:
            # the server may speak first, but its first bytes follow its OPEN in the pipe
            group.create_task(self._up_after_open(self._client))
            group.create_task(self._up.write(self._server, self._down))
            group.create_task(self._down.read(self._server))

    async def _up_after_open(self, client: socket.socket) -> None:
        await self._down.wait_open()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._up.read(client))
            group.create_task(self._down.write(client, self._up))

    def _on_carried(self, carrying: asyncio.Task[None]) -> None:
        # a defect of ours must end the connection, not leave it hanging; `run` raises it then
        if not carrying.cancelled() and carrying.exception() is not None:
            self._on_end(True)

    def _on_end(self, was_reset: bool) -> None:
        self._ends += 1
        if (was_reset or self._ends == 2) and not self._over.done():
            self._over.set_result(was_reset)


async def _connect(to: Address) -> socket.socket:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET6 if ":" in to.host else socket.AF_INET
    found = await loop.getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
    family, kind, protocol, _name, address = next((f for f in found if f[0] == family), found[0])
    sock = socket.socket(family, kind, protocol)
    try:
        prepare(sock)
        await loop.sock_connect(sock, address)
    except BaseException:
        close(sock, reset=True)  # cancelled in the middle: the server may have accepted already
        raise
    return sock


def prepare(sock: socket.socket) -> None:
    """No waiting of its own in the kernel, and no hidden queue beside the simulated one."""
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)


def close(sock: socket.socket, *, reset: bool) -> None:
    """Closes a socket: with a FIN, or at once with an RST."""
    if reset:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def _quantum_bytes(rate_bit_s: float) -> int:
    segment_s = (SEGMENT_BYTES + HEADER_BYTES) * 8 / rate_bit_s
    return SEGMENT_BYTES * max(1, round(QUANTUM_S / segment_s))
