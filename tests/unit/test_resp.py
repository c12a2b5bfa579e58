"""Answers are read whole however they are cut up; nothing that comes is stored beyond bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.adapters.resp import (
    ARRAY_ELEMENTS_MAX,
    STRING_BYTES_MAX,
    BadReply,
    ErrorReply,
    Reply,
    ReplyReader,
)


def written(reply: Reply) -> bytes:
    """As a broker writes it."""
    if reply is None:
        return b"*-1\r\n"
    if isinstance(reply, int):
        return b":%d\r\n" % reply
    if isinstance(reply, bytes):
        return b"$%d\r\n%s\r\n" % (len(reply), reply)
    if isinstance(reply, ErrorReply):
        return b"-%s\r\n" % reply.text
    return b"*%d\r\n" % len(reply) + b"".join(map(written, reply))


plain = st.one_of(st.none(), st.integers(-9, 10**12), st.binary(max_size=40), st.just(ErrorReply(b"ERR no")))
replies = st.recursive(plain, lambda inner: st.lists(inner, max_size=4), max_leaves=12).filter(
    lambda reply: _depth(reply) <= 5
)


def _depth(reply: Reply) -> int:
    return 1 + max(map(_depth, reply), default=0) if isinstance(reply, list) else 0


@given(st.lists(replies, max_size=6), st.integers(1, 50))
def test_answers_come_out_as_written_whatever_the_pieces(answers: list[Reply], piece_bytes: int) -> None:
    stream = b"".join(map(written, answers))
    reader, got = ReplyReader(), []
    for at in range(0, len(stream), piece_bytes):
        reader.feed(stream[at : at + piece_bytes])
        while (one := reader.next()) is not None:
            got.append(one[0])
    assert got == answers


@pytest.mark.parametrize(
    "hostile",
    [
        b"$%d\r\n" % (STRING_BYTES_MAX + 1),
        b"*%d\r\n" % (ARRAY_ELEMENTS_MAX + 1),
        b"*1\r\n" * 7,
        b"HTTP/1.1 400 Bad Request\r\n",
        b"$x\r\n",
        b"$-2\r\n",
        b"x" * 5000,
        b"%1\r\n",
    ],
)
def test_what_no_broker_of_ours_answers_is_refused_before_it_is_stored(hostile: bytes) -> None:
    reader = ReplyReader()
    reader.feed(hostile)
    with pytest.raises(BadReply):
        reader.next()


def test_how_an_answer_begins_is_shown_while_it_comes() -> None:
    reader = ReplyReader()
    assert reader.beginning() == b""
    reader.feed(b"*2\r\n$3\r\nab")
    assert reader.next() is None
    assert reader.beginning() == b"*2\r\n$3\r\nab"
    reader.feed(b"c\r\n:1\r\n")
    assert reader.next() == ([b"abc", 1],)
    assert reader.beginning() == b""
