"""Step 1: realistic packets to try with: KTP-EL enrolments of one region, the same for the same seed.

Nobody in them exists, but their entropy is a real office's: several hundred names in the frequencies of
names, dates of birth over eight decades, families that share a card and a house, a few operators and
devices, and NIKs that fit birth date, sex and, for about one in twelve, another region. About 625 bytes a
packet as stored.
"""

from __future__ import annotations

import base64
import json
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from random import Random
from typing import Any, TextIO

from pipeline import sample_words as words

#: Attachments of one packet together, in bytes.
BIOMETRIC_BYTES_MIN, BIOMETRIC_BYTES_MAX = 60_000, 300_000
#: name -> (media type, how its bytes begin); ISO 19794 files name themselves, then their version and size.
_BIOMETRICS = {
    "face": ("image/jpeg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01"),
    "left_iris": ("application/vnd.iso.19794-6", b"IIR\x00020\x00"),
    "right_thumb": ("application/vnd.iso.19794-4", b"FIR\x00020\x00"),
    "right_index": ("application/vnd.iso.19794-4", b"FIR\x00020\x00"),
    "full_face": ("application/vnd.iso.19794-5", b"FAC\x00030\x00"),
}
_OPERATORS = ("12", "13", "21", "22", "52", "53", "57", "95")
_MAN_AT_HOME = ("KEPALA KELUARGA", "KEPALA KELUARGA", "ANAK")
_OTHER_REGION_SHARE = 0.08
_SAME_FAMILY_SHARE = 0.3
_FIRST_DAY = datetime(2026, 1, 5, 8, 0)
_CLOSES_AT_HOUR = 15
_BORN_FIRST, _BORN_DAYS = date(1944, 1, 1), 23_700


class _Falling:
    """Draws from a list whose early entries are met more often (rank to the power of -0.7, as names are)."""

    def __init__(self, values: Sequence[str] | Mapping[str, int]) -> None:
        self.values = list(values)
        weights = (
            list(values.values())
            if isinstance(values, Mapping)
            else [(rank + 3) ** -0.7 for rank in range(len(values))]
        )
        self.edges = list(accumulate(weights))

    def draw(self, rng: Random) -> str:
        return self.values[bisect(self.edges, rng.random() * self.edges[-1], 0, len(self.edges) - 1)]


_MEN, _WOMEN = _Falling(words.MEN), _Falling(words.WOMEN)
_LAST_MEN, _LAST_WOMEN = _Falling(words.LAST_MEN), _Falling(words.LAST_WOMEN)
_STREETS, _PLACES = _Falling(words.STREETS), _Falling(words.PLACES)
_JOBS, _EDUCATION = _Falling(words.JOBS), _Falling(words.EDUCATION)
_RELIGIONS, _BLOOD = _Falling(words.RELIGIONS), _Falling(words.BLOOD)


@dataclass
class _Family:
    """Who shares a family card: the fields that are the same for all of them, and the parents' names."""

    shared: dict[str, str]
    district: str
    father: str
    mother: str


@dataclass
class _Office:
    """One region's office at work: its districts and villages, operators, the queue and the clock."""

    region: str
    rng: Random
    districts: list[str] = field(default_factory=list)
    villages: list[list[str]] = field(default_factory=list)
    families: list[_Family] = field(default_factory=list)
    issued: dict[str, int] = field(default_factory=dict)
    cards: dict[str, int] = field(default_factory=dict)
    now: datetime = _FIRST_DAY
    queue: int = 0

    def __post_init__(self) -> None:
        # places are the region's, whatever the seed of the run
        places = Random(f"places of {self.region}")
        self.districts = words.TANGGAMUS if self.region == "1806" else [_village(places) for _ in range(20)]
        self.villages = [[_village(places) for _ in range(15)] for _ in self.districts]

    def tick(self) -> None:
        """The next citizen steps up, a few minutes later; at closing time it is the next working day."""
        self.queue += 1
        self.now += timedelta(seconds=self.rng.randint(45, 420))
        if self.now.hour >= _CLOSES_AT_HOUR:
            days = 3 if self.now.weekday() == 4 else 1
            self.now = self.now.replace(hour=8, minute=0, second=self.rng.randrange(60)) + timedelta(
                days=days
            )
            self.queue = 1


