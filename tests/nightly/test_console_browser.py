"""The console in a real browser, with both sides as real processes and packets between them."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from pipeline.region import open_outbox
from pipeline.sample import sample_lines
from schemas.identity import PacketId
from tests.nightly.browser_rig import (
    PASSWORD,
    SHOWS_MS,
    Seen,
    address_of,
    chromium,
    let_in,
    refuse_something,
    window,
)
from tests.nightly.many_regions import document as many_regions
from tests.nightly.many_regions import served
from tests.sides_rig import child_pid, enqueue, kill_child, two_sides, until
from workers.acts import Actor, pause, resume
from workers.both_sides import ANY_PORT, BothSides, free_port
from workers.looking import RegionLook, look

pytestmark = [pytest.mark.nightly, pytest.mark.timeout(300)]
PROBES = Path(__file__).with_name("probes.js")
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)</script>"
#: All that a first page brings must stay below, bytes.
WEIGHT_MAX = 150_000
REGION_PAGES = ("/", "/dead", "/search", "/audit", "/login")
CENTER_PAGES = ("/", "/region/1806", "/dead", "/search", "/audit")
SOMEBODY = Actor("siti", "command line")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def sides(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BothSides]:
    with two_sides(tmp_path_factory.mktemp("console"), started=False) as both:
        for folder in (both.center, both.region):
            let_in(folder)
        refuse_something(both.region.path, 6)
        # The same port after a kill, so that an open page finds it again.
        both.region_up.environment["TITIAN_CONSOLE__LISTEN"] = f"127.0.0.1:{free_port()}"
        both.center_up.environment.update(ANY_PORT)
        both.center_up.start()
        both.region_up.start()
        enqueue(both, 20)
        until(lambda: depth_of(both)["dead"] == 6, what="six refusals")
        yield both


@pytest.fixture
def region(browser: Any, sides: BothSides) -> Iterator[Callable[..., Seen]]:
    yield from windows(browser, address_of(sides.region))


@pytest.fixture
def center(browser: Any, sides: BothSides) -> Iterator[Callable[..., Seen]]:
    yield from windows(browser, address_of(sides.center))


def windows(browser: Any, base: str) -> Iterator[Callable[..., Seen]]:
    """Opens windows on that console; all are checked when the test is over."""
    with ExitStack() as stack:
        yield lambda **options: stack.enter_context(window(browser, base, **options))


def depth_of(sides: BothSides) -> dict[str, Any]:
    store = look(sides.region)
    assert isinstance(store, RegionLook)
    with closing(store.outbox), closing(store.registry):
        return store.depth()


def text_of(page: Any, selector: str) -> str:
    return str(page.locator(selector).first.inner_text())


def waits_for(page: Any, expression: str, argument: Any = None) -> None:
    """Asked from outside: a page that waits by itself evaluates text, which our policy forbids."""
    until(lambda: page.evaluate(expression, argument), SHOWS_MS / 1000, expression)


def probe(page: Any, name: str) -> Any:
    """What a function of `probes.js` finds on that page."""
    return page.evaluate(f"({PROBES.read_text()}).{name}()")


def is_live(page: Any) -> None:
    waits_for(page, "document.querySelector('#live')?.dataset.state === 'live'")


# --- signing in ---------------------------------------------------------------------------------


def test_nobody_sees_anything_before_signing_in(region: Callable[..., Seen]) -> None:
    page = region().page
    page.goto(region().base + "/audit")
    assert "/login" in page.url
    assert page.locator("nav").count() == 0


def test_a_wrong_password_is_said_and_a_right_one_goes_where_one_wanted(region: Callable[..., Seen]) -> None:
    seen = region()
    seen.expected.append("401")
    page = seen.sign_in(password="tidak-benar-sama-sekali", path="/audit")
    assert "do not go together" in text_of(page, "[role=alert]")
    assert page.input_value("input[name=name] >> nth=0") == "sri"
    page.fill("input[name=password]", PASSWORD)
    page.click("button.do >> nth=0")
    assert page.url == seen.base + "/audit"
    page.click("text=Sign out")
    assert "/login" in page.url
    page.go_back()
    page.goto(seen.base + "/")
    assert "/login" in page.url


# --- figures ------------------------------------------------------------------------------------


def test_figures_move_by_themselves_when_packets_are_enqueued(
    region: Callable[..., Seen], sides: BothSides
) -> None:
    page = region().sign_in()
    is_live(page)
    before = depth_of(sides)["recorded"]
    enqueue(sides, 7, seed=11)
    shown = f"{before + 7} in all"
    waits_for(page, "text => document.body.innerText.includes(text)", shown)
    assert page.locator("[data-chart] canvas").count() == 3


def test_each_figure_is_the_same_whether_the_server_or_the_browser_writes_it(
    region: Callable[..., Seen],
) -> None:
    """Times apart, which go on: the page is asked for again, and compared with what the script wrote."""
    page = region().sign_in()
    is_live(page)
    differ = probe(page, "figures")
    assert not differ


def test_a_stream_that_falls_silent_is_said_and_goes_on_by_itself(
    region: Callable[..., Seen], sides: BothSides
) -> None:
    page = region().sign_in()
    is_live(page)
    pid = child_pid(sides.region, "watch")
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    try:
        waits_for(page, "document.querySelector('#live').dataset.state === 'broken'")
        assert "tried again by itself" in text_of(page, "#live")
    finally:
        os.kill(pid, signal.SIGCONT)
    is_live(page)


def test_when_the_console_starts_anew_one_signs_in_again_and_is_back(
    region: Callable[..., Seen], sides: BothSides
) -> None:
    seen = region()
    seen.expected += ["ERR_", "401"]
    page = seen.sign_in()
    is_live(page)
    kill_child(sides.region, "watch")
    page.wait_for_url("**/login?next=*", timeout=60_000)
    page.fill("input[name=name] >> nth=0", "sri")
    page.fill("input[name=password]", PASSWORD)
    page.click("button.do >> nth=0")
    is_live(page)
    assert page.url == seen.base + "/"


# --- acting -------------------------------------------------------------------------------------


def test_a_lane_is_paused_and_resumed_by_the_form(region: Callable[..., Seen], sides: BothSides) -> None:
    page = region().sign_in()
    form = page.locator("form[action='/act/pause']")
    form.locator("select").select_option("biometric")
    form.locator("input[name=reason]").fill("jalur dipakai bersama")
    form.locator("button").click()
    assert "done=pause" in page.url
    assert "pause" in text_of(page, ".said")
    assert "jalur dipakai bersama" in text_of(page, "#steer-now")
    assert "sri" in text_of(page, "#steer-now")
    waits_for(page, "document.querySelector(\"[data-held='biometric']\").dataset.level === 'warn'")
    page.locator("#steer-now form[action='/act/resume'] button").click()
    assert "Nobody has paused" in text_of(page, "#steer-now")
    page.click("nav >> text=Who did what")
    assert "jalur dipakai bersama" in text_of(page, "table")


def test_what_another_person_does_shows_without_loading_again(
    region: Callable[..., Seen], sides: BothSides
) -> None:
    page = region().sign_in()
    is_live(page)
    pause(sides.region, None, SOMEBODY, "listrik padam")
    waits_for(page, "document.querySelector('#steer-now').innerText.includes('listrik padam')")
    resume(sides.region, None, SOMEBODY, "")
    waits_for(page, "!document.querySelector('#steer-now').innerText.includes('listrik padam')")


def test_a_cap_is_set_and_ended(region: Callable[..., Seen]) -> None:
    page = region().sign_in()
    form = page.locator("form[action='/act/cap']")
    form.locator("input[name=rate]").fill("64k")
    form.locator("input[name=hours]").fill("07:00-16:00")
    form.locator("button").click()
    assert "64.0 kbit/s" in text_of(page, "#steer-now")
    assert "07:00–16:00" in text_of(page, "#steer-now")
    page.locator("#steer-now form[action='/act/cap'] button").click()
    assert "Nobody has paused" in text_of(page, "#steer-now")


def test_who_only_reads_sees_no_form_and_is_refused(region: Callable[..., Seen]) -> None:
    seen = region()
    seen.expected.append("403")
    page = seen.sign_in("budi")
    assert page.locator("form[action^='/act/']").count() == 0
    assert "sign in as an operator" in text_of(page, "#steer")
    csrf = page.locator("form[action='/logout'] input[name=csrf]").input_value()
    status = page.evaluate(
        "csrf => fetch('/act/pause', {method: 'POST', body: new URLSearchParams({csrf, lane: '', "
        "reason: 'x'})}).then(answer => answer.status)",
        csrf,
    )
    assert status == 403


def test_a_dead_letter_is_shown_and_dropped_only_when_that_is_confirmed(
    region: Callable[..., Seen], sides: BothSides
) -> None:
    page = region().sign_in(path="/dead")
    before = page.locator("tbody tr").count()
    page.locator("tbody th a").first.click()
    which = text_of(page, "h1")
    assert "What to do" in text_of(page, "main")
    page.click("summary")
    page.fill("form[action='/act/drop'] input[name=reason]", "warga sudah direkam ulang")
    page.click("form[action='/act/drop'] button")
    assert "/dead/" in page.url, "the browser asks for the box first"
    page.check("form[action='/act/drop'] input[name=sure]")
    page.click("form[action='/act/drop'] button")
    page.wait_for_url("**done=drop**")
    assert page.locator("tbody tr").count() == before - 1
    assert which not in text_of(page, "#dead-list")
    assert depth_of(sides)["dead"] == before - 1


def test_a_dead_letter_is_sent_again(region: Callable[..., Seen]) -> None:
    page = region().sign_in(path="/dead")
    page.locator("form[action='/act/retry'] button").first.click()
    page.wait_for_url("**done=retry**")
    assert "send again" in text_of(page, ".said")


def test_a_broken_printer_is_told_to_the_public_and_taken_back(region: Callable[..., Seen]) -> None:
    seen = region()
    page = seen.sign_in()
    page.click("text=Something is broken")
    page.select_option("form[action='/act/equipment'] select", "printer")
    page.fill("form[action='/act/equipment'] input[name=reason]", HOSTILE)
    page.click("text=It is broken")
    assert "card printer" in text_of(page, "#notice-now")
    assert HOSTILE in text_of(page, "#notice-now")
    page.click("#notice-now form[action='/act/equipment'] button")
    assert "Nobody has added anything" in text_of(page, "#notice-now")


# --- finding ------------------------------------------------------------------------------------


def one_packet(sides: BothSides) -> tuple[PacketId, str]:
    """A packet that was just recorded, and whose."""
    line = next(iter(sample_lines(1, seed=77)))
    with open_outbox(sides.region.path) as outbox:
        return outbox.enqueue(line), str(line["payload"]["nik"])


def test_a_packet_is_found_by_id_and_by_nik_and_a_nik_is_in_no_address(
    region: Callable[..., Seen], sides: BothSides
) -> None:
    seen = region()
    asked: list[str] = []
    seen.page.on("request", lambda request: asked.append(request.url))
    identity, nik = one_packet(sides)
    page = seen.sign_in()
    page.fill("form[action='/search'] input[name=q]", str(identity))
    page.click("form[action='/search'] button")
    assert text_of(page, "h2") == str(identity)
    page.fill("form[action='/search'] input[name=q]", nik)
    page.click("form[action='/search'] button")
    assert text_of(page, "h2") == str(identity)
    assert nik not in page.content()
    assert not [url for url in asked if nik in url]
    seen.expected.append("404")
    page.fill("form[action='/search'] input[name=q]", f"{str(identity)[:-6]}999999")
    page.click("form[action='/search'] button")
    assert "is not in the outbox" in text_of(page, "[role=alert]")


def test_hostile_text_is_text(region: Callable[..., Seen], sides: BothSides) -> None:
    pause(sides.region, None, Actor(HOSTILE, "command line"), HOSTILE)
    try:
        page = region().sign_in()
        is_live(page)
        for path in ("/", "/audit"):
            page.goto(region().base + path)
            assert HOSTILE in text_of(page, "main")
            assert page.locator("main img, main script").count() == 0
    finally:
        resume(sides.region, None, SOMEBODY, "")


# --- languages, sizes, colours, hands ----------------------------------------------------------


def test_it_speaks_indonesian_and_english_and_remembers_which(region: Callable[..., Seen]) -> None:
    seen = region(locale="id-ID")
    page = seen.sign_in()
    assert page.get_attribute("html", "lang") == "id"
    assert "Menurut lajur" in text_of(page, "main")
    page.click("header >> text=English")
    assert "By lane" in text_of(page, "main")
    page.goto(seen.base + "/dead")
    assert page.get_attribute("html", "lang") == "en"


@pytest.mark.parametrize("side", ["region", "center"])
def test_on_a_phone_no_page_is_wider_than_the_screen(side: str, request: pytest.FixtureRequest) -> None:
    seen = request.getfixturevalue(side)(viewport={"width": 360, "height": 740}, locale="id-ID")
    page = seen.sign_in()
    for path in REGION_PAGES if side == "region" else CENTER_PAGES:
        page.goto(seen.base + path)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("side", ["region", "center"])
def test_every_text_stands_out_from_its_ground(
    side: str, scheme: str, request: pytest.FixtureRequest
) -> None:
    seen = request.getfixturevalue(side)(color_scheme=scheme)
    page = seen.sign_in()
    for path in REGION_PAGES if side == "region" else CENTER_PAGES:
        page.goto(seen.base + path)
        assert not probe(page, "contrast"), path
    page.goto(seen.base + "/")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(json.loads(dark.replace("rgb(", "[").replace(")", "]"))) < 200) == (scheme == "dark")


def test_every_field_and_button_has_a_name_and_the_keyboard_reaches_it(region: Callable[..., Seen]) -> None:
    seen = region()
    page = seen.sign_in()
    nameless = probe(page, "nameless")
    assert not nameless
    page.goto(seen.base + "/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen_outline = page.evaluate(
        "(document.activeElement, getComputedStyle(document.querySelector(':focus-visible')).outlineStyle)"
    )
    assert seen_outline == "solid"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"
    assert page.locator("[role=status][aria-live=polite]").count() == 1
    levels = page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_on_paper_there_are_no_forms(region: Callable[..., Seen]) -> None:
    page = region().sign_in()
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert not page.locator("form[action='/act/pause']").is_visible()
    assert page.locator("#headline-text").is_visible()


def test_without_javascript_one_reads_and_acts(region: Callable[..., Seen]) -> None:
    page = region(java_script_enabled=False).sign_in()
    assert "By lane" in text_of(page, "main")
    assert "load the page again" in text_of(page, "#headline")
    assert page.locator("[data-ranges]").first.is_hidden()
    form = page.locator("form[action='/act/pause']")
    form.locator("input[name=reason]").fill("tanpa skrip")
    form.locator("button").click()
    assert "tanpa skrip" in text_of(page, "#steer-now")
    page.locator("#steer-now form[action='/act/resume'] button").click()
    assert "Nobody has paused" in text_of(page, "#steer-now")


# --- the center, and what it all weighs ---------------------------------------------------------


def test_the_center_leads_to_one_region_and_holds_it(center: Callable[..., Seen]) -> None:
    page = center().sign_in()
    is_live(page)
    page.click("#regions >> text=1806")
    assert "/region/1806" in page.url
    form = page.locator("form[action='/act/hold']")
    form.locator("input[name=window]").fill("64k")
    form.locator("input[name=reason]").fill(HOSTILE)
    form.locator("button").click()
    assert HOSTILE in text_of(page, "#held-one")
    page.goto(center().base + "/")
    waits_for(page, "text => document.querySelector('#regions').innerText.includes(text)", HOSTILE)
    assert page.locator("main img").count() == 0
    page.locator("#held-now form[action='/act/release'] button").click()
    page.goto(center().base + "/region/1806")
    assert "not held back" in text_of(page, "#held-one")


@pytest.fixture
def crowded(browser: Any, sides: BothSides) -> Iterator[Callable[..., Seen]]:
    """Windows on a center that shows 514 regions."""
    with served(sides.center, many_regions()) as base:
        yield from windows(browser, base)


def test_514_regions_are_sorted_and_found_at_once(crowded: Callable[..., Seen]) -> None:
    page = crowded().sign_in()
    is_live(page)
    first = "#regions tbody tr:not([hidden]) >> nth=0"
    levels = page.evaluate(
        "[...document.querySelectorAll('#regions tbody tr')].map((one) => one.dataset.level)"
    )
    assert len(levels) == 514
    assert levels == sorted(levels, key=["fail", "warn", "ok"].index), "what is in trouble stands first"
    took_ms = probe(page, "sorting")
    assert took_ms < 250, "to sort by one column"
    page.click("#regions thead >> text=Lag")
    lags = probe(page, "lags")
    assert lags == sorted(lags, reverse=True)
    assert page.get_attribute("#regions th[data-key=lag_s]", "aria-sort") == "descending"
    page.click("#regions thead >> text=Region")
    assert text_of(page, first).startswith("1101")
    page.fill("#regions-filter", "1310")
    assert page.locator("#regions tbody tr:visible").count() == 1
    assert text_of(page, "#regions-shown") == "1 of 514"


def weight(seen: Seen, path: str) -> dict[str, int]:
    """Bytes over the wire of everything that a first look at `path` brings, by what it is."""
    tools = seen.page.context.new_cdp_session(seen.page)
    tools.send("Network.enable")
    tools.send("Network.clearBrowserCache")
    names: dict[str, str] = {}
    found: dict[str, int] = {}
    tools.on("Network.requestWillBeSent", lambda it: names.update({it["requestId"]: it["request"]["url"]}))
    tools.on(
        "Network.loadingFinished", lambda it: found.update({it["requestId"]: int(it["encodedDataLength"])})
    )
    tools.on(
        "Network.eventSourceMessageReceived",
        lambda it: found.update({it["requestId"]: found.get(it["requestId"], 0) + len(it["data"].encode())}),
    )
    tools.send("Network.setCacheDisabled", {"cacheDisabled": True})  # a first look has nothing kept
    seen.page.goto(seen.base + path)
    is_live(seen.page)
    seen.page.wait_for_load_state("load")
    waits_for(seen.page, "document.querySelectorAll('[data-chart] canvas').length > 0")
    return {names.get(one, one).removeprefix(seen.base): size for one, size in found.items()}


@pytest.mark.parametrize("side", ["region", "center", "crowded"])
def test_a_first_look_weighs_less_than_150_kb(side: str, request: pytest.FixtureRequest) -> None:
    seen = request.getfixturevalue(side)()
    seen.sign_in()
    found = weight(seen, "/")
    print(side, sum(found.values()), found)
    assert any("uplot" in one for one in found)
    assert any("/events" in one for one in found)
    assert any("/api/history" in one for one in found)
    assert 20_000 < sum(found.values()) < WEIGHT_MAX


def test_the_pictures_of_the_docs_are_small() -> None:
    pictures = list((Path(__file__).resolve().parents[2] / "docs/pictures").glob("*.png"))
    assert 4 <= len(pictures) <= 8
    assert all(one.stat().st_size < WEIGHT_MAX for one in pictures)
