"""Pictures made for tests: line figures on white, as mathematics benchmarks have them, and coloured scenes."""

from __future__ import annotations

import io
import random

from PIL import Image, ImageDraw


def figure(seed: int, size: tuple[int, int] = (360, 280)) -> Image.Image:
    """A geometry-like figure: a polygon, a circle, a chord and some letters, black on white."""
    rng = random.Random(seed)
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    width, height = size

    def point() -> tuple[int, int]:
        return rng.randrange(width // 12, width * 11 // 12), rng.randrange(height // 12, height * 11 // 12)

    draw.polygon([point() for _ in range(rng.randrange(3, 6))], outline="black", width=3)
    x, y = point()
    radius = rng.randrange(height // 8, height // 3)
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline="black", width=3)
    draw.line([point(), point()], fill="black", width=3)
    for letter in "ABCD":
        draw.text(point(), letter, fill="black", font_size=22)
    return picture


def scene(seed: int, size: tuple[int, int] = (300, 220)) -> Image.Image:
    """Coloured shapes on a coloured ground."""
    rng = random.Random(seed)

    def colour() -> tuple[int, ...]:
        return tuple(rng.randrange(256) for _ in range(3))

    picture = Image.new("RGB", size, colour())
    draw = ImageDraw.Draw(picture)
    for _ in range(8):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        w, h = rng.randrange(20, size[0] // 2), rng.randrange(20, size[1] // 2)
        rng.choice([draw.ellipse, draw.rectangle])((x, y, x + w, y + h), fill=colour())
    return picture


def encoded(picture: Image.Image, format: str = "PNG", **options: int) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()
