"""Hostile pictures and archives: damaged, cut, glued together, with headers that lie; each is read, or named, soon."""

from __future__ import annotations

import contextlib
import io
import random
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import PIL.Image

from mmpr_pipeline.core.errors import ItemRejected, SourceError
from mmpr_pipeline.sources.declaration.parts import ROW_FORMATS
from mmpr_pipeline.sources.files.formats import LocalFile, Scan
from mmpr_pipeline.sources.images.archives import opened
from mmpr_pipeline.sources.images.load import load_image

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]
MODES = ["RGB", "L", "RGBA", "P", "1", "CMYK", "I;16", "LA"]


def picture(draw: random.Random) -> bytes:
    """A small picture of noise in any format and mode that can be written."""
    size = draw.randint(1, 40), draw.randint(1, 40)
    noise = PIL.Image.frombytes("RGB", size, draw.randbytes(size[0] * size[1] * 3))
    buffer = io.BytesIO()
    try:
        how = {"progressive": draw.random() < 0.5} if (format := draw.choice(FORMATS)) == "JPEG" else {}
        noise.convert(draw.choice(MODES)).save(buffer, format, **how)
    except (OSError, ValueError):  # no such mode in this format
        noise.save(buffer := io.BytesIO(), "PNG")
    return buffer.getvalue()


def damaged(data: bytes, draw: random.Random) -> bytes:
    """The bytes with flips, a hole, zeros, a cut, a piece twice, or other bytes glued on; mostly one of these."""
    raw = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 4])):
        low = draw.randrange(len(raw) + 1)
        high = min(len(raw), low + draw.choice([1, 4, 16, 200, 5_000]))
        kind = draw.randrange(7)
        if kind == 0:
            for at in range(low, high):
                raw[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del raw[low:high]
        elif kind == 2:
            raw[low:high] = bytes(high - low)
        elif kind == 3:
            del raw[low:]
        elif kind == 4:
            raw[low:low] = raw[low:high] * draw.choice([1, 1, 50])
        elif kind == 5:
            raw[low:high] = b"\xff" * (high - low)
        else:
            raw += draw.randbytes(draw.choice([1, 100, 10_000]))
    return bytes(raw)


def try_pictures(count: int, seed: int) -> Counter[str]:
    """Read `count` damaged pictures; how often each reason was seen. Whatever else is raised comes out."""
    draw, seen = random.Random(seed), Counter[str]()
    for _ in range(count):
        try:
            found = load_image(damaged(picture(draw), draw))
            seen[found.format] += 1
        except ItemRejected as reject:
            seen[reject.reason] += 1
    return seen


def _zip(draw: random.Random) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for number in range(draw.randint(0, 5)):
            archive.writestr(
                draw.choice([f"{number}.png", "../../x.png", "/x.png", "a/../b.png", "é.png"]), picture(draw)
            )
        archive.comment = draw.choice([b"", b"PK\x05\x06", draw.randbytes(40)])
    return buffer.getvalue()


def _tar(draw: random.Random) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w", format=draw.choice([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
    ) as archive:
        for number in range(draw.randint(0, 4)):
            for name in (f"{number}.png", f"{number}.json"):
                data = picture(draw) if name.endswith("png") else b'{"question": "What?"}'
                member = tarfile.TarInfo(draw.choice([name, name, "../" + name, "x" * 200 + name]))
                member.size = len(data)
                member.type = draw.choice([tarfile.REGTYPE] * 6 + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
                archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


def _read_zip(file: LocalFile) -> None:
    archive = opened(file)
    for name in ["0.png", "1.png", "a/../b.png", "x.png", "é.png", "../../x.png"]:
        if member := archive.find(name):
            with contextlib.suppress(ItemRejected):
                archive.read(member)


def _read_tar(file: LocalFile) -> None:
    scan = Scan()
    ROW_FORMATS.get("tar").scan(file, scan)
    list(ROW_FORMATS.get("tar").read(file, tuple(scan.marks), 0, scan.rows, None))


READERS: list[tuple[Callable[[random.Random], bytes], Callable[[LocalFile], None]]] = [
    (_zip, _read_zip),
    (_tar, _read_tar),
]


def try_archives(count: int, seed: int, folder: Path) -> Counter[str]:
    """Read `count` damaged archives; how often they could be opened, and how often a source or an item was refused."""
    draw, seen = random.Random(seed), Counter[str]()
    for number in range(count):
        make, read = READERS[number % len(READERS)]
        data = make(draw)
        path = folder / f"{number}.bin"
        path.write_bytes(damaged(data, draw) if draw.random() < 0.9 else data)
        try:
            read(LocalFile(path, path.name, path.stat().st_size))
            seen["read"] += 1
        except ItemRejected as reject:
            seen[reject.reason] += 1
        except SourceError:
            seen["refused"] += 1
        path.unlink()
    return seen
