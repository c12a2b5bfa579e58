"""Steps 3 and 7: the broker's answers out of a byte stream, as far as they have come (RESP2, bounded).

Why not redis-py's own parser (8.1, without hiredis): it keeps everything it has read while anything unread is
behind it, so on a busy `down` connection its buffer grows without end. Source: the RESP specification (https://valkey.io/topics/protocol).
"""

from __future__ import annotations

from typing import NamedTuple, Union

from schemas.limits import FRAME_BYTES_MAX

#: The largest string, the most elements of one array, and how deep arrays nest in any answer we ask for.
STRING_BYTES_MAX = FRAME_BYTES_MAX
ARRAY_ELEMENTS_MAX = 64
DEPTH_MAX = 5
#: What is shown of an answer that is still coming, in bytes.
BEGINNING_BYTES = 256
#: The longest line (a length, a number, an error), in bytes.
LINE_BYTES_MAX = 4096


class ErrorReply(NamedTuple):
    """The broker answered with an error; `text` begins with its code."""

    text: bytes


Reply = Union[None, int, bytes, ErrorReply, "list[Reply]"]


class BadReply(ValueError):
    """What came is no answer that we could have asked for: another service, or a hostile one."""


class _Incomplete(Exception):
    """More bytes are needed: at least up to `args[0]`."""


class ReplyReader:
    """Bytes in (`feed`), answers out (`next`). Holds one unfinished answer and what came behind it."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._needed_bytes = 1

    def feed(self, data: bytes) -> None:
        """Bytes as they came from the socket."""
        self._buffer += data

    def beginning(self) -> bytes:
        """The first bytes of the answer that is not whole yet (some hundred at most)."""
        return bytes(self._buffer[:BEGINNING_BYTES])

    def next(self) -> tuple[Reply] | None:
        """The next whole answer in a tuple of one (an answer may be `None`), or `None` if more must come."""
        if len(self._buffer) < self._needed_bytes:
            return None
        try:
            reply, end = self._parse(0, 1)
        except _Incomplete as more:
            self._needed_bytes = more.args[0]
            return None
        del self._buffer[:end]
        self._needed_bytes = 1
        return (reply,)

    def _parse(self, at: int, depth: int) -> tuple[Reply, int]:
        line, at = self._line(at)
        kind, rest = line[:1], line[1:]
        if kind == b"$":
            return self._string(_length(rest, STRING_BYTES_MAX), at)
        if kind == b":":
            return _number(rest), at
        if kind == b"+":
            return rest, at
        if kind == b"-":
            return ErrorReply(rest), at
        if kind != b"*" or depth > DEPTH_MAX:
            raise BadReply(f"no answer of a broker: {line[:40]!r}")
        count = _length(rest, ARRAY_ELEMENTS_MAX)
        if count < 0:
            return None, at
        items: list[Reply] = []
        for _ in range(count):
            item, at = self._parse(at, depth + 1)
            items.append(item)
        return items, at

    def _line(self, at: int) -> tuple[bytes, int]:
        end = self._buffer.find(b"\r\n", at, at + LINE_BYTES_MAX)
        if end >= 0:
            return bytes(self._buffer[at:end]), end + 2
        if len(self._buffer) - at >= LINE_BYTES_MAX:
            raise BadReply(f"a line without an end: {bytes(self._buffer[at : at + 40])!r}")
        raise _Incomplete(len(self._buffer) + 1)

    def _string(self, length: int, at: int) -> tuple[bytes | None, int]:
        if length < 0:
            return None, at
        end = at + length
        if len(self._buffer) < end + 2:
            raise _Incomplete(end + 2)
        return bytes(self._buffer[at:end]), end + 2


def _number(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadReply(f"not a number: {text[:40]!r}") from None


def _length(text: bytes, length_max: int) -> int:
    length = _number(text)
    if not -1 <= length <= length_max:
        raise BadReply(f"a length of {length}, at most {length_max} was asked for")
    return length
