"""What the doctor, the alarms and `why` make of what was measured; attachments cut out of stored bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import StoreDamaged, UsageError
from pipeline.inspection import doctor
from pipeline.inspection.alarm import sentence
from pipeline.inspection.alarms import center_alarms, region_alarms
from pipeline.inspection.records import attachments
from pipeline.inspection.refusals import REFUSALS
from pipeline.inspection.running import LinkState, link_state
from pipeline.inspection.trace import parse_query
from schemas.identity import PacketId
from schemas.packet import Attachment, Packet, pack_head

NOW_MS = 1_700_000_000_000


REACHED = doctor.link("c:1", "ok", "")

# --- the doctor -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "level"),
    [
        (doctor.python((3, 10, 4)), "fail"),
        (doctor.python((3, 11, 0)), "ok"),
        (doctor.sqlite("apsw", "3.51.2"), "fail"),
        (doctor.sqlite("apsw", "3.51.3"), "ok"),
        (doctor.sqlite("apsw", "3.54.0"), "ok"),
        (doctor.packages({"schemas": "/a", "pipeline": "/a", "workers": "/b"}), "fail"),
        (doctor.packages({"schemas": "/a", "pipeline": "/a", "workers": "/a"}), "ok"),
        (doctor.room(10, 10), "fail"),
        (doctor.room(100 * 2**20, 64 * 2**20), "warn"),
        (doctor.room(100 * 2**30, 64 * 2**20), "ok"),
        (doctor.fsync(None), "fail"),
        (doctor.fsync(80.0), "warn"),
        (doctor.fsync(0.3), "ok"),
        (doctor.clock_off(-61_000), "warn"),
        (doctor.clock_off(5_000), "ok"),
        (doctor.clock_off(None), "ok"),
        (doctor.clock_forward(NOW_MS, NOW_MS + 120_000), "warn"),
        (doctor.clock_forward(NOW_MS, NOW_MS + 30_000), "ok"),
        (doctor.clock_forward(NOW_MS, None), "ok"),
        (doctor.link("c:1", "denied", "WRONGPASS"), "fail"),
        (doctor.link("c:1", "unreachable", "refused"), "warn"),
        (doctor.served(REACHED, True, "", ""), "fail"),
        (doctor.served(REACHED, False, "token_used", ""), "fail"),
        (doctor.served(REACHED, False, "a code of a newer center", ""), "fail"),
        (doctor.served(REACHED, False, "", "NOPERM xadd"), "fail"),
        (doctor.served(REACHED, False, "", ""), "ok"),
        (doctor.lost(3), "fail"),
    ],
)
def test_each_measurement_is_judged_and_what_is_not_well_says_what_to_do(
    check: doctor.Check, level: str
) -> None:
    assert check.level == level
    assert bool(check.do) is (level != "ok")


def test_a_broker_that_throws_things_away_is_a_warning() -> None:
    levels = [one.level for one in doctor.broker("broker", True, "", "allkeys-lru")]
    assert levels == ["ok", "warn"]
    assert [one.level for one in doctor.broker("broker", True, "", "noeviction")] == ["ok"]
    assert [one.level for one in doctor.broker("broker", False, "refused", "")] == ["fail"]
    assert [one.level for one in doctor.broker("broker", None, "", "")] == ["ok"]


def test_a_side_with_one_failure_is_not_healthy() -> None:
    good, bad = doctor.lost(0), doctor.lost(1)
    assert doctor.document("region", 1, [good])["healthy"] is True
    assert doctor.document("region", 1, [good, bad])["healthy"] is False


def test_both_sides_wait_for_the_same_words() -> None:
    from pipeline.adapters import ledger_reader, ledger_sql
    from pipeline.inspection import depth
    from workers import looking

    assert depth.UNVERDICTED == ledger_reader.UNVERDICTED
    assert looking.LEDGER_NAME == ledger_sql.LEDGER_NAME


DAY_MS = 86_400_000

# --- alarms ---------------------------------------------------------------------------------------


def region(**changes: Any) -> dict[str, Any]:
    """A region's document of `depth` in which all is well, but for `changes`."""
    base: dict[str, Any] = {
        "waiting": 0,
        "dead": 0,
        "tallies": {},
        "registry": {"kept_raw": 0},
        "lanes": {"record": {"oldest_age_s": None}},
        "runway": {"free_bytes": 10, "low_water_bytes": 1, "full_in_days": 400.0},
        "link": LinkState(True, {"state": "up"}, 1.0).to_json(),
        "at_ms": 10 * DAY_MS,
        "aside": 0,
        "losses": {"packets": 0, "as_of_ms": 1},
        "in_doubt": False,
        "mirror": None,
        "recovery": None,
        "reconciled": {"at_ms": 10 * DAY_MS, "left": 0},
    }
    return base | changes


