"""Takes the pictures of docs/console.md: `python -m tests.nightly.pictures docs/pictures`.

Both sides are real, on a line of 128 kbit/s; the day before is made up: nobody waits a day for a picture.
"""

from __future__ import annotations

import math
import random
import struct
import sys
import tempfile
import time
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

from pipeline.adapters.watch_store import WatchStore
from tests.nightly.browser_rig import address_of, chromium, let_in, refuse_something, window
from tests.nightly.many_regions import document, served
from tests.sides_rig import enqueue, until
from workers.acts import Actor
from workers.acts_notice import set_equipment
from workers.both_sides import BothSides, both_sides

PROFILE = "district-128k"
_MINUTE_MS = 60_000
DESK, PHONE = {"width": 1180, "height": 1500}, {"width": 390, "height": 1500}


def yesterday(folder: Path, now_ms: int) -> None:
    """A day of an office: packets come in the morning, the line is cut twice, at night all is gone."""
    chance, store = random.Random(5), WatchStore(folder)
    depth = {"record": 0.0, "biometric": 0.0}
    downs = [(560, 34), (150, 9)]
    for ago in range(24 * 60, 0, -1):
        at_ms = now_ms - ago * _MINUTE_MS
        busy = max(0.0, math.sin((1440 - ago) / 1440 * 4 * math.pi)) ** 1.5
        down = any(since >= ago > since - length for since, length in downs)
        out = 0.0 if down else 12_500 * (0.25 + 0.7 * busy) * chance.uniform(0.85, 1.05)
        depth["record"] = max(0.0, depth["record"] + busy * 4.2 - (0 if down else 4.6))
        depth["biometric"] = max(
            0.0, depth["biometric"] + busy * 1.3 - (0 if down else 0.95 * chance.uniform(0.6, 1.2))
        )
        office = 330 < ago <= 840  # hours with a cap
        out = min(out, 7_900.0) if office else out
        rtt_ms = 206 + busy * chance.uniform(5, 30)
        seen = {
            "waiting.urgent": 0.0,
            "waiting.control": float(chance.random() < 0.05),
            "waiting.record": float(int(depth["record"])),
            "waiting.biometric": float(int(depth["biometric"])),
            "link": float(not down),
        }
        if office:
            seen["cap_bytes_s"] = 8_000.0
        if not down:
            seen |= {
                "goodput_bytes_s": out,
                "rate_bytes_s": 15_000 - 2_500 * busy,
                "rtt_ms": rtt_ms,
                "base_ms": 204.0,
            }
        store.sample(at_ms, seen)
    store.turn(now_ms - 1_500 * _MINUTE_MS, "link up", "")
    for since, length in downs:
        store.turn(now_ms - since * _MINUTE_MS, "link down", "")
        store.turn(now_ms - (since - length) * _MINUTE_MS, "link up", "")
    store.close()


def shoot(page: Any, path: Path, **options: Any) -> None:
    """One picture, with few colours, so that it stays small."""
    path.write_bytes(few_colours(page.screenshot(animations="disabled", **options)))
    print(path, path.stat().st_size)


def _rows(png: bytes) -> tuple[int, int, list[bytearray]]:
    """Width, bytes a pixel, and the rows of a PNG of 8 bits without interlace."""
    at, packed, width, bytes_a_pixel = 8, b"", 0, 3
    while at < len(png):
        (length,), kind = struct.unpack(">I", png[at : at + 4]), png[at + 4 : at + 8]
        body = png[at + 8 : at + 8 + length]
        if kind == b"IHDR":
            width, bytes_a_pixel = struct.unpack(">I", body[:4])[0], {2: 3, 6: 4}[body[9]]
        packed += body if kind == b"IDAT" else b""
        at += 12 + length
    data, step = zlib.decompress(packed), width * bytes_a_pixel + 1
    before, rows = bytearray(step - 1), []
    for start in range(0, len(data), step):
        row = bytearray(data[start + 1 : start + step])
        _unfilter(data[start], row, before, bytes_a_pixel)
        rows.append(row)
        before = row
    return width, bytes_a_pixel, rows


