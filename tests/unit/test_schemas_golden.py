"""Wire version 1 stays readable for ever: frames of the past open, and today's bytes are the same.

`test_schemas_golden.json` holds one frame of each kind as it was written when version 1 was new, and its
body. It is never made anew: a change of the format is a new version, with a new file beside this one; what is
new in a version (a kind, a message with a new field) is added at its end and stays from then on (kinds that
only stand in files: `test_schemas_bundle`). The example
in docs/wire.md is drawn from it; `python tests/unit/test_schemas_golden.py` prints that example.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from schemas.announcement import Announcement, pack_announcements, unpack_announcements
from schemas.asks import Answer, pack_answer, pack_packets_args, pack_record, pack_record_args, unpack_answer
from schemas.back import BackFrame, Piece, Position, pack_back, unpack_back
from schemas.bodies import ChunkBody, pack_batch, pack_chunk, unpack_batch, unpack_chunk
from schemas.codec import pack, pack_flat, unpack_flat
from schemas.feed import FactGroup, RecordChange, Span, pack_facts, pack_records, unpack_facts, unpack_records
from schemas.frame import Header, Kind, open_body, pack_header, seal_frame, split, verify
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from schemas.messages import (
    Ack,
    Announced,
    Ask,
    Back,
    Health,
    Join,
    Partly,
    Run,
    Since,
    Want,
    pack_message,
    unpack_message,
)
from schemas.packet import Attachment, Packet, pack_head, read_head
from schemas.verdicts import Reason, Status

FILE = Path(__file__).with_suffix(".json")
PAGE = Path(__file__).parents[2] / "docs" / "wire.md"


def _key(name: str, region: str | None = None) -> PrivateKey:
    """A key pair of the golden frames; only they are sealed to it."""
    sign, seal = (hashlib.sha256(f"golden {name} {use}".encode()).digest() for use in ("sign", "seal"))
    return PrivateKey.load(sign, seal, region)


REGION, CENTER = _key("region", "1806"), _key("center")

FACE = b"\xff\xd8\xff\xe0 not really a face"
ENROLMENT = Packet(
    "enrolment",
    {"nik": "1806014107900001", "nama": "SITI AMINAH", "no_antrian": 7},
    (Attachment("face", "image/jpeg", len(FACE), hashlib.sha256(FACE).digest()),),
    1_767_229_200_000,
)
PRINTED = Packet(
    "card_printed",
    {
        "nik": "1806014107900001",
        "printed_at": "2026-01-05T08:00:00+07:00",
        "packet": "1806-k3v9qa-000001",
    },
    (),
    1_767_229_260_000,
)
STORED = (pack_head(ENROLMENT).prefix + FACE, pack_head(PRINTED).prefix)
DIGESTS = tuple(hashlib.sha256(one).digest() for one in STORED)
SPAN = Span("9f3c2a1b", 3, 10, 12)
SINCE = Since(incarnation="9f3c2a1b", facts=4, records=5)
GROUPS = (
    FactGroup("k3v9qa", Status.PRINT_READY_RECORD, (Reason("note_nik_other_region"),), ((1, 3),), DIGESTS[0]),
    FactGroup("k3v9qa", Status.REFUSED, (Reason("unreadable", "bomb"),), ((5, 6),), b""),
)
CHANGES = (
    RecordChange(2, Status.PRINT_READY_RECORD, "k3v9qa", 1, None),
    RecordChange(1, Status.ADJUDICATE_RECORD, "0a1b2c", 40, STORED[1]),
)
WANT = Want(
    n=5,
    instance="i-1",
    grant=2,
    session=3,
    epoch="k3v9qa",
    highest_seq=600,
    clock_ms=1_767_229_300_000,
    facts=10,
    records=20,
    history=[SINCE],
    level=65_536,
    whole=True,
    titian="0.1.0",
)
ACK = Ack(
    n=5,
    instance="i-1",
    grant=2,
    session=3,
    since=SINCE,
    facts_top=12,
    records_top=20,
    window_bytes=8 << 20,
    hold_s=30.0,
    epoch="k3v9qa",
    partly=[Partly(seq=9, ranges=[0, 100, 20, 5])],
    rewind=[4, 5],
    clock_ms=1_767_229_300_100,
)
ANNOUNCEMENTS = (
    Announcement(bytes(range(8)), 600_000, DIGESTS[0], 1_767_229_200_000),
    Announcement(bytes(range(8, 16)), 700, DIGESTS[1], 1_767_229_100_000),
)
ACK_OF_ANNOUNCED = ACK.model_copy(
    update={"announced": Announced(start=3, stop=700, ranges=[5, 1, 2, 40], full=True)}
)
WANT_OF_ANNOUNCED = WANT.model_copy(update={"announced_from": 3})
OPEN, PRINTED_CARD = Status.PRINT_READY_RECORD, Status.CARD_PRINTED
HELD = (
    RecordChange(3, OPEN, "k3v9qa", 1, pack_head(ENROLMENT).prefix),
    RecordChange(1, PRINTED_CARD, "0a1b2c", 40, STORED[1]),
)
BACK = BackFrame("9f3c2a1b", 3, Position(1, 2_000), Position(1, 1_500), 480, 900, HELD)
PICTURES = BackFrame(
    "9f3c2a1b",
    3,
    Position(3, 2_000, 5),
    Position(4, 2_000),
    0,
    0,
    (),
    (Piece("k3v9qa", 1, "face", "image/jpeg", len(FACE), ENROLMENT.attachments[0].digest, 5, FACE[5:]),),
)
ANSWER = Answer("9f3c2a1b", 3, 7, 0, 1, False, pack_record(HELD[0]))
WANT_OF_REBUILD = WANT.model_copy(
    update={
        "fresh": True,
        "back": Back(pass_no=3, floor=90, at=5, top=2_000, left=4, total=9, began_ms=1, opened_ms=2),
        "asks": [
            Ask(id=7, what="record", args=pack_record_args("1806014107900001", ("*",))),
            Ask(id=8, what="packets", args=pack_packets_args("0a1b2c", ((1, 5), (9, 10))), at=3),
        ],
        "renumbered": [Run(epoch="0a1b2c", old=3, new=1, count=2), Run(epoch="0a1b2c", old=9, new=3)],
    }
)
ACK_OF_REBUILD = ACK.model_copy(update={"start": [12, 20], "known_seq": 601, "renumbered": 3})
WANT_OF_HEALTH = WANT.model_copy(
    update={
        "health": Health(
            waiting=312,
            waiting_kib=41_000,
            oldest_s=3_600,
            eta_s=840,
            dead=2,
            full_in_days=12,
            rtt_ms=640,
            base_ms=600,
            goodput_bytes_s=30_000,
            cuts_today=3,
            alarms=["runway", "dead"],
            disturbed=["sending"],
        )
    }
)
ACK_OF_HOLD = ACK.model_copy(update={"hold_why": "the night's backup (ana)"})
JOIN = Join(token=bytes(range(16)), sign=REGION.public.raw.sign, seal=REGION.public.raw.seal)

#: kind -> the body that this version writes of the values above, and the seqs of its header.
BODIES = {
    Kind.BATCH: (pack_batch(STORED), ((1, 2), (4, 5))),
    Kind.CHUNK: (pack_chunk(1_000, DIGESTS[0], 100, b"a part"), ((9, 10),)),
    Kind.WANT: (pack_message(WANT), ()),
    Kind.JOIN: (pack_message(JOIN), ()),
    Kind.ANNOUNCE: (pack_announcements(ANNOUNCEMENTS), ((6, 7), (9, 10))),
    Kind.ACK: (pack_message(ACK), ()),
    Kind.FACTS: (pack_facts(SPAN, GROUPS), ()),
    Kind.RECORDS: (pack_records(SPAN, CHANGES), ()),
    Kind.BACK: (pack_back(BACK), ()),
    Kind.ANSWER: (pack_answer(ANSWER), ()),
}
#: Kinds that cross the link.
ON_THE_LINK = [kind for kind in Kind if kind < Kind.MANIFEST]


def _header(kind: Kind) -> Header:
    up = kind < Kind.ACK
    lane = Lane.RECORD if kind in (Kind.BATCH, Kind.RECORDS) else Lane.CONTROL
    lane = Lane.BIOMETRIC if kind is Kind.ANNOUNCE else lane
    signer, recipient = (REGION, CENTER) if up else (CENTER, REGION)
    return Header(kind, "1806", "k3v9qa", signer.id, recipient.id, lane, BODIES[kind][1])


def _golden(kind: Kind) -> tuple[bytes, bytes]:
    """The frame of that kind as it was once written, and its body."""
    said = json.loads(FILE.read_text())[kind.name.lower()]
    return bytes.fromhex(said["frame"]), bytes.fromhex(said["body"])


def _opened(kind: Kind) -> tuple[Header, bytes]:
    parts = split(_golden(kind)[0])
    signer, recipient = (REGION, CENTER) if kind < Kind.ACK else (CENTER, REGION)
    assert verify(parts, {signer.id: signer.public}.get) == signer.public
    return parts.header, open_body(parts, {recipient.id: recipient}.get)


@pytest.mark.parametrize("kind", ON_THE_LINK, ids=lambda kind: kind.name.lower())
def test_a_frame_of_the_first_days_still_opens(kind: Kind) -> None:
    assert _opened(kind) == (_header(kind), _golden(kind)[1])


@pytest.mark.parametrize("kind", ON_THE_LINK, ids=lambda kind: kind.name.lower())
def test_the_same_values_are_still_written_as_the_same_bytes(kind: Kind) -> None:
    frame, body = _golden(kind)
    assert BODIES[kind][0] == body
    assert pack_header(_header(kind)) == unpack_flat(frame, items_max=3)[0]


def test_what_the_first_frames_said_is_still_understood() -> None:
    bodies = {kind: _opened(kind)[1] for kind in ON_THE_LINK}
    assert unpack_batch(bodies[Kind.BATCH], 2) == list(STORED)
    assert [read_head(one) for one in STORED] == [ENROLMENT, PRINTED]
    assert unpack_chunk(bodies[Kind.CHUNK]) == ChunkBody(1_000, DIGESTS[0], 100, b"a part")
    assert unpack_message(Want, bodies[Kind.WANT]) == WANT
    assert unpack_message(Join, bodies[Kind.JOIN]) == JOIN
    assert unpack_message(Ack, bodies[Kind.ACK]) == ACK
    assert unpack_announcements(bodies[Kind.ANNOUNCE], 2) == ANNOUNCEMENTS
    assert unpack_facts(bodies[Kind.FACTS]) == (SPAN, GROUPS)
    assert unpack_records(bodies[Kind.RECORDS]) == (SPAN, CHANGES)
    assert unpack_back(bodies[Kind.BACK]) == BACK
    assert unpack_answer(bodies[Kind.ANSWER]) == ANSWER


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("want_of_announced", WANT_OF_ANNOUNCED),
        ("ack_of_announced", ACK_OF_ANNOUNCED),
        ("want_of_rebuild", WANT_OF_REBUILD),
        ("ack_of_rebuild", ACK_OF_REBUILD),
        ("want_of_health", WANT_OF_HEALTH),
        ("ack_of_hold", ACK_OF_HOLD),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_messages_with_later_fields_stay_as_they_were_first_written(name: str, message: Want | Ack) -> None:
    body = bytes.fromhex(json.loads(FILE.read_text())[name])
    assert pack_message(message) == body
    assert unpack_message(type(message), body) == message


def test_pieces_of_attachments_stay_as_they_were_first_written() -> None:
    body = bytes.fromhex(json.loads(FILE.read_text())["back_with_pieces"])
    assert pack_back(PICTURES) == body
    assert unpack_back(body) == PICTURES


def test_digests_and_key_ids_of_the_first_days_are_the_same() -> None:
    assert [one.hex()[:16] for one in DIGESTS] == ["2fe4c06a9908a687", "61746ca12dbb8e25"]
    assert pack_head(ENROLMENT).content_key.hex() == "7dc87eb4c7280135dcf6593abf7b71a4"
    assert (REGION.id.hex(), CENTER.id.hex()) == ("f0a6e4e5c285488f", "2b61ad3eb3a2a424")


def test_the_page_shows_the_bytes_as_they_are() -> None:
    assert "\n".join(example()) in PAGE.read_text()


# --- the example in docs/wire.md ------------------------------------------------------------------

_FIELDS = (
    "wire version 1",
    "kind 1: batch",
    'region "1806"',
    'epoch "k3v9qa"',
    "lane 2: record",
    "codec 1: zstd",
    "dictionary 1",
    "signer: the region's key id",
    "recipient: the center's key id",
    "seqs: a gap of 1,",
    "  then 1 seq: 1",
    "a gap of 2,",
    "  then 1 seq: 4",
)


def example() -> Iterator[str]:
    """The golden batch frame, byte by byte, and what is inside."""
    frame, body = _golden(Kind.BATCH)
    header, sealed, signature = (
        bytes(part) for part in unpack_flat(frame, items_max=3) if isinstance(part, bytes)
    )
    yield from _line(frame[:1], "three parts")
    yield from _line(b"\xc4" + bytes([len(header)]), f"1 header, {len(header)} bytes")
    yield from _line(header[:1], "  13 fields")
    for value, what in zip(unpack_flat(header, items_max=99), _FIELDS, strict=True):
        yield from _line(pack_flat([value])[1:], f"  {what}")
    yield from _line(pack(sealed)[: -len(sealed)], f"2 sealed body, {len(sealed)} bytes:")
    yield from _line(sealed[:32], "  HPKE: the encapsulated key, 32 bytes")
    yield from _line(sealed[32:-16], "  the zstd of the body, encrypted")
    yield from _line(sealed[-16:], "  and its tag, 16 bytes")
    yield from _line(b"\xc4\x40", "3 signature, 64 bytes")
    yield from _line(signature, "  Ed25519")
    yield ""
    yield from _line(body[:1], "the body, opened: two packets")
    for stored in STORED:
        size = int.from_bytes(stored[:4], "big")
        item = pack(stored)
        yield from _line(item[: -len(stored)], f"stored bytes, {len(stored)} bytes")
        yield from _line(stored[:4], f"  head, {size} bytes")
        yield from _head_lines(stored[4 : 4 + size])
        if stored[4 + size :]:
            yield from _line(stored[4 + size :], "  attachment 1: face")


def _head_lines(head: bytes) -> Iterator[str]:
    packet = ENROLMENT if head == STORED[0][4 : 4 + len(head)] else PRINTED
    yield from _line(head[:1], "  five fields")
    yield from _line(pack(packet.version), "    schema version 1")
    yield from _line(pack(packet.at_ms), f"    recorded at {packet.at_ms} ms")
    yield from _line(pack(packet.kind), f'    kind "{packet.kind}"')
    yield from _line(bytes([0x80 + len(packet.payload)]), f"    payload, {len(packet.payload)} fields")
    for name, value in packet.payload.items():
        yield from _line(pack(name), f"      {name}")
        yield from _line(pack(value), f"        {json.dumps(value)}")
    yield from _line(
        pack([list(one) for one in packet.attachments]), f"    {len(packet.attachments)} attachments"
    )


def _line(data: bytes, what: str) -> Iterator[str]:
    """Rows of 16 bytes, the first with its meaning."""
    for at in range(0, len(data), 16):
        yield f"{data[at : at + 16].hex(' '):<47}  {what if at == 0 else ''}".rstrip()


if __name__ == "__main__":
    if sys.argv[1:] == ["make"] and not FILE.exists():
        made = {}
        for one in ON_THE_LINK:
            ours, theirs = (REGION, CENTER) if one < Kind.ACK else (CENTER, REGION)
            sealed_frame = seal_frame(_header(one), BODIES[one][0], ours=ours, theirs=theirs.public)
            made[one.name.lower()] = {"frame": sealed_frame.hex(), "body": BODIES[one][0].hex()}
        FILE.write_text(json.dumps(made, indent=1) + "\n")
    print("\n".join(example()))
