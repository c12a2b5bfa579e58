"""Files, folders, stdin and the spool: every good line once, every bad one named, however often it is run."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.outbox_draft import AlreadyTaken, Refused, Taken
from pipeline.adapters.outbox_sqlite import OutboxSettings, create_outbox
from pipeline.errors import DiskFull, NotFound
from pipeline.region import Producer, open_outbox
from pipeline.region.attachments import PackingLimits
from pipeline.region.intake_files import Counts, enqueue_file, enqueue_stream, files_in
from pipeline.region.spool import Spooled, look, prepare, watch_spool
from schemas.errors import InvalidPacket
from schemas.identity import PacketId
from schemas.packet import read_head

SETTINGS = OutboxSettings(low_water_bytes=0, ballast_bytes=0)


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Producer]:
    create_outbox(tmp_path / "data", "1806")
    with open_outbox(tmp_path / "data", settings=SETTINGS) as made:
        yield made


def packet(n: int, **changes: Any) -> dict[str, Any]:
    payload = {"nik": f"180606150590{n + 1:04d}", "nama": f"WARGA {n}"}
    return {"kind": "enrolment", "payload": payload, **changes}


def lines(*packets: dict[str, Any] | str) -> bytes:
    return b"".join((p if isinstance(p, str) else json.dumps(p)).encode() + b"\n" for p in packets)


def named(outbox: Producer, seq: int) -> str:
    return str(read_head(outbox.store.read(seq)).payload["nama"])


# --- the three lines of Python ----------------------------------------------------------------------


def test_enqueue_returns_the_identity_under_which_the_packet_is_kept(outbox: Producer) -> None:
    first, second = outbox.enqueue(packet(1)), outbox.enqueue(packet(1))
    assert (first, second) == (PacketId("1806", outbox.epoch, 1), PacketId("1806", outbox.epoch, 2))
    assert str(first) == f"1806-{outbox.epoch}-000001"
    assert named(outbox, 1) == "WARGA 1"


def test_enqueue_under_a_key_takes_once(outbox: Producer) -> None:
    assert (
        outbox.enqueue(packet(1), key="a") == outbox.enqueue(packet(1), key="a") != outbox.enqueue(packet(1))
    )


@pytest.mark.parametrize("size", [10, 400_000], ids=["small", "large"])
def test_a_key_that_was_used_for_other_contents_is_an_error_and_nothing_is_stored(
    outbox: Producer, tmp_path: Path, size: int
) -> None:
    (tmp_path / "face.jpg").write_bytes(b"\xff\xd8" + b"x" * size)
    (tmp_path / "other.jpg").write_bytes(b"\xff\xd8" + b"y" * size)

    def with_face(path: str) -> dict[str, Any]:
        return packet(1, attachments=[{"name": "face", "media_type": "image/jpeg", "path": path}])

    first = outbox.enqueue(with_face("face.jpg"), key="a", folder=tmp_path)
    for other in (with_face("other.jpg"), packet(2)):
        with pytest.raises(InvalidPacket, match=r"^id 'a' was used for another packet \(seq 1\): ") as said:
            outbox.enqueue(other, key="a", folder=tmp_path)
        assert (said.value.code, said.value.field) == ("id_used", "id")
    assert outbox.enqueue(with_face("face.jpg"), key="a", folder=tmp_path) == first
    assert outbox.store.highest_seq() == 1
    assert outbox.store.connection.execute("SELECT count(*) FROM upload").get == 0


def test_the_order_of_an_objects_members_and_another_lane_do_not_make_another_packet(
    outbox: Producer,
) -> None:
    payload = packet(1)["payload"] | {"catatan": {"a": 1, "b": [{"c": 1, "d": 2}]}}
    turned = {"catatan": {"b": [{"d": 2, "c": 1}], "a": 1}, **dict(reversed(packet(1)["payload"].items()))}
    first = outbox.enqueue(packet(1, payload=payload), key="a")
    assert outbox.enqueue(packet(1, payload=turned, lane="urgent"), key="a") == first
    turned["catatan"]["b"][0]["d"] = 3
    with pytest.raises(InvalidPacket, match="another packet"):
        outbox.enqueue(packet(1, payload=turned), key="a")


def test_where_only_the_key_of_a_packet_is_left_its_id_stays_taken(outbox: Producer) -> None:
    first = outbox.enqueue(packet(1), key="a")
    outbox.store.connection.execute("DELETE FROM body")
    assert outbox.enqueue(packet(2), key="a") == first


def test_enqueue_many_answers_for_each_packet_in_order(outbox: Producer) -> None:
    many = [packet(1), {"kind": "x"}, packet(2, id="k"), packet(2, id="k"), packet(1), packet(3, id="k")]
    a, b, c, d, e, f = outbox.enqueue_many(many)
    assert (a, c, d, e) == tuple(
        kind(PacketId("1806", outbox.epoch, seq))
        for kind, seq in ((Taken, 1), (Taken, 2), (AlreadyTaken, 2), (Taken, 3))
    )
    assert isinstance(b, Refused)
    assert (b.line, b.field) == (2, "kind")
    assert isinstance(f, Refused)
    assert (f.line, f.field) == (6, "id")


# --- files ------------------------------------------------------------------------------------------


def test_a_file_run_again_takes_nothing_twice_and_what_was_added_is_taken(
    outbox: Producer, tmp_path: Path
) -> None:
    file = tmp_path / "p.ndjson"
    file.write_bytes(lines(*map(packet, range(1_200))))
    first = enqueue_file(outbox, file)
    file.write_bytes(lines(*map(packet, range(1_203))))
    again = enqueue_file(outbox, file)
    assert (first.taken, first.already, first.refused, first.lines) == (1_200, 0, 0, 1_200)
    assert (again.taken, again.already, again.refused) == (3, 1_200, 0)
    assert outbox.store.highest_seq() == 1_203


def test_bad_lines_are_named_and_the_good_ones_around_them_go_through(
    outbox: Producer, tmp_path: Path
) -> None:
    file = tmp_path / "p.ndjson"
    bad = packet(2)
    bad["payload"]["nik"] = "123456789012345"
    file.write_bytes(lines(packet(1), "not json", "", bad, packet(3)))
    told: list[Refused] = []
    counts = enqueue_file(outbox, file, on_refused=told.append)
    assert (counts.taken, counts.refused) == (2, 2)
    assert [str(one) for one in told] == [
        f"{file}:2: the line is not JSON: Expecting value at column 1",
        f"{file}:4: nik: a NIK has 16 digits, this has 15 characters",
    ]
    assert counts.refusals == told
    assert [named(outbox, 1), named(outbox, 2)] == ["WARGA 1", "WARGA 3"]


def test_paths_are_relative_to_the_file_and_large_attachments_keep_their_place(
    outbox: Producer, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "face.jpg").write_bytes(b"\xff\xd8" + b"x" * 400_000)
    files = [{"name": "face", "media_type": "image/jpeg", "path": "face.jpg"}]
    (folder / "p.ndjson").write_bytes(lines(packet(1), packet(2, attachments=files), packet(3)))
    assert enqueue_file(outbox, folder / "p.ndjson").taken == 3
    assert [named(outbox, seq) for seq in (1, 2, 3)] == ["WARGA 1", "WARGA 2", "WARGA 3"]
    assert outbox.store.read(2).endswith(b"x" * 400_000)
    assert enqueue_file(outbox, folder / "p.ndjson").already == 3


def test_a_missing_attachment_is_refused_with_its_line_and_path(outbox: Producer, tmp_path: Path) -> None:
    files = [{"name": "face", "media_type": "image/jpeg", "path": "gone.jpg"}]
    (tmp_path / "p.ndjson").write_bytes(lines(packet(1), packet(2, attachments=files)))
    counts = enqueue_file(outbox, tmp_path / "p.ndjson")
    assert counts.taken == 1
    assert f"p.ndjson:2: attachments.path: {tmp_path}/gone.jpg" in str(counts.refusals[0])


def test_stdin_a_byte_order_mark_windows_line_ends_and_a_last_line_without_an_end(
    outbox: Producer, tmp_path: Path
) -> None:
    text = b"\xef\xbb\xbf" + lines(packet(1), packet(2)).replace(b"\n", b"\r\n") + lines(packet(3)).rstrip()
    counts = enqueue_stream(outbox, io.BytesIO(text), "-", tmp_path)
    assert (counts.taken, counts.refused, counts.lines, counts.bytes) == (3, 0, 3, len(text))


def test_a_line_that_is_too_long_is_passed_over_without_being_held(outbox: Producer, tmp_path: Path) -> None:
    small = Producer(outbox.store, PackingLimits(line_bytes_max=10_000))
    text = lines(packet(1), "x" * 5_000_000, packet(2))
    counts = enqueue_stream(small, io.BytesIO(text), "-", tmp_path)
    assert (counts.taken, counts.refused, counts.refusals[0].line) == (2, 1, 2)
    assert "more than 10000 bytes" in counts.refusals[0].message


def test_progress_is_told_while_it_goes_on(outbox: Producer, tmp_path: Path) -> None:
    seen: list[int] = []
    text = lines(*map(packet, range(1_500)))
    enqueue_stream(outbox, io.BytesIO(text), "-", tmp_path, progress=lambda c: seen.append(c.taken))
    assert seen == list(range(1, 1_501))


def test_a_folder_stands_for_its_files_by_name(tmp_path: Path) -> None:
    for name in ("b.ndjson", "a.jsonl", ".hidden.ndjson", "c.ndjson.part", "face.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "deep.ndjson").mkdir()
    assert [one.name for one in files_in(tmp_path)] == ["a.jsonl", "b.ndjson"]
    assert files_in(tmp_path / "b.ndjson") == [tmp_path / "b.ndjson"]
    with pytest.raises(NotFound, match="holds no file"):
        files_in(tmp_path / "deep.ndjson")


def test_a_file_that_is_not_there_is_said_so(outbox: Producer, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        enqueue_file(outbox, tmp_path / "no.ndjson")


def test_an_id_that_stands_over_two_packets_is_refused_within_a_file_and_across_files(
    outbox: Producer, tmp_path: Path
) -> None:
    (tmp_path / "face.jpg").write_bytes(b"\xff\xd8" + b"x" * 400_000)
    files = [{"name": "face", "media_type": "image/jpeg", "path": "face.jpg"}]
    large = packet(3, id="a", attachments=files)
    file, later = tmp_path / "p.ndjson", tmp_path / "q.ndjson"
    file.write_bytes(lines(packet(1, id="a"), packet(2, id="a"), large, packet(4, id="b"), packet(1, id="a")))
    later.write_bytes(lines(packet(5, id="c"), packet(6, id="b"), packet(7)))
    counts = enqueue_file(outbox, file)
    assert (counts.taken, counts.already, counts.refused) == (2, 1, 2)
    assert [str(one) for one in counts.refusals] == [
        f"{file}:{line}: id: id 'a' was used for another packet (seq 1): give this one another id, or leave "
        "`id` out"
        for line in (2, 3)
    ]
    counts = enqueue_file(outbox, later)
    assert (counts.taken, counts.already, [one.line for one in counts.refusals]) == (2, 0, [2])
    assert [named(outbox, seq) for seq in (1, 2, 3, 4)] == ["WARGA 1", "WARGA 4", "WARGA 5", "WARGA 7"]


# --- the spool --------------------------------------------------------------------------------------


def test_a_spooled_file_is_put_away_and_one_with_bad_lines_gets_a_report(
    outbox: Producer, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    prepare(spool)
    (spool / "bad.ndjson").write_bytes(lines(packet(1), "{}", packet(2)))
    (spool / "good.ndjson").write_bytes(lines(packet(3)))
    (spool / "half.ndjson.part").write_bytes(lines(packet(4)))
    done = list(look(outbox, spool, threading.Event()))
    assert [one.put for one in done] == [spool / "refused" / "bad.ndjson", spool / "done" / "good.ndjson"]
    report = (spool / "refused" / "bad.ndjson.txt").read_text()
    assert report.startswith(f"{spool}/bad.ndjson:2: kind: ")
    assert report.count("\n") == 1
    assert outbox.store.highest_seq() == 3
    assert (spool / "half.ndjson.part").exists()


def test_a_spooled_file_that_uses_an_id_for_two_packets_is_put_with_the_refused(
    outbox: Producer, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    prepare(spool)
    (spool / "a.ndjson").write_bytes(lines(packet(1, id="a"), packet(2, id="a"), packet(3)))
    (one,) = look(outbox, spool, threading.Event())
    assert one.put == spool / "refused" / "a.ndjson"
    assert "a.ndjson:2: id: id 'a' was used" in (spool / "refused" / "a.ndjson.txt").read_text()
    assert outbox.store.highest_seq() == 2


def test_a_file_that_was_enqueued_but_not_put_away_is_not_taken_twice(
    outbox: Producer, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    prepare(spool)
    (spool / "a.ndjson").write_bytes(lines(packet(1)))
    enqueue_file(outbox, spool / "a.ndjson")  # and then the power went
    (one,) = look(outbox, spool, threading.Event())
    assert one.counts is not None
    assert (one.counts.taken, one.counts.already, outbox.store.highest_seq()) == (0, 1, 1)


def test_a_file_that_is_still_being_written_stays_until_it_is_whole(outbox: Producer, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    prepare(spool)
    (spool / "a.ndjson").write_bytes(lines(packet(1)))

    class WritesMeanwhile(SystemClock):
        def now_ms(self) -> int:
            with open(spool / "a.ndjson", "ab") as file:
                file.write(lines(packet(2)) if file.tell() < 100 else b"")
            return super().now_ms()

    slow = Producer(outbox.store, clock=WritesMeanwhile())
    (one,) = look(slow, spool, threading.Event())
    assert (one.put, one.waits) == (None, "it changed while it was read")
    (one,) = look(outbox, spool, threading.Event())
    assert one.put == spool / "done" / "a.ndjson"
    assert [named(outbox, 1), named(outbox, 2)] == ["WARGA 1", "WARGA 2"]


def test_a_second_file_of_the_same_name_does_not_replace_the_first(outbox: Producer, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    prepare(spool)
    for n in range(3):
        (spool / "a.ndjson").write_bytes(lines(packet(n)))
        assert [one.waits for one in look(outbox, spool, threading.Event())] == [""]
    assert sorted(one.name for one in (spool / "done").iterdir()) == ["a-2.ndjson", "a-3.ndjson", "a.ndjson"]


def test_on_a_full_disk_a_spooled_file_stays_and_says_what_it_waits_for(
    outbox: Producer, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    prepare(spool)
    (spool / "a.ndjson").write_bytes(lines(packet(1)))
    full = open_outbox(tmp_path / "data", settings=OutboxSettings(low_water_bytes=1 << 60))
    with pytest.raises(DiskFull):
        full.enqueue(packet(1))
    (one,) = look(full, spool, threading.Event())
    assert (one.put, one.path.exists()) == (None, True)
    assert "low_water_bytes" in one.waits
    full.close()
    (one,) = look(outbox, spool, threading.Event())
    assert one.put == spool / "done" / "a.ndjson"


def test_a_watched_spool_takes_what_is_there_and_what_is_renamed_into_it(
    outbox: Producer, tmp_path: Path
) -> None:
    spool = tmp_path / "spool"
    prepare(spool)
    (spool / "first.ndjson").write_bytes(lines(packet(1)))
    stop, done = threading.Event(), list[Spooled]()

    def watch() -> None:
        watch_spool(outbox, spool, stop, done.append, look_every_ms=200)
        outbox.close()

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        assert _until(lambda: len(done) == 1)
        (spool / "second.part").write_bytes(lines(packet(2)))
        (spool / "second.part").rename(spool / "second.ndjson")
        assert _until(lambda: len(done) == 2)
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()
    assert [one.path.name for one in done] == ["first.ndjson", "second.ndjson"]
    assert all(isinstance(one.counts, Counts) for one in done)


def _until(holds: Any, timeout_s: float = 20.0) -> bool:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if holds():
            return True
        time.sleep(0.01)
    return False
