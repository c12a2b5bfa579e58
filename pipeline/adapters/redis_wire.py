"""Steps 3 to 4 and 6 to 7: what both ends of the link share: the stored layout, and what answers mean.

Stored layout, on the center's link Valkey (raw bytes; `1806` stands for a region's code, in braces so that
all keys of a region lie in one slot of a cluster):

    titian:{1806}:ctl       stream, ids by the broker   field f: a frame (want, announcements, urgent packets)
    titian:{1806}:up        stream, ids <session>-<n>   field f: a frame
    titian:{1806}:down      stream, ids <session>-<n>   field f: a frame
    titian:{1806}:attempts  hash (center only)          <stream>:<id> -> how often intake has read the entry
    titian:{1806}:hint      string (center only)        JSON, see `pack_hint`

Whoever reads an entry deletes it. There are no consumer groups and no expiry; everything may vanish at any
time.
"""

from __future__ import annotations

import json

from pipeline.errors import LinkDenied, LinkDown, TitianError
from pipeline.ports import DownHint, EntryId

#: The one field of an entry.
FIELD = b"f"
#: Answers that mean "not now, for want of room": memory, or the disk behind the broker's log.
FULL_CODES = (b"OOM", b"MISCONF")
#: Answers that mean "not you".
DENIED_CODES = (b"NOPERM", b"NOAUTH", b"WRONGPASS")
#: How Valkey and Redis say that an id is not above the stream's last one.
NOT_ABOVE = b"equal or smaller"
HINT_VERSION = 1


def ctl_key(region: str) -> str:
    """The stream that is read first."""
    return f"titian:{{{region}}}:ctl"


def up_key(region: str) -> str:
    """The stream of frames to the center."""
    return f"titian:{{{region}}}:up"


def down_key(region: str) -> str:
    """The stream of frames to the region."""
    return f"titian:{{{region}}}:down"


def attempts_key(region: str) -> str:
    """The center's count of reads."""
    return f"titian:{{{region}}}:attempts"


def hint_key(region: str) -> str:
    """Where `deliver` stands."""
    return f"titian:{{{region}}}:hint"


def parse_entry(text: bytes) -> EntryId:
    """`<session>-<n>` as the broker writes it. Raises `ValueError` on anything else."""
    session, dash, n = text.partition(b"-")
    if not dash or not session.isdigit() or not n.isdigit():
        raise ValueError(f"not an entry id: {text[:40]!r}")
    return EntryId(int(session), int(n))


def pack_hint(hint: DownHint) -> bytes:
    """A hint as it is stored, with its version."""
    return json.dumps({"v": HINT_VERSION, **hint._asdict()}, separators=(",", ":")).encode()


def unpack_hint(stored: bytes) -> DownHint | None:
    """The hint; `None` for one of another version or damaged: then `deliver` goes on from the cursors."""
    try:
        fields = json.loads(stored)
        if fields.pop("v") != HINT_VERSION:
            return None
        back = fields.get("back")
        if back is not None:
            pass_no, floor, at = _whole(back)
            back = (pass_no, floor, at)
        asks = tuple((ask, at) for ask, at in map(_whole, fields.get("asks", ())))
        _whole([fields[name] for name in ("session", "n", "facts", "records", "answered")])
        return DownHint(**{**fields, "sizes": _whole(fields["sizes"]), "back": back, "asks": asks})
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _whole(numbers: list[int]) -> tuple[int, ...]:
    if not all(type(one) is int for one in numbers):
        raise TypeError("a hint with other things than whole numbers")
    return tuple(numbers)


def is_full(answer: bytes) -> bool:
    """Whether an error answer says that the broker has no room."""
    return answer.startswith(FULL_CODES)


def is_not_above(answer: bytes) -> bool:
    """Whether an error answer to XADD says that the id is not above the last."""
    return NOT_ABOVE in answer


def refusal(answer: bytes) -> TitianError:
    """The error of ours for an error answer of the center's broker to a region."""
    text = answer[:200].decode(errors="replace")
    if answer.startswith(DENIED_CODES):
        return LinkDenied(f"the center's broker refuses us: {text} (look at the join file)")
    return LinkDown(f"the center's broker cannot answer now: {text}")
