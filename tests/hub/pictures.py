"""Pictures as data sets hold them, drawn: geometry figures, charts, pages of text, diagrams, scenes, book covers.

Each is a pure function of its seed; no two seeds look alike, so that nothing takes one for a copy of another.
"""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from random import Random
from typing import Any

from PIL import Image, ImageDraw, ImageFont

Colour = tuple[int, int, int]
INK: Colour = (20, 20, 30)


def encoded(picture: Image.Image, format: str = "PNG") -> bytes:
    """The picture as the bytes of a file."""
    buffer = io.BytesIO()
    picture.save(buffer, format)
    return buffer.getvalue()


def font(size: int) -> Any:
    """The typeface that comes with Pillow: no file of this machine is needed."""
    return ImageFont.load_default(size)


def _paper(rng: Random, width: int, height: int, low: int = 225) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    shade = tuple(rng.randint(low, 255) for _ in range(3))
    picture = Image.new("RGB", (width, height), shade)
    return picture, ImageDraw.Draw(picture)


def triangle(rng: Random, angles: Sequence[int], size: tuple[int, int] = (220, 170)) -> Image.Image:
    """A triangle with letters at its corners and two of its angles written in; the third has a question mark."""
    picture, draw = _paper(rng, *size)
    width, height = size
    base = height - rng.randint(15, 45)
    left, right = rng.randint(12, 40), width - rng.randint(12, 40)
    top = (rng.randint(left + 10, right - 10), rng.randint(12, 45))
    corners = [(left, base), (right, base), top]
    draw.polygon(corners, outline=INK, width=2)
    inside = [(left + 22, base - 18), (right - 48, base - 18), (top[0] - 10, top[1] + 18)]
    for letter, (x, y) in zip("BCA", corners, strict=True):
        draw.text((x - 4, y - 14 if y < height / 2 else y + 1), letter, fill=INK, font=font(13))
    for text, place in zip((f"{angles[0]}°", f"{angles[1]}°", "?"), inside, strict=True):
        draw.text(place, text, fill=(160, 20, 20), font=font(12))
    return picture


