"""Announcements: they come back as they went, cost little, and are bounded."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.region.announcing import FRAME_PACKETS
from schemas.announcement import (
    ANNOUNCED_PACKETS_MAX,
    AT_MS_MAX,
    RESTATED_MAX,
    Announcement,
    pack_announcements,
    unpack_announcements,
)
from schemas.codec import pack_flat, unpack_flat
from schemas.errors import CodecError
from schemas.frame import Header, Kind, seal_frame
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from schemas.limits import INTEGER_MAX, PACKET_BYTES_MAX, RANGES_MAX
from schemas.messages import MESSAGE_BYTES_MAX, Ack, Announced, Partly, Since, pack_message, unpack_message
from schemas.ranges import from_numbers, to_wire

ONE = Announcement(b"8 bytes.", 600_000, hashlib.sha256(b"").digest(), 1_767_229_200_000)
ANNOUNCEMENTS = st.builds(
    Announcement,
    st.binary(min_size=8, max_size=8),
    st.integers(1, PACKET_BYTES_MAX),
    st.binary(min_size=32, max_size=32),
    st.integers(-AT_MS_MAX, AT_MS_MAX),
)


def refused(body: bytes, count: int) -> str:
    """The code under which a body is refused."""
    with pytest.raises(CodecError) as why:
        unpack_announcements(body, count)
    return why.value.code


def fields(*said: Announcement) -> Sequence[int | bytes]:
    return unpack_flat(pack_announcements(said), items_max=4 * len(said))


@settings(max_examples=60)
@given(st.lists(ANNOUNCEMENTS, min_size=1, max_size=20))
def test_announcements_come_back_as_they_went(said: list[Announcement]) -> None:
    assert unpack_announcements(pack_announcements(said), len(said)) == tuple(said)


def test_a_full_frame_of_announcements_fits_four_kibibytes() -> None:
    rng = random.Random(1)
    said = [
        Announcement(
            rng.randbytes(8), rng.randrange(60_000, 2_000_000), rng.randbytes(32), 1_767_229_200_000 + n
        )
        for n in range(0, FRAME_PACKETS * 40_000, 40_000)
    ]
    seqs = from_numbers(range(100_000, 100_000 + 2 * FRAME_PACKETS, 2))
    ours, center = PrivateKey.generate("1806"), PrivateKey.generate()
    header = Header(Kind.ANNOUNCE, "1806", "k3v9qa", ours.id, center.id, Lane.BIOMETRIC, seqs)
    frame = seal_frame(header, pack_announcements(said), ours=ours, theirs=center.public)
    assert len(frame) <= 4096
    assert len(frame) / FRAME_PACKETS < 54


@pytest.mark.parametrize(
    "wrong",
    [
        ONE._replace(nik=b"7 bytes"),
        ONE._replace(digest=b"short"),
        ONE._replace(size=0),
        ONE._replace(size=PACKET_BYTES_MAX + 1),
        ONE._replace(at_ms=AT_MS_MAX + 1),
    ],
)
def test_what_is_out_of_bounds_is_neither_written_nor_read(wrong: Announcement) -> None:
    with pytest.raises(CodecError):
        pack_announcements([wrong])
    body = pack_flat((wrong.nik, wrong.size, wrong.digest, wrong.at_ms))
    assert refused(body, 1) in ("bad_msgpack", "too_large")


def test_differences_of_time_cannot_add_up_to_a_time_that_is_none() -> None:
    first = fields(ONE._replace(at_ms=AT_MS_MAX))
    assert refused(pack_flat((*first, *fields(ONE)[:3], 1)), 2) == "bad_msgpack"


def test_there_is_one_announcement_for_each_packet_that_the_header_names() -> None:
    body = pack_announcements([ONE, ONE])
    assert refused(body, 1) == refused(body, 3) == "bad_count"
    assert refused(pack_flat(()), 0) == "bad_count"
    assert refused(pack_flat(fields(ONE)[:3]), 1) == "bad_count"


def test_no_frame_holds_more_than_its_bound() -> None:
    with pytest.raises(CodecError, match="at most"):
        pack_announcements([ONE] * (ANNOUNCED_PACKETS_MAX + 1))
    many = pack_flat(list(fields(ONE)) * (ANNOUNCED_PACKETS_MAX + 1))
    assert refused(many, ANNOUNCED_PACKETS_MAX + 1) == "too_many"


def test_a_number_where_bytes_should_be_is_refused() -> None:
    nik, size, digest, at_ms = fields(ONE)
    for wrong in ((size, size, digest, at_ms), (nik, size, size, at_ms), (nik, nik, digest, at_ms)):
        assert refused(pack_flat(wrong), 1) == "bad_msgpack"


def test_an_ack_that_restates_the_most_of_everything_still_fits_a_message() -> None:
    far = INTEGER_MAX - 10 * RESTATED_MAX
    ack = Ack(
        n=1,
        instance="i",
        grant=1,
        session=1,
        since=Since(incarnation="a"),
        facts_top=0,
        records_top=0,
        window_bytes=0,
        epoch="k3v9qa",
        partly=[Partly(seq=far + n, ranges=[n, far]) for n in range(RANGES_MAX // 3)],
        announced=Announced(
            start=far,
            stop=INTEGER_MAX,
            ranges=to_wire(from_numbers(range(far, INTEGER_MAX - 1, 10))),
        ),
        clock_ms=0,
    )
    body = pack_message(ack)
    assert len(body) <= MESSAGE_BYTES_MAX
    assert unpack_message(Ack, body) == ack
