"""The contract of the link (`RegionLink`, `CenterLink`), run against every adapter and kind of broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.adapters.redis_region_link import RedisRegionLink
from pipeline.adapters.redis_wire import attempts_key, pack_hint
from pipeline.errors import LinkDenied, LinkDown, Unreachable
from pipeline.ports import DownHint, EntryId
from pipeline.region_link import NO_ENTRY, Accepted, Full, RegionLink, SendOutcome
from tests.contracts.link_rigs import OTHER, REGION, Rig, ValkeyRig, length, rig_of, until

HINT = DownHint(session=1, n=1, facts=7, records=3, answered=2, sizes=(10, 20))
BACK = HINT._replace(incarnation="9f3c2a1b", back=(3, 2_000, 5), asks=((7, 300), (8, -1)))
START = EntryId(0, 0)


@pytest.fixture(params=["memory", "fakeredis", "valkey"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with rig_of(request.param) as made:
        yield made


@pytest.fixture
def valkey() -> Iterator[ValkeyRig]:
    with rig_of("valkey") as made:
        assert isinstance(made, ValkeyRig)
        yield made


def collect(link: RegionLink, count: int) -> list[SendOutcome]:
    """Exactly the next `count` outcomes."""
    got: list[SendOutcome] = []

    def enough() -> bool:
        got.extend(link.outcomes(0.5))
        return len(got) >= count

    until(enough)
    assert len(got) == count
    return got


def read(link: RegionLink, after: EntryId, count: int) -> list[tuple[EntryId, bytes]]:
    """The next `count` entries of `down`."""
    got: list[tuple[EntryId, bytes]] = []

    def enough() -> bool:
        got.extend(link.read_down(got[-1][0] if got else after, 0.5))
        return len(got) >= count

    until(enough)
    return got


def send(link: RegionLink, first: int, count: int, session: int = 1) -> list[EntryId]:
    """Send entries `<session>-<first>` and on; each frame is its id."""
    entries = [EntryId(session, n) for n in range(first, first + count)]
    for entry in entries:
        link.send(entry, str(entry).encode())
    return entries


def put(rig: Rig, first: int, count: int, session: int = 1, frame_bytes: int = 0) -> list[EntryId]:
    """Put entries into `down`; each frame is its id, padded."""
    entries = [EntryId(session, n) for n in range(first, first + count)]
    for entry in entries:
        frame = str(entry).encode().ljust(frame_bytes, b".")
        assert rig.center.put_down(REGION, entry, frame, HINT._replace(session=session, n=entry.n))
    return entries


def ends_with(error: type[Exception], call: Callable[[], object], within_s: float = 10.0) -> None:
    """`call`, tried again and again, raises `error` in time."""

    def raises() -> bool:
        try:
            call()
        except error:
            return True
        return False

    until(raises, within_s)


# --- up -----------------------------------------------------------------------------------------


def test_frames_arrive_in_the_order_sent(rig: Rig) -> None:
    entries = send(rig.region, 1, 20)
    collect(rig.region, 20)
    arrived = rig.center.read(REGION, "up", 100)
    assert [(one.id, one.frame) for one in arrived] == [(str(e), str(e).encode()) for e in entries]


def test_outcomes_come_in_the_order_sent_with_500_in_flight(rig: Rig) -> None:
    entries = send(rig.region, 1, 500)
    assert collect(rig.region, 500) == [Accepted(entry) for entry in entries]
    assert length(rig.region) == 500


def test_frames_may_hold_any_bytes_and_be_as_large_as_allowed(rig: Rig) -> None:
    if rig.name == "fakeredis":
        pytest.skip("fakeredis' TCP server splits commands at line ends while they trickle in")
    frame = bytes(range(256)) * 1280
    rig.region.send(EntryId(1, 1), frame)
    rig.region.send(EntryId(1, 2), b"\r\n$-1\r\n")
    collect(rig.region, 2)
    assert [one.frame for one in rig.center.read(REGION, "up", 9)] == [frame, b"\r\n$-1\r\n"]


def test_nothing_sent_has_no_outcomes_and_does_not_wait(rig: Rig) -> None:
    before_s = time.monotonic()
    assert rig.region.outcomes(5.0) == []
    assert time.monotonic() - before_s < 1.0


def test_an_entry_sent_again_answers_accepted_and_is_there_once(rig: Rig) -> None:
    if rig.name == "fakeredis":
        pytest.skip("fakeredis' TCP server closes the connection after an error answer")
    send(rig.region, 1, 3)
    collect(rig.region, 3)
    entries = send(rig.region, 2, 3)
    assert collect(rig.region, 3) == [Accepted(entry) for entry in entries]
    assert [one.id for one in rig.center.read(REGION, "up", 9)] == ["1-1", "1-2", "1-3", "1-4"]


def test_a_wiped_broker_has_length_0_and_takes_any_id_again(rig: Rig) -> None:
    send(rig.region, 1, 3, session=5)
    collect(rig.region, 3)
    rig.wipe()
    assert length(rig.region) == 0
    assert collect(rig.region, len(send(rig.region, 1, 2, session=2))) == [
        Accepted(EntryId(2, 1)),
        Accepted(EntryId(2, 2)),
    ]
    assert length(rig.region) == 2


def test_a_broker_without_memory_says_full_and_takes_frames_once_it_has_some(rig: Rig) -> None:
    send(rig.region, 1, 1)
    collect(rig.region, 1)
    rig.memory_ends()
    entries = send(rig.region, 2, 3)
    assert collect(rig.region, 3) == [Full(entry) for entry in entries]
    assert length(rig.region) == 1
    rig.memory_returns()
    assert collect(rig.region, len(send(rig.region, 5, 1))) == [Accepted(EntryId(1, 5))]
    assert [one.id for one in rig.center.read(REGION, "up", 9)] == ["1-1", "1-5"]


def test_a_broker_without_memory_for_control_and_urgent_frames_is_a_hold_and_no_break(rig: Rig) -> None:
    send(rig.region, 1, 1)
    collect(rig.region, 1)
    rig.memory_ends()
    rig.region.send_control(b"want")
    rig.region.send_urgent(EntryId(1, 2), b"urgent")
    assert collect(rig.region, 2) == [Full(NO_ENTRY), Full(EntryId(1, 2))]
    rig.memory_returns()
    rig.region.send_urgent(EntryId(1, 3), b"urgent")
    assert collect(rig.region, 1) == [Accepted(EntryId(1, 3))]
    assert [one.frame for one in rig.center.read(REGION, "ctl", 9)] == [b"urgent"]


def test_intake_can_read_and_free_a_broker_without_memory(rig: Rig) -> None:
    send(rig.region, 1, 2)
    collect(rig.region, 2)
    rig.memory_ends()
    assert [one.attempts for one in rig.center.read(REGION, "up", 9)] == [0, 0]
    assert [one.attempts for one in rig.center.read(REGION, "up", 9)] == [1, 1]
    rig.center.delete(REGION, "up", ["1-1", "1-2"])
    assert rig.center.lengths([REGION]) == {}
    with pytest.raises(Unreachable):
        rig.center.put_down(REGION, EntryId(1, 1), b"d", HINT)


# --- control and the center's view ----------------------------------------------------------------


def test_control_frames_arrive_in_the_order_sent(rig: Rig) -> None:
    rig.region.send_control(b"first")
    rig.region.send_control(b"second")
    until(lambda: rig.center.lengths([OTHER, REGION]) == {REGION: (2, 0)})
    assert [one.frame for one in rig.center.read(REGION, "ctl", 9)] == [b"first", b"second"]


def test_urgent_frames_lie_in_ctl_in_the_order_sent_with_control_frames(rig: Rig) -> None:
    rig.region.send_control(b"first")
    rig.region.send_urgent(EntryId(7, 3), b"second")
    rig.region.send_control(b"third")
    rig.region.send_urgent(EntryId(7, 9), b"fourth")
    assert collect(rig.region, 2) == [Accepted(EntryId(7, 3)), Accepted(EntryId(7, 9))]
    assert [one.frame for one in rig.center.read(REGION, "ctl", 9)] == [
        b"first",
        b"second",
        b"third",
        b"fourth",
    ]
    assert length(rig.region) == 0


def test_the_outcomes_of_both_ways_come_together_each_in_its_order(rig: Rig) -> None:
    up = send(rig.region, 1, 3)
    urgent = [EntryId(1, n) for n in (4, 6)]
    for entry in urgent:
        rig.region.send_urgent(entry, b"u")
    got = [one.entry for one in collect(rig.region, 5)]
    assert [entry for entry in got if entry in up] == up
    assert [entry for entry in got if entry in urgent] == urgent
    assert rig.region.outcomes(0.0) == []


def test_what_was_urgent_on_a_connection_that_broke_has_no_outcome(rig: Rig) -> None:
    rig.region.send_urgent(EntryId(1, 1), b"u")
    collect(rig.region, 1)
    rig.kill()

    def one_more() -> None:
        rig.region.send_urgent(EntryId(1, 2), b"u")
        rig.region.outcomes(0.2)

    ends_with(LinkDown, one_more)
    rig.start()
    rig.wipe()
    rig.region.send_urgent(EntryId(1, 3), b"u")
    assert collect(rig.region, 1) == [Accepted(EntryId(1, 3))]


def test_a_length_is_that_of_the_moment_between_the_control_frames_around_it(rig: Rig) -> None:
    """Asked before a want is sent, it is answered before the want arrives."""
    send(rig.region, 1, 2)
    collect(rig.region, 2)
    rig.region.ask_length()
    rig.region.send_control(b"want")
    until(lambda: rig.center.lengths([REGION]) == {REGION: (1, 2)})
    collect(rig.region, len(send(rig.region, 3, 1)))
    assert until(rig.region.lengths) == [2]
    assert rig.region.lengths() == []


def test_attempts_are_counted_before_an_entry_is_handed_out(rig: Rig) -> None:
    send(rig.region, 1, 2)
    collect(rig.region, 2)
    assert [one.attempts for one in rig.center.read(REGION, "up", 1)] == [0]
    assert [one.attempts for one in rig.center.read(REGION, "up", 9)] == [1, 0]
    assert [one.attempts for one in rig.center.read(REGION, "up", 9)] == [2, 1]


def test_deleting_takes_entries_and_their_attempts(rig: Rig) -> None:
    send(rig.region, 1, 3)
    collect(rig.region, 3)
    rig.center.read(REGION, "up", 9)
    rig.center.delete(REGION, "up", ["1-1", "1-3", "9-9"])
    assert [(one.id, one.attempts) for one in rig.center.read(REGION, "up", 9)] == [("1-2", 1)]
    rig.wipe()
    send(rig.region, 1, 1)
    collect(rig.region, 1)
    assert [one.attempts for one in rig.center.read(REGION, "up", 9)] == [0]


def test_wait_returns_once_something_lies_there(rig: Rig) -> None:
    rig.center.wait([OTHER, REGION], 0.05)  # nothing: it comes back by itself
    rig.region.send_control(b"want")
    before_s = time.monotonic()
    rig.center.wait([OTHER, REGION], 20.0)
    assert time.monotonic() - before_s < 5.0


def test_the_last_session_is_the_highest_that_any_id_named(rig: Rig) -> None:
    assert rig.center.last_session(REGION) == 0
    send(rig.region, 1, 1, session=4)
    collect(rig.region, 1)
    assert rig.center.last_session(REGION) == 4
    put(rig, 1, 1, session=6)
    rig.center.clear_down(REGION)
    rig.center.delete(REGION, "up", ["4-1"])
    assert rig.center.last_session(REGION) == 6


# --- down ---------------------------------------------------------------------------------------


def test_the_hint_moves_with_its_entry_or_not_at_all(rig: Rig) -> None:
    assert rig.center.hint(REGION) is None
    assert rig.center.put_down(REGION, EntryId(1, 2), b"a", HINT) is True
    assert rig.center.put_down(REGION, EntryId(1, 2), b"b", HINT._replace(facts=99)) is False
    assert rig.center.put_down(REGION, EntryId(1, 1), b"b", HINT._replace(facts=99)) is False
    assert rig.center.hint(REGION) == HINT
    assert rig.region.read_down(START, 2.0) == [(EntryId(1, 2), b"a")]


@pytest.mark.parametrize("hint", [HINT, BACK], ids=["plain", "of a rebuild"])
def test_a_hint_comes_back_with_every_field(rig: Rig, hint: DownHint) -> None:
    assert rig.center.put_down(REGION, EntryId(1, 1), b"a", hint)
    assert rig.center.hint(REGION) == hint
    assert type(rig.center.hint(REGION)) is DownHint


def test_every_entry_of_down_is_read_once_in_order(rig: Rig) -> None:
    entries = put(rig, 1, 50)
    got = read(rig.region, START, 50)
    assert got == [(entry, str(entry).encode()) for entry in entries]
    assert rig.region.read_down(entries[-1], 0.05) == []


def test_entries_that_come_while_the_region_reads_are_not_skipped(rig: Rig) -> None:
    got: list[EntryId] = []
    for n in range(1, 120, 3):
        put(rig, n, 3)
        while len(got) < n - n % 4:  # fall behind and catch up, by turns
            got += [entry for entry, _ in rig.region.read_down(got[-1] if got else START, 1.0)]
    got += [entry for entry, _ in read(rig.region, got[-1], 120 - len(got))]
    assert got == [EntryId(1, n) for n in range(1, 121)]


def test_read_down_sees_entries_of_a_later_session(rig: Rig) -> None:
    put(rig, 1, 9)
    read(rig.region, START, 9)
    put(rig, 1, 2, session=3)
    assert [entry for entry, _ in read(rig.region, EntryId(1, 9), 2)] == [EntryId(3, 1), EntryId(3, 2)]


def test_a_reader_that_goes_back_reads_again_from_there(rig: Rig) -> None:
    put(rig, 1, 20)
    read(rig.region, START, 20)
    before_s = time.monotonic()
    again = read(rig.region, EntryId(1, 4), 16)
    assert [entry.n for entry, _ in again] == list(range(5, 21))
    assert time.monotonic() - before_s < 2.0, "it waited for a read that sleeps beyond the place asked for"


def test_entries_deleted_by_the_region_are_gone_and_the_oldest_left_is_named(rig: Rig) -> None:
    assert rig.center.down_first(REGION) is None
    put(rig, 1, 3)
    read(rig.region, START, 3)
    rig.region.delete_down([EntryId(1, 1), EntryId(1, 2)])
    until(lambda: rig.center.down_first(REGION) == EntryId(1, 3))
    rig.region.delete_down([])
    rig.center.clear_down(REGION)
    assert rig.center.down_first(REGION) is None
    assert rig.center.put_down(REGION, EntryId(1, 3), b"x", HINT) is False


# --- faults -------------------------------------------------------------------------------------


def test_a_dead_broker_is_link_down_and_the_same_objects_go_on_when_it_is_back(rig: Rig) -> None:
    send(rig.region, 1, 2)
    collect(rig.region, 2)
    length(rig.region)
    rig.region.read_down(START, 0.0)
    rig.kill()

    def send_one() -> None:
        rig.region.send(EntryId(1, 9), b"lost")
        rig.region.outcomes(0.2)

    ends_with(LinkDown, send_one)
    ends_with(LinkDown, lambda: length(rig.region))
    ends_with(LinkDown, lambda: rig.region.read_down(START, 0.2))
    with pytest.raises(Unreachable):
        rig.center.lengths([REGION])
    rig.start()
    rig.wipe()
    send(rig.region, 1, 2, session=2)
    assert collect(rig.region, 2) == [Accepted(EntryId(2, 1)), Accepted(EntryId(2, 2))]
    put(rig, 1, 1)
    assert rig.region.read_down(START, 2.0) == [(EntryId(1, 1), b"1-1")]


def test_closing_ends_a_blocked_read_within_a_second(rig: Rig) -> None:
    if rig.name == "memory":
        pytest.skip("the link in memory never waits")
    over = threading.Event()

    def wait_for_an_entry() -> None:
        try:
            rig.region.read_down(START, 60.0)
        except LinkDown:
            over.set()

    reader = threading.Thread(target=wait_for_an_entry)
    reader.start()
    until(lambda: rig.region._down.owed)  # type: ignore[attr-defined]
    before_s = time.monotonic()
    rig.region.close()
    reader.join(10)
    assert over.is_set()
    assert time.monotonic() - before_s < 1.0
    put(rig, 1, 1)
    assert rig.region.read_down(START, 2.0) == [(EntryId(1, 1), b"1-1")]


def test_after_a_close_nothing_is_owed_and_the_next_call_connects_anew(rig: Rig) -> None:
    send(rig.region, 1, 1)
    rig.region.close()
    assert rig.region.outcomes(0.1) == []
    assert collect(rig.region, len(send(rig.region, 2, 1))) == [Accepted(EntryId(1, 2))]


# --- what only a real broker can show ------------------------------------------------------------------


def test_a_wrong_password_is_denied_and_not_a_link_that_is_down(valkey: ValkeyRig) -> None:
    valkey.password = "wrong"
    link = RedisRegionLink(REGION, valkey.endpoint())
    for call in (link.ask_length, lambda: link.send(EntryId(1, 1), b"x"), lambda: link.read_down(START, 1)):
        with pytest.raises(LinkDenied, match="join file"):
            call()
    link.close()


def test_a_region_cannot_touch_another_regions_streams(valkey: ValkeyRig) -> None:
    link = RedisRegionLink(OTHER, valkey.endpoint())
    ends_with(LinkDenied, lambda: length(link))

    def speak() -> None:
        link.send_control(b"want")
        link.lengths()

    ends_with(LinkDenied, speak)
    with pytest.raises(LinkDenied):
        link.read_down(START, 2.0)
    link.send(EntryId(1, 1), b"x")
    ends_with(LinkDenied, lambda: link.outcomes(1.0))
    link.close()
    assert valkey.admin.keys("*") == []


def test_an_entry_costs_less_than_120_bytes_on_the_wire_beside_its_frame(valkey: ValkeyRig) -> None:
    send(valkey.region, 1, 1)
    collect(valkey.region, 1)

    def stats() -> int:
        info = valkey.admin.info("stats")
        return int(info["total_net_input_bytes"]) + int(info["total_net_output_bytes"])

    def asked() -> int:
        first = stats()
        return stats() - first

    asking, before = asked(), stats()
    for n in range(100_002, 100_102):
        valkey.region.send(EntryId(1_000, n), bytes(1_000))
    collect(valkey.region, 100)
    overhead_bytes = (stats() - before - asking) / 100 - 1_000
    assert 40 < overhead_bytes < 120, overhead_bytes


def test_connecting_asks_for_nothing_but_authentication(valkey: ValkeyRig) -> None:
    valkey.admin.config_resetstat()
    length(valkey.region)
    commands = set(valkey.admin.info("commandstats"))
    assert commands & {"cmdstat_hello", "cmdstat_client|setinfo", "cmdstat_select", "cmdstat_ping"} == set()
    assert {"cmdstat_auth", "cmdstat_xlen"} <= commands


def test_nothing_stays_of_an_entry_that_the_center_has_taken(valkey: ValkeyRig) -> None:
    send(valkey.region, 1, 3)
    valkey.region.send_control(b"want")
    collect(valkey.region, 3)
    until(lambda: valkey.center.lengths([REGION]) == {REGION: (1, 3)})
    for stream in ("ctl", "up"):
        arrived = valkey.center.read(REGION, stream, 9)
        assert valkey.admin.hlen(attempts_key(REGION)) == len(arrived)
        valkey.center.delete(REGION, stream, [one.id for one in arrived])
    assert valkey.admin.exists(attempts_key(REGION)) == 0


def test_a_read_stops_after_some_megabytes_and_the_next_one_goes_on(valkey: ValkeyRig) -> None:
    for n in range(1, 41):
        valkey.region.send(EntryId(1, n), bytes(300_000))
    collect(valkey.region, 40)
    seen: list[str] = []
    while arrived := valkey.center.read(REGION, "up", 64):
        assert sum(len(one.frame) for one in arrived) < 8 * 1024 * 1024
        valkey.center.delete(REGION, "up", [one.id for one in arrived])
        seen += [one.id for one in arrived]
    assert seen == [f"1-{n}" for n in range(1, 41)]


@pytest.mark.parametrize(("bytes_max", "frames"), [(1, 1), (300_000, 1), (300_001, 2), (900_000, 3)])
def test_a_read_stops_with_the_frame_that_reaches_what_was_asked_for(
    rig: Rig, bytes_max: int, frames: int
) -> None:
    for n in range(1, 5):
        rig.region.send(EntryId(1, n), bytes(300_000))
    collect(rig.region, 4)
    assert len(rig.center.read(REGION, "up", 64, bytes_max)) == frames
    attempts = [one.attempts for one in rig.center.read(REGION, "up", 64)]
    assert attempts == [1] * frames + [0] * (4 - frames), "what was not handed out was counted"


def test_the_broker_says_what_it_holds(rig: Rig) -> None:
    before, _ = rig.center.memory()
    rig.region.send(EntryId(1, 1), bytes(300_000))
    collect(rig.region, 1)
    held, most = rig.center.memory()
    assert held >= before + 300_000 or (held, most) == (0, 0)


def test_a_key_that_is_no_stream_stands_in_the_way_of_its_own_region_only(valkey: ValkeyRig) -> None:
    valkey.admin.set("titian:{1807}:up", "no stream")
    send(valkey.region, 1, 1)
    collect(valkey.region, 1)
    assert valkey.center.lengths([REGION, OTHER]) == {REGION: (0, 1), OTHER: (0, 1)}
    with pytest.raises(Unreachable, match="WRONGTYPE"):
        valkey.center.read(OTHER, "up", 9)


def test_what_is_not_an_entry_of_ours_comes_as_an_empty_frame_and_stops_nothing(valkey: ValkeyRig) -> None:
    valkey.admin.xadd("titian:{1806}:up", {"other": "field"}, id="1-1")
    send(valkey.region, 2, 1)
    collect(valkey.region, 1)
    assert [one.frame for one in valkey.center.read(REGION, "up", 9)] == [b"", b"1-2"]


def test_a_damaged_hint_is_no_hint(valkey: ValkeyRig) -> None:
    whole = pack_hint(BACK)
    wrong = [b'"back":[3,2000]', b'"back":7', b'"asks":[7]', b'"asks":[[7,"x"]]', b'"session":"1"']
    right = [b'"back":[3,2000,5]'] * 2 + [b'"asks":[[7,300],[8,-1]]'] * 2 + [b'"session":1']
    other = [whole.replace(*pair) for pair in zip(right, wrong, strict=True)]
    assert whole not in other
    for stored in (b"", b"{}", b"[1]", b"\xff", b'{"v":2,"session":1}', b'{"v":1,"session":1}', *other):
        valkey.admin.set("titian:{1806}:hint", stored)
        assert valkey.center.hint(REGION) is None


def test_a_hint_of_a_center_of_before_is_understood(valkey: ValkeyRig) -> None:
    before = b'{"v":1,"session":1,"n":1,"facts":7,"records":3,"answered":2,"sizes":[10,20],"incarnation":""}'
    valkey.admin.set("titian:{1806}:hint", before)
    assert valkey.center.hint(REGION) == HINT
