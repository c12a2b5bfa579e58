"""The region's disk is gone: its records come back, while it works, whatever dies or vanishes meanwhile."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.adapters.registry_reader import RegistryReader
from pipeline.region.pulled import Pulled, Step
from pipeline.testing.world import World
from schemas.asks import RECORD, pack_record_args, unpack_record
from schemas.back import PASS_OPEN, PASS_REST
from schemas.verdicts import Status
from tests.scenarios.rebuild_rig import lines, long_known, pictures_are_back, printed


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = long_known(tmp_path)
    one.lose_disk()
    one.rebuild_region()
    yield one
    one.close()


def statuses(world: World) -> dict[str, Status]:
    reader = RegistryReader(world.region_folder)
    found = {one.nik: one.status for one in reader.records(100_000)}
    reader.close()
    return found


def going(world: World, rounds: int = 300) -> Iterator[int]:
    """Rounds while the rebuild is not done; fails where it does not end."""
    for n in range(rounds):
        cursors = world.registry.cursors()
        if not cursors.fresh and cursors.back is None:
            return
        yield n
        world.round()
    raise AssertionError(f"the rebuild is not done: {world.registry.cursors()}")


def passes(world: World) -> int:
    """The pass that is under way (0: none)."""
    back = world.registry.cursors().back
    return 0 if back is None else back.pass_no


def test_everything_comes_back(world: World) -> None:
    assert world.arrive() < 300
    world.check()
    assert world.registry.record_count() == 60
    assert pictures_are_back(world) == 12
    reader = RegistryReader(world.region_folder)
    done = reader.rebuild()
    assert done.back is None
    assert done.opened_ms is not None
    assert done.rebuilt_ms is not None
    assert done.opened_ms < done.rebuilt_ms
    assert [one.what for one in reader.events()] == ["rebuild begun", "open for service", "rebuilt"]
    reader.close()


def test_open_cases_come_before_those_whose_card_is_printed(world: World) -> None:
    seen = set()
    for _ in going(world):
        seen.add(passes(world))
        held = statuses(world)
        if passes(world) == PASS_OPEN:
            assert Status.CARD_PRINTED not in held.values()
        if passes(world) == PASS_REST:
            open_cases = sum(one is not Status.CARD_PRINTED for one in held.values())
            assert open_cases == 33
    assert {PASS_OPEN, PASS_REST} <= seen


def test_the_newest_come_first(world: World) -> None:
    order = [row.nik for row in world.ledger.reader.records(region=world.region, limit=1_000)]
    came: list[str] = []
    for _ in going(world):
        came += [nik for nik in statuses(world) if nik not in came]
    reader = RegistryReader(world.region_folder)
    numbers = [one.record_no for one in reader.records(100) if one.status is Status.CARD_PRINTED]
    reader.close()
    assert numbers == sorted(numbers, reverse=True)
    assert set(order) == set(came)


def test_how_far_it_is_goes_one_way_and_the_center_hears_it(world: World) -> None:
    before = (0, 0.0)
    for _ in going(world):
        back = world.registry.cursors().back
        if back is not None and back.total:
            now = (back.pass_no, 1 - back.left / back.total)
            assert now >= before
            before = now
    world.round()
    standing = world.ledger.standing(world.region)
    assert standing is not None
    assert standing.want is not None
    assert standing.want.back is None
    assert not standing.want.fresh


def test_the_office_works_from_the_first_second(world: World) -> None:
    new = lines(20, seed=77)
    for line in new:
        world.enqueue(line)
    sent = False
    for _ in going(world):
        sent = sent or world.ledger.reader.counts(world.region).received > 87
    assert sent  # long before the rebuild was done
    assert world.arrive() < 300
    world.check()
    assert world.registry.record_count() == 80


def test_changes_during_the_rebuild_are_not_lost_behind_it(world: World) -> None:
    """Cards are printed of citizens whose records have come, and of others whose records have not."""
    cards = (printed(line) for line in lines(60, seed=5, pictures=6)[1::2])
    for _ in going(world):
        for card in itertools.islice(cards, 2):
            world.enqueue(card)
    assert world.arrive() < 300
    world.check()


def kill_region(world: World) -> None:
    world.kill_region()


def kill_center(world: World) -> None:
    world.kill_center()


def wipe(world: World) -> None:
    world.link.wipe()


def cut(world: World) -> None:
    world.link.cut()
    world.round(3.0)
    world.link.restore()
    world.clock.advance(35.0)


#: Records that may be on their way at a time.
FRAMES_ON_THEIR_WAY = 14

FAULTS = [kill_region, kill_center, wipe, cut]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda one: one.__name__)
def test_it_goes_on_from_where_it_was(world: World, fault: Callable[[World], None]) -> None:
    """Nothing starts over: with a fault after every few frames no more frames come than without, but for
    those that were on their way."""
    pulled: list[Pulled] = []
    pull = world.step_pull

    def counted() -> Pulled:
        pulled.append(pull())
        return pulled[-1]

    world.step_pull = counted  # type: ignore[method-assign]
    faults = 0
    for n in going(world):
        if n % 4 == 3:
            fault(world)
            faults += 1
    assert faults > 2
    assert sum(one.records for one in pulled) < 60 + FRAMES_ON_THEIR_WAY * faults
    assert world.arrive() < 300
    world.check()
    assert pictures_are_back(world) == 12


def test_a_frame_that_is_lost_is_asked_for_from_where_we_are(world: World) -> None:
    steps: list[Step] = []
    for n in going(world):
        if n % 3 == 2:
            world.step_push()
            world.step_intake()
            world.step_deliver()
            world.link.drop_down(1)
            steps += world.step_pull().steps
    assert Step.ASKED_ANEW in steps
    assert world.arrive() < 300
    world.check()


def test_a_ledger_restored_to_before_the_top_begins_it_again_from_there(tmp_path: Path) -> None:
    world = long_known(tmp_path, 40, 4)
    for line in lines(8, seed=8):
        world.enqueue(line)
    for _ in range(4):
        world.step_push()
    stream = world.link.region(world.region).up.entries
    late = dict(stream)
    stream.clear()
    world.lose_disk()
    world.rebuild_region()
    world.step_push()
    world.step_intake()
    copy = world.back_up_ledger()
    stream.update(late)  # what was on its way arrives after the backup, and before the first session
    for _ in range(4):
        world.round()
    top = world.registry.cursors().records
    assert passes(world)
    world.restore_ledger(copy)  # now nobody has those eight
    for _ in range(30):
        if world.registry.cursors().records < top:
            break
        world.round(5.0)
    back = world.registry.cursors().back
    assert back is not None
    assert back.top == world.registry.cursors().records < top
    assert world.arrive() < 300
    world.check_records(more_here=8)  # the region has those that came before the ledger was restored
    assert pictures_are_back(world) == 8
    world.close()


def test_a_ledger_restored_to_a_point_during_the_rebuild_loses_no_new_packet(world: World) -> None:
    for _ in range(3):
        world.round()
    copy = world.back_up_ledger()
    for line in lines(5, seed=9):
        world.enqueue(line)
    for _ in range(4):
        world.round()
    world.restore_ledger(copy)
    assert world.arrive() < 300
    world.check()


def test_a_disk_that_dies_during_the_rebuild_is_rebuilt_again(world: World) -> None:
    for line in lines(5, seed=10):
        world.enqueue(line)
    for _ in range(4):
        world.round()
    world.rebuild_region()
    assert world.arrive() < 300
    world.check()


def test_what_the_old_machine_had_on_its_way_still_arrives(tmp_path: Path) -> None:
    world = long_known(tmp_path, 30, 2)
    late = world.enqueue(lines(1, seed=11)[0])
    for _ in range(3):
        world.step_push()  # it lies in the stream, signed with a key that is retired now
    world.lose_disk()
    world.rebuild_region()
    assert world.arrive() < 300
    world.check()
    assert world.ledger.reader.packet(late) is not None
    assert world.registry.record_count() == 31
    world.close()


def test_a_record_asked_for_by_nik_jumps_the_queue(world: World) -> None:
    while passes(world) != PASS_OPEN:
        world.round()
    nik = lines(60, seed=5, pictures=6)[0]["payload"]["nik"]  # the oldest, and printed: it would come last
    assert nik not in statuses(world)
    ask = world.registry.ask(RECORD, pack_record_args(nik), world.clock.now_ms())
    for _ in range(3):
        world.round(0.1)
    found = world.registry.answered(ask)
    assert found is not None
    assert nik in statuses(world)
    said = unpack_record(found.payloads[0])
    assert said is not None
    assert said.status is Status.CARD_PRINTED
    assert passes(world) in (PASS_OPEN, PASS_REST)
    assert world.arrive() < 300
    world.check()


def test_all_its_attachments_may_be_asked_for_and_survive_faults_on_their_way(world: World) -> None:
    line = lines(60, seed=5, pictures=6)[-1]
    nik = line["payload"]["nik"]
    ask = world.registry.ask(RECORD, pack_record_args(nik, ("*",)), world.clock.now_ms())
    faults = itertools.cycle(FAULTS)
    for _ in range(200):
        if world.registry.answered(ask) is not None:
            break
        world.round(0.5)
        next(faults)(world)
    reader = RegistryReader(world.region_folder)
    record = reader.record(nik)
    assert record is not None
    held = {one.name: one.whole for one in reader.attachments(record.epoch, record.seq)}
    assert held == {"face": 1, "signature": 1}
    reader.close()
    assert world.arrive() < 300
    world.check()


def test_a_record_that_the_center_has_not_is_said_so(world: World) -> None:
    ask = world.registry.ask(RECORD, pack_record_args("1806061505909999"), world.clock.now_ms())
    assert world.arrive() < 300
    found = world.registry.answered(ask)
    assert found is not None
    assert unpack_record(found.payloads[0]) is None


def test_a_region_of_which_the_center_has_nothing_is_done_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.rebuild_region()
    for line in lines(3, seed=12):
        world.enqueue(line)
    assert world.arrive() < 300
    world.check()
    reader = RegistryReader(world.region_folder)
    assert reader.rebuild().rebuilt_ms is not None
    reader.close()
    world.close()
