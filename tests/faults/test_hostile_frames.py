"""Hostile bytes in a region's streams, put there with its own password: they stop nothing behind them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgpack
import pytest
import redis

from pipeline.adapters.ledger_reader import LedgerReader
from schemas.bodies import pack_batch
from schemas.codec import pack_flat, unpack_flat
from schemas.compression import compress
from schemas.frame import Header, Kind, seal_frame
from schemas.identity import PacketId
from schemas.keys import PrivateKey, PublicKey
from schemas.lanes import Lane
from schemas.limits import FRAME_BYTES_MAX
from schemas.verdicts import Status
from tests.faults.faults_rig import depth, entries, held, titian, warned
from tests.sides_rig import enqueue, everything_is_back, two_sides, until
from workers.both_sides import BothSides
from workers.looking import ledger_place
from workers.making import link_server

REGION = "1806"
KEY = "titian:{1806}:up"
#: A seq that no packet of the test has.
NOBODY = 900_000


def stranger(sides: BothSides) -> redis.Redis:
    """A client that signs in as the region does, with what its join file says."""
    join = sides.region.join_file()
    return redis.Redis(host=join.host, port=join.port, username=join.username, password=join.password)


def real_frames(sides: BothSides) -> tuple[list[bytes], int]:
    """Frames of the region as they lie in `up`, and their session."""
    with closing(link_server(sides.center).client()) as client:
        found: Any = client.xrange(KEY)
    return [fields[b"f"] for _, fields in found], int(found[0][0].split(b"-")[0])


def flipped(frame: bytes, at: int) -> bytes:
    return frame[:at] + bytes([frame[at] ^ 0x10]) + frame[at + 1 :]


def frame(
    ours: PrivateKey, center: PublicKey, epoch: str, body: bytes, *, region: str = REGION, seq: int = NOBODY
) -> bytes:
    """A frame about one packet that is rightly sealed, and rightly signed by `ours`."""
    header = Header(
        Kind.BATCH, region, epoch, ours.id, center.id, Lane.RECORD, ((seq, seq + 1),), dictionary=0
    )
    return seal_frame(header, body, ours=ours, theirs=center)


def kept_aside(sides: BothSides, real: bytes, epoch: str) -> Iterator[tuple[bytes, str]]:
    """Frames that do not verify, and the code under which each is kept aside."""
    center = sides.center.private_keys()[0].public
    header, sealed, _ = unpack_flat(real, items_max=3, bytes_max=FRAME_BYTES_MAX)
    body = pack_batch([b"anything"])
    yield b"", "malformed"
    yield b"\xff" * 500, "malformed"
    yield real[: len(real) // 2], "malformed"
    yield real + b"\0", "malformed"
    yield bytes(FRAME_BYTES_MAX + 1), "too_large"
    yield pack_flat((header, sealed)), "malformed"  # unsigned
    yield pack_flat((header, sealed, bytes(64))), "bad_signature"
    yield flipped(real, len(real) // 2), "bad_signature"
    yield flipped(real, len(real) - 1), "bad_signature"
    yield frame(PrivateKey.generate(REGION), center, epoch, body), "unknown_key"
    yield frame(PrivateKey.generate("1801"), center, epoch, body, region="1801"), "foreign_region"
    yield msgpack.packb([[[[[[[[1]]]]]]]] * 3), "malformed"


def unreadable(sides: BothSides, epoch: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, bytes]]:
    """Frames rightly signed by the region's own key that cannot be read: bombs, and what is no batch."""
    ours, center = sides.region.private_keys()[0], sides.center.private_keys()[0].public
    for seq, plain in enumerate((bytes(200_000_000), b"\x91" * 3_000_000, b"no batch"), NOBODY):
        squeezed = compress(plain, codec=1, dictionary=0)
        with monkeypatch.context() as patched:
            patched.setattr("schemas.frame.compress", lambda *_, squeezed=squeezed, **__: squeezed)
            yield seq, frame(ours, center, epoch, b"", seq=seq)


@pytest.mark.timeout(110)
def test_hostile_frames_are_kept_aside_with_their_reason_and_all_arrives_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 20)
        everything_is_back(sides, packets)
        epoch = packets[0].epoch
        with held(sides.center, "intake"), closing(stranger(sides)) as hostile:
            packets += enqueue(sides, 60, biometrics=2, seed=2)
            until(lambda: entries(sides, "up") >= 2, what="a frame in `up`")
            real, session = real_frames(sides)
            aside = list(kept_aside(sides, real[0], epoch))
            bad = dict(unreadable(sides, epoch, monkeypatch))
            for bytes_there in [one for one, _ in aside] + list(bad.values()) + real * 2:
                hostile.xadd(KEY, {b"f": bytes_there}, id=f"{session}-*")
            hostile.xadd(KEY.replace("up", "ctl"), {b"f": real[0]})  # replayed where it does not belong
            # More frames than hostile ones: theirs have taken the ids of so many of ours, which are lost.
            packets += enqueue(sides, 20, biometrics=10, seed=3)
        everything_is_back(sides, packets)
        packets += enqueue(sides, 20, seed=4)
        everything_is_back(sides, packets)

        found = depth(sides.center)
        assert (found["quarantined"], found["dead"]) == (len(aside), len(bad))
        assert f"{len(aside)} frames were kept aside" in warned(sides.center, "quarantine")
        listed = titian("dead", "list", "--data", sides.center.path, "--json").json
        assert Counter(one["code"] for one in listed["quarantine"]) == Counter(code for _, code in aside)
        assert all(one["sentence"] for one in listed["quarantine"])
        ledger = LedgerReader.open(ledger_place(sides.center))
        for seq in bad:
            there = ledger.packet(PacketId(REGION, epoch, seq))
            assert there is not None
            assert (there.status, there.reasons[0].code) == (Status.REFUSED, "unreadable")
        assert depth(sides.region)["dead"] == 0  # it never had those


@pytest.mark.timeout(110)
@pytest.mark.parametrize("ids", ["*", "{session}-*"])
def test_hostile_frames_that_take_the_ids_of_ours_hold_nothing_up_for_long(tmp_path: Path, ids: str) -> None:
    with two_sides(tmp_path) as sides:
        packets = enqueue(sides, 20)
        everything_is_back(sides, packets)
        until(lambda: depth(sides.region)["link"]["session"], what="word of the session")
        session = depth(sides.region)["link"]["session"]
        with closing(stranger(sides)) as hostile:
            for _ in range(40):
                hostile.xadd(KEY, {b"f": b"anything"}, id=ids.format(session=session))
        packets += enqueue(sides, 20, seed=2)
        everything_is_back(sides, packets, deadline_s=40.0)
