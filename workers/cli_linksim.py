"""The command `linksim`: the link simulator as a TCP relay, to try anything over a bad link."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path
from queue import SimpleQueue
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli_common import Json, note

if TYPE_CHECKING:
    from pipeline.linksim import Address, LinkEvent, LinkProfile, Script, Trace
    from workers.cli_linksim_show import Show
    from workers.stop_signal import StopSignal

EXIT_INTERRUPTED = 130
LOOK_EVERY_S = 1.0
SCRIPT_BYTES_MAX = 1 << 20


def complete_profile(incomplete: str) -> list[str]:
    """Names of profiles that begin so."""
    from pipeline.linksim.profile import PROFILES

    return [name for name in PROFILES if name.startswith(incomplete)]


_Listen = Annotated[
    str, typer.Option("--listen", metavar="HOST:PORT", help="Where the slow end is; port 0: a free one.")
]
_To = Annotated[str, typer.Option("--to", metavar="HOST:PORT", help="The server behind the link.")]
_Profile = Annotated[
    str,
    typer.Option(
        "--profile",
        metavar="PROFILE",
        autocompletion=complete_profile,
        help="district-128k, regency-2m, vsat-512k, evening-shared, flaky-4g, fiber, or RATE/DELAYms such as "
        "2M/50ms (one way).",
    ),
]
_TraceUp = Annotated[
    Path | None,
    typer.Option("--trace-up", metavar="FILE", help="A recorded link's rate, towards the server (mahimahi)."),
]
_TraceDown = Annotated[
    Path | None, typer.Option("--trace-down", metavar="FILE", help="The same, towards the client.")
]
_Script = Annotated[
    str | None,
    typer.Option(
        "--script",
        metavar="TEXT|FILE.toml",
        help="What goes wrong, and when, in the place of the profile's own: 'at 20 cut 5; repeat 60'.",
    ),
]
_Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Decides jitter, and what a script draws.")]
_For = Annotated[
    float | None, typer.Option("--for", metavar="S", min=0.0, help="End by itself after so many seconds.")
]
_Log = Annotated[
    Path | None,
    typer.Option("--log", metavar="FILE", help="Append what happens, and each second's figures, as NDJSON."),
]


@dataclass(frozen=True)
class Link:
    """What was asked for, read and checked."""

    listen: Address
    to: Address
    name: str
    profile: LinkProfile
    trace_up: Trace | None
    trace_down: Trace | None
    script: Script | None
    seed: int
    script_said: str | None


def linksim(
    listen: _Listen,
    to: _To,
    profile: _Profile = "regency-2m",
    trace_up: _TraceUp = None,
    trace_down: _TraceDown = None,
    script: _Script = None,
    seed: _Seed = 0,
    seconds: _For = None,
    as_json: Json = False,
    log: _Log = None,
) -> None:
    """A slow, far, failing link as a TCP relay, until Ctrl-C: live figures, and a summary at the end.

    \b
    Examples:
      titian linksim --profile district-128k --listen 127.0.0.1:7000 --to 127.0.0.1:6380
      titian linksim --listen :7000 --to :6380 --script 'at 20 cut 5; at 40 rate up 128k; repeat 60'
      titian linksim --listen :7000 --to :6380 --trace-up lte.up --trace-down lte.down --log link.ndjson
      titian linksim --listen :7000 --to :6380 --profile flaky-4g --for 60 --json
    """
    link = _link(listen, to, profile, (trace_up, trace_down), script, seed)
    with ExitStack() as ends:
        shows = _shows(as_json, log, ends)
        interrupted = _run(link, shows, seconds)
    if interrupted:
        raise typer.Exit(EXIT_INTERRUPTED)
    if any(show.failed for show in shows):
        raise typer.Exit(1)


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command()(linksim)


def _link(
    listen: str,
    to: str,
    profile: str,
    traces: tuple[Path | None, Path | None],
    script: str | None,
    seed: int,
) -> Link:
    from pipeline.linksim import Script, parse_address, parse_profile, read_trace

    up, down = (None if path is None else read_trace(path) for path in traces)
    played = None if script is None else _script(script)
    if played is None and (up or down):
        played = Script(())  # a profile's own would end the recording at its first change of the rate
    return Link(
        parse_address(listen),
        parse_address(to),
        profile,
        parse_profile(profile),
        up,
        down,
        played,
        seed,
        script,
    )


def _script(text: str) -> Script:
    from pipeline.errors import UsageError
    from pipeline.linksim import parse_script, parse_script_toml

    if not text.endswith(".toml"):
        return parse_script(text)
    with Path(text).open("rb") as file:
        data = file.read(SCRIPT_BYTES_MAX + 1)
    if len(data) > SCRIPT_BYTES_MAX:
        raise UsageError(f"{text}: a script has at most {SCRIPT_BYTES_MAX >> 20} MiB")
    return parse_script_toml(data.decode(errors="replace"))


def _shows(as_json: bool, log: Path | None, ends: ExitStack) -> list[Show]:
    import sys

    from workers import cli_linksim_show as show
    from workers.render import on_terminal

    shows: list[Show] = []
    if log is not None:
        shows.append(show.Log(ends.enter_context(log.open("a", encoding="utf-8")), str(log)))
    if as_json:
        shows.append(show.Document())
    elif on_terminal(sys.stdout):
        shows.append(ends.enter_context(show.Screen()))
    else:
        shows.append(show.Lines())
    return shows


def _run(link: Link, shows: Sequence[Show], lasting_s: float | None) -> bool:
    """Relay until it is stopped; whether that was by Ctrl-C."""
    from pipeline.linksim import Relay
    from workers.cli_linksim_show import Look

    events: SimpleQueue[LinkEvent] = SimpleQueue()
    with (
        _stopping() as (stop, came),
        Relay(
            link.listen,
            link.to,
            link.profile,
            seed=link.seed,
            trace_up=link.trace_up,
            trace_down=link.trace_down,
            script=link.script,
            on_event=events.put,
        ) as relay,
    ):
        note("Ctrl-C ends it")
        began_s = last_s = monotonic()
        before = relay.stats()
        for show in shows:
            show.begin(_asked_for(link, relay.address))
        end_s = inf if lasting_s is None else began_s + lasting_s
        while not stop.wait(max(0.0, min(LOOK_EVERY_S, end_s - last_s))) and last_s < end_s:
            now_s, after = monotonic(), relay.stats()
            look = Look(now_s - began_s, now_s - last_s, before, after, _drained(events))
            for show in shows:
                show.look(look)
            before, last_s = after, now_s
    now_s, after = monotonic(), relay.stats()
    look = Look(now_s - began_s, now_s - last_s, before, after, _drained(events))
    for show in shows:
        show.end(look)
    return signal.SIGINT in came


def _asked_for(link: Link, address: Address) -> dict[str, Any]:
    from pipeline.linksim import format_rate

    words, said = str(link.profile), dict[str, Any]()
    for way, trace in (("up", link.trace_up), ("down", link.trace_down)):
        if trace is not None:
            said[f"trace_{way}"] = trace.name
            words += f"; but {way} as recorded in {trace.name}, {format_rate(trace.rate_bit_s)} on average"
    said |= {"listen": str(address), "to": str(link.to), "profile": link.name, "link": words}
    if link.script_said is not None:
        said["script"] = link.script_said
    return {**said, "seed": link.seed}


def _drained(events: SimpleQueue[LinkEvent]) -> list[LinkEvent]:
    return [events.get() for _ in range(events.qsize())]


@contextmanager
def _stopping() -> Iterator[tuple[StopSignal, list[int]]]:
    """A wish to stop by Ctrl-C or SIGTERM, and which of them came."""
    from workers.stop_signal import StopSignal

    stop, came = StopSignal(), list[int]()

    def on_signal(number: int, _: object) -> None:
        came.append(number)
        stop.set()

    before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop, came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
