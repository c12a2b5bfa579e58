"""`titian notice`: what citizens read, what people write, each act in the log; the watching; the routes."""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
from dataclasses import replace
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from pipeline.adapters.audit_file import AuditFile
from pipeline.adapters.folder import Folder, open_folder
from pipeline.adapters.notices_file import NAME, read_notices
from pipeline.adapters.watch_store import Sample, Turn, WatchStore
from pipeline.errors import StoreDamaged, UsageError
from pipeline.inspection.notice import STATE, disturbed_now
from pipeline.inspection.notice_own import BUILT_IN, NOTICES_MAX, Notices, Own
from pipeline.inspection.notice_until import HOUR_MS, MINUTE_MS
from tests.unit.cli_rig import NOBODY, Titian, line, nik, write_lines
from tests.unit.test_notice_state import document
from workers.cli import main
from workers.console import notice_routes
from workers.console.side import Side
from workers.notice_times import parse_when
from workers.watch_notice import WRITE_MS, NoticeKept

WIB = timezone(timedelta(hours=7), "WIB")
#: 24 November 2026, 09:00 in Jakarta.
NINE_MS = 1_795_485_600_000


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both sides, made once; each test has its own copy of the one that it needs."""
    place = tmp_path_factory.mktemp("sides")
    center, region, join = (str(place / name) for name in ("center", "region", "1806.join"))
    assert main(["init", "center", "--data", center, "--listen", NOBODY]) == 0
    assert main(["admit", "1806", "--data", center, "--out", join]) == 0
    assert main(["init", "region", "--join", join, "--data", region]) == 0
    return place


@pytest.fixture
def region(once: Path, tmp_path: Path) -> Folder:
    shutil.copytree(once / "region", tmp_path / "region")
    return open_folder(tmp_path / "region")


def acts(folder: Folder) -> list[tuple[str, str, str]]:
    found = reversed(AuditFile(folder.path).read(100))
    return [(one["what"], one["target"], one["reason"]) for one in found]


def configure(region: Folder, **values: str) -> Folder:
    """The same folder with these settings of the notice."""
    path = region.path / "titian.toml"
    text = path.read_text().replace(
        "[notice]", "[notice]\n" + "\n".join(f"{k} = {v}" for k, v in values.items())
    )
    path.write_text(text)
    return open_folder(region.path)


# --- what citizens read -----------------------------------------------------------------------------


def test_while_nothing_runs_sending_is_disturbed(titian: Titian, region: Folder) -> None:
    said = titian.ok("notice", "--data", region.path, "--lang", "en")
    assert "Sending of data is disturbed" in said.out
    assert "you need not come again" in said.out
    assert "Gangguan pengiriman data" in titian.ok("notice", "--data", region.path).out
    found = titian.ok("notice", "--data", region.path, "--json").json
    assert (found["version"], found["disturbed"]) == (1, ["sending"])


def test_since_when_nobody_looks_is_since_when_nothing_runs(titian: Titian, region: Folder) -> None:
    store = WatchStore(region.path)
    part = NoticeKept(region, store, Seen())
    part.saw(document(at_ms=NINE_MS))
    store.close()
    found = titian.ok("notice", "--data", region.path, "--json").json
    assert found["now"][0]["since_ms"] == NINE_MS


def test_the_page_is_written_to_be_printed(titian: Titian, region: Folder, tmp_path: Path) -> None:
    page = tmp_path / "notice.html"
    said = titian.ok("notice", "--data", region.path, "--html", page)
    assert said.out == ""
    assert page.read_text().startswith("<!DOCTYPE html>")
    assert stat.S_IMODE(page.stat().st_mode) == 0o644


def test_a_language_that_it_does_not_speak_is_said(titian: Titian, region: Folder) -> None:
    assert titian("notice", "--data", region.path, "--lang", "fr").code == 2


# --- what people write ------------------------------------------------------------------------------


def test_own_words_are_read_until_they_are_ended(titian: Titian, region: Folder) -> None:
    words = ("--what", "printing", "--id", "Cetak tutup.", "--en", "No printing today.")
    titian.ok("notice", "write", "--data", region.path, *words, "--reason", "the fuser", "--who", "made")
    said = titian.ok("notice", "--data", region.path, "--lang", "en").out
    assert "[1] Printing of cards is disturbed" in said
    assert "No printing today." in said
    assert "fuser" not in said
    titian.ok("notice", "end", "1", "--data", region.path)
    assert "Resolved: [1]" in titian.ok("notice", "--data", region.path, "--lang", "en").out
    assert acts(region) == [("notice write", "printing", "the fuser"), ("notice end", "1", "")]
    assert titian("notice", "end", "1", "--data", region.path).code == 1


def test_a_template_saves_typing_and_an_own_one_is_kept(titian: Titian, region: Folder) -> None:
    titian.ok("notice", "write", "--data", region.path, "--template", "blank-cards")
    words = ("--what", "office", "--id", "Kantor pindah.", "--en", "We have moved.")
    titian.ok("notice", "write", "--data", region.path, *words, "--save", "moved")
    titian.ok("notice", "write", "--data", region.path, "--template", "moved", "--en", "We moved.")
    assert [one.text_en for one in read_notices(region.path).notices][1:] == ["We have moved.", "We moved."]
    listed = titian.ok("notice", "templates", "--data", region.path, "--json").json["templates"]
    assert {"power-cut", "blank-cards", "maintenance", "holiday", "printer", "moved"} <= set(listed)
    missing = titian("notice", "write", "--data", region.path, "--template", "mvoed")
    assert missing.code == 1
    assert "moved" in missing.err


def test_a_plan_is_shown_before_and_ends_by_itself(titian: Titian, region: Folder) -> None:
    plan = (
        "notice",
        "plan",
        "--data",
        region.path,
        "--template",
        "maintenance",
        "--from",
        "+2d",
        "--until",
        "+2h",
    )
    own = titian.ok(*plan, "--json").json
    assert own["until_ms"] - own["from_ms"] == 2 * HOUR_MS
    assert "Planned: [1]" in titian.ok("notice", "--data", region.path, "--lang", "en").out
    far = titian.ok(*plan[:-4], "--from", "+30d", "--json").json
    assert far["from_ms"] - far["shown_ms"] == 7 * 24 * HOUR_MS
    titian.ok("notice", "end", "1", "--data", region.path)
    found = titian.ok("notice", "--data", region.path, "--json").json
    assert (found["planned"], found["resolved"]) == ([], []), "what never was is not resolved"


def test_what_is_broken_is_read_at_once(titian: Titian, region: Folder) -> None:
    broken = ("notice", "equipment", "camera", "broken", "--data", region.path, "--until", "+3h")
    said = titian.ok(*broken, "--reason", "lens")
    assert "camera: broken since" in said.out
    assert "lens" in said.out
    found = titian.ok("notice", "--data", region.path, "--json").json
    assert found["disturbed"] == ["recording", "sending"]
    assert "lens" not in json.dumps(found)
    titian.ok("notice", "equipment", "camera", "ok", "--data", region.path)
    assert titian.ok("notice", "--data", region.path, "--json").json["disturbed"] == ["sending"]
    assert acts(region) == [("equipment", "camera", "lens"), ("equipment", "camera", "")]
    assert titian("notice", "equipment", "camera", "ok", "--data", region.path).code == 1


@pytest.mark.parametrize(
    "args",
    [
        ("write", "--what", "printing", "--id", "Tutup."),
        ("write", "--what", "weather", "--id", "Hujan.", "--en", "Rain."),
        ("write", "--what", "office", "--id", f"NIK {nik(1)}", "--en", "x"),
        ("write", "--what", "office", "--id", "x" * 501, "--en", "x"),
        ("write", "--what", "office", "--id", "a\x1b[31m", "--en", "x"),
        ("write", "--template", "holiday", "--until", "yesterday"),
        ("write", "--template", "holiday", "--until", "2020-01-01"),
        ("write", "--template", "holiday", "--save", "No Name"),
        ("plan", "--template", "holiday", "--from", "2020-01-01"),
        ("equipment", "toaster", "broken"),
        ("equipment", "camera", "odd"),
        ("equipment", "camera", "broken", "--until", "2020-01-01"),
    ],
)
def test_what_is_not_fit_to_be_read_is_refused(titian: Titian, region: Folder, args: tuple[str, ...]) -> None:
    said = titian("notice", *args, "--data", region.path)
    assert said.code == 2
    assert said.err
    assert read_notices(region.path).notices == ()
    assert acts(region) == []


def test_there_is_an_end_to_how_many_anybody_reads() -> None:
    words, notices = BUILT_IN["holiday"], Notices()
    one = Own(0, "office", words.text_id, words.text_en, NINE_MS, NINE_MS + HOUR_MS, NINE_MS)
    for _ in range(NOTICES_MAX):
        notices = notices.added(one, NINE_MS)
    with pytest.raises(UsageError, match="titian notice end"):
        notices.added(one, NINE_MS)
    later = replace(one, from_ms=NINE_MS + 2 * HOUR_MS, until_ms=None)
    assert notices.added(later, NINE_MS + 2 * HOUR_MS).notices[-1].n == NOTICES_MAX + 1, "the others are over"


def test_a_damaged_file_is_said_and_never_overwritten(titian: Titian, region: Folder) -> None:
    path = region.path / NAME
    path.write_text('{"version": 1, "notices": 7}')
    assert "remove it" in titian("notice", "--data", region.path).err
    assert titian("notice", "write", "--data", region.path, "--template", "holiday").code != 0
    assert path.read_text() == '{"version": 1, "notices": 7}'


def test_the_notice_is_a_regions(titian: Titian, once: Path) -> None:
    assert titian("notice", "--data", once / "center").code == 2


def test_what_people_write_is_private_until_it_is_published(titian: Titian, region: Folder) -> None:
    titian.ok("notice", "write", "--data", region.path, "--template", "holiday")
    assert stat.S_IMODE((region.path / NAME).stat().st_mode) == 0o600


@pytest.mark.parametrize(
    ("text", "ends", "hours"),
    [
        ("14:00", False, 5),
        ("14.30", True, 5.5),
        ("08:00", False, -1),
        ("08:00", True, 23),
        ("+2h", True, 2),
        ("+30min", False, 0.5),
        ("2026-11-25 14:00", True, 29),
        ("2026-11-25", False, 15),
        ("2026-11-25", True, 39),
        ("24:00", False, 15),
    ],
)
def test_times_are_read_as_people_write_them(text: str, ends: bool, hours: float) -> None:
    assert parse_when(text, NINE_MS, WIB, ends=ends) - NINE_MS == hours * HOUR_MS


@pytest.mark.parametrize("text", ["", "soon", "25:00", "14:60", "2026-13-01", "+2w", "+99999d x", "14"])
def test_a_time_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_when(text, NINE_MS, WIB)


# --- the watching part ------------------------------------------------------------------------------


class Seen:
    """What was seen before: cuts of an hour, or none."""

    def __init__(self, cuts: int = 0) -> None:
        self.cuts = cuts

    def turns(self, since_ms: int, what: str = "%", limit: int = 10_000) -> list[Turn]:
        found = []
        for n in range(self.cuts):
            down_ms = NINE_MS - (40 - n) * 10 * HOUR_MS
            found += [
                Turn(2 * n, down_ms, "link down", ""),
                Turn(2 * n + 1, down_ms + HOUR_MS, "link up", ""),
            ]
        return found[::-1]

    def hours(self, names: Any, since_hour: int) -> dict[str, list[Sample]]:
        return {"goodput_bytes_s": [Sample(0, "goodput_bytes_s", 1_000.0, 0.0, 0.0, 0.0)]}


def down(minutes: float, **changes: Any) -> dict[str, Any]:
    now_ms = NINE_MS + int(minutes * MINUTE_MS)
    return document(at_ms=now_ms, link={"state": "down", "since_ms": NINE_MS}, **changes)


class Store:
    """Keeps states as JSON, as `watch.db` does."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.puts = 0

    def get(self, name: str) -> Any:
        return json.loads(self.kept[name]) if name in self.kept else None

    def put(self, name: str, value: Any) -> None:
        self.puts += 1
        self.kept[name] = json.dumps(value)


