"""`mmpr sources add OpenGVLab/MMPR-v1.2`: the releases, on the Hub and as downloaded, read where they lie."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.core.records import Question
from mmpr_pipeline.sources import open_source
from mmpr_pipeline.sources.adding import draft_entry, meta_entries
from mmpr_pipeline.sources.review.checks import check_source
from tests.hub.release import SOURCES, mmpr, pairs, prompts, tiny
from tests.hub.repository import Repository
from tests.hub.server import HubServer
from tests.sources.adding.test_hub import mmpr as command


def unpacked_into(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    server = HubServer()
    for name, files in (("MMPR-v1.2", mmpr(count=4)), ("MMPR-v1.2-prompts", prompts()), ("MMPR-Tiny", tiny())):
        server.repositories[f"OpenGVLab/{name}"] = Repository(f"OpenGVLab/{name}")
        server.repositories[f"OpenGVLab/{name}"].put(files, "Upload")
    yield server
    server.close()


def declared(target: str, folder: Path) -> list[str]:
    folder.mkdir()
    written = []
    for entry in meta_entries(target):
        draft = draft_entry(entry, folder)
        draft.write()
        written.append(str(draft.path))
    return written


def questions(declaration: str) -> list[Question]:
    source = open_source(declaration)
    index = source.index()
    items = list(source.read(index, 0, index.rows))
    assert all(isinstance(item, Question) for item in items), items
    return [item for item in items if isinstance(item, Question)]


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("cluster", ["/mnt/petrelfs/x/MMPR-v1.2", "MMPR-v1.2", "."])
def test_a_downloaded_release_gives_all_its_pairs(nested: bool, cluster: str, tmp_path: Path) -> None:
    folder = unpacked_into(tmp_path / "MMPR-v1.2", mmpr(cluster=cluster, nested=nested))
    written = declared(str(folder), tmp_path / "sources")
    assert [Path(path).stem for path in written] == list(SOURCES)
    for path, name in zip(written, SOURCES, strict=True):
        found = questions(path)
        told = [(row["chosen"], row["rejected"]) for row in pairs(name, 12)]
        assert [(one.preset.chosen, one.preset.rejected) for one in found if one.preset] == told
        assert {len(one.images) for one in found} == {2 if name == "spot_difference" else 1}
        assert {one.tiles for one in found} == {12}


def test_a_missing_part_costs_its_rows_by_name(tmp_path: Path) -> None:
    files = mmpr()
    folder = unpacked_into(tmp_path / "MMPR", files)
    path = declared(str(folder), tmp_path / "sources")[0]
    whole = [one.question_id for one in questions(path)]
    (folder / "images.zip_ab").unlink()
    source = open_source(path)
    items = list(source.read(source.index(), 0, 12))
    lost = [item for item in items if not isinstance(item, Question)]
    assert {item.reason for item in lost} == {"missing_part"}
    assert all("images.zip_ab is missing" in item.detail for item in lost)
    assert 0 < len(lost) < 12
    kept = [one.question_id for one in items if isinstance(one, Question)]
    assert kept == [one for one in whole if one in kept]


def test_a_damaged_part_costs_its_rows_by_name(tmp_path: Path) -> None:
    folder = unpacked_into(tmp_path / "MMPR", mmpr())
    path = declared(str(folder), tmp_path / "sources")[0]
    part = folder / "images.zip_aa"
    data = bytearray(part.read_bytes())
    data[5000] ^= 255
    part.write_bytes(data)
    (folder / "images.zip_ab").write_bytes((folder / "images.zip_ab").read_bytes()[:9000])  # a broken download
    source = open_source(path)
    lost = [item for item in source.read(source.index(), 0, 12) if not isinstance(item, Question)]
    assert {(item.reason, "images.zip_aa" in item.detail, "images.zip_ab" in item.detail) for item in lost} <= {
        ("broken_image", True, False),
        ("missing_part", False, True),
    }
    assert "broken_image" in {item.reason for item in lost}


def test_without_its_last_part_an_archive_says_so(tmp_path: Path) -> None:
    folder = unpacked_into(tmp_path / "MMPR", mmpr())
    path = declared(str(folder), tmp_path / "sources")[0]
    (folder / "images.zip_ad").unlink()
    with pytest.raises(SourceError, match=r"Is a part missing after .*images.zip_ac"):
        open_source(path).index()


def test_damaged_annotations_are_told_and_never_taken_for_whole(tmp_path: Path) -> None:
    files = mmpr(count=400, nested=False)
    folder = unpacked_into(tmp_path / "MMPR", files)
    path = declared(str(folder), tmp_path / "sources")[0]
    data = bytearray(files["annotations.zip"])
    data[3000] ^= 255
    (folder / "annotations.zip").write_bytes(data)
    with pytest.raises(SourceError, match="is damaged"):
        open_source(path).index()


def test_any_slice_of_a_deflated_member_is_read(tmp_path: Path) -> None:
    folder = unpacked_into(tmp_path / "MMPR", mmpr(count=60))
    path = declared(str(folder), tmp_path / "sources")[1]
    source = open_source(path)
    index = source.index()
    whole = [item.source_id for item in source.read(index, 0, 60)]
    for start in (59, 0, 31, 7):
        assert [item.source_id for item in source.read(index, start, start + 1)] == [whole[start]]


@pytest.mark.slow
@pytest.mark.timeout(1800)  # 40 seconds of processor time, which a busy machine may take long to give
def test_the_shortest_way_from_the_hub_to_a_trained_model(hub: HubServer, tmp_path: Path) -> None:
    """Add, build and train, each one command; nothing of the release is unpacked or fetched whole but annotations."""
    added = command(hub, tmp_path, "sources", "add", "OpenGVLab/MMPR-v1.2", "--out", "released", "--yes")
    assert added.returncode == 0, added.stdout + added.stderr
    assert "Wrote 3 of 3 declarations" in added.stdout
    build = "--sources released --strategies preset --shards 2 --no-decontaminate --out pairs"
    built = command(hub, tmp_path, "build", *build.split())
    assert built.returncode == 0, built.stdout + built.stderr
    manifests = [json.loads(path.read_text()) for path in (tmp_path / "pairs" / "manifests").glob("*.json")]
    assert sum(count for one in manifests for count in one["counts"]["pairs"].values()) == 12
    train = "pairs --model nano --run-dir run --export trained --max-steps 1 --batch 4 --loss mpo"
    trained = command(hub, tmp_path, "train", *train.split())
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert list((tmp_path / "trained").rglob("model*.safetensors"))


def test_prompts_and_tiny_are_questions_with_golds(tmp_path: Path) -> None:
    for name, files in (("MMPR-v1.2-prompts", prompts()), ("MMPR-Tiny", tiny())):
        (path,) = declared(str(unpacked_into(tmp_path / name, files)), tmp_path / f"{name}-sources")
        assert [one.answer for one in questions(path)] == [str(i) for i in range(12)]
        checked = check_source(open_source(path), 0)
        assert (checked.accepted, checked.answered, checked.rejects) == (12, 12, [])
