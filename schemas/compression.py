"""zstd with a shipped, versioned dictionary; what comes out is bounded before it is made."""

from __future__ import annotations

import functools
import sys
from importlib import resources

from schemas.errors import CodecError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODEC_NONE = 0
CODEC_ZSTD = 1
DICTIONARY_NONE = 0
#: Shipped dictionaries by number: once shipped, a file never changes and is never taken away.
DICTIONARIES = {1: "titian-1.zdict"}
DICTIONARY_NEWEST = max(DICTIONARIES)
#: About 8 us a record in frames of 200, and 10 in frames of 50; see tests/benchmarks/train_dictionary.py.
LEVEL_DEFAULT = 9
#: A reader makes room for the window that a frame names (up to 128 MiB by default). Ours need at most 2**22.
_WINDOW_LOG_MAX = 23


@functools.cache
def _dictionary(number: int) -> zstd.ZstdDict | None:
    if number == DICTIONARY_NONE:
        return None
    name = DICTIONARIES.get(number)
    if name is None:
        raise CodecError(f"zstd dictionary {number} is not known here", code="unknown_dictionary")
    return zstd.ZstdDict(resources.files("schemas").joinpath("dictionaries", name).read_bytes())


@functools.cache
def _digested(number: int) -> object:
    """The dictionary, prepared once for each level: that costs more than compressing a small frame."""
    found = _dictionary(number)
    return None if found is None else found.as_digested_dict


def compress(data: bytes, *, codec: int, dictionary: int, level: int | None = None) -> bytes:
    """`data` under that codec; `level` is zstd's (1 to 19)."""
    if codec == CODEC_NONE:
        return data
    if codec != CODEC_ZSTD:
        raise CodecError(f"codec {codec} is not known here", code="unknown_codec")
    wanted = LEVEL_DEFAULT if level is None else level
    # without these three a frame would repeat its size, a checksum (the seal has one) and the dictionary's id
    options = {
        zstd.CompressionParameter.compression_level: wanted,
        zstd.CompressionParameter.content_size_flag: 0,
        zstd.CompressionParameter.checksum_flag: 0,
        zstd.CompressionParameter.dict_id_flag: 0,
    }
    prepared = _digested(dictionary)
    packed: bytes = zstd.compress(data, options=options, zstd_dict=prepared)  # type: ignore[arg-type]
    return packed


def decompress(data: bytes, *, codec: int, dictionary: int, bytes_max: int) -> bytes:
    """What `compress` took, at most `bytes_max` bytes of it.

    Raises `CodecError` past that, where it is damaged, or where reading it would take a larger window than
    ours ever need.
    """
    if codec == CODEC_NONE:
        if len(data) > bytes_max:
            raise CodecError("more bytes than allowed", code="too_large")
        return data
    if codec != CODEC_ZSTD:
        raise CodecError(f"codec {codec} is not known here", code="unknown_codec")
    unpacker = zstd.ZstdDecompressor(
        zstd_dict=_dictionary(dictionary),
        options={zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX},
    )
    try:
        plain: bytes = unpacker.decompress(data, max_length=bytes_max + 1)
    except (zstd.ZstdError, EOFError) as why:
        raise CodecError("the compressed bytes are damaged", code="bad_zstd") from why
    if len(plain) > bytes_max:
        raise CodecError(f"more than {bytes_max} bytes after decompression", code="bomb")
    if not unpacker.eof or unpacker.unused_data:
        raise CodecError("the compressed bytes are cut off or carry more than one frame", code="bad_zstd")
    return plain
