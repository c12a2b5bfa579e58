"""Large packets: put together from chunks in any order and any sizes, checked, looked at piece by piece."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import pack_flat
from schemas.frame import Kind
from schemas.identity import PacketId
from schemas.keys import PrivateKey
from schemas.lanes import Lane
from schemas.ranges import covers, merge
from schemas.verdicts import Reason, Status
from tests.unit.ledger_rig import EPOCH, JPEG, REGION, Places, Rig, new_rig, packet

ID = PacketId(REGION, EPOCH, 5)
BIG = packet(
    1, [("face", "image/jpeg", JPEG + bytes(range(256)) * 40), ("iris", "image/x-iris", b"i" * 5_000)]
)


def held(rig: Rig, packet_id: PacketId = ID) -> bytes:
    return b"".join(rig.ledger.reader.stored(packet_id))


def test_a_large_packet_is_received_when_all_of_it_is_there(rig: Rig) -> None:
    first = rig.took(rig.chunk(5, BIG, 4_000, len(BIG)))
    assert (first.received, first.chunks, first.new_facts) == (0, 1, False)
    assert rig.ledger.partly(REGION, EPOCH) == {5: ((4_000, len(BIG)),)}
    assert rig.ledger.reader.counts().incomplete == 1
    last = rig.took(rig.chunk(5, BIG, 0, 4_500))
    assert (last.received, last.completed) == (1, 1)
    assert rig.ledger.partly(REGION, EPOCH) == {}
    assert held(rig) == BIG
    (group,) = rig.facts()
    assert group.hash == hashlib.sha256(hashlib.sha256(BIG).digest()).digest()


spans = st.lists(
    st.tuples(st.integers(0, len(BIG) - 1), st.integers(1, 9_000)).map(
        lambda one: (one[0], min(one[0] + one[1], len(BIG)))
    ),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(spans, st.integers(1, 5), st.randoms(use_true_random=False))
def test_chunks_of_any_sizes_in_any_order_with_overlaps_make_the_packet(
    places: Places, some: list[tuple[int, int]], frames_a_step: int, random: object
) -> None:
    whole = [(at, min(at + 4_000, len(BIG))) for at in range(0, len(BIG), 4_000)]
    cuts = [*some, *whole]
    random.shuffle(cuts)  # type: ignore[attr-defined]
    with places() as place:
        rig = new_rig(place)
        sent: list[tuple[int, int]] = []
        for at in range(0, len(cuts), frames_a_step):
            some_cuts = cuts[at : at + frames_a_step]
            rig.step(*(rig.chunk(5, BIG, *cut) for cut in some_cuts))
            sent += some_cuts
            if covers(merge(sent), (0, len(BIG))):
                assert held(rig) == BIG
                assert rig.ledger.partly(REGION, EPOCH) == {}
            else:
                assert rig.ledger.partly(REGION, EPOCH) == {5: merge(sent)}
        counts = rig.ledger.reader.counts()
        assert (counts.received, counts.incomplete) == (1, 0)
        rig.ledger.close()


def test_a_large_packet_is_validated_by_all_its_bytes(rig: Rig) -> None:
    rig.step(*(rig.chunk(5, BIG, at, min(at + 4_000, len(BIG))) for at in range(0, len(BIG), 4_000)))
    rig.validate()
    assert rig.word(5) == (Status.PRINT_READY_RECORD, ())
    (change,) = rig.records()
    assert change.head == BIG[: len(change.head or b"")]
    wrong = packet(2, [("face", "image/jpeg", b"GIF89a" + b"x" * 20_000)])
    rig.step(rig.chunk(6, wrong, 0, len(wrong)))
    rig.validate()
    assert rig.word(6)[1][0].code == "attachment_not_its_type"


def test_attachments_come_out_as_files_byte_for_byte(rig: Rig, tmp_path: Path) -> None:
    rig.step(*(rig.chunk(5, BIG, at, min(at + 3_000, len(BIG))) for at in range(0, len(BIG), 3_000)))
    folder = tmp_path / "out"
    folder.mkdir()
    paths = rig.ledger.reader.write_attachments(ID, folder)
    assert [path.name for path in paths] == ["face", "iris"]
    assert paths[0].read_bytes() == JPEG + bytes(range(256)) * 40
    assert paths[1].read_bytes() == b"i" * 5_000
    rig.step(rig.batch({1: packet(2, [("face", "image/jpeg", JPEG)])}))
    (small,) = rig.ledger.reader.write_attachments(PacketId(REGION, EPOCH, 1), folder)
    assert small.read_bytes() == JPEG


def test_bytes_that_do_not_match_the_digest_are_discarded_and_asked_for_again(rig: Rig) -> None:
    digest = hashlib.sha256(BIG).digest()
    damaged = BIG[:-1] + b"?"
    rig.step(rig.chunk(5, damaged, 0, 4_000, digest=digest))
    took = rig.took(rig.chunk(5, damaged, 4_000, len(BIG), digest=digest))
    assert (took.restated, took.received) == (1, 0)
    assert rig.ledger.partly(REGION, EPOCH) == {}
    assert rig.ledger.reader.packet(ID) is None
    rig.step(rig.chunk(5, BIG, 0, len(BIG)))
    assert rig.word(5)[0] is Status.RECEIVED_AT_CENTRAL


def test_the_second_time_they_do_not_match_the_packet_is_refused(rig: Rig) -> None:
    for _ in range(2):
        rig.step(rig.chunk(5, BIG[:-1] + b"?", 0, len(BIG), digest=hashlib.sha256(BIG).digest()))
    assert rig.word(5) == (Status.REFUSED, (Reason("digest_differs"),))
    assert held(rig) == b""
    rig.step(rig.chunk(5, BIG, 0, len(BIG)))  # retried by the region, whole this time
    assert rig.word(5)[0] is Status.RECEIVED_AT_CENTRAL


def test_a_large_packet_that_is_none_is_refused_and_its_bytes_go(rig: Rig) -> None:
    rig.step(rig.chunk(5, b"\0\0\0\5hello" * 4_000, 0, 36_000))
    status, (reason,) = rig.word(5)
    assert (status, reason.code) == (Status.REFUSED, "invalid_packet")
    assert held(rig) == b""


def test_a_chunk_of_a_packet_that_is_complete_only_repeats_the_receipt(rig: Rig) -> None:
    rig.step(rig.chunk(5, BIG, 0, len(BIG)))
    took = rig.took(rig.chunk(5, BIG, 0, 100), rig.chunk(5, BIG, 100, 200))
    assert (took.duplicates, took.received) == (1, 0)
    assert rig.facts(after=1)[0].seqs == ((5, 6),)
    assert rig.took(rig.chunk(5, BIG + b"x", 0, 100)).forks == 1
    assert held(rig) == BIG


def test_another_digest_begins_an_incomplete_packet_anew(rig: Rig) -> None:
    other = packet(2, [("face", "image/jpeg", JPEG + b"z" * 9_000)])
    rig.step(rig.chunk(5, BIG, 0, 4_000))
    rig.step(rig.chunk(5, other, 4_000, len(other)))
    assert rig.ledger.partly(REGION, EPOCH) == {5: ((4_000, len(other)),)}
    rig.step(rig.chunk(5, other, 0, 4_000))
    assert held(rig) == other


def test_a_chunk_outside_of_its_packet_or_too_large_to_name_is_refused(rig: Rig) -> None:
    digest = hashlib.sha256(BIG).digest()
    for seq, body in enumerate(
        [
            (100, digest, 90, b"x" * 20),
            (2**40, digest, 0, b"x"),
            (100, b"short", 0, b"x"),
            (100, digest, 0, b""),
        ],
        1,
    ):
        rig.step(rig.frame(Kind.CHUNK, pack_flat(body), ((seq, seq + 1),), lane=Lane.BIOMETRIC))
        assert rig.word(seq)[0] is Status.REFUSED
    assert rig.ledger.reader.counts().incomplete == 0


def test_a_packet_that_comes_whole_ends_its_putting_together(rig: Rig) -> None:
    small = packet(3, [("face", "image/jpeg", JPEG + b"s" * 3_000)])
    rig.took(rig.chunk(5, small, 0, 1_000), rig.batch({5: small}))
    assert rig.ledger.partly(REGION, EPOCH) == {}
    assert held(rig) == small


def test_chunks_under_a_key_of_somebody_else_are_not_put_together(rig: Rig) -> None:
    rig.step(rig.chunk(5, BIG, 0, len(BIG), ours=PrivateKey.generate(REGION)))
    assert rig.aside() == ["unknown_key"]
    assert rig.ledger.reader.packet(ID) is None
