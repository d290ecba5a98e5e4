"""Images in zip files: found, bounded, and never led out of."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mmpr_pipeline.core.errors import ItemRejected, SourceError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources.files import zips
from mmpr_pipeline.sources.files.formats import LocalFile
from mmpr_pipeline.sources.images import archives
from mmpr_pipeline.sources.images.archives import ImageArchives, opened
from tests.sources.conftest import Declare
from tests.sources.images.test_load import huge_png
from tests.sources.made import made_rows, png_bytes

MB = 1 << 20


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> LocalFile:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return LocalFile(path, path.name, path.stat().st_size)


def reason_of(file: LocalFile, name: str) -> str:
    with pytest.raises(ItemRejected) as caught:
        ImageArchives((file,)).read(name)
    return caught.value.reason


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_found_by_name_with_and_without_the_only_folder(method: int, tmp_path: Path) -> None:
    file = zipped(tmp_path / "images.zip", {f"train/{i}.png": png_bytes(i) for i in range(300)}, method)
    read = ImageArchives((file,)).read
    assert read("train/7.png") == read("7.png") == read("images/7.png") == read("./train/../7.png") == png_bytes(7)
    assert read("train/300.png") is None
    assert read("test/7.png") is None
    assert ImageArchives((file,), root="train").read("8.png") == png_bytes(8)


def test_the_first_of_several_archives_that_has_it(tmp_path: Path) -> None:
    one = zipped(tmp_path / "one.zip", {"a.png": b"1", "c.png": b"2"})
    two = zipped(tmp_path / "two.zip", {"a.png": b"3", "b/b.png": b"4"})
    read = ImageArchives((one, two)).read
    assert (read("a.png"), read("c.png"), read("b/b.png"), read("d.png")) == (b"1", b"2", b"4", None)


def test_a_changed_archive_is_opened_anew(tmp_path: Path) -> None:
    file = zipped(tmp_path / "images.zip", {"a.png": b"1"})
    assert ImageArchives((file,)).read("a.png") == b"1"
    zipped(tmp_path / "images.zip", {"a.png": b"2"})
    import os

    os.utime(tmp_path / "images.zip", ns=(1, 1))
    assert ImageArchives((file,)).read("a.png") == b"2"


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    members=st.dictionaries(st.text("abü中/.", min_size=1, max_size=9), st.binary(max_size=300), max_size=8),
    comment=st.binary(max_size=40),
    before=st.binary(max_size=20),
)
def test_what_the_standard_library_packs_is_read(
    members: dict[str, bytes], comment: bytes, before: bytes, tmp_path: Path
) -> None:
    """The reader against Python's own writer: any names, an archive comment, bytes before the archive."""
    path = tmp_path / "x.zip"
    path.write_bytes(before)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.comment = comment
        for name, data in members.items():
            archive.writestr(name, data)
    file = LocalFile(path, "x.zip", path.stat().st_size)
    archives._opened.cache_clear()
    found = opened(file)
    for name, data in members.items():
        safe = archives.safe_name(name)
        if safe and not name.endswith("/"):
            first = next(value for other, value in members.items() if archives.safe_name(other) == safe)
            member = found.find(safe)
            if first is data:
                assert member is not None
                assert found.read(member) == data


def test_more_members_than_32_bits_hold_are_zip64(tmp_path: Path) -> None:
    """An archive in zip64 form, as tools write those above 4 GiB or 65,535 members."""
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(70_000):
            archive.writestr(zipfile.ZipInfo(f"{i}.png"), b"%d" % i)
    read = ImageArchives((LocalFile(path, "x.zip", path.stat().st_size),)).read
    assert (read("0.png"), read("69999.png"), read("70000.png")) == (b"0", b"69999", None)


@pytest.mark.parametrize("path", ["../a.png", "/a.png", "x/../../a.png", "..", "a\0.png", "..\\a.png"])
def test_a_path_out_of_the_archive_is_refused(path: str, tmp_path: Path) -> None:
    file = zipped(tmp_path / "images.zip", {"a.png": b"1", "../a.png": b"2", "/a.png": b"3"})
    assert reason_of(file, path) == "image_outside_root"


def test_members_whose_names_lead_out_name_nothing(tmp_path: Path) -> None:
    file = zipped(tmp_path / "images.zip", {"../secret.png": b"1", "/etc/passwd": b"2", "x/../../y.png": b"3"})
    assert opened(file).members == {}
    assert not (tmp_path.parent / "secret.png").exists()