def circle(rng: Random, radius: int, offset: int, size: tuple[int, int] = (190, 190)) -> Image.Image:
    """A circle with centre O and a chord AB whose distance from O is written in."""
    picture, draw = _paper(rng, *size)
    x, y = size[0] // 2 + rng.randint(-12, 12), size[1] // 2 + rng.randint(-12, 12)
    reach = rng.randint(55, 75)
    draw.ellipse((x - reach, y - reach, x + reach, y + reach), outline=INK, width=2)
    drop = round(reach * offset / radius)
    half = math.isqrt(max(reach * reach - drop * drop, 1))
    draw.line((x - half, y + drop, x + half, y + drop), fill=INK, width=2)
    draw.line((x, y, x, y + drop), fill=(30, 60, 170), width=1)
    for text, place in (("O", (x + 4, y - 14)), ("A", (x - half - 12, y + drop)), ("B", (x + half + 4, y + drop))):
        draw.text(place, text, fill=INK, font=font(13))
    draw.text((x + 4, y + drop // 2 - 6), str(offset), fill=(30, 60, 170), font=font(11))
    draw.text((6, 6), f"r = {radius}", fill=INK, font=font(12))
    return picture


def bars(rng: Random, names: Sequence[str], values: Sequence[int], size: tuple[int, int] = (420, 280)) -> Image.Image:
    """A bar chart with its values written above the bars."""
    picture, draw = _paper(rng, *size, low=240)
    width, height = size
    step, top = (width - 60) // len(values), max(values)
    draw.line((40, height - 36, width - 10, height - 36), fill=INK)
    draw.line((40, 20, 40, height - 36), fill=INK)
    for number, (name, value) in enumerate(zip(names, values, strict=True)):
        x = 50 + number * step
        y = height - 36 - round((height - 76) * value / top)
        colour = tuple(rng.randint(30, 210) for _ in range(3))
        draw.rectangle((x, y, x + step - 14, height - 36), fill=colour)
        draw.text((x, y - 16), str(value), fill=INK, font=font(12))
        draw.text((x, height - 30), name[:9], fill=INK, font=font(11))
    return picture


def lines(rng: Random, series: Sequence[int], first: int, size: tuple[int, int] = (400, 260)) -> Image.Image:
    """A line chart over years."""
    picture, draw = _paper(rng, *size, low=240)
    width, height = size
    step, top = (width - 70) // (len(series) - 1), max(series)
    points = [(45 + i * step, height - 40 - round((height - 80) * value / top)) for i, value in enumerate(series)]
    draw.line(points, fill=tuple(rng.randint(0, 180) for _ in range(3)), width=3)
    for number, (x, y) in enumerate(points):
        draw.ellipse((x - 3, y - 3, x + 3, y + 3), fill=INK)
        draw.text((x - 8, y - 18), str(series[number]), fill=INK, font=font(11))
        draw.text((x - 12, height - 30), str(first + number), fill=INK, font=font(11))
    return picture


def page(rng: Random, title: str, fields: dict[str, str], size: tuple[int, int] = (420, 540)) -> Image.Image:
    """A letter, form or receipt: a title, and lines `name: value`, each in its place."""
    picture, draw = _paper(rng, *size, low=243)
    draw.text((rng.randint(20, 120), rng.randint(14, 34)), title, fill=INK, font=font(22))
    y = rng.randint(70, 100)
    for name, value in fields.items():
        draw.text((rng.randint(18, 34), y), f"{name}:", fill=(70, 70, 80), font=font(15))
        draw.text((170, y), value, fill=INK, font=font(16))
        y += rng.randint(26, 40)
        if rng.random() < 0.4:
            draw.line((20, y - 6, size[0] - 20, y - 6), fill=(170, 170, 170))
    for _ in range(rng.randint(2, 6)):  # small print
        y += 15
        draw.line((20, y, rng.randint(150, size[0] - 20), y), fill=(190, 190, 190), width=3)
    return picture


def scene(rng: Random, things: Sequence[tuple[str, Colour]], size: tuple[int, int] = (320, 240)) -> Image.Image:
    """Coloured shapes (ball, box, cone) standing on a ground under a sky."""
    sky: Colour = (rng.randint(120, 200), rng.randint(160, 220), rng.randint(200, 255))
    picture = Image.new("RGB", size, sky)
    draw = ImageDraw.Draw(picture)
    ground = round(size[1] * rng.uniform(0.5, 0.7))
    draw.rectangle((0, ground, *size), fill=(rng.randint(60, 160), rng.randint(90, 160), rng.randint(30, 110)))
    step = size[0] // (len(things) + 1)
    for number, (shape, colour) in enumerate(things, start=1):
        half = rng.randint(14, 26)
        x, y = number * step + rng.randint(-8, 8), ground + rng.randint(-6, 34)
        box = (x - half, y - half, x + half, y + half)
        if shape == "ball":
            draw.ellipse(box, fill=colour, outline=INK)
        elif shape == "box":
            draw.rectangle(box, fill=colour, outline=INK)
        else:
            draw.polygon([(x - half, y + half), (x + half, y + half), (x, y - half)], fill=colour, outline=INK)
    return picture


def diagram(rng: Random, parts: Sequence[str], size: tuple[int, int] = (380, 260)) -> Image.Image:
    """Boxes with names, joined by arrows in order: a food chain, a cycle."""
    picture, draw = _paper(rng, *size, low=232)
    places = []
    for number in range(len(parts)):
        x = 20 + (number % 2) * rng.randint(180, 220) + rng.randint(0, 20)
        y = 20 + (number // 2) * rng.randint(90, 120) + rng.randint(0, 15)
        places.append((x, y))
    for (x, y), (u, v) in itertools.pairwise(places):
        draw.line((x + 60, y + 18, u + 40, v + 18), fill=(40, 110, 60), width=3)
        draw.ellipse((u + 36, v + 14, u + 44, v + 22), fill=(40, 110, 60))
    for (x, y), name in zip(places, parts, strict=True):
        draw.rounded_rectangle((x, y, x + 120, y + 36), 8, fill=(255, 252, 235), outline=INK)
        draw.text((x + 8, y + 9), name, fill=INK, font=font(14))
    return picture


def cover(rng: Random, title: str, author: str, size: tuple[int, int] = (240, 340)) -> Image.Image:
    """A book cover."""
    colour = tuple(rng.randint(20, 150) for _ in range(3))
    picture = Image.new("RGB", size, colour)
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.randint(2, 5)):
        x, y, reach = rng.randint(0, size[0]), rng.randint(90, size[1]), rng.randint(20, 70)
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=tuple(rng.randint(60, 220) for _ in range(3)))
    draw.text((16, 24), title, fill=(255, 255, 255), font=font(22))
    draw.text((16, size[1] - 44), author, fill=(250, 240, 200), font=font(17))
    return picture
