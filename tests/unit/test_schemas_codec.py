"""The codec and compression: canonical, bounded, and cheap to refuse."""

from __future__ import annotations

import hashlib
import math
import tracemalloc
from collections.abc import Callable
from random import Random
from typing import Any

import msgpack  # type: ignore[import-untyped, unused-ignore]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, compression
from schemas.compression import CODEC_NONE, CODEC_ZSTD, DICTIONARIES, compress, decompress, zstd  # type: ignore[attr-defined]
from schemas.errors import CodecError
from schemas.limits import BODY_BYTES_MAX, HEAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, PAYLOAD_FIELDS_MAX

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.binary(max_size=20),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=6), inner, max_size=4)
    ),
    max_leaves=12,
)


def code_of(call: Callable[[], Any]) -> str:
    """The code of the `CodecError` that the call must raise."""
    with pytest.raises(CodecError) as why:
        call()
    return why.value.code


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_values_come_back_as_they_went(value: Any) -> None:
    assert codec.unpack(codec.pack(value), depth_max=40) == value


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60))
def test_random_bytes_are_refused_or_are_what_pack_writes(data: bytes) -> None:
    try:
        value = codec.unpack(data)
    except CodecError:
        return
    assert codec.pack(value) == data


NOT_OURS = {
    "a doubled key": b"\x82\xa1a\x01\xa1a\x02",
    "a padded number": b"\xcd\x00\x01",
    "a padded negative number": b"\xd1\xff\xff",
    "a padded text": b"\xd9\x01a",
    "a padded array": b"\xdc\x00\x01\x01",
    "a padded map": b"\xde\x00\x01\xa1a\x01",
    "a 32 bit float": msgpack.packb(1.5, use_single_float=True),
    "trailing bytes": b"\x01\x01",
    "nothing": b"",
    "a cut array": b"\x92\x01",
    "an extension": msgpack.packb(msgpack.ExtType(1, b"x")),
    "an empty extension": b"\xc7\x00\x01",
    "a timestamp": msgpack.packb(msgpack.Timestamp(1, 0)),
    "a key that is a number": b"\x81\x01\x01",
    "a key that is bytes": b"\x81\xc4\x01a\x01",
    "text that is no UTF-8": b"\xa1\xff",
    "a lone surrogate": b"\xa3\xed\xa0\x80",
    "a reserved byte": b"\xc1",
    "NaN": codec.pack(math.nan),
    "infinity": codec.pack([math.inf]),
    "minus infinity in a map": codec.pack({"a": -math.inf}),
    "a thousand levels": b"\x91" * 1_000 + b"\x01",
    "a promise of 4 G entries": b"\xdd\xff\xff\xff\xff",
    "a promise of 4 GB of text": b"\xdb\xff\xff\xff\xff",
    "a promise of 4 GB of bytes": b"\xc6\xff\xff\xff\xff",
}


@pytest.mark.parametrize("data", NOT_OURS.values(), ids=NOT_OURS.keys())
def test_what_pack_cannot_have_written_is_refused(data: bytes) -> None:
    with pytest.raises(CodecError):
        codec.unpack(data)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, {1, 2}, frozenset(), "\ud800", 1j], ids=repr)
def test_what_cannot_travel_is_refused_at_the_writer(value: object) -> None:
    assert code_of(lambda: codec.pack(value)) == "bad_value"


def test_counts_are_taken_at_their_limit_and_refused_past_it() -> None:
    most = PAYLOAD_FIELDS_MAX
    assert len(codec.unpack(codec.pack([0] * most))) == most
    assert len(codec.unpack(codec.pack({str(n): n for n in range(most)}))) == most
    with pytest.raises(CodecError):
        codec.unpack(codec.pack([0] * (most + 1)))
    with pytest.raises(CodecError):
        codec.unpack(codec.pack({str(n): n for n in range(most + 1)}))


def test_depth_is_taken_at_its_limit_and_refused_past_it() -> None:
    def nested(depth: int) -> bytes:
        return b"\x91" * depth + b"\x01"

    most = PAYLOAD_DEPTH_MAX + 2
    assert codec.unpack(nested(most))
    assert code_of(lambda: codec.unpack(nested(most + 1))) == "too_deep"
    assert code_of(lambda: codec.unpack(b"\x81\xa1a" * (most + 1) + b"\x01")) == "too_deep"


