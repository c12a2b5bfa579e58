"""Reconciliation at work: the region compares itself with the center, looks twice, and repairs.

It runs beside the region's side, which carries its questions: in the worker once a night, or in the process
of `titian reconcile`. It holds no store's lock while it waits, and may be cut off anywhere: every repair is a
transaction of its own that looks again, and what is left over is found the next time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.file_lock import FileLock
from pipeline.adapters.folder import Folder
from pipeline.adapters.outbox_compare import OutboxCompare
from pipeline.adapters.outbox_sqlite import OutboxSettings, SqliteOutbox
from pipeline.adapters.registry_compare import RegistryCompare
from pipeline.adapters.registry_sqlite import SqliteRegistry
from pipeline.errors import AlreadyRunning, Unreachable, UsageError
from pipeline.ports import Clock
from pipeline.region.comparing import Days, PacketsSide, RecordsSide, days_before, held
from pipeline.region.reconcile import Difference, Mend, OurPacket, Search, mend_packet, mend_record
from schemas.compare import ListedRecord, Tops
from schemas.errors import CodecError
from schemas.identity import PacketId
from schemas.ranges import from_numbers
from schemas.verdicts import Status
from workers.reconcile_asking import Asker, ByDay, Fetch, Job
from workers.reconciled import NAMED_MAX, Reconciled, write_result

#: Seconds without any part of an answer after which the center counts as not reached.
TIMEOUT_S = 60.0
#: How long what is on its way gets before the second look, seconds; and packets that are sent again to come
#: to their verdicts, before the records are compared.
REST_S, VERDICT_S = 20.0, 60.0


@dataclass
class _Opening:
    """The first look: where we were before, what there is here, and what is asked."""

    facts: int
    records_no: int
    by_status: tuple[int, ...]
    side: RecordsSide
    records: Search
    packets: list[Search]
    days: list[ByDay]

    @property
    def jobs(self) -> list[Job]:
        return [self.records, *self.packets, *self.days]

    @property
    def tops(self) -> Tops:
        assert self.side.tops is not None
        return self.side.tops


class Reconciler:
    """One reconciliation. `pause`, `timeout_s` and `progress` as in `Asker`."""

    def __init__(
        self,
        outbox: SqliteOutbox,
        registry: SqliteRegistry,
        records: RegistryCompare,
        clock: Clock,
        pause: Callable[[], object],
        *,
        timeout_s: float = TIMEOUT_S,
        progress: Callable[[int, str], None] = lambda _, __: None,
    ) -> None:
        self._outbox, self._registry, self._records, self._clock = outbox, registry, records, clock
        self._packets = OutboxCompare(outbox)
        self._asker = Asker(registry, records, clock, pause, timeout_s, progress)
        self._done = Reconciled(clock.now_ms(), dry_run=False)

    def run(self, *, dry_run: bool = False) -> Reconciled:
        """Compare, and repair unless it is a `dry_run`. Raises `Unreachable` where the center does not
        answer, and `UsageError` while the registry is being rebuilt."""
        began_s, done = self._clock.now_s(), self._done
        done.dry_run = dry_run
        try:
            opening = self._look()
            self._second_look(opening, opening.packets)
            sent = self._mend_packets(opening.packets)
            if sent or done.went_back:
                self._asker.until(lambda: self._have_verdicts(sent), VERDICT_S, "packets are sent again")
                opening = self._open()
                self._asker.answer([opening.records], "records")
            self._second_look(opening, [opening.records])
            self._mend_records(opening.records)
        except CodecError as why:
            raise Unreachable(
                f"the center does not compare, or in a way that is not understood here ({why}): update the "
                "older side"
            ) from why
        finally:
            self._asker.close()
        done.seconds = self._clock.now_s() - began_s
        done.bytes_up, done.bytes_down = self._asker.up, self._asker.down
        return done

    # --- comparing --------------------------------------------------------------------------------

    def _look(self) -> _Opening:
        """Everything once. A center that numbers below where we were before we asked was restored without
        saying so: then all that it said above is void, as if it had (see `pipeline.region.pull`)."""
        opening = self._open()
        self._asker.answer(opening.jobs, "comparing")
        tops, done = opening.tops, self._done
        done.went_back = max(opening.facts - tops.facts, 0) + max(opening.records_no - tops.records, 0)
        if done.went_back and not done.dry_run:
            since = self._records.cursors().history[-1]
            self._registry.rewind(tops.facts, tops.records, since)
            self._outbox.take_back(tops.facts, self._clock.now_ms())
            opening = self._open()
            self._asker.answer(opening.jobs, "comparing")
        done.records, done.unknown = opening.records.compared, opening.side.unknown
        done.packets, done.epochs = sum(one.compared for one in opening.packets), len(opening.packets)
        done.days = [day for one in opening.days for day in one.differ]
        both = zip(Status, opening.tops.by_status, opening.by_status, strict=True)
        done.statuses = {status.name: (a, b) for status, a, b in both if a != b}
        return opening

    def _open(self) -> _Opening:
        cursors = self._records.cursors()
        if cursors.fresh or cursors.back is not None:
            raise UsageError(
                "the registry is being rebuilt: `titian depth` says how far it is; reconcile when it is done"
            )
        self._asker.progress(self._asker.answers, "reading the registry")
        by_status, side = self._records.look(), RecordsSide(self._records)
        packets, days, today = [], [], days_before(self._clock.now_ms())
        for epoch, stop in self._packets.epochs():
            of = PacketsSide(self._packets, epoch, stop)
            packets.append(Search(of, of.first))
            days.append(ByDay(Days(self._packets, epoch, stop, today)))
        records = Search(side, RecordsSide.first)
        return _Opening(cursors.facts, cursors.records, by_status, side, records, packets, days)

    def _second_look(self, opening: _Opening, searches: Sequence[Search]) -> None:
        """At what differed, when what was on its way then has had the time to come."""
        differ = [one for one in searches if one.differing]
        if not differ:
            return

        def rest() -> bool:
            now, tops = self._records.cursors(), opening.tops
            settled = self._packets.settled_to() >= now.facts >= tops.facts
            return settled and now.records >= tops.records

        self._asker.pause()
        self._asker.until(rest, REST_S, "waiting for what is on its way")
        for one in differ:
            one.again()
        self._asker.answer(differ, "looking again")

    # --- packets ----------------------------------------------------------------------------------

    def _mend_packets(self, searches: Sequence[Search]) -> list[int]:
        """Returns the seqs of those that are sent again."""
        settled_to, sent = self._packets.settled_to(), []
        for search in searches:
            assert isinstance(search.side, PacketsSide)
            self._done.cut |= search.cut
            by_mend: dict[Mend, list[Difference]] = {}
            for one in search.differing.values():
                by_mend.setdefault(mend_packet(one, settled_to), []).append(one)
            by_mend.pop(Mend.ON_ITS_WAY, None)
            for mend, found in by_mend.items():
                self._count(mend, len(found))
                self._name(search.side.epoch, (one.key for one in found))
                repaired = [] if self._done.dry_run else self._mend(mend, found)
                self._repaired(mend, len(repaired))
                sent += repaired if mend is Mend.SEND else []
        return sent

    def _mend(self, mend: Mend, found: Sequence[Difference]) -> list[int]:
        now_ms = self._clock.now_ms()
        ours: list[OurPacket] = [one.ours for one in found]
        if mend is Mend.SEND:
            return self._packets.send_again(ours, now_ms)
        if mend is Mend.SETTLE:
            return self._packets.settle(zip(map(held, found), ours, strict=True), now_ms)
        if mend is Mend.SUSPECT:
            self._packets.suspect(from_numbers(one.key for one in found), now_ms)
        return []

    def _have_verdicts(self, seqs: Sequence[int]) -> bool:
        waiting = (None, Status.RECEIVED_AT_CENTRAL)
        held_here = self._packets.packets(self._outbox.epoch, from_numbers(seqs))
        return all(one.status not in waiting for one in held_here.values())

    # --- records ----------------------------------------------------------------------------------

    def _mend_records(self, search: Search) -> None:
        """What differs is asked for again; what comes is applied by whoever takes it in (`pull`)."""
        self._done.cut |= search.cut
        waiting = self._of_waiting_packets(search.differing)
        differ = [one for one in search.differing.values() if one.key not in waiting]
        fetch = [one for one in differ if mend_record(one) is Mend.FETCH]
        only_here = [one.key for one in differ if mend_record(one) is Mend.ONLY_HERE]
        if only_here:
            self._count(Mend.ONLY_HERE, len(only_here))
        if not fetch:
            self._name_niks(only_here)
            return
        self._count(Mend.FETCH, len(fetch))
        niks = [one.key for one in fetch]
        self._name_niks([*only_here, *niks])
        if self._done.dry_run:
            return
        self._records.open_records(niks)
        self._asker.answer([Fetch(niks)], "fetching records")
        now = self._records.listed(from_numbers(niks))
        self._repaired(Mend.FETCH, sum(_agrees(now.get(one.key), one.theirs) for one in fetch))

    def _of_waiting_packets(self, niks: Iterable[int]) -> set[int]:
        """Records whose packet waits to be sent (again): the center will make them from it."""
        of = self._records.sources(niks)
        here = {nik: seq for nik, (epoch, seq) in of.items() if epoch == self._outbox.epoch}
        packets = self._packets.packets(self._outbox.epoch, from_numbers(here.values()))
        return {nik for nik, seq in here.items() if seq in packets and packets[seq].status is None}

    # --- the books --------------------------------------------------------------------------------

    def _count(self, mend: Mend, n: int) -> None:
        self._done.found[mend] = self._done.found.get(mend, 0) + n

    def _repaired(self, mend: Mend, n: int) -> None:
        if n:
            self._done.repaired[mend] = self._done.repaired.get(mend, 0) + n

    def _name(self, epoch: str, seqs: Iterable[int]) -> None:
        names = (str(PacketId(self._outbox.region, epoch, seq)) for seq in seqs)
        self._done.packet_ids = [*self._done.packet_ids, *names][:NAMED_MAX]

    def _name_niks(self, niks: Iterable[int]) -> None:
        self._done.niks = [f"{nik:016d}" for nik in niks][:NAMED_MAX]


def _agrees(ours: ListedRecord | None, theirs: ListedRecord) -> bool:
    """Whether the center's word has come; a newer one has, too."""
    return ours is not None and (ours.agrees(theirs) or ours.version > theirs.version)


def reconcile_folder(
    folder: Folder,
    pause: Callable[[], object],
    *,
    timeout_s: float = TIMEOUT_S,
    progress: Callable[[int, str], None] = lambda _, __: None,
    dry_run: bool = False,
) -> Reconciled:
    """Reconcile the region of `folder`, whose side runs, and keep the result. Raises what `Reconciler.run`
    does, and `AlreadyRunning` where another process is at it."""
    part, clock = folder.settings.outbox, SystemClock()
    with FileLock(folder.run / "reconcile.lock").held() as ours:
        if not ours:
            raise AlreadyRunning("a reconciliation of this region is under way: wait for its end")
        settings = OutboxSettings(low_water_bytes=part.low_water_bytes, ballast_bytes=part.ballast_bytes)
        outbox, registry = SqliteOutbox(folder.path, settings), SqliteRegistry(folder.path)
        records = RegistryCompare(folder.path)
        try:
            work = Reconciler(outbox, registry, records, clock, pause, timeout_s=timeout_s, progress=progress)
            done = work.run(dry_run=dry_run)
            write_result(folder.path, done)
            return done
        finally:
            for store in (records, registry, outbox):
                store.close()