def mirror(failing_since_ms: int | None) -> dict[str, Any]:
    return {"failing_since_ms": failing_since_ms, "missing": 3, "why": "its disk is full"}


def link(**said: Any) -> dict[str, Any]:
    return LinkState(True, {"state": "up"} | said, 1.0).to_json()


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (region(link=LinkState(False).to_json(), waiting=1), "not_running"),
        (region(link=LinkState(True).to_json()), "silent"),
        (region(link=link(superseded=True)), "superseded"),
        (region(link=link(refusal="token_used")), "refused"),
        (region(link=link(denied="WRONGPASS", state="down", down_for_s=500)), "denied"),
        (region(link=link(state="down", down_for_s=500)), "link_down"),
        (region(link=link(clock_off_ms=-7_200_000)), "clock_off"),
        (region(dead=2), "dead"),
        (region(tallies={"lost": 2}), "lost"),
        (region(tallies={"forks": 2}), "forks"),
        (region(registry={"kept_raw": 1}), "kept_raw"),
        (region(lanes={"record": {"oldest_age_s": 100_000.0}}), "old"),
        (region(runway={"free_bytes": 1, "low_water_bytes": 1, "full_in_days": 0.0}), "disk_full"),
        (region(runway={"free_bytes": 9, "low_water_bytes": 1, "full_in_days": 3.0}), "runway"),
        (region(in_doubt=True), "in_doubt"),
        (region(aside=1), "aside"),
        (region(losses={"packets": 2, "as_of_ms": 1}), "losses"),
        (region(mirror=mirror(9 * DAY_MS)), "mirror"),
        (region(recovery={"why": "the mirror /old cannot be read"}), "old_mirror"),
        (region(reconciled={"at_ms": 10 * DAY_MS, "left": 2}), "differs"),
        (region(reconciled={"at_ms": 6 * DAY_MS, "left": 0}), "not_compared"),
    ],
)
def test_each_ill_of_a_region_has_its_alarm(document: dict[str, Any], code: str) -> None:
    assert [one["code"] for one in region_alarms(document)] == [code]


@pytest.mark.parametrize(
    "said",
    ["WRONGPASS invalid username-password pair or user is disabled.", "invalid username-password pair"],
)
def test_a_region_that_is_locked_out_is_told_so_in_words_by_depth_and_doctor(said: str) -> None:
    locked_out = (
        "the center does not let this region in any more (revoked, or admitted anew on another machine)"
    )
    (alarm,) = region_alarms(region(link=link(denied=said, state="down")))
    check = doctor.link("c:1", "denied", said)
    for text in (sentence(alarm), f"{check.said} {check.do}"):
        assert locked_out in text
        assert "ask the center for a new join file" in text
        assert "DATA/center.json" in text
        assert "If it revoked this machine: `titian init region --join FILE --data NEWFOLDER` here" in text
        assert "not sent stay in this folder" in text
        assert said in text


@pytest.mark.parametrize("code", [*REFUSALS, "a code of a newer center"])
def test_a_refusal_of_the_center_has_the_same_words_in_depth_and_doctor(code: str) -> None:
    (alarm,) = region_alarms(region(link=link(refusal=code)))
    check = doctor.served(REACHED, False, code, "")
    assert sentence(alarm) == f"{check.said}: {check.do}"
    assert f"({code})" in check.said


def test_a_region_that_was_superseded_has_the_same_words_in_depth_and_doctor() -> None:
    (alarm,) = region_alarms(region(link=link(superseded=True)))
    check = doctor.served(REACHED, True, "", "")
    assert sentence(alarm) == f"{check.said}: {check.do}"


def test_the_way_back_of_a_revoked_machine_is_another_folder() -> None:
    said, do = doctor.refusal("revoked")
    assert "no join file helps in this folder" in said
    assert "`titian admit CODE --again` at the center" in do
    assert "`titian init region --join FILE --data NEWFOLDER` here" in do
    assert "(`titian depth` says how many)" in do