def test_bytes_are_taken_at_their_limit_and_refused_past_it() -> None:
    text = "x" * (HEAD_BYTES_MAX - 3)
    assert codec.unpack(codec.pack(text)) == text
    assert code_of(lambda: codec.unpack(codec.pack(text + "x"))) == "too_large"


# --- what a hostile input may cost ----------------------------------------------------------------


def allocated_bytes(call: Callable[[], Any]) -> int:
    """The most that was allocated at one time during the call, which may raise `CodecError`."""
    call_twice = 2  # the first call may fill caches
    for _ in range(call_twice):
        tracemalloc.start()
        try:
            call()
        except CodecError:
            pass
        finally:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
    return peak


MEGABYTE = 1_000_000
HOSTILE = {
    "empty maps": b"\xdd" + MEGABYTE.to_bytes(4, "big") + b"\x80" * MEGABYTE,
    "arrays in arrays": b"\x91" * MEGABYTE,
    "wide trees": (b"\xdc\x00\xc8" + b"\x90" * 200) * (MEGABYTE // 203),
    "a promise": b"\xdd\xff\xff\xff\xff" + b"\x01" * MEGABYTE,
    "numbers": b"\xdd" + (MEGABYTE // 9).to_bytes(4, "big") + (b"\xcf" + b"\xff" * 8) * (MEGABYTE // 9),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_megabyte_is_refused_before_it_is_allocated(data: bytes) -> None:
    assert allocated_bytes(lambda: codec.unpack(data)) < 10_000
    assert allocated_bytes(lambda: codec.unpack(data, bytes_max=2 * MEGABYTE)) < 3 * MEGABYTE
    assert allocated_bytes(lambda: codec.unpack_flat(data, items_max=25_000)) < 4 * MEGABYTE
    assert allocated_bytes(lambda: list(codec.leading(data))) < MEGABYTE


def test_the_worst_head_within_the_limits_takes_a_few_megabytes() -> None:
    row = b"\xdc\x00\xc8" + b"\x80" * 200
    rows = (HEAD_BYTES_MAX - 3) // len(row)
    data = b"\xdc" + min(rows, 200).to_bytes(2, "big") + row * min(rows, 200)
    assert len(codec.unpack(data)) == 200
    assert allocated_bytes(lambda: codec.unpack(data)) < 6 * MEGABYTE


# --- flat sequences -------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(st.one_of(st.integers(-(2**63), 2**64 - 1), st.binary(max_size=40)), max_size=20))
def test_flat_sequences_come_back_as_they_went(values: list[int | bytes]) -> None:
    assert codec.unpack_flat(codec.pack_flat(values), items_max=20) == values


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_no_bytes_break_the_reader_of_flat_sequences(data: bytes) -> None:
    try:
        values = codec.unpack_flat(data, items_max=20)
    except CodecError:
        return
    assert codec.pack_flat(values) == data


@pytest.mark.parametrize(
    "value", [[[]], [{}], [""], ["a"], [None], [True], [1.5], [b"", [1]], {"a": 1}, 1, b"x"], ids=repr
)
def test_nothing_but_numbers_and_bytes_is_flat(value: object) -> None:
    with pytest.raises(CodecError):
        codec.unpack_flat(msgpack.packb(value), items_max=5)


def test_a_flat_sequence_is_bounded_in_items_and_bytes_and_ends_where_it_says() -> None:
    data = codec.pack_flat([1, b"ab", 3])
    assert codec.unpack_flat(data, items_max=3, bytes_max=len(data)) == [1, b"ab", 3]
    assert code_of(lambda: codec.unpack_flat(data, items_max=2)) == "too_many"
    assert code_of(lambda: codec.unpack_flat(data, items_max=3, bytes_max=len(data) - 1)) == "too_large"
    assert code_of(lambda: codec.unpack_flat(data + b"\x01", items_max=3)) == "not_canonical"
    assert code_of(lambda: codec.unpack_flat(b"\x91\xcd\x00\x01", items_max=3)) == "not_canonical"
    for end in range(len(data)):
        with pytest.raises(CodecError):
            codec.unpack_flat(data[:end], items_max=3)


def test_the_leading_items_are_read_whatever_follows_them() -> None:
    items = codec.leading(codec.pack([["a", 1], "b"]) + b"\xc1\xc1")
    assert next(items) == ["a", 1]
    with pytest.raises(CodecError):
        list(codec.leading(b"\x91\xc1"))


# --- compression ----------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400), st.sampled_from([0, 1]), st.sampled_from([1, 3, 9, 19]))
def test_bytes_come_back_from_compression(data: bytes, dictionary: int, level: int) -> None:
    for kind in (CODEC_NONE, CODEC_ZSTD):
        squeezed = compress(data, codec=kind, dictionary=dictionary, level=level)
        assert decompress(squeezed, codec=kind, dictionary=dictionary, bytes_max=len(data)) == data


def test_the_shipped_dictionaries_are_in_the_package_and_never_change() -> None:
    digests = {n: hashlib.sha256(compression._dictionary(n).dict_content).hexdigest() for n in DICTIONARIES}  # type: ignore[union-attr]
    assert digests == {1: "d7491f0784d50eed0e64db6108cc35567e9b060b37d73bb5c244706868c00810"}


def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_a_bomb() -> None:
    squeezed = compress(bytes(1_000), codec=CODEC_ZSTD, dictionary=1)
    assert decompress(squeezed, codec=CODEC_ZSTD, dictionary=1, bytes_max=1_000) == bytes(1_000)
    assert code_of(lambda: decompress(squeezed, codec=CODEC_ZSTD, dictionary=1, bytes_max=999)) == "bomb"
    assert code_of(lambda: decompress(b"12", codec=CODEC_NONE, dictionary=0, bytes_max=1)) == "too_large"


@pytest.mark.parametrize("declared", [0, 1], ids=["size hidden", "size declared"])
def test_a_zstd_bomb_costs_no_more_than_the_bound(declared: int) -> None:
    options: dict[int, int] = {zstd.CompressionParameter.content_size_flag: declared}
    bomb = zstd.compress(bytes(100 * MEGABYTE), options=options)
    assert len(bomb) < 20_000

    def read() -> bytes:
        return decompress(bomb, codec=CODEC_ZSTD, dictionary=0, bytes_max=MEGABYTE)

    assert code_of(read) in ("bomb", "bad_zstd")
    assert allocated_bytes(read) < 3 * MEGABYTE


def test_a_frame_that_asks_for_a_larger_window_than_ours_is_refused() -> None:
    options: dict[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=options)
    data = packer.compress(b"x" * 100) + packer.flush()
    assert zstd.decompress(data) == b"x" * 100
    assert code_of(lambda: decompress(data, codec=CODEC_ZSTD, dictionary=0, bytes_max=MEGABYTE)) == "bad_zstd"


@pytest.mark.parametrize("level", [3, 9, 19, 22])
def test_the_largest_body_we_write_stays_within_the_window_we_read(level: int) -> None:
    data = Random(5).randbytes(BODY_BYTES_MAX // 64) * 64
    squeezed = compress(data, codec=CODEC_ZSTD, dictionary=1, level=level)
    assert decompress(squeezed, codec=CODEC_ZSTD, dictionary=1, bytes_max=BODY_BYTES_MAX) == data


def test_damaged_cut_and_doubled_zstd_is_refused() -> None:
    squeezed = compress(b"some words, " * 40, codec=CODEC_ZSTD, dictionary=1)
    for data in (squeezed + b"\x00", squeezed + squeezed, b"no zstd at all", b""):
        assert (
            code_of(lambda data=data: decompress(data, codec=CODEC_ZSTD, dictionary=1, bytes_max=9_999))  # type: ignore[misc]
            == "bad_zstd"
        )
    for end in range(len(squeezed)):
        with pytest.raises(CodecError):
            decompress(squeezed[:end], codec=CODEC_ZSTD, dictionary=1, bytes_max=9_999)


def test_unknown_codecs_and_dictionaries_are_named() -> None:
    for call in (compress, lambda data, **kw: decompress(data, bytes_max=99, **kw)):
        assert code_of(lambda call=call: call(b"x", codec=7, dictionary=0)) == "unknown_codec"  # type: ignore[misc]
        assert code_of(lambda call=call: call(b"x", codec=1, dictionary=99)) == "unknown_dictionary"  # type: ignore[misc]
