"""Inspection: what a region's document says of custody: rebuild, mirror, doubts, what is set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.adapters.outbox_reader import Meta
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.region.rebuild import rebuild_json

#: A comparison with the center that is older than this is worth a look, milliseconds.
COMPARED_MS_MAX = 3 * 86_400_000


class Beside(NamedTuple):
    """What is known of a region beside its stores: how its mirror stands, what the last comparison with the
    center found, how many packets the center said were lost, and when (ms), and how far it is with what
    an old machine's mirror holds. `None`: there is none."""

    mirror: Mapping[str, Any] | None = None
    reconciled: Mapping[str, Any] | None = None
    lost: tuple[int, int] | None = None
    recovery: Mapping[str, Any] | None = None


NOTHING = Beside()


def custody_json(meta: Meta, registry: RegistryReader, now_ms: int, beside: Beside) -> dict[str, Any]:
    """`rebuild` (`None`: there never was one), `mirror`, `recovery`, `reconciled`, `losses` as in `Beside`,
    `aside` packets that cannot be sent, and whether it is `in_doubt` which packets the center has."""
    state = registry.rebuild()
    return {
        "rebuild": rebuild_json(state.back, now_ms, state.opened_ms, state.rebuilt_ms, state.fresh),
        "mirror": None if beside.mirror is None else dict(beside.mirror),
        "recovery": None if beside.recovery is None else dict(beside.recovery),
        "reconciled": None if beside.reconciled is None else dict(beside.reconciled),
        "losses": None if beside.lost is None else {"packets": beside.lost[0], "as_of_ms": beside.lost[1]},
        "aside": meta.tallies.get("aside", 0),
        "in_doubt": meta.in_doubt,
    }


def custody_alarms(depth: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What a person should look at, code and sentence."""
    if depth["in_doubt"]:
        yield (
            "in_doubt",
            "nothing is sent: this folder may be an old backup or a copy, and it is being found out "
            "which packets the center has",
        )
    if depth["aside"]:
        yield (
            "aside",
            f"{depth['aside']:,} packets are damaged on this disk and cannot be sent: `titian dead list` "
            "says which; look at the disk, and ask those citizens again",
        )
    if depth["losses"] and depth["losses"]["packets"]:
        yield (
            "losses",
            f"{depth['losses']['packets']:,} packets were lost with the old disk: `titian losses` says whom "
            "to ask again",
        )
    if depth["mirror"] is not None:
        yield from _mirror(depth["mirror"], depth["at_ms"])
    if (depth.get("recovery") or {}).get("why"):
        yield "old_mirror", f"{depth['recovery']['why']}: `titian doctor` says what to do"
    if depth["reconciled"] is not None:
        yield from _reconciled(depth["reconciled"], depth["at_ms"])


def _mirror(mirror: Mapping[str, Any], at_ms: int) -> Iterator[tuple[str, str]]:
    if mirror["failing_since_ms"]:
        minutes = max(0, at_ms - mirror["failing_since_ms"]) / 60_000
        yield (
            "mirror",
            f"the mirror has failed for {minutes:,.0f} min and {mirror['missing']:,} packets are not on it: "
            f"{mirror['why']}",
        )


def _reconciled(last: Mapping[str, Any], at_ms: int) -> Iterator[tuple[str, str]]:
    if last.get("left"):
        yield (
            "differs",
            f"{last['left']:,} differences from the center are left after the last comparison: "
            "`titian reconcile` says which",
        )
    if at_ms - last["at_ms"] > COMPARED_MS_MAX:
        days = (at_ms - last["at_ms"]) / 86_400_000
        yield "not_compared", f"not compared with the center for {days:,.0f} days: `titian reconcile`"
