"""Bundle files: what was written is read; a torn end is told from damage, and damage is seen where it is."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.bundle import (
    MAGIC,
    START,
    BundleDamaged,
    BundleReader,
    End,
    Entry,
    Mark,
    frame_length,
    pack_entry,
)
from schemas.codec import pack, pack_flat
from schemas.errors import CodecError, SchemaError
from schemas.frame import Kind, open_body, split, verify
from schemas.keys import PrivateKey
from schemas.limits import FRAME_BYTES_MAX
from schemas.manifest import PACKETS, RECORDS, EpochSeqs, Manifest, pack_manifest, unpack_manifest
from schemas.messages import Since

GOLDEN = Path(__file__).with_suffix(".json")


def frame(number: int, size: int = 200) -> bytes:
    """Bytes with the form of a frame (a header, a body, a signature) that differ by `number`."""
    body = random.Random(number).randbytes(size)
    return pack_flat((b"header %d" % number, body, bytes(64)))


def bundle(*frames: bytes) -> bytes:
    """A file of them."""
    mark, parts = START, []
    for one in frames:
        data, mark = pack_entry(one, mark)
        parts.append(data)
    return b"".join(parts)


def read(
    data: bytes, *, salvage: bool = False, chunk: int = 1 << 20
) -> tuple[list[Entry], BundleReader, End]:
    reader = BundleReader(salvage=salvage)
    entries = [one for at in range(0, len(data), chunk) for one in reader.feed(data[at : at + chunk])]
    return entries, reader, reader.end()


THREE = tuple(frame(n, 60 + n) for n in range(3))
WHOLE = bundle(*THREE)


@given(st.lists(st.integers(1, 400), max_size=8), st.integers(1, 700))
def test_what_was_written_is_read_in_chunks_of_any_size(sizes: list[int], chunk: int) -> None:
    frames = [frame(n, size) for n, size in enumerate(sizes)]
    data = bundle(*frames)
    entries, reader, end = read(data, chunk=chunk)
    assert [one.frame for one in entries] == frames
    assert end.torn_bytes == 0
    assert end.mark.entries == len(frames)
    assert end.mark.size == len(data)
    assert not reader.damages


def test_the_chain_runs_over_everything_before() -> None:
    chain = hashlib.sha256(MAGIC).digest()
    at = len(MAGIC)
    for one in THREE:
        chain = hashlib.sha256(chain + len(one).to_bytes(4, "big") + one).digest()
        assert WHOLE[at : at + 4 + len(one)] == len(one).to_bytes(4, "big") + one
        at += 4 + len(one) + 8
        assert WHOLE[at - 8 : at] == chain[:8]
    assert read(WHOLE)[2].mark == Mark(at, 3, chain)


def test_a_reading_goes_on_from_a_mark() -> None:
    first = read(WHOLE)[0][0]
    later = BundleReader(first.after)
    assert [one.frame for one in later.feed(WHOLE[first.after.size :])] == list(THREE[1:])
    assert later.end().mark == read(WHOLE)[2].mark


def test_a_file_that_ends_anywhere_is_torn_and_what_is_whole_counts() -> None:
    ends = [len(bundle(*THREE[:n])) for n in range(1, 4)]
    for length in range(len(WHOLE)):
        entries, reader, end = read(WHOLE[:length], chunk=50)
        assert len(entries) == sum(stop <= length for stop in ends)
        assert end.mark.size + end.torn_bytes == length
        assert not reader.damages


def test_zeros_at_the_end_are_a_torn_end() -> None:
    entries, _, end = read(WHOLE + bytes(5000), chunk=1000)
    assert len(entries) == 3
    assert end.torn_bytes == 5000


def test_zeros_and_then_something_are_damage() -> None:
    with pytest.raises(BundleDamaged, match="entry 4"):
        read(WHOLE + bytes(500) + WHOLE[8:], chunk=100)


def test_any_flipped_bit_is_noticed_at_the_entry_that_it_hits() -> None:
    stops = [len(bundle(*THREE[:n])) for n in range(1, 4)]
    for bit in range(8 * len(WHOLE)):
        data = bytearray(WHOLE)
        data[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BundleDamaged) as caught:
            read(bytes(data))
        assert caught.value.n == 1 + sum(stop <= bit // 8 for stop in stops)
        assert "entry" in str(caught.value)


@pytest.mark.parametrize("seed", range(50))
def test_behind_damage_the_rest_is_saved_and_marked(seed: int) -> None:
    rng = random.Random(seed)
    frames = [frame(n, rng.randint(100, 3000)) for n in range(20)]
    data = bytearray(bundle(*frames))
    data[rng.randrange(len(MAGIC), len(data))] ^= 1 << rng.randrange(8)
    entries, reader, _ = read(bytes(data), salvage=True, chunk=rng.randint(100, 5000))
    sound = [one.frame for one in entries if one.chained]
    assert sound == frames[: len(sound)]
    assert len(reader.damages) == 1
    saved = [one.frame for one in entries if not one.chained]
    assert saved == (frames[len(sound) + 1 :])


def test_a_piece_cut_out_of_the_middle_costs_only_what_it_hit() -> None:
    frames = [frame(n, 500) for n in range(10)]
    data = bundle(*frames)
    entries, reader, _ = read(data[:1000] + data[2500:], salvage=True, chunk=77)
    assert [one.frame for one in entries] == [frames[0], *frames[5:]]
    (damage,) = reader.damages
    assert damage.n == 2
    assert damage.at == len(bundle(frames[0]))


def test_an_entry_that_was_taken_out_or_put_in_is_damage() -> None:
    one = bundle(THREE[0])
    two = bundle(*THREE[:2])
    with pytest.raises(BundleDamaged, match="entry 2"):
        read(one + WHOLE[len(two) :])
    with pytest.raises(BundleDamaged, match="entry 3"):
        read(two + two[len(one) :])


def test_a_file_of_something_else_is_no_bundle() -> None:
    for other in (b"PK\x03\x04 something else", b"TIT\0"):
        with pytest.raises(BundleDamaged) as caught:
            read(other)
        assert caught.value.code == "not_a_bundle"


def test_a_length_that_no_frame_has_is_not_waited_for() -> None:
    reader = BundleReader()
    with pytest.raises(BundleDamaged):
        list(reader.feed(MAGIC + (FRAME_BYTES_MAX + 1).to_bytes(4, "big")))


def test_a_frame_that_no_reader_takes_is_not_written() -> None:
    for bad in (b"", bytes(FRAME_BYTES_MAX + 1)):
        with pytest.raises(CodecError):
            pack_entry(bad)


def test_a_frame_says_itself_how_long_it_is() -> None:
    for size in (1, 255, 256, 70_000):
        one = frame(size, size)
        assert frame_length(b"xy" + one + b"z", 2) == len(one)
        assert frame_length(one[:20], 0) in (None, len(one))
    assert frame_length(b"\x92\xc4\x01a", 0) is None
    assert frame_length(b"", 0) is None


# --- the manifest ---------------------------------------------------------------------------------


def _key(name: str, region: str | None = None) -> PrivateKey:
    sign, seal = (hashlib.sha256(f"golden {name} {use}".encode()).digest() for use in ("sign", "seal"))
    return PrivateKey.load(sign, seal, region)


REGION, CENTER = _key("region", "1806"), _key("center")
MARK = read(WHOLE)[2].mark
MANIFEST = Manifest(
    what=PACKETS,
    entries=MARK.entries,
    size=MARK.size,
    chain=MARK.chain,
    made_ms=1_767_229_200_000,
    epochs=[EpochSeqs.of("k3v9qa", ((1, 5), (9, 10)))],
)


def test_a_manifest_comes_back_as_it_was() -> None:
    since = [Since(incarnation="9f3c2a1b", facts=4, records=5)]
    records = MANIFEST.model_copy(
        update={"what": RECORDS, "epochs": [], "history": since, "records_from": 3, "records_to": 9}
    )
    for one in (MANIFEST, records):
        assert unpack_manifest(pack_manifest(one)) == one
    assert MANIFEST.epochs[0].seqs == ((1, 5), (9, 10))


def test_a_manifest_fits_what_stands_before_it_and_nothing_else() -> None:
    assert MANIFEST.fits(MARK)
    assert not MANIFEST.fits(START)
    assert not MANIFEST.fits(MARK._replace(chain=bytes(32)))


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"version": 2}, "newer_version"),
        ({"chain": b"short"}, "bad_msgpack"),
        ({"entries": -1}, "bad_msgpack"),
        ({"epochs": [{"epoch": "k3v9qa", "ranges": [1, 0]}]}, "bad_ranges"),
        ({"epochs": [{"epoch": "not an epoch", "ranges": []}]}, "bad_msgpack"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(change: dict[str, object], code: str) -> None:
    body = pack(MANIFEST.model_dump(exclude_defaults=True) | {"version": 1} | change)
    with pytest.raises(SchemaError) as caught:
        unpack_manifest(body)
    assert caught.value.code == code


def test_version_1_of_the_file_and_of_the_manifest_stays_readable_for_ever() -> None:
    golden = json.loads(GOLDEN.read_text())
    assert bundle(*THREE).hex() == golden["file"]
    assert pack_manifest(MANIFEST).hex() == golden["manifest"]
    entries, _, end = read(bytes.fromhex(golden["file_with_manifest"]))
    assert [one.frame for one in entries[:-1]] == list(THREE)
    parts = split(entries[-1].frame)
    assert parts.header.kind is Kind.MANIFEST
    verify(parts, lambda asked: REGION.public if asked == REGION.id else None)
    assert unpack_manifest(open_body(parts, {CENTER.id: CENTER}.get)) == MANIFEST
    assert MANIFEST.fits(entries[-2].after)
    assert end.torn_bytes == 0