def test_it_says_when_a_cut_should_be_over_by_those_before(region: Folder) -> None:
    store = Store()
    part = NoticeKept(region, store, Seen(cuts=6))
    for minute in range(12):
        part.saw(down(minute, waiting_bytes=1_800_000))
    track = store.get(STATE)["tracks"]["sending"]
    assert track["since_ms"] == NINE_MS
    assert track["until"]["at_ms"] == NINE_MS + 90 * MINUTE_MS, "an hour, and half an hour to send what waits"
    assert disturbed_now(store) == ["sending"]


def test_a_process_that_dies_at_any_look_says_the_same_after_it(region: Folder) -> None:
    through, dying = Store(), Store()
    part, other = NoticeKept(region, through, Seen()), NoticeKept(region, dying, Seen())
    for second in range(0, 3_000, 7):
        seen = down(second / 60) if second % 1_400 < 900 else document(at_ms=NINE_MS + second * 1_000)
        part.saw(seen)
        other = NoticeKept(region, dying, Seen()) if second % 3 == 0 else other
        other.saw(seen)
        assert disturbed_now(through) == disturbed_now(dying)
    assert disturbed_now(through) == ["sending"]
    assert through.puts < 3_000 / 7 / 3, "not at every look"


def test_page_and_json_are_written_for_everybody_when_they_change_and_now_and_then(
    region: Folder, tmp_path: Path
) -> None:
    public = tmp_path / "public"
    folder = configure(region, folder=json.dumps(str(public)), office='"Kantor"', after_s="0")
    part = NoticeKept(folder, Store(), Seen())
    part.saw(document(at_ms=NINE_MS))
    page, text = public / "notice.html", public / "notice.json"
    assert stat.S_IMODE(page.stat().st_mode) == stat.S_IMODE(text.stat().st_mode) == 0o644
    first = json.loads(text.read_text())
    assert (first["office"], first["all_well"]) == ("Kantor", True)
    part.saw(document(at_ms=NINE_MS + 1_000))
    assert json.loads(text.read_text())["made_ms"] == NINE_MS
    part.saw(document(at_ms=NINE_MS + WRITE_MS))
    assert json.loads(text.read_text())["made_ms"] == NINE_MS + WRITE_MS
    part.saw(down(6))
    assert json.loads(text.read_text())["disturbed"] == ["sending"]
    assert sorted(one.name for one in public.iterdir()) == ["notice.html", "notice.json"]


