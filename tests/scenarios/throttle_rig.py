"""A throttle scenario, read from a file of `tests/scenarios/throttle/` and run on virtual time.

says = "one sentence on what should happen"
seconds = 60.0
flows = 1                     # ours; flow 1 and above begin with an event
[link]                        # rate_bit_s, delay_s (one way), buffer_bytes, loss, jitter_s
[[event]]                     # at = 20.0, do = "change" (with what), "cut", "restore", "compete", "alone",
                              #   "begin" (another of ours), "clock" (by_s), "center" (bytes_s: what it takes
                              #   in from now on; without: all at once), "hold" (for_s), "refuse", "serve"
[center]                      # window_bytes: of the first of ours, accepted and not taken in
[[expect]]                    # from = 5.0, to = 20.0, and ranges:
                              #   share = [low, high]      of the line, of flow `of` (0), headers counted
                              #   sum = [low, high]        the same, all of ours together
                              #   others = [low, high]     the same, the competing TCP
                              #   queue_ms = [low, high]   median of what stands before the line
                              #   queue_p95_ms, queue_p05_ms
                              #   reconnects = [low, high] until then
                              #   gap_s = [low, high]      the longest time without a delivery of ours
                              #   sent_bytes = [low, high] of flow `of`, delivered
                              #   untaken_bytes = [low, high]   the most that the center had not taken in
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.linksim.bottleneck import HEADER_BYTES, SEGMENT_BYTES
from pipeline.linksim.virtual import VirtualLink, VirtualProfile
from pipeline.linksim.virtual_flows import GreedyFlow, WindowFlow
from pipeline.throttle import Controller

WIRE = (SEGMENT_BYTES + HEADER_BYTES) / SEGMENT_BYTES
STEP_S, TICK_S = 0.1, 0.02


@dataclass
class Center:
    """A center that takes in what has arrived at its own pace, and whose receipts open a window."""

    flow: WindowFlow
    window_bytes: int
    bytes_s: float = float("inf")
    held_until_s: float = 0.0
    serves: bool = True
    taken: float = 0.0
    untaken_bytes: list[tuple[float, float]] = field(default_factory=list)

    def tick(self, now_s: float) -> None:
        """It took in what it could since the last tick; so much more may come."""
        there = self.flow.delivered_bytes
        self.taken = min(there, self.taken + self.bytes_s * TICK_S)
        self.untaken_bytes.append((now_s, there - self.taken))
        asks = self.serves and now_s >= self.held_until_s
        room = self.window_bytes - (there - self.taken) - self.flow.under_way_bytes
        self.flow.offer(max(0.0, room) if asks else 0.0)


@dataclass
class Moment:
    """Bytes delivered by then: each of ours, the others."""

    at_s: float
    ours: list[int]
    others: int


@dataclass
class Run:
    """A scenario that is running."""

    scenario: dict[str, Any]
    seed: int = 1
    moments: list[Moment] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.link = VirtualLink(VirtualProfile(**self.scenario["link"]), seed=self.seed)
        self.others = GreedyFlow(self.link)
        self.controllers = [Controller() for _ in range(self.scenario.get("flows", 1))]
        self.ours: list[WindowFlow] = []
        self._begin(0)
        center = self.scenario.get("center")
        self.center = None if center is None else Center(self.ours[0], **center)
        if self.center is not None:
            self._tick(self.center)
        for event in self.scenario.get("event", []):
            self.link.at(event["at"], lambda event=event: self._do(event))  # type: ignore[misc]
        self.rates = [(0.0, self.link.profile.rate_bit_s)]
        self._note()

    def _begin(self, number: int) -> None:
        backlog = self.scenario.get("backlog_bytes", float("inf"))
        flow = WindowFlow(self.link, self.controllers[number], backlog_bytes=backlog, seed=number)
        self.ours.append(flow)

    def _tick(self, center: Center) -> None:
        center.tick(self.link.now_s)
        self.link.after(TICK_S, lambda: self._tick(center))

    def _center_does(self, event: dict[str, Any]) -> None:
        assert self.center is not None, "the scenario has no [center]"
        match event["do"]:
            case "center":
                self.center.bytes_s = event.get("bytes_s", float("inf"))
            case "hold":
                self.center.held_until_s = self.link.now_s + event["for_s"]
            case does:
                self.center.serves = does == "serve"

    def _do(self, event: dict[str, Any]) -> None:
        match event["do"]:
            case "center" | "hold" | "refuse" | "serve":
                self._center_does(event)
            case "change":
                self.link.change(**{k: v for k, v in event.items() if k not in ("at", "do")})
                self.rates.append((self.link.now_s, self.link.profile.rate_bit_s))
            case "cut":
                self.link.cut()
            case "restore":
                self.link.restore()
            case "compete":
                self.others.start()
            case "alone":
                self.others.stop()
            case "begin":
                self._begin(len(self.ours))
            case "clock":
                self.ours[0].clock_off_s += event["by_s"]
            case other:
                raise ValueError(f"no event {other!r}")

    def _note(self) -> None:
        delivered = [flow.delivered_bytes for flow in self.ours]
        self.moments.append(Moment(self.link.now_s, delivered, self.others.delivered_bytes))
        self.link.after(STEP_S, self._note)

    def run(self) -> None:
        """Let it pass."""
        self.link.run(self.scenario["seconds"])

    # --- what came out --------------------------------------------------------------------------

    def complaints(self) -> list[str]:
        """What is outside its range, in words."""
        return [one for expect in self.scenario["expect"] for one in self._complaints(expect)]

    def _complaints(self, expect: dict[str, Any]) -> list[str]:
        from_s, to_s = expect["from"], expect["to"]
        found = []
        for name, bounds in expect.items():
            if name in ("from", "to", "of"):
                continue
            low, high = bounds
            value = self.figure(name, from_s, to_s, expect.get("of", 0))
            if not low <= value <= high:
                found.append(
                    f"{name} from {from_s:g} to {to_s:g} s is {value:.3f}, not in {low:g} to {high:g}"
                )
        return found

    def figure(self, name: str, from_s: float, to_s: float, of: int) -> float:
        """One figure of a part of the run."""
        first, last = self._moment(from_s), self._moment(to_s)
        line_bytes = self._line_bytes(from_s, to_s)
        match name:
            case "share":
                return WIRE * (_of(last, of) - _of(first, of)) / line_bytes
            case "sum":
                return WIRE * (sum(last.ours) - sum(first.ours)) / line_bytes
            case "others":
                return WIRE * (last.others - first.others) / line_bytes
            case "queue_ms" | "queue_p95_ms" | "queue_p05_ms":
                at = {"queue_ms": 0.5, "queue_p95_ms": 0.95, "queue_p05_ms": 0.05}[name]
                queues = sorted(look.queue_s for look in self.link.looks if from_s <= look.at_s <= to_s)
                return 1000 * queues[int(at * (len(queues) - 1))]
            case "reconnects":
                return self.ours[of].reconnects
            case "sent_bytes":
                return _of(last, of) - _of(first, of)
            case "untaken_bytes":
                assert self.center is not None
                return max(bytes_ for at, bytes_ in self.center.untaken_bytes if from_s <= at <= to_s)
            case "gap_s":
                return self._gap_s(from_s, to_s, of)
        raise ValueError(f"no figure {name!r}")

    def _moment(self, at_s: float) -> Moment:
        return next((one for one in self.moments if one.at_s >= at_s - 1e-6), self.moments[-1])

    def _line_bytes(self, from_s: float, to_s: float) -> float:
        """What the line could have carried."""
        ends = [*(at for at, _ in self.rates[1:]), float("inf")]
        spans = zip(self.rates, ends, strict=True)
        return sum(rate / 8 * max(0.0, min(end, to_s) - max(at, from_s)) for (at, rate), end in spans)

    def _gap_s(self, from_s: float, to_s: float, of: int) -> float:
        longest, since_s, had = 0.0, from_s, _of(self._moment(from_s), of)
        for one in self.moments:
            if from_s < one.at_s <= to_s:
                if _of(one, of) > had:
                    had, since_s = _of(one, of), one.at_s
                longest = max(longest, one.at_s - since_s)
        return longest


def _of(moment: Moment, number: int) -> int:
    return moment.ours[number] if number < len(moment.ours) else 0


def load(path: Path) -> dict[str, Any]:
    """The scenario of a file."""
    with path.open("rb") as file:
        return tomllib.load(file)
