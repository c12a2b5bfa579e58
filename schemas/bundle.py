"""A bundle file: the same frames as on the link, in a file, for a courier or on a second disk (the mirror).

    file  = "TITIANB1" | entry | entry | ...
    entry = u32 length of the frame (big endian) | frame | first 8 bytes of chain
    chain = SHA-256(chain before it | length | frame), beginning with SHA-256("TITIANB1")

The last entry of a whole bundle is a frame of `Kind.MANIFEST` (`schemas.manifest`), which says what must
have come before it; a mirror's segments have none. A flipped bit is noticed at the entry that it hits. A file
that ends within an entry (a stick pulled out, a power cut) is torn there: everything up to the last whole
entry counts. Behind damage in the middle the chain is lost, but each frame is signed: with `salvage` the
reader finds the next frame that has the form of one and goes on, marking what it hands out as not chained.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from schemas.errors import CodecError, SchemaError
from schemas.limits import FRAME_BYTES_MAX

MAGIC = b"TITIANB1"
CHAIN_BYTES = 32
_CHECK_BYTES = 8
_LENGTH = struct.Struct(">I")
#: How every frame begins: an array of three, and bytes of a header shorter than 64 KiB.
_FRAME_BEGINS = re.compile(rb"\x93[\xc4\xc5]")
_LENGTH_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}


class Mark(NamedTuple):
    """A place between two entries: `size` of the file up to there (bytes), entries, the chain (32 bytes)."""

    size: int = 0
    entries: int = 0
    chain: bytes = hashlib.sha256(MAGIC).digest()


START = Mark()


class Entry(NamedTuple):
    """One entry as read: its number from 1, where it begins in the file, its frame, and the mark after it.
    `chained` is false behind damage: then only the frame's own signature vouches for it."""

    n: int
    at: int
    frame: bytes
    after: Mark
    chained: bool = True


class Damage(NamedTuple):
    """Bytes `[at, stop)` of the file, from entry `n` on, are not what was written."""

    n: int
    at: int
    stop: int
    why: str


class End(NamedTuple):
    """What a file came to: the mark after its last whole entry, and how many bytes of a torn one follow."""

    mark: Mark
    torn_bytes: int


class BundleDamaged(SchemaError):
    """The file is not what was written: `n` is the entry (from 1), `at` its place in the file in bytes."""

    code = "bundle_damaged"

    def __init__(self, message: str, n: int, at: int, *, code: str | None = None) -> None:
        super().__init__(message, code=code)
        self.n, self.at = n, at


def pack_entry(frame: bytes, before: Mark = START) -> tuple[bytes, Mark]:
    """The bytes to append for `frame` behind `before` (at the start with the magic), and the mark after it.

    Raises `CodecError` for a frame that no reader would take.
    """
    if not 1 <= len(frame) <= FRAME_BYTES_MAX:
        raise CodecError(
            f"a frame of {len(frame)} bytes, 1 to {FRAME_BYTES_MAX} are allowed", code="too_large"
        )
    length = _LENGTH.pack(len(frame))
    chain = _next(before.chain, length, frame)
    head = MAGIC if before.size == 0 else b""
    data = b"".join((head, length, frame, chain[:_CHECK_BYTES]))
    return data, Mark(before.size + len(data), before.entries + 1, chain)


def pack_entries(frames: Iterable[bytes], before: Mark = START) -> tuple[bytes, Mark]:
    """The same for several frames, one behind the other."""
    parts, mark = [], before
    for frame in frames:
        data, mark = pack_entry(frame, mark)
        parts.append(data)
    return b"".join(parts), mark