def sample_lines(
    n: int, *, seed: int = 1, region: str = "1806", biometrics: int = 0, folder: Path | None = None
) -> Iterator[dict[str, Any]]:
    """`n` enrolments as NDJSON objects, no NIK twice; `biometrics` of them, spread evenly, carry attachments.

    Attachments stand as base64, or, where a `folder` is given, as files in `folder/lampiran`, named relative
    to `folder`. The same arguments give the same packets on every machine.
    """
    rng = Random(f"titian sample {seed} {region}")
    office = _Office(region, rng)
    for number in range(n):
        line: dict[str, Any] = {"kind": "enrolment", "payload": _payload(office)}
        if (number + 1) * biometrics // n != number * biometrics // n:
            line["attachments"] = list(_attachments(rng, f"{seed}-{number + 1:06d}", folder))
        yield line


def write_sample(
    n: int,
    out: TextIO,
    *,
    seed: int = 1,
    region: str = "1806",
    biometrics: int = 0,
    folder: Path | None = None,
) -> int:
    """Write `sample_lines` as NDJSON to `out`; how many characters that were."""
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
    written = 0
    for line in sample_lines(n, seed=seed, region=region, biometrics=biometrics, folder=folder):
        written += out.write(encode(line) + "\n")
    return written


# --- people ---------------------------------------------------------------------------------------


def _payload(office: _Office) -> dict[str, Any]:
    rng = office.rng
    office.tick()
    if office.families and rng.random() < _SAME_FAMILY_SHARE:
        family = rng.choice(office.families)
    else:
        family = _family(office)
        office.families = [*office.families[-5:], family]
    woman = rng.random() < 0.5
    born = _born(rng)
    child = born.year > 1996
    married = not child and rng.random() < 0.85
    nik = _nik(office, family.district, born, woman)
    said = {
        "nik": nik,
        "no_kk": family.shared["no_kk"],
        "nama": _name(rng, woman),
        "tempat_lahir": _PLACES.draw(rng),
        "tanggal_lahir": f"{born.day:02d}-{born.month:02d}-{born.year}",
        "jenis_kelamin": "PEREMPUAN" if woman else "LAKI-LAKI",
        "golongan_darah": _BLOOD.draw(rng),
        **{name: family.shared[name] for name in ("alamat", "rt", "rw", "kel_desa", "kecamatan", "agama")},
        "status_perkawinan": _marriage(rng, married, child),
        "pekerjaan": "PELAJAR/MAHASISWA" if born.year > 2005 else _JOBS.draw(rng),
        "kewarganegaraan": "WNI",
        "berlaku_hingga": "SEUMUR HIDUP",
        "pendidikan": _EDUCATION.draw(rng),
        "hubungan_keluarga": "ANAK" if child else rng.choice(("ISTRI", "ANAK") if woman else _MAN_AT_HOME),
        "nama_ayah": family.father if child else _name(rng, False),
        "nama_ibu": family.mother if child else _name(rng, True),
        "telepon": _telephone(rng),
        "petugas": f"OPR{office.region}{rng.randrange(1, 9):02d}",
        "perangkat": f"ENROL-{office.region}-{rng.randrange(1, 13):02d}",
        "waktu_rekam": office.now.strftime("%Y-%m-%dT%H:%M:%S+07:00"),
        "no_antrian": office.queue,
    }
    if rng.random() < 0.6:
        said["no_akta_lahir"] = _certificate(rng, nik[:4], born)
    return said


def _family(office: _Office) -> _Family:
    rng = office.rng
    index = rng.randrange(len(office.districts))
    district = f"{office.region}{index + 1:02d}"
    moved = rng.random() < _OTHER_REGION_SHARE
    at_birth = f"{rng.choice(words.REGIONS)}{rng.randrange(1, 20):02d}" if moved else district
    registered = date(2008, 1, 1) + timedelta(days=rng.randrange(6_500))
    prefix = f"{district}{registered:%d%m%y}"
    shared = {
        "no_kk": prefix + _next(office.cards, prefix, rng),
        "alamat": _address(rng),
        "rt": f"{rng.randrange(1, 13):03d}",
        "rw": f"{rng.randrange(1, 8):03d}",
        "kel_desa": rng.choice(office.villages[index]),
        "kecamatan": office.districts[index],
        "agama": _RELIGIONS.draw(rng),
    }
    return _Family(shared, at_birth, _name(rng, False), _name(rng, True))


