"""Steps 3 and 7: the region's end of the link, on Redis streams over TCP.

Three connections, each opened at its first use: `up` (frames, many in flight), `ctl` (control messages, short
questions, deletes: never behind bulk) and `down` (reads). A break of one is reported by the call that meets
it, as `LinkDown`, and the next call opens it anew; nothing is ever repeated here: the rules above decide.

On the wire: an entry costs 75 to 90 bytes beside its frame, with its answer (measured in the contract suite);
a connection costs AUTH and nothing else. With `sounded` the line is asked how late it answers while `down` is
read, ten times a second at most, and what the kernel takes at a time is bound by that.

What the answers to `send` cannot say: after a `Full` a later entry may have been accepted; then the refused
id is below the stream's last one, and sending it again would answer `Accepted` without storing it. So
whoever meets `Full` sends those contents under a new id.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pipeline.adapters.read_ahead import ENTRIES_PER_READ, Ask, Entry, ReadAhead
from pipeline.adapters.redis_connection import BrokerConnection
from pipeline.adapters.redis_dial import Endpoint
from pipeline.adapters.redis_wire import (
    FIELD,
    ctl_key,
    down_key,
    is_full,
    is_not_above,
    parse_entry,
    refusal,
    up_key,
)
from pipeline.adapters.resp import ErrorReply, Reply
from pipeline.adapters.sounding import Question, Sounded, Sounding
from pipeline.adapters.throttled import ThrottledSocket
from pipeline.errors import LinkDown, TitianError
from pipeline.ports import EntryId
from pipeline.region_link import NO_ENTRY, Accepted, Full, SendOutcome
from pipeline.throttle import ThrottleView

#: How long a read waits at the broker, seconds: an idle region costs a question and an answer so often.
BLOCK_S = 5.0
_LENGTH = object()
#: How an answer to a read of `down` begins: how many entries it has, and the id of the first.
_BEGUN = re.compile(rb"\*1\r\n\*2\r\n\$\d+\r\n[^\r]+\r\n\*(\d+)\r\n\*2\r\n\$\d+\r\n(\d+)-(\d+)\r\n")


class RedisRegionLink:
    """See `RegionLink`. One thread may `send` and ask for `outcomes` while another reads `down`."""

    def __init__(
        self,
        region: str,
        at: Endpoint,
        block_s: float = BLOCK_S,
        throttle: ThrottledSocket | None = None,
        sounded: Sounded | None = None,
    ) -> None:
        if not 0 < block_s < at.stalled_s:
            raise ValueError(f"block_s must be above 0 and below stalled_s ({at.stalled_s:g})")
        self._up_key, self._ctl_key, self._down_key = up_key(region), ctl_key(region), down_key(region)
        self._block_ms = int(block_s * 1000)
        self.throttled = throttle
        self._up = BrokerConnection(at, throttle)
        self._ctl = BrokerConnection(at)
        self._ctl_lock = threading.Lock()
        self._sounding: Sounding | None = None
        if sounded is not None:
            self._sounding = Sounding(sounded, self._control, self._look_at_control, self._ctl.fileno)
        self._down = BrokerConnection(at, beside=self._sounding)
        self._lengths: list[int] = []
        self._ctl_outcomes: list[SendOutcome] = []
        self._reads = ReadAhead()

    # --- up -------------------------------------------------------------------------------------

    def send(self, entry: EntryId, frame: bytes) -> None:
        """See the port. Waits only where more than `PENDING_BYTES_MAX` stand before the socket."""
        self._up.post(entry, b"XADD", self._up_key, str(entry), FIELD, frame)

    def throttle(self) -> ThrottleView | None:
        """See the port."""
        if self.throttled is None:
            return None
        return replace(self.throttled.view(), unwritten_bytes=self._up.unwritten_bytes)

    def outcomes(self, wait_s: float) -> list[SendOutcome]:
        """See the port. It is also what writes on, where the socket did not take all at once."""
        try:
            found = [_outcome(entry, reply) for entry, reply in self._up.answers(wait_s)]
        except TitianError:
            self._up.close()  # a refusal: what it was and what came with it is unknown now
            raise
        with self._ctl_lock:
            self._hear_control()
            found += self._ctl_outcomes
            self._ctl_outcomes = []
        return found

    def way_back(self) -> ThrottleView | None:
        """How the throttle of `down` stands; `None` where this link has none."""
        return None if self._sounding is None else self._sounding.sounded.view

    # --- control --------------------------------------------------------------------------------

    def ask_length(self) -> None:
        """See the port."""
        self._control(_LENGTH, b"XLEN", self._up_key)

    def lengths(self) -> list[int]:
        """See the port."""
        with self._ctl_lock:
            self._hear_control()
            found, self._lengths = self._lengths, []
        return found

    def send_control(self, frame: bytes) -> None:
        """See the port."""
        self.send_urgent(NO_ENTRY, frame)

    def send_urgent(self, entry: EntryId, frame: bytes) -> None:
        """See the port."""
        self._control(entry, b"XADD", self._ctl_key, b"*", FIELD, frame)

    def delete_down(self, entries: Sequence[EntryId]) -> None:
        """See the port."""
        if entries:
            self._control(None, b"XDEL", self._down_key, *map(str, entries))

    def _control(self, token: object, *command: bytes | str) -> None:
        with self._ctl_lock:
            self._hear_control()
            self._ctl.post(token, *command)

    def _look_at_control(self) -> None:
        with self._ctl_lock:
            self._hear_control()

    def _hear_control(self) -> None:
        """What was answered meanwhile; a refusal is raised and takes the connection with it."""
        try:
            for token, reply in self._ctl.answers(0.0):
                if isinstance(token, EntryId):
                    outcome = _outcome(token, reply)
                    if token != NO_ENTRY or isinstance(outcome, Full):
                        self._ctl_outcomes.append(outcome)
                    continue
                said = _checked(reply)
                if isinstance(token, Question) and self._sounding is not None:
                    self._sounding.answered(token)
                elif token is _LENGTH:
                    self._lengths.append(_whole(said))
        except TitianError:
            self._ctl.close()
            self._forget_control()
            raise

    def _forget_control(self) -> None:
        """Answers of a connection that is gone: what they are about is unknown now."""
        self._lengths.clear()
        self._ctl_outcomes.clear()

    # --- down -----------------------------------------------------------------------------------

    def read_down(self, after: EntryId, wait_s: float) -> list[Entry]:
        """See the port. The reads stay in flight between calls, so a short `wait_s` costs nothing."""
        if not self._reads.moves_to(after):
            self._down.close()
        if not self._down.owed:  # new, or broken, or closed from elsewhere: what was in flight is gone
            self._reads = ReadAhead(after)
        try:
            self._ask()
            found: list[Entry] = []
            replies = self._down.answers(wait_s, till_begun=True)
            if not replies and self._down.beginning():
                self._ask_behind()
                replies = self._down.answers(wait_s)
            for read, reply in replies:
                found += self._reads.answered(read, _entries(_checked(reply)))
            if found:
                self._ask()  # while the caller works, the next ones travel
            return found
        except TitianError:
            self._down.close()
            raise

    def _ask_behind(self) -> None:
        """An answer has begun to come: send the read behind it."""
        begun = _BEGUN.match(self._down.beginning())
        if begun is not None:
            count, session, n = map(int, begun.groups())
            self._post(self._reads.begins(EntryId(session, n), count))

    def _ask(self) -> None:
        self._post(self._reads.due())

    def _post(self, asks: Sequence[Ask]) -> None:
        for after, waits in asks:
            block = (b"BLOCK", self._block_ms) if waits else ()
            self._down.post(
                after, b"XREAD", b"COUNT", ENTRIES_PER_READ, *block, b"STREAMS", self._down_key, str(after)
            )

    def close(self) -> None:
        """See the port."""
        for connection in (self._down, self._ctl, self._up):
            connection.close()
        self._forget_control()


def _outcome(entry: EntryId, reply: Reply) -> SendOutcome:
    if isinstance(reply, ErrorReply):
        if is_not_above(reply.text):
            return Accepted(entry)
        if is_full(reply.text):
            return Full(entry)
        raise refusal(reply.text)
    return Accepted(entry)


def _checked(reply: Reply) -> Reply:
    if isinstance(reply, ErrorReply):
        raise refusal(reply.text)
    return reply


def _whole(reply: Reply) -> int:
    if not isinstance(reply, int):
        raise LinkDown(f"the broker answered {reply!r:.40} where a number was asked for")
    return reply


def _entries(reply: Any) -> list[Entry]:
    """`[[key, [[id, [f, frame]], ...]]]` as XREAD answers, or nothing."""
    if reply is None or reply == []:  # Valkey says nil, others an empty array
        return []
    try:
        ((_, items),) = reply
        entries = [(parse_entry(text), frame) for text, (_, frame) in items]
        if not all(isinstance(frame, bytes) for _, frame in entries):
            raise TypeError("a frame that is not bytes")
    except (TypeError, ValueError, AttributeError) as why:
        raise LinkDown(f"the broker answered a read with something else: {why}") from why
    return entries
