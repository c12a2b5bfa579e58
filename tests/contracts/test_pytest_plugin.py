"""The fixtures for any project's tests: on real sockets here, and as somebody else's pytest sees them."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from pipeline.errors import UsageError
from pipeline.linksim import PROFILES, Address, LinkProfile, Relay, parse_trace
from pipeline.linksim.virtual import VirtualProfile
from pipeline.linksim.virtual_flows import GreedyFlow
from pipeline.testing.clock import ManualClock
from pipeline.testing.pytest_plugin import Cut, SlowLink, VirtualLinks

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
NAME = "pipeline.testing.pytest_plugin"
NOBODY = "127.0.0.1:1"


@pytest.fixture
def echo() -> Iterator[tuple[str, int]]:
    """A server that says again what it hears, to whoever connects."""

    def talk(client: socket.socket) -> None:
        with client:
            try:
                while data := client.recv(65536):
                    client.sendall(data)
            except ConnectionError:
                pass

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=talk, args=(client,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=serve, daemon=True)
        accepting.start()
        yield listener.getsockname()[:2]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join(10)


def said_back(link: Relay, words: bytes = b"hello") -> float:
    """Send them through the link on a connection of their own; seconds until they are back."""
    with socket.create_connection(link.address, timeout=20) as client:
        began_s = time.monotonic()
        client.sendall(words)
        heard = b""
        while len(heard) < len(words):
            more = client.recv(65536)
            assert more, f"closed after {len(heard)} B"
            heard += more
        assert heard == words
        return time.monotonic() - began_s


# On real sockets


def test_a_link_is_as_far_as_its_profile_says(slow_link: SlowLink, echo: tuple[str, int]) -> None:
    near, far = slow_link(to=echo, profile="fiber"), slow_link(to=echo, profile="vsat-512k")
    assert said_back(near) < said_back(far)
    assert said_back(far) >= 1.2, "a round trip of 600 ms to open the connection, another for the answer"


def test_a_link_is_as_slow_as_its_profile_says(slow_link: SlowLink, echo: tuple[str, int]) -> None:
    link = slow_link(to=echo, profile=LinkProfile(800_000, 8_000_000, delay_ms=1, buffer_bytes=64 * 1024))
    assert said_back(link, bytes(50_000)) >= 0.5, "50 kB at 100 kB a second"


def test_a_recording_takes_the_place_of_the_rate(
    slow_link: SlowLink, echo: tuple[str, int], tmp_path: Path
) -> None:
    recorded = tmp_path / "cell.up"
    recorded.write_text("20\n40\n")  # a packet of 1500 bytes each 20 ms
    link = slow_link(echo, "fiber", trace_up=recorded, trace_down=parse_trace(["1"]))
    assert said_back(link, bytes(14_480)) >= 0.18, "ten packets"


def test_a_timetable_in_words_is_played(slow_link: SlowLink) -> None:
    evening, quiet = slow_link(NOBODY, "evening-shared"), slow_link(NOBODY, "evening-shared", script="")
    recorded = slow_link(NOBODY, "evening-shared", trace_up=parse_trace(["1"]))
    end_s = time.monotonic() + 20
    while evening.stats().foreground_flows == 0 and time.monotonic() < end_s:
        time.sleep(0.01)
    assert evening.stats().foreground_flows == 3
    assert quiet.stats().foreground_flows == 0
    assert recorded.stats().steps_played == 0, (
        "a script would end the recording at its first change of the rate"
    )


def test_a_link_listens_where_it_is_told(slow_link: SlowLink) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place: tuple[str, int] = taken.getsockname()[:2]
        with pytest.raises(UsageError, match="cannot listen on"):
            slow_link(NOBODY, listen=place)
    assert slow_link(NOBODY, listen=place).address == Address(*place)


@pytest.mark.parametrize("again", ["with", "by hand"])
def test_what_is_sent_into_a_cut_arrives_after_it(
    slow_link: SlowLink, cut: Cut, echo: tuple[str, int], again: str
) -> None:
    link = slow_link(to=echo, profile="2M/1ms")
    with socket.create_connection(link.address, timeout=20) as client:
        gone = cut(link)
        client.sendall(b"hello")
        assert link.stats().cut == "blackhole"
        assert link.stats().up.payload_bytes == 0
        if again == "with":
            with gone:
                pass
        else:
            gone.restore()
        assert client.recv(100) == b"hello"


def test_a_cut_with_resets_tells_who_is_connected_and_who_connects(
    slow_link: SlowLink, cut: Cut, echo: tuple[str, int]
) -> None:
    link = slow_link(to=echo, profile="fiber")
    with socket.create_connection(link.address, timeout=20) as client:
        client.sendall(b"hello")
        assert client.recv(100) == b"hello"
        with cut(link, mode="reset"):
            with pytest.raises(ConnectionResetError):
                client.recv(100)
            with pytest.raises(ConnectionResetError):
                said_back(link)
    assert said_back(link) > 0


def test_only_the_links_that_are_named_are_cut(slow_link: SlowLink, cut: Cut) -> None:
    one, other = slow_link(NOBODY), slow_link(NOBODY)
    with cut(one):
        assert (one.stats().cut, other.stats().cut) == ("blackhole", None)
    with cut():
        assert (one.stats().cut, other.stats().cut) == ("blackhole", "blackhole")
    assert (one.stats().cut, other.stats().cut) == (None, None)


def test_a_cut_ends_also_where_the_test_breaks_off(slow_link: SlowLink, cut: Cut) -> None:
    link = slow_link(NOBODY)
    with pytest.raises(ZeroDivisionError), cut(link):
        _ = 1 / 0
    assert link.stats().cut is None


def test_a_link_may_be_stopped_while_it_is_cut(slow_link: SlowLink, cut: Cut) -> None:
    link = slow_link(NOBODY)
    with cut(link):
        link.stop()
    assert link.stats().cut == "blackhole"


def test_a_cut_without_a_link_says_what_to_do(cut: Cut) -> None:
    with pytest.raises(UsageError, match="no link to cut: make one with slow_link"):
        cut()


# On virtual time


def test_an_hour_of_a_link_passes_at_once_and_the_same_every_time(virtual_link: VirtualLinks) -> None:
    delivered = []
    for seed in (1, 1, 2):
        link = virtual_link("district-128k", loss=0.02, seed=seed)
        flow = GreedyFlow(link)
        flow.start()
        link.run(until_s=600)
        delivered.append(flow.delivered_bytes)
    assert delivered[0] == delivered[1] != delivered[2]
    assert 0 < delivered[0] <= 600 * 128_000 / 8


def test_a_virtual_link_is_like_the_profile_of_a_real_one(virtual_link: VirtualLinks) -> None:
    regency = PROFILES["regency-2m"]
    like = VirtualProfile(2_000_000, 0.05, regency.buffer_bytes, loss=0.01)
    assert virtual_link("regency-2m", loss=0.01).profile == like
    assert virtual_link(regency, loss=0.01).profile == like
    assert virtual_link(like).profile == like


def test_nothing_arrives_over_a_virtual_link_while_it_is_cut(virtual_link: VirtualLinks, cut: Cut) -> None:
    link = virtual_link("district-128k")
    flow = GreedyFlow(link)
    with cut(link):
        flow.start()
        link.run(until_s=5)
        assert flow.delivered_bytes == 0
    link.run(until_s=60)
    assert flow.delivered_bytes > 0


def test_what_a_virtual_link_cannot_be_is_said(virtual_link: VirtualLinks, cut: Cut) -> None:
    with pytest.raises(UsageError, match="script, which a virtual link does not play"):
        virtual_link("flaky-4g")
    with pytest.raises(UsageError, match="loss is the profile's"):
        virtual_link(VirtualProfile(1e6, 0.01), loss=0.1)
    with pytest.raises(UsageError, match="no connections to reset"):
        cut(virtual_link("fiber"), mode="reset")


def test_a_clock_stands_still_until_it_is_moved(virtual_clock: ManualClock) -> None:
    before_s, before_ms = virtual_clock.now_s(), virtual_clock.now_ms()
    assert (virtual_clock.now_s(), virtual_clock.now_ms()) == (before_s, before_ms)
    virtual_clock.advance(3600)
    assert (virtual_clock.now_s(), virtual_clock.now_ms()) == (before_s + 3600, before_ms + 3_600_000)


# As another project's pytest sees them


@pytest.fixture
def theirs(pytester: pytest.Pytester) -> pytest.Pytester:
    """Somebody else's project, where warnings are errors as here."""
    pytester.makeini("[pytest]\nfilterwarnings = error\naddopts = -p no:cacheprovider\n")
    return pytester


