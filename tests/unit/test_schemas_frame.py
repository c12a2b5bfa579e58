"""Frames: what was sealed opens; what anyone changed, cut, replayed elsewhere or blew up does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import frame as frames
from schemas.codec import pack_flat, unpack_flat
from schemas.compression import CODEC_NONE, CODEC_ZSTD, compress
from schemas.errors import (
    BadSeal,
    BadSignature,
    FrameError,
    MalformedFrame,
    SchemaError,
    UnknownKey,
    UnreadableBody,
)
from schemas.frame import Header, Kind, Parts, open_body, seal_frame, split, unpack_header, verify
from schemas.keys import KEY_ID_BYTES, PrivateKey, PublicBytes, PublicKey, key_id
from schemas.lanes import Lane
from schemas.limits import BODY_BYTES_MAX, FRAME_BYTES_MAX, RANGES_MAX

REGION = PrivateKey.generate("1806")
OTHER = PrivateKey.generate("1871")
CENTER = PrivateKey.generate()
NO_KEY = bytes(KEY_ID_BYTES)
HEADER = Header(Kind.BATCH, "1806", "k3v9qa", NO_KEY, NO_KEY, Lane.RECORD, ((1, 3), (7, 8)))


def signer_of(asked: bytes) -> PublicKey | None:
    """The center's book of regions' keys."""
    return {one.id: one.public for one in (REGION, OTHER)}.get(asked)


def ours_of(asked: bytes) -> PrivateKey | None:
    """The center's own key, by its id."""
    return CENTER if asked == CENTER.id else None


def sealed(body: bytes = b"a body", header: Header = HEADER, ours: PrivateKey = REGION, **more: Any) -> bytes:
    """A frame from a region to the center."""
    return seal_frame(header, body, ours=ours, theirs=more.pop("theirs", CENTER.public), **more)


def received(frame: bytes) -> tuple[Header, bytes]:
    """What the center makes of a frame, step by step."""
    parts = split(frame)
    verify(parts, signer_of)
    return parts.header, open_body(parts, ours_of)


def refused(call: Callable[[], Any], kind: type[SchemaError], code: str | None = None) -> None:
    """The call must raise exactly that."""
    with pytest.raises(kind) as why:
        call()
    assert code is None or why.value.code == code


@settings(max_examples=40, deadline=None)
@given(
    st.binary(max_size=300),
    st.sampled_from(list(Kind)),
    st.sampled_from(list(Lane)),
    st.sampled_from([(CODEC_NONE, 0), (CODEC_ZSTD, 0), (CODEC_ZSTD, 1)]),
    st.integers(1, 19),
)
def test_a_frame_opens_for_whom_it_was_sealed(
    body: bytes, kind: Kind, lane: Lane, codec: tuple[int, int], level: int
) -> None:
    header = HEADER._replace(kind=kind, lane=lane, codec=codec[0], dictionary=codec[1])
    head, opened = received(sealed(body, header, level=level))
    assert opened == body
    assert head == header._replace(signer=REGION.id, recipient=CENTER.id)


def test_every_flipped_bit_of_a_frame_is_noticed() -> None:
    frame = sealed()
    for bit in range(8 * len(frame)):
        changed = bytearray(frame)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises((MalformedFrame, UnknownKey, BadSignature)):
            received(bytes(changed))


def test_a_frame_cut_at_any_length_is_malformed() -> None:
    frame = sealed()
    for end in range(len(frame)):
        refused(lambda end=end: split(frame[:end]), MalformedFrame)  # type: ignore[misc]
    refused(lambda: split(frame + b"\x00"), MalformedFrame)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader_of_frames(data: bytes) -> None:
    with pytest.raises(MalformedFrame):
        split(data)


def test_a_frame_past_the_limit_is_refused_before_it_is_read() -> None:
    refused(lambda: split(bytes(FRAME_BYTES_MAX + 1)), MalformedFrame, "too_large")


def test_what_would_be_too_large_is_not_sealed() -> None:
    plain = HEADER._replace(codec=CODEC_NONE, dictionary=0)
    refused(lambda: sealed(bytes(FRAME_BYTES_MAX), plain), FrameError, "too_large")
    refused(lambda: sealed(bytes(BODY_BYTES_MAX + 1)), FrameError, "too_large")
    assert len(received(sealed(bytes(BODY_BYTES_MAX)))[1]) == BODY_BYTES_MAX


def test_an_unsigned_frame_and_one_with_anothers_signature_are_refused() -> None:
    header, body, signature = unpack_flat(sealed(), items_max=3)
    refused(lambda: split(pack_flat([header, body])), MalformedFrame)
    refused(lambda: split(pack_flat([header, body, b""])), MalformedFrame)
    refused(lambda: received(pack_flat([header, body, bytes(64)])), BadSignature)
    foreign = unpack_flat(sealed(b"another"), items_max=3)[2]
    assert foreign != signature
    refused(lambda: received(pack_flat([header, body, foreign])), BadSignature)


def test_a_region_speaks_for_itself_only() -> None:
    refused(lambda: received(sealed(ours=OTHER)), UnknownKey)
    assert received(sealed(ours=OTHER, header=HEADER._replace(region="1871")))[1] == b"a body"


def test_a_key_that_is_unknown_or_not_ours_is_named() -> None:
    refused(lambda: received(sealed(ours=PrivateKey.generate("1806"))), UnknownKey)
    refused(lambda: received(sealed(theirs=OTHER.public)), UnknownKey)


def test_a_body_put_under_another_header_does_not_open() -> None:
    """Someone with a key of their own takes our sealed body and signs it as theirs."""
    parts = split(sealed(header=HEADER._replace(region="1871"), ours=OTHER))
    stolen = split(sealed())
    signed = OTHER.signature(frames._signed(parts.header_bytes, stolen.sealed))
    mixed = Parts(parts.header, parts.header_bytes, stolen.sealed, signed)
    assert verify(mixed, signer_of) == OTHER.public
    refused(lambda: open_body(mixed, ours_of), BadSeal)


