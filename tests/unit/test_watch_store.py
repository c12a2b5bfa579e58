"""`watch.db`: figures by minute and hour, turns, states; what is old goes, what is damaged is begun anew."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.watch_store import HOURS_MAX, MINUTES_MAX, TURNS_MS_MAX, WatchReader, WatchStore

NOW_MS = 1_800_000_000_000
MINUTE, HOUR = 60_000, 3_600_000


@pytest.fixture
def store(tmp_path: Path) -> WatchStore:
    return WatchStore(tmp_path)


def test_a_minute_has_the_mean_the_bounds_and_the_last_of_its_samples(
    store: WatchStore, tmp_path: Path
) -> None:
    for at, value in ((0, 4.0), (10_000, 1.0), (20_000, 7.0)):
        store.sample(NOW_MS + at, {"rtt_ms": value, "other": 1})
    (one,) = WatchReader(tmp_path).minutes(["rtt_ms"], 0)["rtt_ms"]
    assert (one.mean, one.least, one.most, one.last) == (4.0, 1.0, 7.0, 7.0)
    (hour,) = WatchReader(tmp_path).hours(["rtt_ms"], 0)["rtt_ms"]
    assert (hour.minute, hour.mean, hour.most) == (NOW_MS // HOUR, 4.0, 7.0)


@settings(max_examples=20, deadline=None)
@given(values=st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=20))
def test_the_mean_lies_between_the_bounds(
    values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("watch")
    store = WatchStore(folder)
    for value in values:
        store.sample(NOW_MS, {"x": value})
    (one,) = WatchReader(folder).minutes(["x"], 0)["x"]
    assert (one.least, one.most, one.last) == (min(values), max(values), values[-1])
    assert one.mean == pytest.approx(sum(values) / len(values), abs=1e-3)


def test_figures_of_minutes_go_after_two_days_and_those_of_hours_after_five_weeks(
    store: WatchStore, tmp_path: Path
) -> None:
    store.sample(NOW_MS, {"x": 1.0})
    store.sample(NOW_MS + (MINUTES_MAX + 61) * MINUTE, {"x": 2.0})
    reader = WatchReader(tmp_path)
    assert [one.last for one in reader.minutes(["x"], 0)["x"]] == [2.0]
    assert [one.mean for one in reader.hours(["x"], 0)["x"]] == [1.0, 2.0]
    store.sample(NOW_MS + (HOURS_MAX + 2) * HOUR, {"x": 3.0})
    assert 1.0 not in [one.mean for one in reader.hours(["x"], 0)["x"]]


def test_turns_are_found_by_what_turned_newest_first_and_go_after_five_weeks(
    store: WatchStore, tmp_path: Path
) -> None:
    store.turn(NOW_MS, "link down")
    store.turn(NOW_MS + 1, "throttle", "yield")
    store.turn(NOW_MS + 2, "link up")
    reader = WatchReader(tmp_path)
    assert [one.what for one in reader.turns(0, "link %")] == ["link up", "link down"]
    assert [one.detail for one in reader.turns(NOW_MS + 1, "throttle")] == ["yield"]
    assert len(reader.turns(0, limit=1)) == 1
    store.sample(NOW_MS + TURNS_MS_MAX + 2, {})
    assert [one.what for one in reader.turns(0)] == ["link up"]


def test_a_state_is_kept_whole_and_the_last_one_counts(store: WatchStore, tmp_path: Path) -> None:
    store.put("notice", {"open": [1, 2], "kata": "gangguan"})
    store.put("notice", {"open": []})
    assert store.get("notice") == WatchReader(tmp_path).get("notice") == {"open": []}
    assert store.get("nothing") is None


def test_who_looks_before_anything_was_seen_sees_nothing(tmp_path: Path) -> None:
    reader = WatchReader(tmp_path)
    assert reader.minutes(["x"], 0) == {"x": []}
    assert reader.turns(0) == []
    assert reader.get("alarms") is None


def test_a_damaged_file_is_put_aside_and_begun_anew(store: WatchStore, tmp_path: Path) -> None:
    store.put("alarms", [1])
    store.close()
    path = tmp_path / "watch.db"
    for tail in ("-wal", "-shm"):
        path.with_name(path.name + tail).unlink(missing_ok=True)
    path.write_bytes(b"no database at all" * 300)
    assert WatchReader(tmp_path).get("alarms") is None
    anew = WatchStore(tmp_path)
    anew.put("alarms", [2])
    assert WatchReader(tmp_path).get("alarms") == [2]
    assert (tmp_path / "watch.db.damaged").is_file()


@pytest.mark.parametrize("tails", [("",), ("", "-wal", "-shm")], ids=str)
def test_a_file_that_is_deleted_while_in_use_is_begun_anew_with_what_the_parts_keep(
    tmp_path: Path, tails: tuple[str, ...]
) -> None:
    said: list[str] = []
    store, reader = WatchStore(tmp_path, said.append), WatchReader(tmp_path)
    store.put("alarms", [1])
    assert reader.get("alarms") == [1]
    for tail in tails:
        (tmp_path / f"watch.db{tail}").unlink()
    assert reader.get("alarms") is None
    for at in range(3):
        store.sample(NOW_MS + at, {"x": 1.0})
    assert reader.get("alarms") == [1]
    assert [one.mean for one in reader.minutes(["x"], 0)["x"]] == [1.0]
    assert (tmp_path / "watch.db").stat().st_mode & 0o777 == 0o600
    assert len(said) == 1
    assert "begun anew" in said[0]


def test_a_file_that_is_damaged_while_in_use_is_put_aside_and_begun_anew(tmp_path: Path) -> None:
    said: list[str] = []
    store = WatchStore(tmp_path, said.append)
    store.put("alarms", [1])
    (tmp_path / "damage").write_bytes(b"no database at all" * 300)
    (tmp_path / "damage").replace(tmp_path / "watch.db")
    store.put("notice", [2])
    reader = WatchReader(tmp_path)
    assert (reader.get("alarms"), reader.get("notice")) == ([1], [2])
    assert (tmp_path / "watch.db.damaged").is_file()
    assert len(said) == 1


def test_only_we_can_read_it(store: WatchStore, tmp_path: Path) -> None:
    assert (tmp_path / "watch.db").stat().st_mode & 0o777 == 0o600
