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
import socket
from collections.abc import Callable

from pipeline.linksim.pipe import Mark, Pipe
from pipeline.linksim.profile import Address, Side
from pipeline.linksim.sockets import close, connect, has_left, reason

UNREAD_BYTES_MAX = 128 * 1024
"""What may wait for a receiver that does not read, before the relay stops reading from its sender."""

LOOK_EVERY_S = 0.2
"""How often a half-open connection is looked at: the kernel does not wake us for a hang-up unread."""


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
        self.unreachable: str | None = None
        self._server: socket.socket | None = None
        self._up = _Half(up, self._on_end)
        self._down = _Half(down, self._on_end)
        self._ends = 0
        self._gone: Side | None = None
        self._aborted = asyncio.Event()
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
            if self._gone is not None:
                await self._keep_the_other(self._gone)
            for sock in (self._client, self._server):
                if sock is not None:
                    close(sock, reset=was_reset)
        if not carrying.cancelled():
            carrying.result()
        return was_reset

    def abort(self) -> None:
        """Resets both sides at once."""
        self._aborted.set()
        self._on_end(True)

    def half_open(self, gone: Side) -> None:
        """One side is reset; the other is never told: nothing it sends is read, and nothing comes."""
        if not self._over.done():
            self._gone = gone
            self._on_end(True)

    async def _keep_the_other(self, gone: Side) -> None:
        """Holds the side that stays until it leaves by itself or the connection is aborted."""
        left: socket.socket | None = self._client
        stays = self._server
        if gone == "server":
            left, stays = self._server, self._client
        if left is not None:
            close(left, reset=True)
        while stays is not None and not self._aborted.is_set() and not has_left(stays):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._aborted.wait(), LOOK_EVERY_S)

    async def _carry(self) -> None:
        await self._up.send_mark(Mark.OPEN)
        await self._up.wait_open()
        try:
            self._server = await connect(self._to)
        except OSError as error:
            self.unreachable = reason(error)
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
