from __future__ import annotations

import hashlib
import io
import struct
import tracemalloc
import zlib

import numpy as np
import PIL.Image
import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.images import load as images
from mmpr_pipeline.sources.images.load import decode, load_image


def encoded(picture: PIL.Image.Image, format: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def noise(size: tuple[int, int] = (40, 30), seed: int = 0) -> PIL.Image.Image:
    values = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return PIL.Image.fromarray(values)


def reason_of(raw: bytes) -> str:
    with pytest.raises(ItemRejected) as caught:
        load_image(raw)
    assert len(caught.value.detail) < 400
    return caught.value.reason


def huge_png(side: int = 50_000) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("format", "name"), [("PNG", "png"), ("JPEG", "jpeg"), ("WEBP", "webp")])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_an_upright_plain_image_keeps_its_bytes(format: str, name: str, mode: str) -> None:
    raw = encoded(noise().convert(mode), format)
    image = load_image(raw)
    assert (image.data, image.format, image.width, image.height) == (raw, name, 40, 30)
    assert image.sha256 == hashlib.sha256(raw).hexdigest()
    assert decode(image).mode == "RGB"
    assert decode(image).size == (40, 30)


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "PA", "CMYK", "YCbCr", "I;16", "I"])
def test_any_mode_becomes_rgb(mode: str) -> None:
    picture = PIL.Image.new("L", (5, 4), 255)
    if mode.startswith("I"):
        picture = PIL.Image.fromarray(np.full((4, 5), 65535, dtype=np.uint16 if mode == "I;16" else np.int32))
        assert picture.mode == mode
    else:
        picture = picture.convert("RGB").convert("P").convert("PA") if mode == "PA" else picture.convert(mode)
    raw = encoded(picture, "TIFF" if mode in ("CMYK", "YCbCr", "PA", "I") else "PNG")
    pixels = np.asarray(decode(load_image(raw)))
    assert pixels.shape == (4, 5, 3)
    assert pixels.min() >= 250  # white stays white


def test_sixteen_bits_keep_their_order() -> None:
    values = np.linspace(0, 65535, 64, dtype=np.uint16).reshape(8, 8)
    pixels = np.asarray(decode(load_image(encoded(PIL.Image.fromarray(values)))))[..., 0]
    assert np.array_equal(pixels, (values >> 8).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "RGB"])
def test_what_is_transparent_becomes_white(mode: str) -> None:
    if mode == "P":
        raw = encoded(PIL.Image.new("P", (4, 4), 0), transparency=0)
    elif mode == "RGB":
        raw = encoded(PIL.Image.new("RGB", (4, 4), (9, 9, 9)), transparency=(9, 9, 9))
    else:
        raw = encoded(PIL.Image.new(mode, (4, 4), 0))
    image = load_image(raw)
    assert image.format == "png"
    assert decode(image).getpixel((1, 1)) == (255, 255, 255)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_a_turned_photograph_is_set_upright(format: str) -> None:
    picture = PIL.Image.new("RGB", (30, 20), "black")
    picture.paste("white", (0, 0, 15, 20))  # white on the left; turned by 90 degrees it is on top
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image = load_image(encoded(picture, format, exif=exif))
    assert (image.width, image.height, image.format) == (20, 30, "png")
    upright = decode(image)
    assert upright.getpixel((10, 3))[0] > 200  # type: ignore[index]
    assert upright.getpixel((10, 27))[0] < 50  # type: ignore[index]
    assert load_image(image.data).data == image.data  # turned once, not twice


def test_only_the_first_picture_of_an_animation_is_used() -> None:
    frames = [PIL.Image.new("RGB", (6, 6), colour) for colour in ("red", "blue")]
    for format in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if format == "WEBP" else {}
        image = load_image(encoded(frames[0], format, save_all=True, append_images=frames[1:], **options))
        assert image.format == "png"
        assert decode(image).getpixel((2, 2)) == (255, 0, 0)


def test_a_header_of_50000_by_50000_pixels_costs_nothing() -> None:
    tracemalloc.start()
    assert reason_of(huge_png()) == "image_too_large"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_header_just_above_the_bound_is_refused_and_one_below_is_not_for_its_size() -> None:
    assert reason_of(huge_png(7072)) == "image_too_large"
    assert reason_of(huge_png(7071)) == "broken_image"


def test_a_large_webp_header_is_refused_before_pillow_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    monkeypatch.setattr(images.PIL.Image, "open", lambda *args, **kwargs: opened.append(args))
    size = (16383).to_bytes(3, "little")
    head = b"RIFF" + (22).to_bytes(4, "little") + b"WEBPVP8X" + (10).to_bytes(4, "little") + b"\0\0\0\0" + size + size
    lossless = b"RIFF" + (20).to_bytes(4, "little") + b"WEBPVP8L" + (8).to_bytes(4, "little") + b"\x2f" + b"\xff" * 4
    lossy = b"RIFF" + (22).to_bytes(4, "little") + b"WEBPVP8 " + (10).to_bytes(4, "little") + b"\0\0\0\x9d\x01\x2a"
    for raw in (head, lossless + b"\0" * 9, lossy + b"\xff\x3f\xff\x3f"):
        assert reason_of(raw) == "image_too_large"
    assert not opened


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_file_cut_in_half_is_broken(format: str) -> None:
    raw = encoded(noise((120, 90)), format)
    assert reason_of(raw[: len(raw) // 2]) == "broken_image"


def test_a_flipped_byte_in_the_pixels_of_a_png_is_noticed() -> None:
    raw = bytearray(encoded(noise((120, 90))))
    raw[len(raw) // 2] ^= 0xFF
    assert reason_of(bytes(raw)) == "broken_image"


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "svg"),
        (b'<?xml version="1.0"?>\n<svg/>', "svg"),
        (b"%PDF-1.7", "pdf"),
        (b"\0\0\0\x1cftypavif\0\0", "avif (HEIF, AVIF or video)"),
        (b"<!DOCTYPE html><p>404", "html"),
    ],
)
def test_other_formats_are_refused_by_name(raw: bytes, name: str) -> None:
    with pytest.raises(ItemRejected) as caught:
        load_image(raw)
    assert (caught.value.reason, caught.value.detail) == ("image_format", name)


def test_a_pointer_of_git_lfs_is_a_missing_image() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
    with pytest.raises(ItemRejected, match="git lfs pull") as caught:
        load_image(pointer)
    assert caught.value.reason == "missing_image"


def test_bytes_that_are_no_image() -> None:
    assert reason_of(b"") == "broken_image"
    assert reason_of(b"hello" * 50) == "broken_image"
    assert reason_of(b"\x89PNG\r\n\x1a\n" + b"\0" * 40) == "broken_image"


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(ItemRejected, match="image_too_large"):
        load_image(b"\x89PNG" * 26, images.ImageLimits(bytes=100))


def progressive(scans: int) -> bytes:
    """A JPEG of many scans that hold nothing: a few hundred kilobytes were minutes of work."""
    raw = encoded(noise((64, 64)), "JPEG", progressive=True)
    last = raw.rindex(b"\xff\xda")
    header = raw[last : last + 2 + int.from_bytes(raw[last + 2 : last + 4], "big")]
    return raw[:-2] + header * scans + raw[-2:]


def test_a_jpeg_of_hundreds_of_scans_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_image(encoded(noise((64, 64)), "JPEG", progressive=True)).format == "jpeg"
    monkeypatch.setattr(PIL.Image, "open", lambda *_: pytest.fail("it was opened"))
    assert reason_of(progressive(400)) == "too_many_scans"