def test_a_damaged_file_of_peoples_does_not_stop_what_is_seen(region: Folder) -> None:
    (region.path / NAME).write_text("{")
    store = Store()
    part = NoticeKept(region, store, Seen())
    for minute in range(12):
        with pytest.raises(StoreDamaged):
            part.saw(down(minute))
    assert disturbed_now(store) == ["sending"]


def test_a_folder_that_cannot_be_written_is_named(region: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    part = NoticeKept(configure(region, folder=json.dumps(str(tmp_path / "file/below"))), Store(), Seen())
    with pytest.raises(UsageError, match=r"notice\.folder"):
        part.saw(document())


# --- the routes -------------------------------------------------------------------------------------


class Browser:
    """Asks the routes of that side, in this process."""

    def __init__(self, folder: Folder) -> None:
        side = Side(folder, None)  # type: ignore[arg-type]  # the routes read stores alone
        self.app = Starlette(routes=notice_routes.routes(side))

    def ask(self, method: str, path: str, **headers: str) -> httpx.Response:
        async def asked() -> httpx.Response:
            through = httpx.ASGITransport(self.app)
            async with httpx.AsyncClient(transport=through, base_url="http://office") as client:
                return await client.request(method, path, headers=headers)

        return asyncio.run(asked())

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.ask("GET", path, **headers)


@pytest.fixture
def browser(region: Folder) -> Browser:
    return Browser(region)


def test_whoever_comes_by_reads_the_page_without_signing_in(browser: Browser) -> None:
    got = browser.get("/notice")
    assert got.status_code == 200
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert got.headers["cache-control"] == "public, max-age=60"
    assert "default-src 'none'" in got.headers["content-security-policy"]
    assert "set-cookie" not in got.headers
    assert "Gangguan pengiriman data" in got.text


def test_who_has_it_already_is_sent_nothing(browser: Browser) -> None:
    got = browser.get("/notice.json")
    assert got.headers["access-control-allow-origin"] == "*"
    assert got.json()["disturbed"] == ["sending"]
    again = browser.get("/notice.json", **{"if-none-match": f"W/{got.headers['etag']}"})
    assert (again.status_code, again.content) == (304, b"")


def test_nothing_is_done_by_reading(browser: Browser) -> None:
    assert browser.ask("POST", "/notice").status_code == 405
    assert browser.ask("HEAD", "/notice").status_code == 200


def test_a_damaged_file_of_peoples_does_not_take_the_page_away(browser: Browser, region: Folder) -> None:
    (region.path / NAME).write_text("{")
    assert browser.get("/notice").status_code == 200


def test_a_store_that_does_not_open_says_come_again(browser: Browser, region: Folder) -> None:
    (region.path / "outbox.db").unlink()
    got = browser.get("/notice")
    assert (got.status_code, got.headers["cache-control"]) == (503, "no-store")
    assert str(region.path) not in got.text


def test_a_center_has_no_public_notice(once: Path) -> None:
    side = Side(open_folder(once / "center"), None)  # type: ignore[arg-type]
    assert notice_routes.routes(side) == []


# --- who waits, by the command ----------------------------------------------------------------------


def test_the_table_shows_whom_to_call(titian: Titian, region: Folder, tmp_path: Path) -> None:
    payload = {"nik": nik(1), "nama": "SITI", "telepon": "081234567890"}
    titian.ok("enqueue", "--data", region.path, write_lines(tmp_path / "p.ndjson", line(1, payload=payload)))
    said = titian.ok("notice", "who-waits", "--data", region.path)
    assert "081234567890" in said.out
    assert "this side does not run" in said.out
