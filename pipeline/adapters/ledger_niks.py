"""Step 4: the number in a packet's row under which a citizen's packets are found."""

from __future__ import annotations

from schemas.nik import nik_hash

#: What stands there in the row of a refused packet, whose NIK is not known.
NO_NIK = 0


def nik_key(nik: str) -> int:
    """The number of a NIK: 8 bytes of its hash, signed."""
    return int.from_bytes(nik_hash(nik)[:8], "big", signed=True)
