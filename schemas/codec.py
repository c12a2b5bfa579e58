"""The only place of msgpack: canonical, bounded, without extensions.

What is read must be exactly what `pack` would have written of it. That one comparison refuses duplicate
keys, numbers that are longer than they need be, 32 bit floats and trailing bytes at C speed; counts are
limited before anything is allocated, and depth and NaN are looked for afterwards in what is then small.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import msgpack  # type: ignore[import-untyped, unused-ignore]

from schemas.errors import CodecError
from schemas.limits import BODY_BYTES_MAX, HEAD_BYTES_MAX, PAYLOAD_DEPTH_MAX, PAYLOAD_FIELDS_MAX

Plain: TypeAlias = (
    bool | int | float | str | bytes | list["Plain"] | tuple["Plain", ...] | dict[str, "Plain"] | None
)

_packer = msgpack.Packer  # one a call: a Packer is not safe between threads


def pack(value: Any) -> bytes:
    """The canonical msgpack of plain values; raises `CodecError` for anything else."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True, strict_types=False)
    except (TypeError, ValueError, OverflowError) as why:
        raise CodecError(f"a value cannot travel: {why}", code="bad_value") from why
    return packed


def _no_extension(code: int, _: bytes) -> Any:
    """An extension without bytes passes every limit of its length: refuse it by hand."""
    raise ValueError(f"extension {code}")


def unpack(
    data: bytes,
    *,
    bytes_max: int = HEAD_BYTES_MAX,
    items_max: int = PAYLOAD_FIELDS_MAX,
    depth_max: int = PAYLOAD_DEPTH_MAX + 2,
) -> Any:
    """The value of `data`; raises `CodecError` at or past any bound.

    `bytes_max` bounds the whole, `items_max` the entries of each array and map, `depth_max` how deep
    they nest. At most `bytes_max` objects can come out, whatever `data` says.
    """
    if len(data) > bytes_max:
        raise CodecError(f"{len(data)} bytes where {bytes_max} are allowed", code="too_large")
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_array_len=items_max,
            max_map_len=items_max,
            max_str_len=bytes_max,
            max_bin_len=bytes_max,
            max_ext_len=0,
            ext_hook=_no_extension,
        )
        again = msgpack.packb(value, use_bin_type=True)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as why:
        raise CodecError(f"not msgpack within our limits: {type(why).__name__}") from why
    if again != data:
        raise CodecError("not in canonical form (a doubled key, a padded number)", code="not_canonical")
    _check(value, depth_max)
    return value


def leading(data: bytes, *, bytes_max: int = 256) -> Iterator[Any]:
    """The first items of an array whose rest may be anything: what a newer version wrote, say.

    Only the first `bytes_max` bytes are looked at, and they need not be canonical. Raises `CodecError` where
    an item is not msgpack or does not end within them.
    """
    reader = msgpack.Unpacker(
        raw=False,
        max_buffer_size=bytes_max,
        max_array_len=16,
        max_map_len=0,
        max_ext_len=0,
        ext_hook=_no_extension,
    )
    reader.feed(data[:bytes_max])
    try:
        for _ in range(reader.read_array_header()):
            yield reader.unpack()
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as why:
        raise CodecError(f"not an array: {type(why).__name__}") from why


def _check(value: object, depth_left: int) -> None:
    """Refuse NaN, infinities, keys that are no text, and nesting deeper than `depth_left`."""
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise CodecError("a number that is not finite", code="not_finite")
        return
    if not isinstance(value, (list, dict)):
        return
    if depth_left == 0:
        raise CodecError("nested too deeply", code="too_deep")
    if isinstance(value, dict):
        for key in value:
            if type(key) is not str:
                raise CodecError("a key that is not text", code="bad_key")
    for item in value.values() if isinstance(value, dict) else value:
        if type(item) in (list, dict, float):
            _check(item, depth_left - 1)


def pack_flat(values: Sequence[int | bytes]) -> bytes:
    """A flat sequence of numbers and bytes: the form of a frame's large bodies."""
    packer = _packer(use_bin_type=True, autoreset=False)
    packer.pack_array_header(len(values))
    for value in values:
        packer.pack(value)
    packed: bytes = packer.bytes()
    return packed


def unpack_flat(data: bytes, *, items_max: int, bytes_max: int = BODY_BYTES_MAX) -> list[int | bytes]:
    """The numbers and bytes of `pack_flat`; no container can hide in it, so its cost is bounded by `data`.

    Raises `CodecError` when it is longer than its bounds, not canonical, or holds anything else.
    """
    if len(data) > bytes_max:
        raise CodecError(f"{len(data)} bytes where {bytes_max} are allowed", code="too_large")
    reader = msgpack.Unpacker(
        raw=False,
        max_buffer_size=max(len(data), 1),
        max_array_len=0,
        max_map_len=0,
        max_str_len=0,
        max_bin_len=bytes_max,
        max_ext_len=0,
    )
    reader.feed(data)
    try:
        count = reader.read_array_header()
        if count > items_max:
            raise CodecError(f"{count} items where {items_max} are allowed", code="too_many")
        values = [reader.unpack() for _ in range(count)]
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as why:
        if isinstance(why, CodecError):
            raise
        raise CodecError(f"not a flat sequence: {type(why).__name__}") from why
    if any(type(value) not in (int, bytes) for value in values):
        raise CodecError("a flat sequence holds more than numbers and bytes")
    if pack_flat(values) != data:
        raise CodecError("not in canonical form (a padded number, trailing bytes)", code="not_canonical")
    return values
