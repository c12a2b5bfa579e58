"""What people do about dead letters, steps 3 and 4: try them again, or give them up (for `workers.acts`).

At a region these are packets by their ids, at the center frames that were kept aside, by their numbers. What
cannot be done is told one by one and leaves no line in the log; what can is one line, whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Any

from pipeline.adapters.clock import SystemClock
from pipeline.errors import NotFound, StoreError, UsageError
from workers.acts import Actor, Done, Every, recorded

if TYPE_CHECKING:
    from pipeline.adapters.folder import Folder
    from pipeline.adapters.ledger_quarantine import KeptFrame, LedgerQuarantine
    from pipeline.adapters.ledger_sql import SqlLedger
    from pipeline.adapters.outbox_reader import OutboxReader
    from pipeline.adapters.outbox_sqlite import SqliteOutbox
    from schemas.identity import PacketId
    from schemas.lanes import Lane

#: Ranges of packets, and failures, that a line of the log names; the rest is counted.
NAMED_MAX = 50
Failures = list[tuple[str, str]]
_AT_ITS_REGION = "the center has nothing of a refused packet to try again: its region does it"


def retry(folder: Folder, which: Sequence[str] | Every, actor: Actor, reason: str) -> Done:
    """See `workers.acts.retry`."""
    if folder.settings.side == "center":
        return _retry_frames(folder, which, actor, reason)
    from pipeline.adapters.outbox_reader import OutboxReader
    from schemas.ranges import from_numbers, total

    failed: Failures = []
    with closing(OutboxReader(folder.path)) as reader:
        chosen = _chosen(reader, which, lambda one: _not_refused(reader, one), failed, aside=False)
    if not chosen:
        return Done(0, tuple(failed))
    with recorded(folder, actor, "retry", _target(chosen), reason, packets=_named(chosen)) as act:
        with closing(_outbox(folder)) as outbox:
            seqs = from_numbers(one.seq for one in chosen if one.epoch == outbox.epoch)
            count = outbox.retry(seqs, SystemClock().now_ms())
        if count != total(seqs):  # somebody else was quicker
            act.told["done"] = count
    return Done(count, tuple(failed))


def drop(folder: Folder, which: Sequence[str] | Every, actor: Actor, reason: str) -> Done:
    """See `workers.acts.drop`."""
    if not reason.strip():
        raise UsageError("say why it is given up: --reason TEXT")
    if folder.settings.side == "center":
        return _drop_frames(folder, which, actor, reason)
    from pipeline.adapters.outbox_dropped import OutboxDropped
    from pipeline.adapters.outbox_reader import OutboxReader

    failed: Failures = []
    with closing(OutboxReader(folder.path)) as reader:
        chosen = _chosen(reader, which, lambda one: _not_dead(reader, one), failed, aside=True)
    if not chosen:
        return Done(0, tuple(failed))
    with recorded(folder, actor, "drop", _target(chosen), reason, packets=_named(chosen)) as act:
        with closing(_outbox(folder)) as outbox:
            dropper = OutboxDropped(outbox)
            done, not_done, damaged = _each(
                chosen, lambda one: dropper.drop(one, actor.name, reason, SystemClock().now_ms())
            )
        act.told.update(_told(not_done, damaged))
    return Done(done, (*failed, *not_done))


def _outbox(folder: Folder) -> SqliteOutbox:
    from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox

    part = folder.settings.outbox
    return SqliteOutbox(folder.path, OutboxSettings(part.low_water_bytes, part.ballast_bytes))


def _chosen(
    reader: OutboxReader,
    which: Sequence[str] | Every,
    wrong: Callable[[PacketId], str],
    failed: Failures,
    *,
    aside: bool,
) -> list[PacketId]:
    """The packets that are meant and that it can be done to; the others go to `failed`, with why."""
    from schemas.errors import SchemaError
    from schemas.identity import parse_packet_id

    if isinstance(which, Every):
        return _every(reader, which.lane, aside=aside)
    try:
        named = [parse_packet_id(text) for text in dict.fromkeys(which)]
    except SchemaError as why:
        raise UsageError(str(why)) from None
    said = [(one, wrong(one)) for one in dict.fromkeys(named)]
    failed += [(str(one), why) for one, why in said if why]
    return [one for one, why in said if not why]


def _every(reader: OutboxReader, lane: Lane | None, *, aside: bool) -> list[PacketId]:
    from pipeline.adapters.outbox_dropped_look import refused_seqs
    from schemas.identity import PacketId
    from schemas.ranges import numbers

    meta = reader.meta()
    found = [PacketId(meta.region, meta.epoch, seq) for seq in numbers(refused_seqs(reader, lane))]
    damaged = reader.aside(1_000_000) if aside else []
    return found + [one.packet.id for one in damaged if lane in (None, one.packet.lane)]


def _not_dead(reader: OutboxReader, packet: PacketId) -> str:
    """Why it cannot be dropped; empty where it can."""
    from pipeline.adapters.outbox_dropped_look import dropped_of
    from schemas.verdicts import Status

    found = reader.find(packet)
    if found is None:
        return "it is not in this outbox"
    if (gone := dropped_of(reader, packet)) is not None:
        return f"it was {gone.sentence()}"
    if found.now is not None:
        return f"it was numbered anew after a loss: it is {found.now} now"
    if found.status is Status.REFUSED or _is_aside(reader, packet):
        return ""
    return f"it is not dead, it is {found.state}: `titian trace {packet}` says more"


def _not_refused(reader: OutboxReader, packet: PacketId) -> str:
    """Why it cannot be tried again; empty where it can."""
    if wrong := _not_dead(reader, packet):
        return wrong
    return (
        "it is damaged on this disk and cannot be sent: record this citizen again, and drop it"
        if _is_aside(reader, packet)
        else ""
    )


def _is_aside(reader: OutboxReader, packet: PacketId) -> bool:
    return any(one.packet.id == packet for one in reader.aside(1_000_000))


# --- the center -----------------------------------------------------------------------------------


def _retry_frames(folder: Folder, which: Sequence[str] | Every, actor: Actor, reason: str) -> Done:
    from pipeline.adapters.ledger_quarantine import LedgerQuarantine
    from pipeline.center.retrying import retry_frame

    keys, clock = folder.private_keys(), SystemClock()
    with closing(_ledger(folder)) as ledger:
        kept = LedgerQuarantine(ledger)
        chosen, failed = _frames(kept, which)
        if not chosen:
            return Done(0, tuple(failed))

        def again(frame: KeptFrame) -> bool:
            why = retry_frame(frame.frame, frame.region, frame.stream, ledger, keys, clock.now_ms())
            if why:
                raise NotFound(why)
            kept.remove(frame.id)  # after it is in: a second time it would be known
            return True

        with recorded(folder, actor, "retry", _frame_target(chosen), reason, frames=chosen[:500]) as act:
            done, not_done, _ = _each(chosen, lambda n: again(_found(kept, n)))
            act.told.update(_told(not_done, []))
    return Done(done, (*failed, *not_done))


def _drop_frames(folder: Folder, which: Sequence[str] | Every, actor: Actor, reason: str) -> Done:
    from pipeline.adapters.ledger_quarantine import LedgerQuarantine
    from pipeline.adapters.put_away import put_away

    with closing(_ledger(folder)) as ledger:
        kept = LedgerQuarantine(ledger)
        chosen, failed = _frames(kept, which)
        if not chosen:
            return Done(0, tuple(failed))

        def gone(number: int) -> bool:
            put_away(folder.path, f"frame-{number}.frame", [_found(kept, number).frame])
            kept.remove(number)
            return True

        with recorded(folder, actor, "drop", _frame_target(chosen), reason, frames=chosen[:500]) as act:
            done, not_done, _ = _each(chosen, gone)
            act.told.update(_told(not_done, []))
    return Done(done, (*failed, *not_done))


def _ledger(folder: Folder) -> SqlLedger:
    from pathlib import Path

    from pipeline.adapters.ledger_sql import SqlLedger
    from workers.looking import ledger_place

    where = ledger_place(folder)
    if isinstance(where, Path) and not where.exists():
        raise NotFound(f"there is no ledger at {where}: start the center once (`titian up`)")
    return SqlLedger(where, folder.settings.intake.receipt_window_bytes)


def _frames(kept: LedgerQuarantine, which: Sequence[str] | Every) -> tuple[list[int], Failures]:
    """The numbers of frames that are there, and what cannot be done. Raises `UsageError`."""
    there = kept.numbers()
    if isinstance(which, Every):
        if which.lane is not None:
            raise UsageError("frames that were kept aside have no lane: name them, or --all")
        return there, []
    chosen, failed = [], []
    for text in dict.fromkeys(which):
        if not (text.isascii() and text.isdigit()):
            failed.append((text, _AT_ITS_REGION))
        elif int(text) not in there:
            failed.append((text, "no frame of that number is kept aside (the oldest make room)"))
        else:
            chosen.append(int(text))
    return chosen, failed


def _found(kept: LedgerQuarantine, number: int) -> KeptFrame:
    found = kept.find(number)
    if found is None:
        raise NotFound("it is not kept aside any more")
    return found


def _frame_target(chosen: Sequence[int]) -> str:
    return f"frame {chosen[0]}" if len(chosen) == 1 else f"{len(chosen)} frames"


# --- both -----------------------------------------------------------------------------------------


def _each(chosen: Sequence[Any], act: Callable[[Any], bool]) -> tuple[int, Failures, list[str]]:
    """Do it to each: how many worked, which not and why, and which were damaged (`act` says False). A store
    that cannot be written ends it: the rest would fail alike."""
    done, failed, damaged = 0, [], []
    for n, one in enumerate(chosen):
        try:
            if not act(one):
                damaged.append(str(one))
            done += 1
        except NotFound as why:
            failed.append((str(one), str(why)))
        except StoreError as why:
            failed += [(str(left), str(why)) for left in chosen[n:]]
            break
    return done, failed, damaged


def _told(failed: Failures, damaged: Sequence[str]) -> dict[str, Any]:
    """What the log's second line has to add."""
    told: dict[str, Any] = {}
    if failed:
        told["not_done"] = [[one, why[:200]] for one, why in failed[:NAMED_MAX]]
        told["not_done_count"] = len(failed)
    if damaged:
        told["damaged"] = list(damaged[:NAMED_MAX])
    return told


def _target(packets: Sequence[PacketId]) -> str:
    return str(packets[0]) if len(packets) == 1 else f"{len(packets)} packets"


def _named(packets: Sequence[PacketId]) -> dict[str, Any]:
    """Which they are, by epoch, as ranges `[first, last]`."""
    from schemas.ranges import from_numbers

    named: dict[str, Any] = {}
    for epoch in dict.fromkeys(one.epoch for one in packets):
        ranges = from_numbers(sorted(one.seq for one in packets if one.epoch == epoch))
        named[epoch] = [[start, stop - 1] for start, stop in ranges[: 10 * NAMED_MAX]]
    return named
