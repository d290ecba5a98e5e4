from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import PIL.Image
import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.images.load import ImageFolder, ImagePlaces, image_bytes, load_image
from tests.sources.made import png_bytes

RAW = png_bytes(7)


@pytest.fixture
def folder(tmp_path: Path) -> ImageFolder:
    rows = tmp_path / "root" / "rows"
    (rows / "images").mkdir(parents=True)
    (rows / "images" / "a.png").write_bytes(RAW)
    (tmp_path / "root" / "b.png").write_bytes(RAW)
    (tmp_path / "secret.png").write_bytes(RAW)
    return ImageFolder(rows, tmp_path / "root")


def reason_of(reference: Any, folder: ImageFolder) -> str:
    with pytest.raises(ItemRejected) as caught:
        image_bytes(reference, ImagePlaces(folder))
    assert len(caught.value.detail) < 400
    return caught.value.reason


@pytest.mark.parametrize(
    "reference",
    [
        RAW,
        bytearray(RAW),
        {"bytes": RAW, "path": "images/other.png"},
        {"bytes": None, "path": "images/a.png"},
        {"path": "images/a.png"},
        base64.b64encode(RAW).decode(),
        base64.encodebytes(RAW).decode(),
        "data:image/png;base64," + base64.b64encode(RAW).decode(),
        {"bytes": base64.b64encode(RAW).decode()},
        "images/a.png",
        "./images/../images/a.png",
        "../b.png",
    ],
)
def test_every_way_to_refer_to_an_image(reference: Any, folder: ImageFolder) -> None:
    assert image_bytes(reference, ImagePlaces(folder)) == RAW


def test_a_pillow_image_in_a_row(folder: ImageFolder) -> None:
    picture = PIL.Image.new("CMYK", (3, 2))
    assert load_image(image_bytes(picture, ImagePlaces(folder))).width == 3


@pytest.mark.parametrize("path", ["../../secret.png", "images/../../../secret.png", "../../../../../../etc/passwd"])
def test_a_path_cannot_leave_the_root(path: str, folder: ImageFolder) -> None:
    assert reason_of(path, folder) == "image_outside_root"


def test_an_absolute_path_is_refused_even_inside(folder: ImageFolder, tmp_path: Path) -> None:
    assert reason_of(str(tmp_path / "root" / "b.png"), folder) == "image_outside_root"
    assert reason_of("/etc/passwd", folder) == "image_outside_root"


def test_a_symbolic_link_out_of_the_root_is_refused(folder: ImageFolder, tmp_path: Path) -> None:
    os.symlink(tmp_path / "secret.png", tmp_path / "root" / "rows" / "link.png")
    os.symlink(tmp_path / "root" / "b.png", tmp_path / "root" / "rows" / "inside.png")
    assert reason_of("link.png", folder) == "image_outside_root"
    assert image_bytes("inside.png", ImagePlaces(folder)) == RAW


def test_a_folder_whose_name_begins_like_the_root_is_outside(tmp_path: Path) -> None:
    for name in ("root", "rootless"):
        (tmp_path / name).mkdir()
    (tmp_path / "rootless" / "a.png").write_bytes(RAW)
    assert reason_of("../rootless/a.png", ImageFolder(tmp_path / "root", tmp_path / "root")) == "image_outside_root"


@pytest.mark.parametrize(
    ("reference", "reason"),
    [
        ("images/none.png", "missing_image"),
        ("images", "missing_image"),
        ("", "missing_image"),
        ("a\0b", "missing_image"),
        ("x" * 5000, "missing_image"),
        (None, "missing_image"),
        ({"bytes": None, "path": None}, "missing_image"),
        ("https://example.org/a.png", "image_url"),
        (" HTTP://127.0.0.1/a.png", "image_url"),
        ("file:///etc/passwd", "image_url"),
        ("data:image/png,plain", "broken_image"),
        ("data:image/png;base64,????", "broken_image"),
        (7, "wrong_type"),
        ([RAW], "wrong_type"),
    ],
)
def test_references_that_lead_nowhere(reference: Any, reason: str, folder: ImageFolder) -> None:
    assert reason_of(reference, folder) == reason


def test_a_pipe_is_not_waited_for(folder: ImageFolder, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "root" / "rows" / "pipe.png")
    assert reason_of("pipe.png", folder) == "missing_image"


def test_a_file_of_many_bytes_is_not_read(folder: ImageFolder, tmp_path: Path) -> None:
    with open(tmp_path / "root" / "rows" / "large.png", "wb") as file:
        file.truncate(30_000_000_000)
    assert reason_of("large.png", folder) == "image_too_large"


def test_paths_mean_nothing_without_a_folder() -> None:
    assert reason_of("images/a.png", ImageFolder()) == "missing_image"
