"""What the console shows is what the commands say, harmless whoever wrote it; and showing changes nothing."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from pipeline.adapters.watch_store import WatchStore
from pipeline.errors import UsageError
from pipeline.inspection.series import (
    CENTER_SEEN,
    REGION_SEEN,
    STEPS_S,
    center_minutes,
    history,
    names_of,
)
from pipeline.inspection.trace import parse_query
from schemas.verdicts import Reason
from tests.unit.cli_rig import Sides, Titian, line, nik, write_lines
from tests.unit.console_rig import BROWSER, Browser, Console, console_of, copied_sides
from workers.acts import COMMAND_LINE, Actor, pause
from workers.console.documents import now_ms
from workers.watch_history import history_part

HOSTILE = "\x1b[2J\"'><script>alert(1)</script>{{ 7777*7777 }}\u202e"
NOW_MS = 1_795_558_523_000
PAGES = ["/", "/dead", "/search", "/audit"]


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return copied_sides(tmp_path)


@pytest.fixture
def filled(titian: Titian, sides: Sides, tmp_path: Path) -> Sides:
    """Two packets at the region, one of them refused."""
    titian.ok("enqueue", "--data", sides.region, write_lines(tmp_path / "p.ndjson", line(1), line(2)))
    sides.refuse(((1, 2),), Reason("invalid_packet", HOSTILE))
    return sides


def packet_of(titian: Titian, sides: Sides) -> str:
    return str(titian.ok("dead", "list", "--data", sides.region, "--json").json["dead"][0]["id"])


def get_paths(console: Console, packet: str) -> list[str]:
    """Every page and document there is, with parameters that find something."""
    found = [
        one.path for one in console.app.routes if isinstance(one, Route) and "GET" in (one.methods or ())
    ]
    named = [one.replace("{which}", packet).replace("{code}", "1806") for one in found]
    return [one.replace("{name}", "console.css") for one in named if one != "/events"]


# --- the same as the commands ---------------------------------------------------------------------


def json_of(browser: Browser, path: str) -> Any:
    answer = browser.get(path, accept="application/json")
    assert answer.status_code == 200, (path, answer.text)
    return answer.json()


def test_the_documents_are_those_of_the_commands(titian: Titian, filled: Sides) -> None:
    packet = packet_of(titian, filled)
    console = console_of(filled.region)
    browser = console.signed_in("budi")
    shown = json_of(browser, "/api/depth")
    assert {key: shown[key] for key in ("waiting", "dead", "recorded")} == {
        "waiting": 1, "dead": 1, "recorded": 2,
    }  # fmt: skip
    assert set(shown["headline"]) == {"id", "en"}
    where = ("--data", filled.region, "--json")
    assert json_of(browser, "/api/dead") == titian.ok("dead", "list", *where).json
    assert json_of(browser, f"/api/dead/{packet}") == titian.ok("dead", "show", packet, *where).json
    assert json_of(browser, "/api/audit") == titian.ok("audit", *where).json
    traced = browser.post("/api/trace", {"q": packet}).json()
    said = titian.ok("trace", packet, *where).json
    assert traced["packets"][0]["history"] == said["packets"][0]["history"]


def test_the_newest_document_is_shown_and_none_is_made_for_a_request(filled: Sides) -> None:
    console = console_of(filled.region, looked=False)
    browser = console.signed_in("budi")
    assert browser.get("/api/depth", accept="application/json").status_code == 503
    assert browser.get("/").status_code == 200
    console.watching.look()
    first = json_of(browser, "/api/depth")["at_ms"]
    assert json_of(browser, "/api/depth")["at_ms"] == first
    assert console.watching.looks == 1


def test_the_center_shows_each_region_and_one_alone(filled: Sides) -> None:
    filled.take_over()
    browser = console_of(filled.center).signed_in("budi")
    assert [one["region"] for one in json_of(browser, "/api/depth")["regions"]] == ["1806"]
    assert json_of(browser, "/api/depth?region=1806")["received"] == 1
    assert browser.get("/region/1806").status_code == 200
    for path in ("/region/9999", "/api/depth?region=9999", "/api/history?region=9999"):
        assert browser.get(path).status_code == 404
    assert browser.get("/region/%3Cb%3E").status_code == 400


def test_a_region_has_no_regions(filled: Sides) -> None:
    browser = console_of(filled.region).signed_in("budi")
    assert browser.get("/region/1806").status_code == 404
    assert browser.get("/api/depth?region=1806").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/api/history?hours=2", "/api/history?hours=x", "/api/history?names=nix", "/api/turns?hours=0",
     "/api/dead?limit=100000", "/api/dead?lane=nix", "/api/dead/nix", "/api/audit?limit=-1"],
)  # fmt: skip
def test_what_is_asked_wrongly_is_said(filled: Sides, path: str) -> None:
    answer = console_of(filled.region).signed_in("budi").get(path, accept="application/json")
    assert answer.status_code == 400
    assert answer.json()["error"]


# --- a NIK ----------------------------------------------------------------------------------------


def test_a_citizens_packets_are_found_and_the_nik_is_not_shown_again(filled: Sides) -> None:
    browser = console_of(filled.region).signed_in("budi")
    answer = browser.post("/search", {"q": nik(2)})
    assert answer.status_code == 200
    assert len(re.findall(r"1806-[a-z0-9]{6}-000002", answer.text)) > 0
    assert nik(2) not in answer.text
    assert "location" not in answer.headers
    assert nik(2) not in browser.post("/api/trace", {"q": nik(2)}).text
    assert browser.post("/search", {"q": nik(9)}).status_code == 404
    assert nik(9) not in browser.post("/search", {"q": nik(9)}).text


def test_a_nik_in_an_address_is_refused(filled: Sides) -> None:
    browser = console_of(filled.region).signed_in("budi")
    assert browser.get(f"/packet/{nik(2)}").status_code == 400
    for path in (f"/search?q={nik(2)}", f"/api/trace?q={nik(2)}"):
        answer = browser.get(path)
        assert answer.status_code in (200, 405)
        assert "000002" not in answer.text


@pytest.mark.parametrize("text", ["", "nix", HOSTILE, "1806015201900001 ", "9" * 16, "x" * 10_000])
def test_what_is_neither_an_id_nor_a_nik_is_said_on_the_page(filled: Sides, text: str) -> None:
    answer = console_of(filled.region).signed_in("budi").post("/search", {"q": text})
    assert answer.status_code in (200, 400, 404)
    assert "<script>alert" not in answer.text


# --- what others wrote ----------------------------------------------------------------------------


def test_what_others_wrote_is_shown_and_does_nothing(titian: Titian, filled: Sides) -> None:
    packet = packet_of(titian, filled)
    shown = HOSTILE.replace("\x1b", "").replace("\u202e", "")
    pause(open_region(filled), None, Actor("budi<b>", COMMAND_LINE), shown)
    console = console_of(filled.region)
    browser = console.signed_in("siti")
    for language in ("id", "en"):
        for path in ("/", "/dead", f"/dead/{packet}", f"/packet/{packet}", "/audit"):
            answer = browser.get(f"{path}?lang={language}")
            assert answer.status_code == 200
            assert "<script>alert" not in answer.text, path
            assert "budi<b>" not in answer.text
            assert not {"\x1b", "\u202e"} & set(answer.text), "nothing turns the page's text around"
            assert "60481729" not in answer.text, "no template of others is run"
    assert "&lt;script&gt;" in browser.get(f"/dead/{packet}").text


def open_region(sides: Sides) -> Any:
    from pipeline.adapters.folder import open_folder

    return open_folder(sides.region)


# --- showing changes nothing ----------------------------------------------------------------------


def marks(folder: Path) -> dict[str, str]:
    """Every file of a side as its hash; SQLite's shared memory is no content."""
    files = [one for one in folder.rglob("*") if one.is_file() and not one.name.endswith("-shm")]
    return {str(one.relative_to(folder)): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


@pytest.mark.parametrize("side", ["region", "center"])
def test_every_get_changes_nothing_and_carries_the_headers(titian: Titian, filled: Sides, side: str) -> None:
    packet = packet_of(titian, filled)
    filled.take_over()
    console = console_of(filled.region if side == "region" else filled.center)
    browser = console.signed_in("siti")
    before = marks(console.folder.path)
    for path in [*get_paths(console, packet), "/nix", "/act/pause", "/api/nix"]:
        for accept in ("application/json", BROWSER["accept"]):
            answer = browser.get(path, accept=accept)
            assert answer.status_code < 500 or path in ("/healthz", "/readyz"), (path, answer.text)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "unsafe-inline" not in policy
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] in ("same-origin", "no-referrer")
            kept = answer.headers["cache-control"]
            assert kept == "no-store" or path.startswith(("/static/", "/notice")), path
            assert "access-control-allow-origin" not in answer.headers or path.startswith("/notice")
    assert marks(console.folder.path) == before


