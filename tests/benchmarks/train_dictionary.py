"""Makes and measures the shipped zstd dictionary; run by hand, a shipped dictionary never changes.

    python tests/benchmarks/train_dictionary.py train FILE     a new dictionary of 64 KiB
    python tests/benchmarks/train_dictionary.py measure [FILE] bytes and CPU a record, with it and without

It is trained on bodies as they travel: single packets, small batches, and the messages of both sides, from
sample packets of twelve regions with seeds from 9000 on, which no test and no benchmark uses. `measure` takes
other seeds, and beside Tanggamus a region that the dictionary has not seen.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

from pipeline.sample import sample_lines
from schemas.bodies import pack_batch
from schemas.feed import FactGroup, RecordChange, Span, digests_hash, pack_facts, pack_records
from schemas.identity import EPOCH_ALPHABET
from schemas.messages import Ack, Partly, Since, Want, pack_message
from schemas.packet import Packet, pack_head
from schemas.verdicts import Reason, Status

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DICTIONARY_BYTES = 64 * 1024
REGIONS = ("1806", "1801", "1871", "3305", "3329", "3174", "3603", "3204", "3501", "1271", "7371", "6371")
PACKETS_A_REGION = 2_000
SEED_FIRST = 9_000
LEVELS = (3, 6, 9, 12, 19)
#: The level for which the entropy tables are finished.
LEVEL = 9


def stored_packets(seed: int, n: int, region: str) -> list[bytes]:
    """The stored bytes of `n` sample packets without attachments."""
    rng = Random(seed)
    at_ms = 1_767_000_000_000 + rng.randrange(10**10)
    out = []
    for line in sample_lines(n, seed=seed, region=region):
        at_ms += rng.randint(1, 90_000)
        out.append(pack_head(Packet(line["kind"], line["payload"], (), at_ms)).prefix)
    return out


def training_bodies() -> Iterator[bytes]:
    """Bodies as they travel; two in three bytes are packets one by one, since those gain most."""
    for number, region in enumerate(REGIONS):
        seed = SEED_FIRST + number
        stored = stored_packets(seed, PACKETS_A_REGION, region)
        singles, batched = stored[: PACKETS_A_REGION // 2], stored[PACKETS_A_REGION // 2 :]
        yield from (pack_batch([one]) for one in singles)
        yield from (pack_batch(batched[at : at + 5]) for at in range(0, len(batched), 5))
        yield from _messages(Random(seed), stored)


def _messages(rng: Random, stored: Sequence[bytes]) -> Iterator[bytes]:
    """What both sides say of themselves, facts, and records, with numbers as they would be."""
    epoch = "".join(rng.choice(EPOCH_ALPHABET) for _ in range(6))
    since = Since(
        incarnation=rng.randbytes(8).hex(), facts=rng.randrange(10_000), records=rng.randrange(9_000)
    )
    instance = rng.randbytes(8).hex()
    for n in range(60):
        at = rng.randrange(100_000)
        clock = 1_767_000_000_000 + rng.randrange(10**10)
        session = rng.randrange(1, 90)
        base: dict[str, Any] = {"n": n, "instance": instance, "grant": 1, "session": session, "epoch": epoch}
        yield pack_message(
            Want(
                **base,
                highest_seq=at + 500,
                clock_ms=clock,
                facts=at,
                records=at,
                history=[since],
                level=1 << 18,
            )
        )
        partly = [Partly(seq=at + 1, ranges=[0, 65_536])] if n % 3 == 0 else []
        yield pack_message(
            Ack(
                **base,
                since=since,
                facts_top=at,
                records_top=at,
                window_bytes=8 << 20,
                partly=partly,
                clock_ms=clock,
            )
        )
        span = Span(since.incarnation, session, at, at + 100)
        yield pack_facts(span, [_group(rng, epoch, at, status) for status in rng.sample(list(Status), 2)])
        change = RecordChange(rng.randrange(1, 4), Status.PRINT_READY_RECORD, epoch, at + 1, stored[n])
        yield pack_records(span, [change, change._replace(seq=at + 2, head=None)])


def _group(rng: Random, epoch: str, at: int, status: Status) -> FactGroup:
    reasons = (Reason("note_nik_other_region"),) if rng.random() < 0.3 else ()
    return FactGroup(
        epoch, status, reasons, ((at + 1, at + rng.randrange(2, 90)),), digests_hash([rng.randbytes(32)])
    )


def train(path: Path) -> None:
    """Train a dictionary and write it to `path`."""
    bodies = list(training_bodies())
    found = zstd.finalize_dict(zstd.train_dict(bodies, DICTIONARY_BYTES), bodies, DICTIONARY_BYTES, LEVEL)
    path.write_bytes(found.dict_content)
    digest = hashlib.sha256(found.dict_content).hexdigest()
    print(f"{path}: {len(found.dict_content)} bytes of {len(bodies)} bodies, SHA-256 {digest}")


def measure(path: Path) -> None:
    """Print bytes and CPU microseconds a record, with the dictionary and without, by frame and level."""
    shipped = zstd.ZstdDict(path.read_bytes())
    print("region records/frame level |      without       |  with the dictionary")
    for region, seed in (("1806", 77), ("5103", 78)):
        stored = stored_packets(seed, 2_400, region)
        for count in (1, 20, 50, 200, 600):
            used = stored[: 400 if count == 1 else len(stored)]
            bodies = [pack_batch(used[at : at + count]) for at in range(0, len(used), count)]
            for level in LEVELS:
                cells = [_cost(bodies, len(used), level, one) for one in (None, shipped)]
                print(f"{region} {count:14d} {level:5d} | " + " | ".join(cells))


def _cost(bodies: Sequence[bytes], records: int, level: int, shipped: zstd.ZstdDict | None) -> str:
    options: dict[int, int] = {
        zstd.CompressionParameter.compression_level: level,
        zstd.CompressionParameter.content_size_flag: 0,
        zstd.CompressionParameter.checksum_flag: 0,
        zstd.CompressionParameter.dict_id_flag: 0,
    }
    prepared: Any = None if shipped is None else shipped.as_digested_dict
    zstd.compress(bodies[0], options=options, zstd_dict=prepared)
    started = time.process_time()
    total = sum(len(zstd.compress(body, options=options, zstd_dict=prepared)) for body in bodies)
    cpu_us = (time.process_time() - started) / records * 1e6
    return f"{total / records:6.1f} B {cpu_us:6.1f} us"


if __name__ == "__main__":
    default = Path(__file__).parents[2] / "schemas" / "dictionaries" / "titian-1.zdict"
    match sys.argv[1:]:
        case ["train", name]:
            train(Path(name))
        case ["measure", *names]:
            measure(Path(names[0]) if names else default)
        case _:
            sys.exit(__doc__)
