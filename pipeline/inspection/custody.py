"""Inspection: what a region's document says of custody: rebuild, mirror, doubts, what is set aside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pipeline.adapters.outbox_reader import Meta
from pipeline.adapters.registry_reader import RegistryReader
from pipeline.inspection.alarm import Alarm
from pipeline.region.rebuild import rebuild_json
from pipeline.said import Said, as_it_came, say
from pipeline.settings import AlarmsPart


class Beside(NamedTuple):
    """What is known of a region beside its stores: how its mirror stands, what the last comparison with the
    center found, how many packets the center said were lost, and when (ms), and how far it is with what
    an old machine's mirror holds. `None`: there is none."""

    mirror: Mapping[str, Any] | None = None
    reconciled: Mapping[str, Any] | None = None
    lost: tuple[int, int] | None = None
    recovery: Mapping[str, Any] | None = None


NOTHING = Beside()
_WHOM = Said(
    "`titian losses` says whom to ask again", "`titian losses` menyebut siapa yang perlu diminta lagi"
)


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


def custody_alarms(depth: Mapping[str, Any], limits: AlarmsPart) -> Iterator[Alarm]:
    """What a person should look at."""
    if depth["in_doubt"]:
        text = Said(
            "nothing is sent: this folder may be an old backup or a copy",
            "tidak ada yang dikirim: folder ini mungkin cadangan lama atau salinan",
        )
        do = Said(
            "wait, with the link up: it is being found out which packets the center has",
            "tunggu dengan sambungan hidup: sedang diperiksa paket mana yang sudah ada di pusat",
        )
        yield Alarm("in_doubt", text, do)
    if depth["aside"]:
        text = say(
            "{n:,} packets are damaged on this disk and cannot be sent",
            "{n:,} paket rusak di cakram ini dan tidak dapat dikirim",
            n=depth["aside"],
        )
        do = Said(
            "`titian dead list` says which; look at the disk, and ask those citizens again",
            "`titian dead list` menyebut yang mana; periksa cakramnya, dan minta data warga itu lagi",
        )
        yield Alarm("aside", text, do, "fail")
    if depth["losses"] and depth["losses"]["packets"]:
        text = say(
            "{n:,} packets were lost with the old disk",
            "{n:,} paket hilang bersama cakram lama",
            n=depth["losses"]["packets"],
        )
        yield Alarm("losses", text, _WHOM)
    if depth["mirror"] is not None:
        yield from _mirror(depth["mirror"], depth["at_ms"])
    if why := (depth.get("recovery") or {}).get("why"):
        do = Said("`titian doctor` says what to do", "`titian doctor` menyebut apa yang harus dilakukan")
        text = say("{why}", "cermin lama tidak dapat dipakai: {why}", why=str(why))
        yield Alarm("old_mirror", text, do, "fail")
    if depth["reconciled"] is not None:
        yield from _reconciled(depth["reconciled"], depth["at_ms"], limits)


def _mirror(mirror: Mapping[str, Any], at_ms: int) -> Iterator[Alarm]:
    since_ms = mirror["failing_since_ms"]
    if since_ms:
        text = say(
            "the mirror has failed for {n:,.0f} min and {missing:,} packets are not on it: {why}",
            "cermin sudah gagal selama {n:,.0f} mnt dan {missing:,} paket belum ada di sana: {why}",
            n=max(0, at_ms - since_ms) / 60_000,
            missing=mirror["missing"],
            why=str(mirror["why"]),
        )
        do = Said(
            "packets are recorded, on one disk only: look at the second one",
            "paket tetap tercatat, tetapi hanya di satu cakram: periksa cakram kedua",
        )
        yield Alarm("mirror", text, do, "fail", since_ms)


def _reconciled(last: Mapping[str, Any], at_ms: int, limits: AlarmsPart) -> Iterator[Alarm]:
    if last.get("left"):
        text = say(
            "{n:,} differences from the center are left after the last comparison",
            "masih ada {n:,} perbedaan dengan pusat setelah pencocokan terakhir",
            n=last["left"],
        )
        do = Said("`titian reconcile` says which", "`titian reconcile` menyebut yang mana")
        yield Alarm("differs", text, do)
    days = (at_ms - last["at_ms"]) / 86_400_000
    if days > limits.compared_days:
        text = say(
            "not compared with the center for {n:,.0f} days",
            "tidak dicocokkan dengan pusat selama {n:,.0f} hari",
            n=days,
        )
        yield Alarm("not_compared", text, as_it_came("`titian reconcile`"))