@pytest.mark.parametrize("side", ["region", "center"])
def test_no_page_holds_a_script_or_a_style_of_its_own(titian: Titian, filled: Sides, side: str) -> None:
    packet = packet_of(titian, filled)
    filled.take_over()
    console = console_of(filled.region if side == "region" else filled.center)
    browser = console.signed_in("siti")
    for path in get_paths(console, packet):
        page = browser.get(path)
        is_ours = page.headers["content-type"].startswith("text/html") and path != "/notice"
        text = page.text if is_ours else ""
        assert not re.findall(r"<script(?![^>]*\bsrc=)", text), path
        assert not re.findall(r"<style|\sstyle=|\son[a-z]+=|javascript:", text), path
        for asset in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
            answer = browser.get(asset.replace("&amp;", "&"))
            assert answer.status_code == 200, asset
            assert "immutable" in answer.headers["cache-control"], asset


def test_a_defect_says_nothing_of_what_was_asked(filled: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    console = console_of(filled.region)
    browser = console.signed_in("siti")

    def fails(*_: object) -> None:
        raise RuntimeError(nik(1))

    monkeypatch.setattr("pipeline.inspection.trace.region_trace", fails)
    answer = browser.post("/api/trace", {"q": nik(1)})
    assert answer.status_code == 500
    assert nik(1) not in answer.text
    assert answer.headers["cache-control"] == "no-store"


def test_a_file_that_a_browser_has_is_not_sent_again(filled: Sides) -> None:
    browser = console_of(filled.region).browser()
    answer = browser.get("/static/console.css")
    assert answer.headers["cache-control"] == "no-cache"
    assert browser.get("/static/console.css", **{"if-none-match": answer.headers["etag"]}).status_code == 304
    for path in ("/static/nix.css", "/static/../app.py", "/static/%2e%2e%2fapp.py", "/static/"):
        assert browser.get(path).status_code != 200, path


def test_the_language_is_as_asked_for_then_as_kept_then_as_the_browser_likes(filled: Sides) -> None:
    browser = console_of(filled.region).browser()

    def language(path: str = "/login", **headers: str) -> str:
        return re.findall(r'<html lang="(\w+)"', browser.get(path, **headers).text)[0]

    assert language() == "id"
    assert language(**{"accept-language": "en-GB,en;q=0.9"}) == "en"
    assert language("/login?lang=en") == "en"
    assert language(**{"accept-language": "id"}) == "en"
    assert language("/login?lang=xx") == "en"


# --- figures over time ----------------------------------------------------------------------------


def test_what_was_seen_and_what_was_counted_stand_side_by_side(titian: Titian, filled: Sides) -> None:
    console = console_of(filled.region)
    part = history_part(console.folder, WatchStore(filled.region))
    latest = console.watching.latest()
    assert latest is not None
    part.saw(latest)
    found = json_of(
        console.signed_in("budi"), "/api/history?hours=1&names=waiting.record,in.record,in.urgent"
    )
    assert set(found["names"]) == {"waiting.record", "in.record", "in.urgent"}
    assert found["step_s"] == 60
    assert found["to_ms"] - found["from_ms"] == 3_600_000
    assert {len(one) for one in found["names"].values()} == {60}
    assert found["names"]["waiting.record"][-2:].count(1) >= 1
    assert sum(found["names"]["in.record"]) > 0
    assert sum(found["names"]["in.urgent"]) == 0


def test_everything_there_is_can_be_asked_for(filled: Sides) -> None:
    for folder, seen in ((filled.region, REGION_SEEN), (filled.center, CENTER_SEEN)):
        browser = console_of(folder).signed_in("budi")
        for hours, step_s in STEPS_S.items():
            found = json_of(browser, f"/api/history?hours={hours}")
            assert set(seen) < set(found["names"])
            assert {len(one) for one in found["names"].values()} == {hours * 3_600 // step_s}


def test_a_rate_is_of_the_whole_step_and_of_the_last_one_as_much_as_is_over() -> None:
    minute = NOW_MS // 60_000
    counted = {"in.urgent": {minute: 430.0, minute - 1: 600.0, minute - 60: 1.0}}
    found = history(1, minute * 60_000 + 43_000, ["in.urgent"], None, counted)
    values = found["names"]["in.urgent"]
    assert values[-2:] == [10, 10]
    assert sum(values[:-2]) == 0, "what was before is not in it"


def test_several_minutes_become_one_step() -> None:
    minute = NOW_MS // 60_000 // 5 * 5
    counted = {"in.urgent": {minute - 5 + n: 300.0 for n in range(5)}}
    found = history(24, minute * 60_000, ["in.urgent", "rtt_ms"], None, counted)
    assert found["names"]["in.urgent"][-3:] == [0, 5, 0]
    assert set(found["names"]["rtt_ms"]) == {None}


def test_the_ledgers_words_are_called_by_the_names_of_charts() -> None:
    class Ledger:
        def rates(self, since: int, region: str | None) -> dict[int, dict[str, int]]:
            return {7: {"received": 2, "bytes": 100, "VALIDATED": 1, "REFUSED": 1, "nix": 5}}

    found = center_minutes(Ledger(), 0, None)  # type: ignore[arg-type]  # only `rates` is asked for
    assert found["received"] == {7: 2}
    assert found["frames"] == {7: 100}


def test_a_figure_that_is_not_there_is_named_with_those_that_are() -> None:
    assert names_of("", ["a", "b"]) == ["a", "b"]
    assert names_of("b,b,,a", ["a", "b"]) == ["b", "a"]
    with pytest.raises(UsageError, match="there are a, b"):
        names_of("c", ["a", "b"])


def test_how_the_link_was_before_the_window_is_told_last(filled: Sides) -> None:
    store, at_ms = WatchStore(filled.region), now_ms()
    for hours, what in ((60, "link up"), (50, "link down"), (40, "throttle"), (1, "link up")):
        store.turn(at_ms - hours * 3_600_000, what, "")
    store.close()
    found = json_of(console_of(filled.region).signed_in("budi"), "/api/turns?hours=24")["turns"]
    assert [one["what"] for one in found] == ["link up", "link down"]


def test_what_is_sought_is_an_id_or_a_nik() -> None:
    assert parse_query(nik(1)) == nik(1)