def _unfilter(kind: int, row: bytearray, up: bytearray, n: int) -> None:
    """PNG (RFC 2083), section 6."""
    for i in range(len(row) if kind else 0):
        a, b, c = (row[i - n], up[i], up[i - n]) if i >= n else (0, up[i], 0)
        if kind == 4:
            p = a + b - c
            nearest = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
        row[i] = (row[i] + (a, b, (a + b) // 2, nearest if kind == 4 else 0)[kind - 1]) & 255


def few_colours(png: bytes) -> bytes:
    """The same picture in the 256 colours it has most of."""
    width, n, rows = _rows(png)
    pixels = [[bytes(row[i : i + 3]) for i in range(0, width * n, n)] for row in rows]
    counts = Counter(one for row in pixels for one in row)
    palette = [one for one, _ in counts.most_common(256)]
    near = {one: at for at, one in enumerate(palette)}
    for one in counts:
        if one not in near:
            near[one] = min(
                range(len(palette)),
                key=lambda at: sum((x - y) ** 2 for x, y in zip(one, palette[at], strict=True)),
            )
    body = b"".join(b"\0" + bytes(near[one] for one in row) for row in pixels)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, len(rows), 8, 3, 0, 0, 0)),
        (b"PLTE", b"".join(palette)),
        (b"IDAT", zlib.compress(body, 9)),
        (b"IEND", b""),
    )
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def of_region(browser: Any, sides: BothSides, out: Path) -> None:
    """The region's page, light and dark, its dead letters, and the public notice."""
    base = address_of(sides.region)
    with window(browser, base, viewport=DESK) as seen:
        page = seen.sign_in()
        page.click("[data-hours='24']")
        page.wait_for_timeout(4_000)
        shoot(page, out / "region.png")
        page.goto(base + "/dead")
        page.set_viewport_size({"width": 1180, "height": 620})
        shoot(page, out / "dead-letters.png")
    with window(browser, base, viewport=PHONE, color_scheme="dark", locale="id-ID") as seen:
        page = seen.sign_in()
        page.click("[data-hours='6']")
        page.wait_for_timeout(4_000)
        page.evaluate("scrollTo(0, 0)")
        shoot(page, out / "region-phone-dark.png")
    with window(browser, base, viewport={"width": 800, "height": 640}) as seen:
        seen.page.goto(base + "/notice")
        shoot(seen.page, out / "notice.png")


def of_center(browser: Any, sides: BothSides, out: Path) -> None:
    """The center's table with all regions."""
    with (
        served(sides.center, document()) as base,
        window(browser, base, viewport={"width": 1380, "height": 1000}) as seen,
    ):
        page = seen.sign_in()
        page.wait_for_timeout(2_500)
        shoot(page, out / "center.png")


def main(out: Path) -> None:
    """All of them."""
    out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as place,
        chromium() as browser,
        both_sides(Path(place), PROFILE, started=False) as sides,
    ):
        for folder in (sides.center, sides.region):
            let_in(folder)
        refuse_something(sides.region.path, 4)
        yesterday(sides.region.path, int(time.time() * 1000))
        now_ms = int(time.time() * 1000)
        until_ms = now_ms + 5 * 3_600_000
        who = Actor("siti", "console")
        set_equipment(sides.region, "printer", who, now_ms, works=False, reason="toner", until_ms=until_ms)
        sides.center_up.start()
        sides.region_up.start()
        address_of(sides.center)
        until(lambda: sides.counts()["received"] >= 0, what="a center")
        enqueue(sides, 260, biometrics=30, seed=9)
        time.sleep(float(sys.argv[2]) if len(sys.argv) > 2 else 45)
        of_region(browser, sides, out)
        of_center(browser, sides, out)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
