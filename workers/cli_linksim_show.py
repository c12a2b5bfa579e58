"""What `linksim` shows: a live table on a terminal, plain lines anywhere else, one document, and a log."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from time import time_ns
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from pipeline.linksim import LinkEvent, RelayStats, figures, format_rate
from pipeline.linksim.live import curve, document, in_words, rates, standing
from workers.cli_common import note
from workers.render import number, print_json, size, span

if TYPE_CHECKING:
    from rich.console import RenderableType

#: What a table or lines leave out: with many short connections nothing else could be read.
OF_CONNECTIONS = ("open", "end", "reset")
CURVE_LOOKS = 60
CURVE_LOOKS_MIN = 10
#: What the table's other columns need, in characters.
BESIDE_CURVE = 48
EVENTS_SHOWN = 8


@dataclass(frozen=True)
class Look:
    """One look at the relay: `at_s` since it began, `seconds` since the look before."""

    at_s: float
    seconds: float
    before: RelayStats
    after: RelayStats
    events: list[LinkEvent]


class Show(Protocol):
    """Somebody who looks on."""

    failed: bool

    def begin(self, asked: Mapping[str, Any]) -> None:
        """It runs: `listen`, `to`, `profile`, `link` in words, `seed`, perhaps `trace_up`, `trace_down`."""

    def look(self, look: Look) -> None:
        """Once a second."""

    def end(self, look: Look) -> None:
        """It has ended; the last events, and everything that was carried."""


class Lines:
    """For a pipe or a file: figures once a second, and in between what happened to the link."""

    failed = False

    def begin(self, asked: Mapping[str, Any]) -> None:
        print(_title(asked), flush=True)

    def look(self, look: Look) -> None:
        for line in _told(look.events):
            print(line)
        print(figures(look.before, look.after, look.seconds), flush=True)

    def end(self, look: Look) -> None:
        print(summary(look), flush=True)


class Document:
    """`--json`: one document at the end; until then only stderr hears where to connect to."""

    failed = False

    def __init__(self) -> None:
        self._asked: Mapping[str, Any] = {}
        self._unreachable = False

    def begin(self, asked: Mapping[str, Any]) -> None:
        self._asked = asked
        note(_title(asked))

    def look(self, look: Look) -> None:
        if not self._unreachable:
            for event in look.events:
                if event.what == "unreachable":
                    self._unreachable = True
                    note(in_words(event))
                    break

    def end(self, look: Look) -> None:
        self.look(look)
        print_json({"version": 1, **self._asked, **document(look.after, look.at_s)})


class Log:
    """`--log`: NDJSON, an object for each event and each look. If it cannot be written, the relay goes on."""

    def __init__(self, file: TextIO, name: str) -> None:
        self._file, self._name = file, name
        self._began_ms = 0
        self.failed = False

    def begin(self, asked: Mapping[str, Any]) -> None:
        self._began_ms = time_ns() // 1_000_000
        self._write(({"s": 0.0, "what": "start", **asked},))

    def look(self, look: Look) -> None:
        self._write(chain(self._events(look), (_figures(look),)))

    def end(self, look: Look) -> None:
        last = {"s": round(look.at_s, 3), "what": "stop", **document(look.after, look.at_s)}
        self._write(chain(self._events(look), (last,)))

    def _events(self, look: Look) -> Iterator[dict[str, Any]]:
        return ({"s": round(event.at_s, 3), "what": event.what, **event.detail} for event in look.events)

    def _write(self, lines: Iterator[dict[str, Any]] | tuple[dict[str, Any], ...]) -> None:
        if self.failed:
            return
        try:
            for line in lines:
                at_ms = self._began_ms + round(line["s"] * 1000)
                self._file.write(json.dumps({"at_ms": at_ms, **line}, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as why:
            self.failed = True
            note(f"titian: the log {self._name} has ended ({why.strerror}); the link goes on")


class Screen:
    """For a person: the last minute of both directions, and what happened last."""

    failed = False

    def __init__(self) -> None:
        from rich.live import Live

        self._live = Live(auto_refresh=False)
        self._title = ""
        self._rates: dict[str, deque[float]] = {
            name: deque(maxlen=CURVE_LOOKS) for name in ("up", "down", "others up", "others down")
        }
        self._told: deque[str] = deque(maxlen=EVENTS_SHOWN)

    def __enter__(self) -> Screen:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def begin(self, asked: Mapping[str, Any]) -> None:
        self._title = _title(asked)

    def look(self, look: Look) -> None:
        self._told.extend(_told(look.events))
        self._live.update(self._drawn(look), refresh=True)

    def end(self, look: Look) -> None:
        self._live.stop()  # the table stays as it was last, and what was carried stands under it
        self._live.console.print(summary(look), highlight=False, markup=False)

    def _drawn(self, look: Look) -> RenderableType:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for name, justify in (("", "left"), ("now", "right"), ("queued", "right"), ("carried", "right")):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        table.add_column("last minute", no_wrap=True, overflow="crop")
        for row in self._rows(look):
            table.add_row(*map(Text, row))
        stats = look.after
        open_now = f"{stats.connections_open} of {number(stats.connections)} connections open"
        counts = f"{span(look.at_s)}: {open_now}, {number(stats.resets)} resets  "
        state = Text.assemble(counts, (standing(stats), "bold red"))
        return Group(Text(self._title, style="bold"), table, state, Text("\n".join(self._told), style="dim"))

    def _rows(self, look: Look) -> Iterator[tuple[str, str, str, str, str]]:
        ways = (("up", look.before.up, look.after.up), ("down", look.before.down, look.after.down))
        for name, before, after in ways:
            ours, others = rates(before, after, look.seconds)
            self._rates[name].append(ours)
            self._rates[f"others {name}"].append(others)
            most = max(1.0, *self._rates[name], *self._rates[f"others {name}"])
            room = max(CURVE_LOOKS_MIN, self._live.console.width - BESIDE_CURVE)
            drawn = curve(list(self._rates[name])[-room:], most)
            yield name, format_rate(ours), size(after.queued_wire_bytes), size(after.payload_bytes), drawn
            if after.foreground_wire_bytes:
                drawn = curve(list(self._rates[f"others {name}"])[-room:], most)
                yield f"others {name}", format_rate(others), "", size(after.foreground_wire_bytes), drawn


def summary(look: Look) -> str:
    """All that was carried, in words."""
    stats, lines = look.after, [f"{span(look.at_s)} in all:"]
    for name, way in (("up", stats.up), ("down", stats.down)):
        mean = format_rate(way.wire_bytes * 8 / look.at_s)
        line = f"  {name}: {number(way.payload_bytes)} B, on the wire {number(way.wire_bytes)} B ({mean})"
        if way.foreground_wire_bytes:
            line += f"; others {number(way.foreground_wire_bytes)} B"
        lines.append(line)
    last = f"  connections: {number(stats.connections)}; resets: {number(stats.resets)}"
    if stats.unreachable:
        last += f"; not taken by the server: {number(stats.unreachable)}"
    return "\n".join([*lines, last])


def _title(asked: Mapping[str, Any]) -> str:
    return f"{asked['listen']} -> {asked['to']}: {asked['link']}"


def _told(events: list[LinkEvent]) -> Iterator[str]:
    """A line for each event of the link, and one for a server that does not answer, however many asked."""
    nobody = [event for event in events if event.what == "unreachable"]
    for event in events:
        if event.what not in OF_CONNECTIONS and (event.what != "unreachable" or event is nobody[0]):
            yield f"{event.at_s:.1f} s  {in_words(event)}"


def _figures(look: Look) -> dict[str, Any]:
    said: dict[str, Any] = {"s": round(look.at_s, 3), "what": "figures"}
    ways = (("up", look.before.up, look.after.up), ("down", look.before.down, look.after.down))
    for name, before, after in ways:
        ours, others = rates(before, after, look.seconds)
        said[f"{name}_bit_s"], said[f"{name}_others_bit_s"] = round(ours), round(others)
        said[f"{name}_payload_bytes"] = after.payload_bytes
        said[f"{name}_queued_bytes"] = after.queued_wire_bytes
    return {**said, "connections_open": look.after.connections_open}
