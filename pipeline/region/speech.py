"""Steps 3 and 7: what a want says in all, and when it goes: cursors, level, announcements, every voice."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.ports import Clock, Cursors, Outbox
from pipeline.region.announcer import Announcer
from pipeline.region.flights import StreamWatch
from pipeline.region.framing import Framer
from pipeline.region.level import level_in_force
from pipeline.region.speaker import Speaker
from pipeline.region.voices import Voice
from schemas.frame import Kind
from schemas.messages import Ack, Join, pack_message


@dataclass
class Speech:
    """Puts a want together. `level_bytes` is the most that it may name; `token` is the join file's."""

    speaker: Speaker
    outbox: Outbox
    announcer: Announcer
    voices: Sequence[Voice]
    framer: Framer
    clock: Clock
    level_bytes: int
    token: bytes = b""
    _said_seq: int = 0

    def due(self, now_s: float, cursors: Cursors, waiting: bool) -> bool:
        """Whether a want should go now. `waiting`: frames of ours are on their way and unanswered; or packets
        were recorded that the center has not heard of: should this disk die, their number must be known."""
        news = any(voice.news() for voice in self.voices)
        waiting = waiting or self.announcer.waits or self.outbox.highest_seq() != self._said_seq
        return self.speaker.due(now_s, cursors, self._level(), waiting, news)

    def frames(self, now_s: float, cursors: Cursors) -> list[bytes]:
        """The frames that say it, in order."""
        ours, frames = self.framer.ours, []
        if self.token and self.speaker.unanswered:  # a center restored from long ago may not know us either
            join = Join(token=self.token, sign=ours.public.raw.sign, seal=ours.public.raw.seal)
            frames.append(self.framer.seal(Kind.JOIN, pack_message(join)))
        want = self.speaker.want(
            now_s,
            self.clock.now_ms(),
            epoch=self.outbox.epoch,
            highest_seq=self.outbox.highest_seq(),
            cursors=cursors,
            level=self._level(),
        )
        self._said_seq = want.highest_seq
        want = self.announcer.ask(want)
        for voice in self.voices:
            want = voice.ask(want)
        return [*frames, self.framer.seal(Kind.WANT, pack_message(want))]

    def announcement(self, now_s: float) -> bytes | None:
        """A frame about packets that will not leave within seconds: so they are made known at least."""
        if self.speaker.refusal:
            return None
        n, seal = self.speaker.next_n(), self.framer.seal
        return self.announcer.frame(now_s, self.clock.now_ms(), n, seal)

    def hear(self, ack: Ack) -> None:
        """An ack, after everything else that it says was done: all facts that it knows of are settled."""
        self.announcer.hear(ack)
        for voice in self.voices:
            voice.hear(ack, self.clock.now_ms())

    def holds(self) -> str:
        """Why a voice wants no packet sent now, in a word; empty where none does."""
        return next((why for why in (voice.holds() for voice in self.voices) if why), "")

    def stream_was_empty(self, n: int) -> None:
        """`up` held nothing before want `n` was sent."""
        for voice in self.voices:
            if isinstance(voice, StreamWatch):
                voice.stream_was_empty(n)

    def _level(self) -> int:
        return level_in_force(self.speaker.level_bytes, self.level_bytes)
