"""Beside the way, the link simulator: carries the traffic of others through a direction (one loop)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from pipeline.linksim.foreground import AimdFlow
from pipeline.linksim.pipe import Mark, Pipe


class Foreground:
    """The greedy flows of one direction; `answer_s` is what an answer takes to come back."""

    def __init__(self, pipe: Pipe, answer_s: Callable[[], float]) -> None:
        self._pipe, self._answer_s = pipe, answer_s
        self._senders: list[_Sender] = []

    @property
    def flows(self) -> int:
        """How many run now."""
        return sum(sender.flow.running for sender in self._senders)

    def set_flows(self, flows: int) -> None:
        """So many from now on: new ones begin as fresh connections, the last ones stop."""
        while len(self._senders) < flows:
            self._senders.append(_Sender(self._pipe, self._answer_s))
        for number, sender in enumerate(self._senders):
            sender.run(number < flows)

    def forget(self) -> None:
        """The link forgot what was on its way."""
        for sender in self._senders:
            sender.forget()

    async def close(self) -> None:
        """Ends the tasks; raises a defect of theirs."""
        for sender in self._senders:
            await sender.close()


class _Sender:
    """One flow and the task that sends for it, segment by segment."""

    def __init__(self, pipe: Pipe, answer_s: Callable[[], float]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pipe, self._answer_s = pipe, answer_s
        self.flow = AimdFlow()
        self._generation = 0
        self._wake = asyncio.Event()
        self._task = asyncio.create_task(self._send())

    def run(self, running: bool) -> None:
        if running and not self.flow.running:
            self.flow.start(self._loop.time())
            self._wake.set()
        elif not running:
            self.flow.stop()

    def forget(self) -> None:
        self._generation += 1
        self.flow.forget(self._loop.time())
        self._wake.set()

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._task.cancelled():
            self._task.result()

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self.flow.may_send():
                content = bytes(self._pipe.quantum_bytes)
                if self._pipe.would_drop(len(content)):
                    self.flow.on_lost(self._loop.time())
                    if not self.flow.may_send():
                        break
                self.flow.on_sent()
                # nothing is dropped by the line: it waits for its turn, as the connections do
                arrive = partial(self._arrived, self._loop.time(), self._generation)
                await self._pipe.send_foreground(content, arrive)

    def _arrived(self, sent_at: float, generation: int, _content: bytes | Mark) -> None:
        self._loop.call_later(self._answer_s(), self._answered, sent_at, generation)

    def _answered(self, sent_at: float, generation: int) -> None:
        if generation == self._generation:
            self.flow.on_acked(sent_at)
            self._wake.set()