def test_a_symbolic_link_in_an_archive_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.create_system, link.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    assert reason_of(LocalFile(tmp_path / "x.zip", "x.zip", (tmp_path / "x.zip").stat().st_size), "link.png") == (
        "archive_member"
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [(bytes(2 * MB), "zip_bomb"), (bytes(30 * MB), "image_too_large"), (png_bytes() + bytes(MB // 2), "")],
)
def test_a_zip_bomb_is_refused_by_what_it_says(data: bytes, reason: str, tmp_path: Path) -> None:
    file = zipped(tmp_path / "bomb.zip", {"bomb.png": data})
    assert file.size < 700_000
    if reason:
        assert reason_of(file, "bomb.png") == reason
    else:
        assert ImageArchives((file,)).read("bomb.png") == data


def test_a_zip_bomb_that_lies_about_its_size_unfolds_no_further_than_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bomb.zip"
    file = zipped(path, {"bomb.png": bytes(100 * MB)})
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<I", 100 * MB), struct.pack("<I", 1000)))  # both headers say 1,000
    made: list[bytes] = []
    real = zlib.decompressobj

    class Watched:
        def __init__(self, bits: int) -> None:
            self._real = real(bits)

        def decompress(self, packed: bytes, most: int) -> bytes:
            made.append(self._real.decompress(packed, most))
            return made[-1]

    monkeypatch.setattr(zlib, "decompressobj", Watched)
    assert reason_of(file, "bomb.png") == "broken_image"
    assert len(made[0]) <= archives.MAX_BYTES + 1


def test_other_compression_encryption_and_damage_are_rejects(tmp_path: Path) -> None:
    packed = zipped(tmp_path / "bz2.zip", {"a.png": png_bytes() * 50}, zipfile.ZIP_BZIP2)
    assert reason_of(packed, "a.png") == "archive_member"
    plain = zipped(tmp_path / "a.zip", {"a.png": png_bytes()}, zipfile.ZIP_STORED)
    raw = bytearray(plain.path.read_bytes())
    raw[60] ^= 1
    plain.path.write_bytes(raw)
    assert reason_of(plain, "a.png") == "broken_image"
    at = raw.index(b"PK\1\2")
    raw[at + 8] |= 1
    (tmp_path / "b.zip").write_bytes(raw)
    assert reason_of(LocalFile(tmp_path / "b.zip", "b.zip", len(raw)), "a.png") == "archive_member"


@pytest.mark.parametrize("offset", [-1, 2**32 - 2, 2**64 - 1])
def test_a_member_that_would_lie_outside_of_its_archive_is_a_reject(offset: int, tmp_path: Path) -> None:
    raw = bytearray(zipped(tmp_path / "a.zip", {"a.png": png_bytes()}).path.read_bytes())
    entry, end = raw.index(b"PK\1\2"), raw.index(b"PK\5\6")
    if offset < 0:  # the list says that it lies one byte further on than it does, and all members with it
        raw[end + 16 : end + 20] = struct.pack("<I", entry + 1)
    elif offset < 2**32:
        raw[entry + 42 : entry + 46] = struct.pack("<I", offset)
    else:  # the 64-bit field beside it
        raw[entry + 42 : entry + 46] = b"\xff" * 4
        raw[end:end] = more = struct.pack("<2HQ", 1, 8, offset)
        raw[entry + 30 : entry + 32] = struct.pack("<H", len(more))
        raw[end + 12 + len(more) : end + 16 + len(more)] = struct.pack("<I", end + len(more) - entry)
    (tmp_path / "b.zip").write_bytes(raw)
    assert reason_of(LocalFile(tmp_path / "b.zip", "b.zip", len(raw)), "a.png") == "broken_image"


def test_an_end_of_the_list_that_would_lie_outside_is_an_error(tmp_path: Path) -> None:
    raw = bytearray(zipped(tmp_path / "a.zip", {"a.png": png_bytes()}).path.read_bytes())
    end = raw.index(b"PK\5\6")
    raw[end:end] = struct.pack("<4sIQI", b"PK\6\7", 0, 2**64 - 1, 1)
    (tmp_path / "b.zip").write_bytes(raw)
    with pytest.raises(SourceError, match="outside of it"):
        ImageArchives((LocalFile(tmp_path / "b.zip", "b.zip", len(raw)),)).read("a.png")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, 10_000), value=st.integers(0, 255), cut=st.integers(0, 400))
@example(at=493, value=69, cut=0)
def test_damaged_archives_are_an_error_or_a_reject_and_nothing_else(
    at: int, value: int, cut: int, tmp_path: Path
) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i in range(3):
            archive.writestr(f"{i}.png", png_bytes(i))
    raw = bytearray(buffer.getvalue())
    raw[at % len(raw)] = value
    raw = raw[: len(raw) - cut] if value % 2 else raw
    path = tmp_path / "x.zip"
    path.write_bytes(raw)
    archives._opened.cache_clear()
    images = ImageArchives((LocalFile(path, "x.zip", len(raw)),))
    for i in range(3):
        try:
            found = images.read(f"{i}.png")
        except (ItemRejected, SourceError):
            continue
        assert found in (None, png_bytes(i))


def test_what_is_no_archive_is_an_error_before_any_work(declare: Declare, tmp_path: Path) -> None:
    (tmp_path / "images.zip").write_bytes(b"hello" * 100)
    (tmp_path / "rows.jsonl").write_text(json.dumps({"id": "1"}))
    with pytest.raises(SourceError, match=r"images\.zip cannot be read as a zip") as caught:
        declare(files="rows.jsonl", archives="images.zip").index()
    assert caught.value.remedy
    with pytest.raises(SourceError, match="no file other"):
        declare(files="rows.jsonl", archives="other.zip").index()


def test_a_list_of_members_beyond_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = zipped(tmp_path / "many.zip", {f"{i}.png": b"" for i in range(100)})
    monkeypatch.setattr(zips, "MAX_DIRECTORY", 1000)
    with pytest.raises(SourceError, match="at most 1000"):
        opened(file)


def test_rows_beside_an_archive_of_their_images(declare: Declare, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{**row, "image": f"images/{i}.png"} for i, row in enumerate(made_rows(6))]
    rows[2]["image"] = "images/none.png"
    rows[3]["image"] = "../images.zip"
    rows[4]["image"] = "huge.png"
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    members = {f"{i}.png": png_bytes(i) for i in range(6)}
    zipped(tmp_path / "images.zip", {**members, "huge.png": huge_png()})
    source = declare(files="rows.jsonl", archives="*.zip")
    index = source.index()
    items = list(source.read(index, 0, 6))
    told = [item.reason if not isinstance(item, Question) else "" for item in items]
    assert told == ["", "", "missing_image", "image_outside_root", "image_too_large", ""]
    first = items[0]
    assert isinstance(first, Question)
    assert first.images[0].data == png_bytes(0)
    zipped(tmp_path / "images.zip", members)
    assert source.index().fingerprint != index.fingerprint