def test_a_frame_does_not_open_without_the_private_key() -> None:
    parts = split(sealed())
    refused(lambda: open_body(parts, lambda _: PrivateKey.generate()), BadSeal)
    refused(lambda: open_body(parts._replace(sealed=b"short"), ours_of), BadSeal)


def handmade(body: bytes, **change: Any) -> bytes:
    """A rightly signed and sealed frame whose (unsqueezed) body and header are anything."""
    header = HEADER._replace(signer=REGION.id, recipient=CENTER.id, **change)
    header_bytes = frames.pack_header(header)
    inside = CENTER.public.seal_to(body, frames._info(header_bytes))
    return pack_flat((header_bytes, inside, REGION.signature(frames._signed(header_bytes, inside))))


def test_a_zstd_bomb_under_a_good_signature_is_unreadable() -> None:
    bomb = compress(bytes(200 * 1024 * 1024), codec=CODEC_ZSTD, dictionary=0)
    assert len(bomb) < FRAME_BYTES_MAX
    refused(lambda: received(handmade(bomb, dictionary=0)), UnreadableBody, "bomb")


def test_a_body_that_is_no_zstd_or_of_an_unknown_codec_or_dictionary_is_unreadable() -> None:
    refused(lambda: received(handmade(b"no zstd")), UnreadableBody, "bad_zstd")
    refused(lambda: received(handmade(b"x", codec=9)), UnreadableBody, "unknown_codec")
    refused(lambda: received(handmade(b"x", dictionary=99)), UnreadableBody, "unknown_dictionary")
    refused(lambda: received(handmade(b"x", dictionary=-1)), UnreadableBody, "unknown_dictionary")
    refused(lambda: received(handmade(b"x", codec=2**64 - 1)), UnreadableBody, "unknown_codec")


# --- the header -----------------------------------------------------------------------------------

GOOD: list[int | bytes] = [1, 1, b"1806", b"k3v9qa", 2, 1, 1, bytes(8), bytes(8), 1, 2]


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 0),
        (0, b"1"),
        (1, 0),
        (1, 99),
        (1, b"1"),
        (2, b"186"),
        (2, b"18\xff6"),
        (2, 1806),
        (3, b"K3V9QA"),
        (4, 9),
        (5, b"1"),
        (7, bytes(7)),
        (8, bytes(9)),
        (9, -1),
        (9, 0),
        (10, 0),
        (10, 2**63),
    ],
    ids=str,
)
def test_a_header_with_a_wrong_field_is_malformed(at: int, value: int | bytes) -> None:
    assert unpack_header(pack_flat(GOOD)).seqs == ((1, 3),)
    changed: list[int | bytes] = [*GOOD[:at], value, *GOOD[at + 1 :]]
    refused(lambda: unpack_header(pack_flat(changed)), MalformedFrame)


@pytest.mark.parametrize("end", range(len(GOOD)))
def test_a_header_that_is_too_short_is_malformed(end: int) -> None:
    if end == 9:
        assert unpack_header(pack_flat(GOOD[:end])).seqs == ()
        return
    refused(lambda: unpack_header(pack_flat(GOOD[:end])), MalformedFrame)


def test_a_newer_wire_is_named_whatever_follows_its_version() -> None:
    rests: list[list[int | bytes]] = [[], GOOD[1:], [b"new", 7, b"fields"]]
    for rest in rests:
        refused(lambda rest=rest: unpack_header(pack_flat([2, *rest])), MalformedFrame, "newer_version")  # type: ignore[misc]


def test_seqs_are_bounded() -> None:
    assert len(unpack_header(pack_flat([*GOOD[:9], *[1] * (2 * RANGES_MAX)])).seqs) == RANGES_MAX
    refused(lambda: unpack_header(pack_flat([*GOOD[:9], *[1] * (2 * RANGES_MAX + 2)])), MalformedFrame)


# --- keys -----------------------------------------------------------------------------------------


def test_keys_come_back_from_their_bytes() -> None:
    again = PrivateKey.load(*REGION.private_bytes(), region="1806")
    assert again.public.raw == REGION.public.raw
    assert key_id(REGION.public.raw) == REGION.id == again.id
    assert again.unseal(REGION.public.seal_to(b"x", b"i"), b"i") == b"x"


def test_a_private_key_does_not_show_itself() -> None:
    sign, seal = REGION.private_bytes()
    assert not any(part in repr(REGION) for part in (repr(sign), repr(seal), sign.hex(), seal.hex()))


@pytest.mark.parametrize("raw", [(b"", b""), (bytes(31), bytes(32)), (bytes(32), bytes(33))], ids=str)
def test_bytes_that_are_no_keys_are_refused(raw: tuple[bytes, bytes]) -> None:
    refused(lambda: PublicKey.load(PublicBytes(*raw)), SchemaError, "bad_key")
    refused(lambda: PrivateKey.load(*raw), SchemaError, "bad_key")


@pytest.mark.parametrize("seal", [bytes(32), b"\x01" + bytes(31)], ids=["zero", "one"])
def test_a_key_to_which_nothing_can_be_sealed_is_refused_when_it_is_shown(seal: bytes) -> None:
    refused(lambda: PublicKey.load(PublicBytes(REGION.public.raw.sign, seal)), SchemaError, "bad_key")


def test_what_the_signature_binds_cannot_be_cut_at_another_place() -> None:
    """Header and sealed body are signed with the header's length: moving the border breaks the signature."""
    assert frames._signed(b"ab", b"c") != frames._signed(b"a", b"bc")