def _born(rng: Random) -> date:
    """Four in ten have just turned seventeen; the others come for a first or a new card at any age."""
    if rng.random() < 0.4:
        return date(2007, 9, 1) + timedelta(days=rng.randrange(640))
    return _BORN_FIRST + timedelta(days=rng.randrange(_BORN_DAYS))


def _nik(office: _Office, district: str, born: date, woman: bool) -> str:
    prefix = f"{district}{born.day + (40 if woman else 0):02d}{born:%m%y}"
    return prefix + _next(office.issued, prefix, office.rng)


def _next(issued: dict[str, int], prefix: str, rng: Random) -> str:
    """The next number of four digits under `prefix`: low, rising, with gaps, never twice."""
    number = issued.get(prefix, 0) + 1 + int(rng.expovariate(0.4))
    issued[prefix] = number
    return f"{number:04d}"


def _name(rng: Random, woman: bool) -> str:
    first, last = (_WOMEN, _LAST_WOMEN) if woman else (_MEN, _LAST_MEN)
    dice = rng.random()
    if dice < 0.15:
        return first.draw(rng)
    if dice < 0.7:
        return f"{first.draw(rng)} {last.draw(rng)}"
    return f"{first.draw(rng)} {first.draw(rng)} {last.draw(rng)}"


def _telephone(rng: Random) -> str:
    return f"08{rng.choice(_OPERATORS)}{rng.randrange(10**8):08d}"


def _certificate(rng: Random, region: str, born: date) -> str:
    """The number of a birth certificate: at once after birth, or late, as most were before 2010."""
    if born.year < 2010 and rng.random() < 0.6:
        issued = date(2008, 1, 1) + timedelta(days=rng.randrange(6_500))
        return f"{region}-LT-{issued:%d%m%Y}-{rng.randrange(1, 200):04d}"
    issued = born + timedelta(days=rng.randrange(3, 60))
    return f"{region}-LU-{issued:%d%m%Y}-{rng.randrange(1, 60):04d}"


def _marriage(rng: Random, married: bool, child: bool) -> str:
    if child:
        return "BELUM KAWIN"
    if married:
        return "KAWIN"
    return rng.choice(("BELUM KAWIN", "CERAI HIDUP", "CERAI MATI"))


def _village(rng: Random) -> str:
    first, last = rng.choice(words.VILLAGE_FIRST), rng.choice(words.VILLAGE_LAST)
    return f"{first}{last}" if rng.random() < 0.5 else f"{first} {last}"


def _address(rng: Random) -> str:
    dice = rng.random()
    if dice < 0.45:
        return f"JL. {_STREETS.draw(rng)} NO. {rng.randrange(1, 250)}"
    if dice < 0.6:
        return f"JL. {_STREETS.draw(rng)} GG. {_STREETS.draw(rng)} NO. {rng.randrange(1, 60)}"
    return f"DUSUN {_village(rng)}" + (f" NO. {rng.randrange(1, 150)}" if dice < 0.8 else "")


# --- biometrics -----------------------------------------------------------------------------------


def _attachments(rng: Random, stem: str, folder: Path | None) -> Iterator[dict[str, str]]:
    count = rng.randint(1, 3)
    total = rng.randint(BIOMETRIC_BYTES_MIN, BIOMETRIC_BYTES_MAX)
    cuts = sorted(rng.uniform(0.2, 0.8) for _ in range(count - 1))
    edges = [0, *(int(total * cut) for cut in cuts), total]
    for name, start, stop in zip(rng.sample(sorted(_BIOMETRICS), count), edges, edges[1:], strict=False):
        media_type, begin = _BIOMETRICS[name]
        data = _biometric(rng, begin, stop - start)
        said = {"name": name, "media_type": media_type}
        if folder is None:
            yield {**said, "base64": base64.b64encode(data).decode("ascii")}
            continue
        path = folder / "lampiran" / f"{stem}-{name}.{'jpg' if media_type == 'image/jpeg' else 'iso'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        yield {**said, "path": path.relative_to(folder).as_posix()}


def _biometric(rng: Random, begin: bytes, size: int) -> bytes:
    """`size` bytes (at least 16) that begin right and do not compress, as real images do not."""
    size = max(size, 16)
    if not begin.startswith(b"\xff\xd8"):
        begin += size.to_bytes(4, "big")
    return begin + rng.randbytes(size - len(begin))
