"""`load` gives every pair with its images decoded, and they survive what people do to data sets."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import PIL.Image
import pytest

import mmpr_pipeline
from mmpr_pipeline.core.errors import DatasetError
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from tests.dataset.conftest import make_image, make_outcome, write_dataset

datasets = pytest.importorskip("datasets")


@pytest.fixture(autouse=True)
def _quiet_and_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMPR_CACHE", str(tmp_path / "cache"))
    datasets.disable_progress_bars()


def expected(questions: int = 40) -> dict[str, tuple[str, str, bytes]]:
    """chosen, rejected and pixels of every pair, by id."""
    found = {}
    for number in range(questions):
        outcome = make_outcome(number, "bars" if number % 3 else "grids")
        pixels = PIL.Image.open(_file(make_image(number // 2).data)).tobytes() if outcome.images else b""
        found |= {pair.pair_id: (pair.chosen, pair.rejected, pixels) for pair in outcome.pairs}
    return found


def _file(data: bytes) -> object:
    import io

    return io.BytesIO(data)


def test_every_pair_with_its_image(out: Path) -> None:
    loaded = mmpr_pipeline.load(out)
    found = {r["pair_id"]: (r["chosen"], r["rejected"], r["images"][0].tobytes()) for r in loaded}
    assert found == expected()
    assert loaded.features["images"] == datasets.List(datasets.Image())
    assert set(loaded.column_names) == set(layout.SCHEMAS["pairs"].names)


def test_all_columns_are_those_of_the_shards(out: Path) -> None:
    rows = [
        r
        for shard in range(3)
        for b in record_batches(out / layout.shard_key("pairs", shard, 3))
        for r in b.to_pylist()
    ]
    loaded = mmpr_pipeline.load(out).remove_columns("images").to_list()
    assert loaded == [{k: v for k, v in row.items() if k != "images"} for row in rows]


def test_no_image_is_copied_for_a_pair(out: Path, tmp_path: Path) -> None:
    loaded = mmpr_pipeline.load(out).cast_column("images", datasets.List(datasets.Image(decode=False)))
    assert {image["bytes"] for row in loaded for image in row["images"]} == {None}
    cached = b"".join(p.read_bytes() for p in (tmp_path / "cache").rglob("*.arrow"))
    assert make_image(0).data not in cached


def test_it_is_memory_mapped_and_unpacked_once(out: Path, tmp_path: Path) -> None:
    loaded = mmpr_pipeline.load(out)
    files = [Path(entry["filename"]) for entry in loaded.cache_files]
    assert [f.name for f in files] == [f"pairs-0000{i}-of-00003.arrow" for i in range(3)]
    before = [f.stat().st_mtime_ns for f in files]
    assert [Path(e["filename"]).stat().st_mtime_ns for e in mmpr_pipeline.load(out).cache_files] == before


def test_images_survive_map_filter_select_and_sort(out: Path) -> None:
    loaded = mmpr_pipeline.load(out)
    want = expected()
    small = (
        loaded.shuffle(seed=1).filter(lambda row: row["strategy"] == "correctness").select(range(10)).sort("pair_id")
    )
    widths = small.map(lambda row: {"width": row["images"][0].width})
    for row in widths:
        assert row["images"][0].tobytes() == want[row["pair_id"]][2]
        assert row["width"] == row["images"][0].width


def test_images_survive_worker_processes(out: Path) -> None:
    mapped = mmpr_pipeline.load(out).map(_digest, num_proc=2)
    want = expected()
    assert all(row["digest"] == hashlib.sha256(want[row["pair_id"]][2]).hexdigest() for row in mapped)


def _digest(row: dict[str, object]) -> dict[str, str]:
    return {"digest": hashlib.sha256(row["images"][0].tobytes()).hexdigest()}  # type: ignore[index]


def test_saved_copies_still_find_the_images(out: Path, tmp_path: Path) -> None:
    loaded, want = mmpr_pipeline.load(out), expected()
    loaded.save_to_disk(tmp_path / "saved")
    loaded.to_parquet(tmp_path / "saved.parquet")
    for again in (
        datasets.load_from_disk(tmp_path / "saved"),
        datasets.Dataset.from_parquet(str(tmp_path / "saved.parquet"), cache_dir=str(tmp_path / "hf")),
    ):
        assert {row["pair_id"]: row["images"][0].tobytes() for row in again} == {k: v[2] for k, v in want.items()}


def test_images_can_be_embedded_as_push_to_hub_does(out: Path) -> None:
    from datasets.table import embed_table_storage

    table = embed_table_storage(mmpr_pipeline.load(out).with_format("arrow")[:])
    found = {image["bytes"] for images in table["images"].to_pylist() for image in images}
    assert found == {make_image(n // 2).data for n in range(40) if make_outcome(n).pairs}


def test_another_process_that_never_imported_mmpr_can_open_images(out: Path, tmp_path: Path) -> None:
    path = mmpr_pipeline.load(out).with_format("arrow")[0]["images"][0].as_py()[0]["path"]
    code = "import fsspec, sys; sys.stdout.buffer.write(fsspec.open(sys.argv[1]).open().read())"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, check=False)
    if b"Protocol not known" in done.stderr:
        pytest.skip("mmpr is not installed here, so its entry points are not known")
    assert hashlib.sha256(done.stdout).hexdigest() == path.rpartition("/")[2]


def test_an_image_that_is_gone_is_named(out: Path) -> None:
    loaded = mmpr_pipeline.load(out)
    path = loaded.with_format("arrow")[0]["images"][0].as_py()[0]["path"]
    import fsspec

    with pytest.raises(FileNotFoundError, match="No image"):
        fsspec.open(path[:-4] + "0000").open()


def test_a_dataset_built_anew_in_the_same_place(out: Path) -> None:
    first = mmpr_pipeline.load(out)[0]["images"][0].size
    shutil.rmtree(out)
    write_dataset(out, questions=400, shards=3)
    again = mmpr_pipeline.load(out)
    assert len(again) == 400
    assert again[0]["images"][0].size == first
    assert again[len(again) - 1]["images"][0].mode == "RGB"


def test_odd_folder_names(tmp_path: Path) -> None:
    write_dataset(tmp_path / "my out::x %41#1?", questions=6)
    loaded = mmpr_pipeline.load(tmp_path / "my out::x %41#1?")
    assert [row["images"][0].mode for row in loaded] == ["RGB"] * len(loaded)


def test_a_dataset_without_pairs(tmp_path: Path) -> None:
    write_dataset(tmp_path / "empty", questions=0, shards=1)
    assert len(mmpr_pipeline.load(tmp_path / "empty")) == 0


def test_an_unfinished_dataset_is_refused(out: Path) -> None:
    (out / layout.shard_key("manifest", 1, 3)).unlink()
    with pytest.raises(DatasetError, match="not finished"):
        mmpr_pipeline.load(out)


def test_from_a_bucket(s3_bucket: str) -> None:
    store = write_dataset(f"s3://{s3_bucket}/some/out", questions=12)
    found = {
        r["pair_id"]: (r["chosen"], r["rejected"], r["images"][0].tobytes()) for r in mmpr_pipeline.load(store.url)
    }
    assert found == expected(12)


def test_importing_the_package_is_light() -> None:
    heavy = "datasets torch ray pyarrow PIL"
    code = f"import sys, mmpr_pipeline; print([m for m in {heavy.split()} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout.strip() == "[]"