def test_a_link_that_is_denied_now_counts_before_what_was_said_earlier() -> None:
    denied = doctor.link("c:1", "denied", "WRONGPASS")
    assert doctor.served(denied, False, "token_used", "") == denied


def test_a_command_that_is_not_allowed_asks_for_no_new_join_file() -> None:
    said = "NOPERM User region-1806 has no permissions to run the 'xadd' command"
    (alarm,) = region_alarms(region(link=link(denied=said, state="down")))
    check = doctor.link("c:1", "denied", said)
    for text in (sentence(alarm), f"{check.said} {check.do}"):
        assert "ask the center to update" in text
        assert "join file" not in text


def test_a_region_in_which_all_is_well_has_no_alarm() -> None:
    assert region_alarms(region()) == []
    assert region_alarms(region(link=LinkState(False).to_json())) == []
    assert region_alarms(region(link=link(state="down", down_for_s=5))) == []
    assert region_alarms(region(mirror=mirror(None), reconciled=None)) == []
    assert region_alarms(region(recovery={"why": ""})) == []


def test_the_centers_alarms() -> None:
    well: dict[str, Any] = {"running": True, "unverdicted": 0, "regions": [1], "quarantined": 0}
    well |= {"oldest_unverdicted_ms": None, "at_ms": NOW_MS, "counters": {}, "lost": 0}
    assert center_alarms(well) == []
    ill = well | {"running": False, "quarantined": 1, "counters": {"forks": 1}, "lost": 2}
    ill |= {"oldest_unverdicted_ms": NOW_MS - 2 * 86_400_000}
    codes = ["not_running", "quarantine", "old", "losses", "forks"]
    assert [one["code"] for one in center_alarms(ill)] == codes


# --- the link's state, and names ------------------------------------------------------------------


def test_what_was_said_counts_only_while_it_is_fresh() -> None:
    said = {"state": "up", "at_ms": NOW_MS, "waits": "link window"}
    assert link_state(True, said, NOW_MS + 1_000).value("waits") == "link window"
    assert link_state(True, said, NOW_MS + 60_000).value("waits") is None
    assert link_state(True, said, NOW_MS + 60_000).state == "unknown"
    assert link_state(False, said, NOW_MS).state == "not running"
    assert link_state(False, said, NOW_MS).value("waits") is None
    assert link_state(True, said, NOW_MS - 60_000).age_s == 0.0  # the clock went back
    assert link_state(True, {}, NOW_MS).age_s is None


def test_a_question_is_an_id_or_a_nik() -> None:
    assert parse_query("1806-k3v9qa-000123") == PacketId("1806", "k3v9qa", 123)
    assert parse_query("1806015201900001") == "1806015201900001"
    for wrong in ("180601520190000", "hello", "1806-k3v9qa", "1806015213900001"):
        with pytest.raises(UsageError):
            parse_query(wrong)


# --- attachments ----------------------------------------------------------------------------------

FILES = st.lists(st.binary(max_size=3_000), max_size=5)


def stored_bytes(files: list[bytes]) -> bytes:
    listed = tuple(
        Attachment(f"a{n}", "text/plain", len(data), hashlib.sha256(data).digest())
        for n, data in enumerate(files)
    )
    head = pack_head(Packet("enrolment", {"nik": "1806015201900001", "nama": "A"}, listed, 0)).prefix
    return head + b"".join(files)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@given(FILES, st.integers(1, 4_000))
def test_attachments_come_out_as_they_went_in_however_the_bytes_are_cut(
    files: list[bytes], piece: int
) -> None:
    found = [(one.name, b"".join(parts)) for one, parts in attachments(cut(stored_bytes(files), piece))]
    assert found == [(f"a{n}", data) for n, data in enumerate(files)]


@given(FILES, st.integers(1, 4_000), st.data())
def test_bytes_that_end_early_are_damage(files: list[bytes], piece: int, data: st.DataObject) -> None:
    whole = stored_bytes(files)
    short = whole[: data.draw(st.integers(0, len(whole) - 1))]
    with pytest.raises(StoreDamaged):
        for _, parts in attachments(cut(short, piece)):
            for _ in parts:
                pass