def test_pytest_finds_the_fixtures_where_titian_is_installed() -> None:
    assert [one.value for one in entry_points(group="pytest11", name="titian")] == [NAME], "run `make venv`"


def test_the_example_in_the_docs_passes_as_it_stands(theirs: pytest.Pytester) -> None:
    example = re.search(r"```python\n(.*?)```", (ROOT / "docs/testing.md").read_text(), re.DOTALL)
    assert example is not None
    theirs.makepyfile(test_theirs=example[1])
    theirs.runpytest_subprocess().assert_outcomes(passed=5)


def test_a_project_that_asks_for_nothing_imports_nothing(theirs: pytest.Pytester) -> None:
    theirs.makepyfile(
        test_theirs="""
        import sys

        def test_nothing():
            ours = {name for name in sys.modules if name.split(".")[0] in ("pipeline", "schemas", "workers")}
            assert ours == {"pipeline", "pipeline.testing", "pipeline.testing.pytest_plugin"}
            assert not {"celery", "kombu", "redis", "apsw", "sqlalchemy", "pydantic"} & {*sys.modules}
        """
    )
    theirs.runpytest_subprocess().assert_outcomes(passed=1)


def test_links_are_stopped_after_a_test_and_shown_where_it_failed(theirs: pytest.Pytester) -> None:
    theirs.makepyfile(
        test_theirs="""
        import threading

        def linksims():
            return [one for one in threading.enumerate() if one.name.startswith("linksim")]

        def test_one_that_fails(slow_link, cut):
            cut(slow_link(to=("127.0.0.1", 1)), mode="reset")
            slow_link(to="127.0.0.1:1", profile="128k/100ms")
            assert len(linksims()) == 0

        def test_one_that_passes(slow_link):
            assert not linksims()
            slow_link(to=("127.0.0.1", 1), profile="vsat-512k")
        """
    )
    result = theirs.runpytest_subprocess()
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.re_match_lines_random([r"-+ Captured slow_link teardown -+"])
    result.stdout.re_match_lines(
        [
            r"127\.0\.0\.1:\d+ -> 127\.0\.0\.1:1: 2 Mbit/s, 100 ms round trip, 64 KiB buffer; "
            r"carried 0 B up, 0 B down, 0 connections, 0 resets",
            r"  \d\.\d{3} s  cut \(reset\)",
            r"  \d\.\d{3} s  restored",
            r"127\.0\.0\.1:\d+ -> 127\.0\.0\.1:1: 128 kbit/s, 200 ms round trip, 64 KiB buffer; carried .*",
        ],
        consecutive=False,
    )
    assert not [line for line in result.outlines if "600 ms round trip" in line], "that test has passed"


def test_a_projects_own_fixture_of_the_same_name_wins(theirs: pytest.Pytester) -> None:
    theirs.makeconftest("import pytest\n@pytest.fixture\ndef cut():\n    return 'theirs'\n")
    theirs.makepyfile(test_theirs="def test_it(cut):\n    assert cut == 'theirs'\n")
    theirs.runpytest_subprocess().assert_outcomes(passed=1)
