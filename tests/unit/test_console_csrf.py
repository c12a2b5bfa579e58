"""What is done in the console is done by an operator who means it, once, and written down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from starlette.routing import Route

from pipeline.adapters.audit_file import AuditFile
from pipeline.adapters.steering_file import read_steering
from schemas.lanes import Lane
from schemas.verdicts import Reason
from tests.unit.cli_rig import Sides, Titian, line, write_lines
from tests.unit.console_rig import ORIGIN, Browser, Console, console_of, copied_sides
from workers.console.guard import BODY_BYTES_MAX

JSON = "application/json"
#: Fields with which each act could be done.
FIELDS = {
    "pause": {"lane": "urgent", "reason": "x"},
    "resume": {"lane": "urgent"},
    "cap": {"rate": "64k", "lane": "urgent"},
    "retry": {"id": "1806-aaaaaa-000001"},
    "drop": {"id": "1806-aaaaaa-000001", "reason": "x", "sure": "yes"},
    "hold": {"region": "1806", "reason": "x"},
    "release": {"region": "1806"},
}


@pytest.fixture
def titian(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Titian:
    return Titian(capsys, monkeypatch)


@pytest.fixture
def sides(tmp_path: Path) -> Sides:
    return copied_sides(tmp_path)


@pytest.fixture
def console(sides: Sides) -> Console:
    return console_of(sides.region)


def acts_of(console: Console) -> list[str]:
    found = [
        one.path for one in console.app.routes if isinstance(one, Route) and one.path.startswith("/act/")
    ]
    assert found
    return found


def fields_of(path: str) -> dict[str, str]:
    return FIELDS.get(path.removeprefix("/act/"), {})


def nothing_was_done(console: Console) -> bool:
    folder = console.folder.path
    return not AuditFile(folder).read(1) and not read_steering(folder).pauses


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["region", "center"])
def test_no_act_is_done_without_the_word_of_the_session(sides: Sides, side: str) -> None:
    console = console_of(sides.region if side == "region" else sides.center)
    browser, other = console.signed_in("siti"), console.signed_in("siti")
    for path in acts_of(console):
        for word in ("", "x", other.word(), browser.word("/login")):
            assert browser.post(path, fields_of(path), word=word).status_code == 403, path
    assert nothing_was_done(console)


@pytest.mark.parametrize("side", ["region", "center"])
def test_no_act_is_done_for_a_page_of_a_stranger(sides: Sides, side: str) -> None:
    console = console_of(sides.region if side == "region" else sides.center)
    browser = console.signed_in("siti")
    word = browser.word()
    for path in acts_of(console):
        for origin in (
            "https://evil.example",
            "null",
            "http://127.0.0.1:6382",
            "http://127.0.0.1:6381.evil.example",
        ):
            answer = browser.post(path, fields_of(path), word=word, origin=origin)
            assert answer.status_code == 403, (path, origin)
        for site in ("cross-site", "same-site", "none"):
            answer = browser.post(path, fields_of(path), word=word, **{"sec-fetch-site": site})
            assert answer.status_code == 403, (path, site)
        silent = browser.ask("POST", path, data={**fields_of(path), "csrf": word})
        assert silent.status_code == 403, "neither Origin nor Sec-Fetch-Site"
    assert nothing_was_done(console)


def test_a_browser_that_says_it_was_our_page_is_believed_without_an_origin(console: Console) -> None:
    browser = console.signed_in("siti")
    answer = browser.post("/act/pause", FIELDS["pause"], origin="null", **{"sec-fetch-site": "same-origin"})
    assert answer.status_code == 303


@pytest.mark.parametrize("side", ["region", "center"])
def test_a_reader_does_nothing(sides: Sides, side: str) -> None:
    console = console_of(sides.region if side == "region" else sides.center)
    browser = console.signed_in("budi")
    word = browser.word()
    for path in acts_of(console):
        assert browser.post(path, fields_of(path), word=word).status_code == 403, path
    assert nothing_was_done(console)


def test_nothing_is_done_by_a_get(console: Console) -> None:
    browser = console.signed_in("siti")
    for path in acts_of(console):
        assert browser.get(f"{path}?lane=urgent&reason=x").status_code == 405
        for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
            assert browser.ask(method, path).status_code == 405
    assert nothing_was_done(console)


def test_signing_in_needs_a_page_of_ours_too(console: Console) -> None:
    browser = console.browser()
    fields = {"name": "siti", "password": "a long password"}
    assert browser.post("/login", fields, word="").status_code == 403
    word = browser.word("/login")
    assert browser.post("/login", fields, word=word, origin="https://evil.example").status_code == 403
    assert console.browser().post("/login", fields, word=word).status_code == 403, "another browser's"
    assert browser.post("/login", fields, word=word).status_code == 303


# --- how much may be sent -------------------------------------------------------------------------


def test_too_much_is_refused_whether_its_size_is_said_or_not(console: Console) -> None:
    browser = console.signed_in("siti")
    large = {"reason": "x" * (BODY_BYTES_MAX + 1)}
    assert browser.post("/act/pause", large).status_code == 413
    kind = {"content-type": "application/x-www-form-urlencoded", "origin": ORIGIN}
    lies = browser.ask(
        "POST", "/act/pause", content=b"x" * (BODY_BYTES_MAX + 1), headers=kind | {"content-length": "5"}
    )
    assert lies.status_code == 413
    assert browser.get("/dead?lane=" + "x" * 3_000).status_code == 414
    assert browser.get("/dead/" + "x" * 300).status_code == 414


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("multipart/form-data; boundary=x", b"--x", 415),
        ("text/plain", b"lane=urgent", 415),
        (JSON, b"[1]", 400),
        (JSON, b'{"lane": 1}', 400),
        (JSON, b"[" * 60_000, 400),
        ("application/x-www-form-urlencoded", b"reason=\xff", 400),
        ("application/x-www-form-urlencoded", b"a=1&" * 1_000, 400),
        ("application/x-www-form-urlencoded", b"reason=%FF", 400),
    ],
)
def test_what_is_no_form_is_refused(console: Console, kind: str, body: bytes, status: int) -> None:
    browser = console.signed_in("siti")
    headers = {"content-type": kind, "origin": ORIGIN, "x-csrf": browser.word()}
    assert browser.ask("POST", "/act/pause", content=body, headers=headers).status_code == status
    assert nothing_was_done(console)


# --- what is done ---------------------------------------------------------------------------------


def acts(console: Console) -> list[tuple[str, str, str, str, str]]:
    newest = AuditFile(console.folder.path).read(20)
    return [tuple(one[key] for key in ("who", "via", "what", "target", "reason")) for one in reversed(newest)]


def test_a_lane_is_paused_resumed_and_capped_by_name_with_the_reason(console: Console) -> None:
    browser = console.signed_in("siti")
    answer = browser.post(
        "/act/pause", {"lane": "biometric", "reason": "office hours", "back": "/audit?what=pause"}
    )
    assert answer.headers["location"] == "/audit?what=pause&done=pause&count=1"
    assert read_steering(console.folder.path).pauses[0].who == "siti"
    assert browser.post("/act/resume", {"lane": "biometric"}).headers["location"] == "/?done=resume&count=1"
    browser.post("/act/cap", {"rate": "64k", "lane": "biometric", "hours": "07:00-16:00", "reason": "shared"})
    cap = read_steering(console.folder.path).caps[0]
    assert (cap.lane, cap.bytes_s, cap.start, cap.stop) == (Lane.BIOMETRIC, 8_000.0, 420, 960)
    browser.post("/act/cap", {"rate": "off", "lane": "biometric"})
    assert not read_steering(console.folder.path).caps
    assert acts(console) == [
        ("siti", "console", "pause", "biometric", "office hours"),
        ("siti", "console", "resume", "biometric", ""),
        ("siti", "console", "cap", "biometric", "shared"),
        ("siti", "console", "cap", "biometric", ""),
    ]


def test_what_was_just_done_is_seen_at_once(console: Console) -> None:
    browser = console.signed_in("siti")
    answer = browser.post("/act/pause", {"lane": "urgent", "reason": "the 7th of the month"})
    assert "the 7th of the month" in browser.get(answer.headers["location"]).text
    assert console.watching.looks == 1


def test_a_script_of_ours_gets_json(console: Console) -> None:
    browser = console.signed_in("siti")
    said = browser.post("/act/pause", FIELDS["pause"], accept=JSON).json()
    assert said == {"version": 1, "what": "pause", "count": 1, "failed": []}
    headers = {"accept": JSON, "x-csrf": browser.word(), "origin": ORIGIN}
    answer = browser.ask("POST", "/act/resume", json={"lane": "urgent"}, headers=headers)
    assert answer.json()["count"] == 1
    again = browser.ask("POST", "/act/resume", json={"lane": "urgent"}, headers=headers)
    assert (again.status_code, again.json()["error"]) == (404, "lane urgent was not paused")


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("pause", {"lane": "urgent", "reason": " "}),
        ("pause", {"lane": "nix", "reason": "x"}),
        ("pause", {"lane": "urgent", "reason": "x" * 3_000}),
        ("pause", {"lane": "urgent", "reason": "about 1806015201900001"}),
        ("cap", {"rate": "fast", "lane": "urgent"}),
        ("cap", {"rate": "64k", "hours": "now"}),
        ("cap", {"rate": ""}),
        ("retry", {}),
        ("drop", {"id": "1806-aaaaaa-000001", "sure": "yes"}),
    ],
)
def test_what_is_asked_wrongly_is_said_and_not_done(
    console: Console, what: str, fields: dict[str, str]
) -> None:
    answer = console.signed_in("siti").post(f"/act/{what}", fields)
    assert answer.status_code == 400
    assert "<main" in answer.text
    assert nothing_was_done(console)


def refused_packet(titian: Titian, sides: Sides, tmp_path: Path) -> str:
    titian.ok("enqueue", "--data", sides.region, write_lines(tmp_path / "p.ndjson", line(1), line(2)))
    sides.refuse(((1, 2),), Reason("invalid_packet", "nama: \x1b[2J<script>alert(1)</script>"))
    found = titian.ok("dead", "list", "--data", sides.region, "--json").json
    return str(found["dead"][0]["id"])


def test_a_dead_letter_is_dropped_only_when_that_is_confirmed(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    packet = refused_packet(titian, sides, tmp_path)
    console = console_of(sides.region)
    browser = console.signed_in("siti")
    fields = {"id": packet, "reason": "recorded anew", "back": "/dead"}
    assert browser.post("/act/drop", fields).status_code == 400
    assert nothing_was_done(console)
    answer = browser.post("/act/drop", {**fields, "sure": "yes"})
    assert answer.headers["location"] == "/dead?done=drop&count=1"
    assert acts(console) == [("siti", "console", "drop", packet, "recorded anew")]
    assert browser.get("/api/dead", accept=JSON).json()["dead"] == []


def test_dead_letters_are_tried_again_and_those_that_cannot_be_are_named(
    titian: Titian, sides: Sides, tmp_path: Path
) -> None:
    packet = refused_packet(titian, sides, tmp_path)
    alive = packet[:-1] + "2"
    browser = console_of(sides.region).signed_in("siti")
    answer = browser.post("/act/retry", {"id": [packet, alive]}, accept=JSON)
    assert answer.status_code == 200
    assert (answer.json()["count"], [one for one, _ in answer.json()["failed"]]) == (1, [alive])
    page = browser.post("/act/retry", {"id": alive})
    assert page.status_code == 409
    assert alive in page.text


def test_the_center_holds_a_region_and_releases_it(sides: Sides) -> None:
    console = console_of(sides.center)
    browser = console.signed_in("siti")
    assert (
        browser.post("/act/hold", {"region": "1806", "seconds": "3600", "reason": "a full disk"}).status_code
        == 303
    )
    assert browser.post("/act/hold", {"region": "9999", "reason": "x"}).status_code == 404
    assert browser.post("/act/hold", {"region": "1806", "window": "1x", "reason": "x"}).status_code == 400
    assert browser.post("/act/release", {"region": "1806", "back": "/region/1806"}).status_code == 303
    assert [one[:4] for one in acts(console)] == [
        ("siti", "console", "hold", "1806"),
        ("siti", "console", "release", "1806"),
    ]


def test_an_act_of_the_other_side_is_not_there(sides: Sides) -> None:
    assert console_of(sides.center).signed_in("siti").post("/act/pause", FIELDS["pause"]).status_code == 404
    assert console_of(sides.region).signed_in("siti").post("/act/hold", FIELDS["hold"]).status_code == 404


def test_where_it_cannot_be_written_down_it_is_not_done(console: Console) -> None:
    browser = console.signed_in("siti")
    (console.folder.path / "audit.ndjson").mkdir()
    assert browser.post("/act/pause", FIELDS["pause"]).status_code >= 400
    assert not read_steering(console.folder.path).pauses


def test_the_browser_is_led_back_only_to_a_page_of_ours(console: Console) -> None:
    browser = console.signed_in("siti")

    def led(**fields: str) -> str:
        return str(browser.post("/act/pause", {**FIELDS["pause"], **fields}).headers["location"])

    assert led(back="https://evil.example/") == "/?done=pause&count=1"
    assert led(back="/dead?done=drop&count=9&lane=urgent") == "/dead?lane=urgent&done=pause&count=1"
    assert "&lt;" not in browser.get("/?done=<script>&count=1").text


def test_json_of_an_error_is_json(console: Console) -> None:
    browser: Browser = console.signed_in("siti")
    answer = browser.post("/act/pause", {"lane": "urgent"}, accept=JSON)
    assert (answer.status_code, json.loads(answer.text)["error"]) == (
        400,
        "reason is missing: nothing was done",
    )


def test_the_public_is_told_what_is_broken_and_what_people_write(console: Console) -> None:
    browser = console.signed_in("siti")
    assert (
        browser.post("/act/equipment", {"name": "printer", "state": "broken", "until": "+2h"}).status_code
        == 303
    )
    words = {"what": "office", "text_id": "Tutup.", "text_en": "Closed.", "until": "+1d", "back": "/notice"}
    assert browser.post("/act/notice", words).headers["location"] == "/notice?done=notice&count=1"
    assert browser.post("/act/notice", {"template": "power-cut"}).status_code == 303
    assert browser.post("/act/notice-end", {"n": "1"}).status_code == 303
    assert browser.post("/act/equipment", {"name": "printer", "state": "ok"}).status_code == 303
    assert [one[2:4] for one in acts(console)] == [
        ("equipment", "printer"), ("notice write", "office"), ("notice write", "office"), ("notice end", "1"),
        ("equipment", "printer"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("what", "fields"),
    [
        ("notice", {"text_id": "a", "text_en": "b"}),
        ("notice", {"what": "office", "text_id": "a", "text_en": "b", "until": "soon"}),
        ("notice", {"what": "office", "text_id": "a", "text_en": "b", "days": "x", "from": "+1d"}),
        ("notice-end", {"n": "x"}),
        ("equipment", {"name": "kettle", "state": "broken"}),
        ("equipment", {"name": "printer", "state": "odd"}),
    ],
)
def test_a_notice_that_is_none_is_refused(console: Console, what: str, fields: dict[str, str]) -> None:
    assert console.signed_in("siti").post(f"/act/{what}", fields).status_code == 400
    assert nothing_was_done(console)