class BundleReader:
    """Reads a bundle in chunks of any size; holds no more than one of them and one entry.

    Raises `BundleDamaged` at the first entry that is not what was written; with `salvage` it is noted in
    `damages` instead, and the reading goes on. `start` is a mark of an earlier reading, to go on from.
    """

    def __init__(self, start: Mark = START, *, salvage: bool = False) -> None:
        self.mark = start
        self.damages: list[Damage] = []
        self._salvage = salvage
        self._held = bytearray()
        self._at = 0  # of what is held: where the next entry begins
        self._base = start.size  # where in the file the held bytes begin
        self._chained = True
        self._lost: tuple[int, str] | None = None  # where damage began, while its end is looked for

    @property
    def place(self) -> int:
        """Bytes of the file up to the next entry."""
        return self._base + self._at

    def feed(self, data: bytes) -> Iterator[Entry]:
        """The entries that are whole with these bytes."""
        self._held += data
        if self.place == 0 and not self._begins():
            return
        while self._lost is None or self._found():
            entry = self._entry()
            if entry is not None:
                yield entry
            elif self._lost is None:
                break
        del self._held[: self._at]
        self._base += self._at
        self._at = 0

    def end(self) -> End:
        """There are no more bytes. A torn end is none of `damages`."""
        left = len(self._held) - self._at
        if self.place == 0 and left and self._held != MAGIC[:left]:
            self._wrong("it does not begin as a bundle", "not_a_bundle")
        elif self._lost is None and left >= _LENGTH.size and any(self._held[self._at :]):
            (length,) = _LENGTH.unpack_from(self._held, self._at)
            own = frame_length(self._held, self._at + _LENGTH.size)
            if own is not None and own != length and _LENGTH.size + own <= left:
                self._wrong("its length is not its frame's", "bundle_damaged")
        if self._lost is not None:
            at, why = self._lost
            self._lost = None
            self.damages.append(Damage(self.mark.entries + 1, at, self._base + len(self._held), why))
            return End(self.mark, 0)
        return End(self.mark, left)

    # --- inside ---------------------------------------------------------------------------------

    def _begins(self) -> bool:
        if len(self._held) < len(MAGIC):
            return False
        if self._held[: len(MAGIC)] != MAGIC:
            self._wrong("it does not begin as a bundle", "not_a_bundle")
        self._at = len(MAGIC)
        self.mark = self.mark._replace(size=len(MAGIC))
        return True

    def _entry(self) -> Entry | None:
        """The entry that begins here, if it is all there and holds; else `None` (and `_lost`, if not)."""
        held, at = self._held, self._at
        if len(held) - at < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(held, at)
        if length == 0 and not any(held[at:]):
            return None  # a disk that lost power may have made the file longer, and written nothing there
        if not 1 <= length <= FRAME_BYTES_MAX:
            self._wrong(f"an entry of {length} bytes", "bundle_damaged")
            return None
        stop = at + _LENGTH.size + length + _CHECK_BYTES
        if len(held) < stop:
            return None
        frame = bytes(held[at + _LENGTH.size : stop - _CHECK_BYTES])
        chain = _next(self.mark.chain, bytes(held[at : at + _LENGTH.size]), frame)
        if self._chained and chain[:_CHECK_BYTES] != held[stop - _CHECK_BYTES : stop]:
            self._wrong("the chain does not hold", "bundle_damaged")
            return None
        if not self._chained and frame_length(held, at + _LENGTH.size) != length:
            self._wrong("no frame where one should be", "bundle_damaged")
            return None
        begins, self._at = self.place, stop
        self.mark = Mark(self.place, self.mark.entries + 1, chain)
        return Entry(self.mark.entries, begins, frame, self.mark, self._chained)

    def _wrong(self, why: str, code: str) -> None:
        n, at = self.mark.entries + 1, self.place
        if not self._salvage:
            raise BundleDamaged(f"entry {n} (at byte {at:,}): {why}", n, at, code=code)
        self._lost, self._chained = (at, why), False

    def _found(self) -> bool:
        """Whether the next frame behind damage is found; if not, what cannot be its beginning is passed."""
        assert self._lost is not None
        held = self._held
        for found in _FRAME_BEGINS.finditer(held, self._at + _LENGTH.size + 1):
            begins = found.start() - _LENGTH.size
            (length,) = _LENGTH.unpack_from(held, begins)
            if not 1 <= length <= FRAME_BYTES_MAX:
                continue
            if len(held) - found.start() < length + _CHECK_BYTES:  # it may be one: wait for all of it
                self._at = begins - 1
                return False
            if frame_length(held, found.start()) == length:
                at, why = self._lost
                self.damages.append(Damage(self.mark.entries + 1, at, self._base + begins, why))
                self.mark = self.mark._replace(entries=self.mark.entries + 1)
                self._lost, self._at = None, begins
                return True
        self._at = max(self._at, len(held) - _LENGTH.size - 2)
        return False


def frame_length(data: bytes | bytearray, at: int) -> int | None:
    """How long the frame that begins at `at` is by its own account; `None` if none does, or `data` ends
    before that can be told."""
    if at >= len(data) or data[at] != 0x93:
        return None
    place = at + 1
    for _ in range(3):
        width = _LENGTH_BYTES.get(data[place]) if place < len(data) else None
        if width is None or place + 1 + width > len(data):
            return None
        place += 1 + width + int.from_bytes(data[place + 1 : place + 1 + width], "big")
    return place - at


def _next(chain: bytes, length: bytes, frame: bytes) -> bytes:
    return hashlib.sha256(b"".join((chain, length, frame))).digest()
