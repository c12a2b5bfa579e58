"""Beside the way, the link simulator as fixtures of pytest, for any project's tests.

pytest loads it by itself wherever Titian is installed (entry point `pytest11`; `-p no:titian` leaves it out):

| fixture | gives |
| --- | --- |
| `slow_link` | `slow_link(to=server, profile="vsat-512k")`: a `Relay` in front of a server |
| `cut` | `with cut(link):` the link is cut inside, and whole after it; `cut()`: all links of the test |
| `virtual_link` | `virtual_link("regency-2m")`: the same link on virtual time |
| `virtual_clock` | a clock that stands still until it is moved |

It is loaded in test runs that never ask for it: so what it needs is imported when a test asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.linksim import Address, LinkEvent, LinkProfile, Relay, Script, Trace
    from pipeline.linksim.virtual import VirtualLink, VirtualProfile
    from pipeline.testing.clock import ManualClock

Mode = Literal["blackhole", "reset"]

EVENTS_SHOWN = 20
"""Of what happened to a link, the report of a test that fails shows the last ones."""


class CanBeCut(Protocol):
    """A link that `cut` cuts: a `Relay`, a `VirtualLink`, or one of yours."""

    def cut(self) -> None:
        """Nothing arrives from now on."""

    def restore(self) -> None:
        """It does again; harmless where it was not cut."""


class SlowLink:
    """What the fixture `slow_link` is: it makes links, adds them to those of the test, and stops them."""

    def __init__(self, links: list[CanBeCut]) -> None:
        self._links = links
        self._made: list[tuple[Relay, Address, deque[LinkEvent]]] = []

    def __call__(
        self,
        to: tuple[str, int] | str,
        profile: LinkProfile | str = "regency-2m",
        *,
        listen: tuple[str, int] | str = "127.0.0.1:0",
        seed: int = 0,
        script: Script | str | None = None,
        trace_up: Trace | Path | None = None,
        trace_down: Trace | Path | None = None,
    ) -> Relay:
        """A link like `profile` in front of `to`, running; clients connect to its `address`.

        An address is `("127.0.0.1", 6379)` or `"127.0.0.1:6379"`. `profile` is a name out of
        `pipeline.linksim.PROFILES`, figures (`"2M/50ms"`: rate, one way) or a `LinkProfile`; `script` is text
        (docs/linksim.md) or a `Script`, and takes the place of the profile's own; a trace is a file in
        mahimahi's format or a `Trace`, and goes without the profile's script. Raises `UsageError` where one
        of them cannot be, or `listen` is taken.
        """
        from pipeline.linksim import Relay, parse_profile

        here, server, up, down = _address(listen), _address(to), _trace(trace_up), _trace(trace_down)
        link = parse_profile(profile) if isinstance(profile, str) else profile
        if script is None and (up or down):
            script = ""  # the profile's own would end the recording at its first change of the rate
        plan, events = _script(script), _last_events()
        relay = Relay(
            here, server, link, seed=seed, script=plan, trace_up=up, trace_down=down, on_event=events.append
        )
        self._made.append((relay, server, events))
        self._links.append(relay)
        return relay

    def stop(self) -> Iterator[str]:
        """Stops them, one after the other, and says what each has carried and what happened to it."""
        for relay, server, events in self._made:
            relay.stop()
            yield _report(relay, server, events)


class Cut(Protocol):
    """What the fixture `cut` is."""

    def __call__(self, *links: CanBeCut, mode: Mode = "blackhole") -> CutLinks:
        """Cuts these links now (none named: all that the test has made), until the end of a `with`,
        `restore()`, or the end of the test.

        `blackhole`: nothing moves and nobody is told. `reset` (a `Relay` only): who is connected is reset,
        and who connects. Restoring ends stalls too. Raises `UsageError` where there is no link to cut.
        """


class VirtualLinks(Protocol):
    """What the fixture `virtual_link` is."""

    def __call__(
        self, profile: VirtualProfile | LinkProfile | str = "regency-2m", *, loss: float = 0.0, seed: int = 0
    ) -> VirtualLink:
        """A link on virtual time, at 0 s. It carries data one way, at the up rate of a `LinkProfile`.

        `loss` is the share of segments that vanish (a `VirtualProfile` says its own). Raises `UsageError` for
        a profile with a script: a virtual link plays none.
        """


class CutLinks:
    """Links that are cut until the end of their `with`, or `restore`."""

    def __init__(self, links: list[CanBeCut]) -> None:
        self._links = links

    def restore(self) -> None:
        """They are whole again. Repeating it is harmless, and a relay that was stopped is passed over."""
        from pipeline.errors import UsageError

        while self._links:
            with suppress(UsageError):
                self._links.pop().restore()

    def __enter__(self) -> CutLinks:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.restore()


@pytest.fixture
def _links_of_the_test() -> list[CanBeCut]:
    return []


@pytest.fixture
def slow_link(request: pytest.FixtureRequest, _links_of_the_test: list[CanBeCut]) -> Iterator[SlowLink]:
    """A slow, far link in front of a server: slow_link(to=("127.0.0.1", port), profile="regency-2m")

    Gives a running Relay: clients connect to its `address`. Call it as often as you like; all are stopped
    after the test, and a test that fails shows what they carried and what happened to them.
    """
    made = SlowLink(_links_of_the_test)
    yield made
    for report in made.stop():
        request.node.add_report_section("teardown", "slow_link", report)


@pytest.fixture
def cut(_links_of_the_test: list[CanBeCut]) -> Iterator[Cut]:
    """Cuts a link: `with cut(link): ...` (or `cut()`: every link of the test); mode="reset" resets.

    Without `with`: `gone = cut(link)`, then `gone.restore()`, or it lasts until the end of the test.
    """
    from pipeline.errors import UsageError

    made: list[CutLinks] = []

    def make(*links: CanBeCut, mode: Mode = "blackhole") -> CutLinks:
        chosen = list(links or _links_of_the_test)
        if not chosen:
            raise UsageError("cut() has no link to cut: make one with slow_link or virtual_link, or name one")
        made.append(CutLinks(chosen))
        for link in chosen:
            _cut(link, mode)
        return made[-1]

    try:
        yield make
    finally:
        for one in made:
            one.restore()


@pytest.fixture
def virtual_clock() -> ManualClock:
    """A clock that stands still until it is moved: `now_s()`, `now_ms()`, `advance(seconds)`."""
    from pipeline.testing.clock import ManualClock

    return ManualClock()


@pytest.fixture
def virtual_link(_links_of_the_test: list[CanBeCut]) -> VirtualLinks:
    """A link on virtual time, hours of it in a second: virtual_link("regency-2m", loss=0.01, seed=1)"""
    from pipeline.linksim.virtual import VirtualLink

    def make(
        profile: VirtualProfile | LinkProfile | str = "regency-2m", *, loss: float = 0.0, seed: int = 0
    ) -> VirtualLink:
        link = VirtualLink(_virtual_profile(profile, loss), seed=seed)
        _links_of_the_test.append(link)
        return link

    return make


def _address(given: tuple[str, int] | str) -> Address:
    from pipeline.linksim import Address, parse_address

    return parse_address(given) if isinstance(given, str) else Address(given[0], given[1])


def _script(given: Script | str | None) -> Script | None:
    from pipeline.linksim import parse_script

    return parse_script(given) if isinstance(given, str) else given


def _trace(given: Trace | Path | None) -> Trace | None:
    from pipeline.linksim import Trace, read_trace

    return given if given is None or isinstance(given, Trace) else read_trace(given)


def _last_events() -> deque[LinkEvent]:
    return deque(maxlen=EVENTS_SHOWN)


def _virtual_profile(given: VirtualProfile | LinkProfile | str, loss: float) -> VirtualProfile:
    from pipeline.errors import UsageError
    from pipeline.linksim import parse_profile
    from pipeline.linksim.virtual import VirtualProfile

    if isinstance(given, VirtualProfile):
        if loss:
            raise UsageError("the loss is the profile's: VirtualProfile(..., loss=...)")
        return given
    link = parse_profile(given) if isinstance(given, str) else given
    if link.script:
        raise UsageError(
            "this profile changes by a script, which a virtual link does not play: take one without, and "
            "change it with link.at(seconds, lambda: link.change(rate_bit_s=...))"
        )
    delay_s, jitter_s = link.delay_ms / 1000, link.jitter_ms / 1000
    return VirtualProfile(link.rate_up_bit_s, delay_s, link.buffer_bytes, loss, jitter_s)


def _cut(link: CanBeCut, mode: Mode) -> None:
    from pipeline.errors import UsageError
    from pipeline.linksim import Relay

    if mode == "blackhole":
        link.cut()
    elif isinstance(link, Relay):
        link.cut(mode)
    else:
        raise UsageError(f"a {type(link).__name__} knows no connections to reset: leave the mode out")


def _report(relay: Relay, to: Address, events: Iterable[LinkEvent]) -> str:
    from pipeline.linksim.live import in_words

    stats = relay.stats()
    carried = (
        f"{relay.address} -> {to}: {relay.profile}; carried {stats.up.payload_bytes:,} B up, "
        f"{stats.down.payload_bytes:,} B down, {stats.connections} connections, {stats.resets} resets"
    )
    return "\n".join([carried, *(f"  {event.at_s:.3f} s  {in_words(event)}" for event in events), ""])
