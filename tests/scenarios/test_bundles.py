"""Bundles by courier beside the link: whatever comes first, everything arrives once and nothing goes back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.adapters.outbox_bundles import Choice
from pipeline.adapters.outbox_reader import OutboxReader
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.center.export import Begin
from pipeline.testing.world import World
from schemas.lanes import Lane
from tests.scenarios.courier_rig import Courier, Refused, cut, fill, scanned


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    one = World(tmp_path)
    yield one
    one.close()


@pytest.fixture
def courier(world: World) -> Iterator[Courier]:
    one = Courier(world)
    yield one
    one.close()


def validate(world: World) -> None:
    while world.step_validate().packets:
        pass


def without_receipt(world: World) -> int:
    reader = OutboxReader(world.region_folder)
    found = sum(lane.without_receipt.packets for lane in reader.counts().values())
    reader.close()
    return found


def records(world: World) -> dict[str, tuple[int, int]]:
    """What the region holds: version and status, by NIK."""
    reader = RegistryReader(world.region_folder)
    found = {one.nik: (one.version, int(one.status)) for one in reader.records(10_000)}
    reader.close()
    return found


def truth(world: World) -> dict[str, tuple[int, int]]:
    """The same at the center."""
    return {
        one.nik: (one.version, int(one.status))
        for one in world.ledger.reader.records(region=world.region, limit=10_000)
    }


def events(world: World) -> list[str]:
    reader = RegistryReader(world.region_folder)
    found = [one.what for one in reader.events()]
    reader.close()
    return found


# --- packets, and receipts back -------------------------------------------------------------------


def test_without_any_link_packets_go_up_and_receipts_and_records_come_back(
    world: World, courier: Courier
) -> None:
    fill(world, 30, biometrics=3)
    came = courier.at_center(courier.from_region())
    assert (came.new, came.clean, came.joined) == (30, True, "joined")
    done = courier.at_region(courier.receipt(came))
    assert (done.settled, done.clean) == (30, True)
    assert without_receipt(world) == 0
    validate(world)
    courier.at_region(courier.from_center(Begin()))
    world.check()
    assert records(world) == truth(world)


def test_a_second_run_takes_nothing_and_changes_nothing(world: World, courier: Courier) -> None:
    fill(world, 20, biometrics=2)
    path = courier.from_region()
    courier.at_center(path)
    top = world.ledger.standing(world.region).facts_no  # type: ignore[union-attr]
    again = courier.at_center(path)
    assert (again.new, again.already, again.clean) == (0, 20, True)
    assert world.ledger.standing(world.region).facts_no == top  # type: ignore[union-attr]
    validate(world)
    back = courier.from_center(Begin())
    courier.at_region(back)
    held = records(world)
    again_back = courier.at_region(back)
    assert (again_back.changed, again_back.settled) == (0, 0)
    assert records(world) == held


def test_an_export_claims_nothing_so_the_link_carries_the_same(world: World, courier: Courier) -> None:
    fill(world, 20, biometrics=2)
    path = courier.from_region()
    assert world.arrive() < 300
    came = courier.at_center(path)
    assert (came.new, came.already) == (0, 20)
    world.check()


@pytest.mark.parametrize("seed", range(6))
def test_bundles_and_link_in_any_order_come_to_the_same(tmp_path: Path, seed: int) -> None:
    world = World(tmp_path, seed=seed)
    courier, rng = Courier(world), random.Random(seed)
    fill(world, 12, biometrics=2, seed=seed)
    ups: list[Path] = []
    downs: list[Path] = []
    steps = [world.step_push, world.step_intake, world.step_validate, world.step_deliver, world.step_pull]
    for n in range(80):
        match rng.randrange(10):
            case 0:
                ups.append(courier.from_region(Choice(everything=rng.random() < 0.5)))
            case 1 if ups:
                came = courier.at_center(rng.choice(ups))
                if came.seqs.of(world.outbox.epoch):
                    downs.append(courier.receipt(came))
            case 2 if came_in(world):
                downs.append(courier.from_center(Begin() if rng.random() < 0.5 else None))
            case 3 if downs:
                assert courier.at_region(rng.choice(downs)).forks == 0
            case 4 if n < 60:
                fill(world, 2, seed=1000 * seed + n)
            case 5 if rng.random() < 0.3:
                world.link.cut(keep_sent=rng.random() < 0.5)
                world.link.restore()
            case _:
                rng.choice(steps)()
        world.clock.advance(rng.random())
    assert world.arrive() < 300
    world.check()
    assert records(world) == truth(world)
    courier.close()
    world.close()


def came_in(world: World) -> bool:
    """Whether the center knows a key of the region."""
    standing = world.ledger.standing(world.region)
    return standing is not None and standing.key is not None


def test_only_the_lanes_and_the_time_asked_for(world: World, courier: Courier) -> None:
    fill(world, 10, biometrics=3)
    world.clock.advance(3600)
    since_ms = world.clock.now_ms()
    fill(world, 4, seed=7)
    came = courier.at_center(courier.from_region(Choice((Lane.BIOMETRIC,))), dry_run=True)
    assert came.new == 3
    came = courier.at_center(courier.from_region(Choice(since_ms=since_ms)), dry_run=True)
    assert came.new == 4


def test_a_dry_run_says_the_same_and_changes_nothing(world: World, courier: Courier) -> None:
    fill(world, 10, biometrics=2)
    path = courier.from_region()
    dry = courier.at_center(path, dry_run=True)
    assert world.ledger.reader.counts().received == 0
    assert not came_in(world)
    real = courier.at_center(path)
    assert (dry.new, dry.incomplete, dry.clean) == (real.new, real.incomplete, real.clean) == (10, 0, True)
    validate(world)
    back = courier.from_center(Begin())
    dry_back = courier.at_region(back, dry_run=True)
    assert (dry_back.changed, world.registry.record_count(), world.outbox.settled_to()) == (10, 0, 0)
    assert courier.at_region(back).changed == 10


def test_a_part_of_a_file_gives_what_is_whole_and_the_rest_later(world: World, courier: Courier) -> None:
    fill(world, 40, biometrics=6)
    path = courier.from_region()
    whole = path.read_bytes()
    taken = 0
    for share in (0.2, 0.5, 0.8, 1.0):
        path.write_bytes(whole[: int(len(whole) * share)])
        came = courier.at_center(path)
        taken += came.new
    assert taken == 40
    assert came.incomplete == 0
    assert courier.at_center(path).already == 40


def test_an_export_goes_on_behind_a_part_of_itself(world: World, courier: Courier) -> None:
    fill(world, 40, biometrics=6)
    path = courier.from_region()
    size = path.stat().st_size
    cut(path, size * 2 // 3)
    before = path.read_bytes()[: scanned(path).mark.size]
    fill(world, 3, seed=9)
    courier.from_region(path=path)
    assert path.read_bytes().startswith(before)
    came = courier.at_center(path)
    assert (came.new, came.already, came.clean) == (43, 0, True)


def test_a_record_export_goes_on_behind_a_part_of_itself(world: World, courier: Courier) -> None:
    fill(world, 60)
    courier.at_center(courier.from_region())
    validate(world)
    path = courier.from_center(Begin())
    cut(path, path.stat().st_size - 100)
    world.kill_center()
    fill(world, 5, seed=4)
    courier.at_center(courier.from_region())
    validate(world)
    courier.from_center(Begin(), path)
    done = courier.at_region(path)
    assert done.clean
    assert records(world) == truth(world)


# --- records into an empty region -----------------------------------------------------------------


def rebuilt(world: World, courier: Courier, n: int = 40) -> None:
    """A region with records loses its machine; the new one has spoken by courier only."""
    fill(world, n, biometrics=3)
    assert world.arrive() < 300
    world.lose_disk()
    world.rebuild_region()
    assert courier.at_center(courier.from_region()).joined == "joined"


def test_a_whole_export_opens_an_empty_region_for_service(world: World, courier: Courier) -> None:
    rebuilt(world, courier)
    done = courier.at_region(courier.from_center(Begin()))
    assert (done.changed, done.opened, done.foreign_facts) == (40, True, done.facts)
    cursors = world.registry.cursors()
    standing = world.ledger.standing(world.region)
    assert standing is not None
    assert (cursors.facts, cursors.records) == (standing.facts_no, standing.records_no)
    assert not cursors.fresh
    assert events(world).count("open for service") == 1
    assert records(world) == truth(world)
    fill(world, 5, seed=3)
    assert world.arrive() < 300
    assert records(world) == truth(world)
    assert world.outbox.settled_to() == world.registry.cursors().facts


def test_a_part_of_a_whole_export_brings_records_and_leaves_the_rebuild_as_it_was(
    world: World, courier: Courier
) -> None:
    rebuilt(world, courier)
    path = courier.from_center(Begin())
    whole = path.read_bytes()
    cut(path, len(whole) - 60)
    done = courier.at_region(path)
    assert done.changed == 40
    assert not done.opened
    assert world.registry.cursors()[:2] == (0, 0)
    assert world.registry.cursors().fresh
    path.write_bytes(whole)
    done = courier.at_region(path)
    assert (done.changed, done.opened) == (0, True)


def test_a_whole_export_ends_the_way_back_of_a_rebuild_that_runs(world: World, courier: Courier) -> None:
    rebuilt(world, courier)
    for _ in range(100):
        world.step_push()
        world.step_intake()
        world.step_deliver()
        world.step_pull()
        world.clock.advance(1.0)
        if world.registry.cursors().back is not None:
            break
    assert world.registry.cursors().back is not None
    done = courier.at_region(courier.from_center(Begin()))
    assert done.opened
    assert records(world) == truth(world)
    assert events(world).count("open for service") == 1
    assert world.arrive() < 300
    assert records(world) == truth(world)


# --- what continues, and what does not ------------------------------------------------------------


def test_news_since_what_the_region_named_last_move_its_cursors(world: World, courier: Courier) -> None:
    fill(world, 10)
    assert world.arrive() < 300
    world.round()  # the want that names the last cursors
    world.round(40.0)
    fill(world, 5, seed=2)
    courier.at_center(courier.from_region())
    validate(world)
    done = courier.at_region(courier.from_center())
    assert (done.gaps, done.changed, done.settled) == (0, 5, 5)
    assert world.is_done()
    world.check()


def test_behind_a_gap_all_is_applied_and_no_cursor_moves(world: World, courier: Courier) -> None:
    fill(world, 10)
    courier.at_center(courier.from_region())
    validate(world)
    standing = world.ledger.standing(world.region)
    assert standing is not None
    fill(world, 5, seed=2)
    courier.at_center(courier.from_region())
    validate(world)
    done = courier.at_region(courier.from_center(Begin(standing.facts_no, standing.records_no)))
    assert (done.changed, done.settled) == (5, 5)
    assert done.gaps > 0
    assert world.registry.cursors()[:2] == (0, 0)
    assert world.outbox.settled_to() == 0
    courier.at_region(courier.from_center(Begin()))
    world.check()


def test_a_receipt_that_comes_after_the_verdict_is_ignored(world: World, courier: Courier) -> None:
    fill(world, 10)
    receipt = courier.receipt(courier.at_center(courier.from_region()))
    assert world.arrive() < 300
    done = courier.at_region(receipt)
    assert (done.settled, done.forks) == (0, 0)
    world.check()


# --- lives of the ledger --------------------------------------------------------------------------


def test_a_receipt_of_a_ledger_that_was_restored_since_is_refused_once_the_region_knows(
    world: World, courier: Courier
) -> None:
    fill(world, 10)
    assert world.arrive() < 300
    copy = world.back_up_ledger()
    fill(world, 5, seed=2)
    receipt = courier.receipt(courier.at_center(courier.from_region()))
    world.restore_ledger(copy)
    world.kill_center()
    for _ in range(5):
        world.round(10.0)
    with pytest.raises(Refused, match="before the center was last started or restored"):
        courier.at_region(receipt)
    assert world.arrive() < 300
    world.check()


def test_a_bundle_of_a_restored_ledger_takes_receipts_back_and_the_packets_go_again(
    world: World, courier: Courier
) -> None:
    fill(world, 10)
    assert world.arrive() < 300
    copy = world.back_up_ledger()
    fill(world, 5, seed=2)
    assert world.arrive() < 300
    assert without_receipt(world) == 0
    world.restore_ledger(copy)
    done = courier.at_region(courier.from_center(Begin()))
    assert done.back == 5
    assert without_receipt(world) == 5
    came = courier.at_center(courier.from_region())
    assert came.new == 5
    assert world.arrive() < 300
    world.check()


def test_a_bundle_made_many_starts_of_the_center_later_still_goes_on_from_the_region(
    world: World, courier: Courier
) -> None:
    fill(world, 10)
    assert world.arrive() < 300
    world.round(40.0)
    for _ in range(40):
        world.kill_center()
    fill(world, 5, seed=2)
    came = courier.at_center(courier.from_region())
    assert came.new == 5
    assert courier.at_region(courier.receipt(came)).settled == 5
    assert without_receipt(world) == 0
    assert world.arrive() < 300
    world.check()


def test_what_a_bundle_settled_ahead_of_the_cursor_is_void_where_the_ledger_went_back(
    world: World, courier: Courier
) -> None:
    fill(world, 10)
    courier.at_center(courier.from_region())
    validate(world)
    standing = world.ledger.standing(world.region)
    assert standing is not None
    copy = world.back_up_ledger()
    fill(world, 5, seed=2)
    courier.at_center(courier.from_region())
    done = courier.at_region(courier.from_center(Begin(standing.facts_no, standing.records_no)))
    assert (done.settled, without_receipt(world)) == (5, 10)
    world.restore_ledger(copy)
    assert world.arrive() < 300
    world.check()
