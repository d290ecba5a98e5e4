"""Exports, each opened by what it is for where that is installed, else checked against its documented form."""

from __future__ import annotations

import copy
import hashlib
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from mmpr_pipeline.core.errors import ConfigError, DatasetError
from mmpr_pipeline.core.files import sha256_of
from mmpr_pipeline.core.records import Turn
from mmpr_pipeline.core.schemas import IMAGE_SCHEMA, PAIR_SCHEMA
from mmpr_pipeline.dataset.export import FORMATS, Exported, export, export_table
from mmpr_pipeline.dataset.export.built import line
from mmpr_pipeline.dataset.export.formats.trl import in_parts, parts
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.models.messages import conversation
from tests.dataset.built import build_made

SHARDS = 2


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_made(tmp_path_factory.mktemp("made"), questions=16, open_ended=4, shards=SHARDS)


@pytest.fixture(scope="module")
def pairs(out: Path) -> list[dict[str, Any]]:
    files = [out / layout.shard_key("pairs", shard, SHARDS) for shard in range(SHARDS)]
    return [row for file in files for batch in record_batches(file) for row in batch.to_pylist()]


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_text("utf-8").splitlines()]


def same_image(path: Path, sha256: str) -> bool:
    return hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def check_image_files(folder: Path, pairs: list[dict[str, Any]]) -> None:
    """Each image that a pair names is one file, under its hash."""
    found = [path for path in (folder / "images").rglob("*") if path.is_file()]
    assert sorted(path.stem for path in found) == sorted({name for row in pairs for name in row["images"]})
    assert all(same_image(path, path.stem) for path in found)


def test_swift(out: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    found = export(out, "swift", tmp_path / "data")
    written = lines_of(tmp_path / "data" / "train.jsonl")
    assert found.rows == len(written) == len(pairs)
    for row, pair in zip(written, pairs, strict=True):
        assert row.keys() == {"messages", "rejected_response", "images"}
        assert row["messages"][0] == {"role": "user", "content": pair["prompt"]}
        assert row["messages"][1] == {"role": "assistant", "content": pair["chosen"]}
        assert row["rejected_response"] == pair["rejected"]
        assert row["messages"][0]["content"].count("<image>") == len(row["images"]) == len(pair["images"])
        assert all(same_image(tmp_path / "data" / p, n) for p, n in zip(row["images"], pair["images"], strict=True))
    check_image_files(tmp_path / "data", pairs)


def test_llamafactory(out: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    import datasets

    export(out, "llamafactory", tmp_path / "my-pairs")
    info = json.loads((tmp_path / "my-pairs" / "dataset_info.json").read_text())["my-pairs"]
    assert (info["formatting"], info["ranking"]) == ("sharegpt", True)
    loaded = datasets.load_dataset(  # as LLaMA-Factory opens it
        "json", data_files=str(tmp_path / "my-pairs" / info["file_name"]), split="train", cache_dir=str(tmp_path / "c")
    )
    assert set(info["columns"].values()) == set(loaded.column_names)
    for row, pair in zip(loaded, pairs, strict=True):
        turns, chosen, rejected, images = (
            row[info["columns"][n]] for n in ("messages", "chosen", "rejected", "images")
        )
        assert turns == [{"from": "human", "value": pair["prompt"]}]
        assert (chosen, rejected) == tuple({"from": "gpt", "value": pair[side]} for side in ("chosen", "rejected"))
        assert all(same_image(tmp_path / "my-pairs" / p, n) for p, n in zip(images, pair["images"], strict=True))


def test_internvl(out: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    export(out, "internvl", tmp_path / "mine")
    meta = json.loads((tmp_path / "mine" / "meta.json").read_text())
    assert list(meta) == ["made"]
    entry = meta["made"]
    assert {k: v for k, v in entry.items() if k not in ("root", "annotation")} == {
        "data_augment": False, "max_dynamic_patch": 6, "repeat_time": 1, "length": len(pairs),
    }  # fmt: skip
    for row, pair in zip(lines_of(tmp_path / entry["annotation"]), pairs, strict=True):
        assert (row["question"], row["chosen"], row["rejected"]) == (pair["prompt"], pair["chosen"], pair["rejected"])
        assert isinstance(row["image"], str), "one image: a path, not a list"
        assert same_image(tmp_path / entry["root"] / row["image"], pair["images"][0])
    check_image_files(tmp_path / "mine", pairs)


@pytest.mark.slow
def test_nemo_rl_reads_it_as_mmpr_preferences(out: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    """As `MMPRPreferenceDataset` reads it: paths of `meta.json` begin above its folder; one image file a row."""
    found = export(out, "nemo-rl", tmp_path / "mine")
    root, read = tmp_path, []
    for entry in json.loads((tmp_path / "mine" / "meta.json").read_text()).values():
        for row in lines_of(root / entry["annotation"]):
            assert isinstance(row["image"], str)
            assert (root / entry["root"] / row["image"]).is_file()
            read.append((row["question"], row["chosen"], row["rejected"]))
    assert sorted(read) == sorted((pair["prompt"], pair["chosen"], pair["rejected"]) for pair in pairs)
    assert (found.rows, found.left_out) == (len(pairs), {})
    assert f" data.train.data_path={tmp_path / 'mine' / 'meta.json'}\n" in found.how
    assert " data.train.data_path=$PWD/mine/meta.json\n" in (tmp_path / "mine" / "README.md").read_text()


def test_openrlhf_renders_prompt_and_sides(out: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    """As its `train_dpo` does it: the prompt rendered, then cut off the prompt with each side behind it."""
    import datasets

    from mmpr_pipeline.nano.model import make_tokenizer

    export(out, "openrlhf", tmp_path / "data")
    rows = datasets.load_dataset("json", data_files=str(tmp_path / "data" / "train.jsonl"), split="train",
                                 cache_dir=str(tmp_path / "c"))  # fmt: skip
    render = make_tokenizer([pairs[0]["prompt"]]).apply_chat_template
    for row, pair in zip(rows, pairs, strict=True):
        prompt = render(row["prompt"], tokenize=False, add_generation_prompt=True)
        for side in ("chosen", "rejected"):
            whole = render(row["prompt"] + row[side], tokenize=False)
            assert whole.startswith(prompt)
            assert whole[len(prompt) :].startswith(pair[side])
        assert all(same_image(tmp_path / "data" / p, n) for p, n in zip(row["images"], pair["images"], strict=True))


TALK = [
    Turn(role="system", text="Be brief."), Turn(role="user", text="<image>\nWhat is it?"),
    Turn(role="assistant", text="Dots."), Turn(role="user", text="How many?"),
]  # fmt: skip


def test_a_conversation_keeps_its_turns_where_the_format_has_turns(out: Path, tmp_path: Path) -> None:
    talked = rewritten(out, tmp_path / "out", "pairs", lambda row: row.update(prompt=conversation(TALK)))
    plain = [{"role": turn.role, "content": turn.text} for turn in TALK]
    export(talked, "swift", tmp_path / "swift")
    assert lines_of(tmp_path / "swift" / "train.jsonl")[0]["messages"][:-1] == plain
    export(talked, "openrlhf", tmp_path / "openrlhf")
    assert lines_of(tmp_path / "openrlhf" / "train.jsonl")[0]["prompt"] == plain
    export(talked, "llamafactory", tmp_path / "llama")
    said = [(turn["from"], turn["value"]) for turn in lines_of(tmp_path / "llama" / "train.jsonl")[0]["conversations"]]
    assert said == list(zip(("system", "human", "gpt", "human"), (turn.text for turn in TALK), strict=True))
    assert [message["role"] for message in in_parts(conversation(TALK))] == [turn.role for turn in TALK]
    for to in ("internvl", "nemo-rl"):
        assert export(talked, to, tmp_path / to).left_out == {"turns_before_the_question": 1}


def test_webdataset(out: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    export(out, "webdataset", tmp_path / "tars")
    url = str(tmp_path / "tars" / f"pairs-{{000000..{SHARDS - 1:06d}}}.tar")
    samples = list(webdataset.WebDataset(url, shardshuffle=False).decode("pil"))
    back = [pair for sample in samples for pair in sample["json"]["pairs"]]
    assert sorted(back, key=str) == sorted(pairs, key=str)
    shards = {sample["__key__"].split("-")[0] for sample in samples}
    assert len(shards) == SHARDS
    for sample in samples:
        assert all(pair["images"] == sample["json"]["images"] for pair in sample["json"]["pairs"])
        assert isinstance(sample["0.png"], PIL.Image.Image)
    for shard in shards:
        named = [tuple(s["json"]["images"]) for s in samples if s["__key__"].startswith(shard)]
        assert len(named) == len(set(named)), "an image lies in a tar once"
    raw = next(iter(webdataset.WebDataset(url, shardshuffle=False)))
    assert hashlib.sha256(raw["0.png"]).hexdigest() == json.loads(raw["json"])["images"][0]


@pytest.mark.slow
def test_parquet(out: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    import datasets

    from mmpr_pipeline import load

    export(out, "parquet", tmp_path / "folder")
    loaded = datasets.load_dataset(str(tmp_path / "folder"), split="train", cache_dir=str(tmp_path / "cache"))
    ours = load(out)
    assert loaded.features == ours.features
    assert len(loaded) == len(ours) == len(pairs)
    for one, other in zip(loaded, ours, strict=True):
        assert {k: v for k, v in one.items() if k != "images"} == {k: v for k, v in other.items() if k != "images"}
        assert all(np.array_equal(a, b) for a, b in zip(one["images"], other["images"], strict=True))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_trl_takes_a_step_on_it(out: Path, pairs: list[dict[str, Any]], tmp_path: Path) -> None:
    pytest.importorskip("trl")
    import datasets
    from trl import DPOConfig, DPOTrainer

    from mmpr_pipeline.nano.model import make_model, make_tokenizer, nano_processor

    export(out, "trl", tmp_path / "trl")
    dataset = datasets.load_dataset(str(tmp_path / "trl"), split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["pair_id"] for row in dataset] == [pair["pair_id"] for pair in pairs]
    assert dataset[0]["prompt"][0]["content"][0] == {"type": "image", "text": None}
    texts = [pair[side] for pair in pairs for side in ("prompt", "chosen", "rejected")]
    processor = nano_processor(make_tokenizer(texts * 4))
    model = make_model(processor.tokenizer, 0)
    model.config.text_config.pad_token_id = None
    before = copy.deepcopy(model.state_dict())
    config = DPOConfig(
        output_dir=str(tmp_path / "run"), loss_type=["sigmoid", "bco_pair", "sft"], loss_weights=[0.8, 0.2, 1.0],
        per_device_train_batch_size=2, max_steps=1, learning_rate=1e-2, logging_steps=1, report_to=[],
        save_strategy="no", use_cpu=True, max_length=None, gradient_checkpointing=False, disable_tqdm=True, bf16=False,
    )  # fmt: skip
    trainer = DPOTrainer(
        model=model, ref_model=copy.deepcopy(model), args=config, train_dataset=dataset, processing_class=processor
    )
    trainer.train()
    (loss,) = (entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    assert 0.8318 < loss < 0.8318 + 3 * np.log(len(processor.tokenizer)), "0.8 ln 2 + 0.4 ln 2, and the SFT term"
    assert any(not value.equal(before[name]) for name, value in model.state_dict().items())


def test_the_parts_of_a_turn_are_in_the_order_of_its_text() -> None:
    image = {"type": "image", "text": None}
    assert parts("<image>\nWhat?") == [image, {"type": "text", "text": "What?"}]
    assert parts("Is <image> left of <image>?") == [
        {"type": "text", "text": "Is "}, image, {"type": "text", "text": " left of "}, image,
        {"type": "text", "text": "?"},
    ]  # fmt: skip
    assert parts("no image") == [{"type": "text", "text": "no image"}]


@pytest.mark.parametrize("to", FORMATS)
def test_the_same_dataset_gives_the_same_files(to: str, out: Path, tmp_path: Path) -> None:
    def content(found: Exported) -> dict[str, bytes]:
        return {str(p.relative_to(found.dest)): p.read_bytes() for p in found.dest.rglob("*") if p.is_file()}

    one, other = (export(out, to, tmp_path / place / "same") for place in ("a", "b"))
    files = content(one)
    assert files == content(other)
    assert files["README.md"]
    assert (one.files, one.bytes) == (len(files), sum(map(len, files.values())))


def rewritten(out: Path, target: Path, kind: str, change: Any) -> Path:
    """A copy of a dataset with the first row of one of its files changed."""
    shutil.copytree(out, target)
    path = target / layout.shard_key(kind, 0, SHARDS)
    schema = {"pairs": PAIR_SCHEMA, "images": IMAGE_SCHEMA}[kind]
    rows = [row for batch in record_batches(path) for row in batch.to_pylist()]
    change(rows[0])
    path.unlink()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        writer.write_table(pa.Table.from_pylist(rows, schema=schema))
    manifest = target / layout.shard_key("manifest", 0, SHARDS)
    stated = json.loads(manifest.read_text())
    for entry in stated["files"]:
        if entry["path"] == layout.shard_key(kind, 0, SHARDS):
            entry["sha256"] = sha256_of(path)
    manifest.write_text(json.dumps(stated))
    return target


def test_a_damaged_file_is_not_exported(out: Path, tmp_path: Path) -> None:
    shutil.copytree(out, tmp_path / "out")
    for kind in ("pairs", "images", "questions"):
        path = tmp_path / "out" / layout.shard_key(kind, 1, SHARDS)
        raw = path.read_bytes()
        path.write_bytes(raw[:-90] + b"\1" + raw[-89:])
        with pytest.raises(DatasetError, match=rf"{kind}-00001(?s:.)*What to do: Bring it back from a copy"):
            export(tmp_path / "out", "internvl", tmp_path / "data")
        assert not (tmp_path / "data").exists()
        path.write_bytes(raw)


def test_a_mark_that_a_model_wrote_itself_leaves_the_pair_out_and_is_counted(out: Path, tmp_path: Path) -> None:
    hostile = rewritten(out, tmp_path / "out", "pairs", lambda row: row.update(rejected="I see <image> here"))
    for to in ("swift", "llamafactory", "internvl"):
        found = export(hostile, to, tmp_path / to)
        assert found.left_out == {"image_mark_in_response": 1}
    kept = export(hostile, "webdataset", tmp_path / "tar")
    assert kept.left_out == {}
    assert kept.rows == found.rows + 1


def test_names_that_would_leave_the_folder_are_refused(out: Path, tmp_path: Path) -> None:
    images = rewritten(out, tmp_path / "one", "images", lambda row: row.update(sha256="../../../" + "a" * 55))
    sources = rewritten(out, tmp_path / "two", "pairs", lambda row: row.update(source="../../up"))
    for hostile, text in ((images, "not a sha256"), (sources, "not the name of a source")):
        with pytest.raises(DatasetError, match=text):
            export(hostile, "internvl", tmp_path / "made")
        assert not (tmp_path / "made").exists()


def test_a_line_stays_a_line() -> None:
    text = line({"text": "one\u2028two\u2029three\x85four\nfive"})
    assert len(text.splitlines()) == 1
    assert json.load(io.StringIO(text))["text"] == "one\u2028two\u2029three\x85four\nfive"


def test_what_cannot_work_is_told_and_nothing_is_written(out: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="There is no export format 'arrow'"):
        export(out, "arrow", tmp_path / "x")
    with pytest.raises(DatasetError):
        export(tmp_path, "swift", tmp_path / "x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    with pytest.raises(ConfigError, match="already exists"):
        export(out, "swift", tmp_path / "full")
    assert not (tmp_path / "x").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["file"]


def test_a_killed_export_leaves_no_folder_and_the_next_one_is_whole(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(what: str, done: int, of: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export(out, "swift", tmp_path / "data", progress=dies)
    assert not (tmp_path / "data").exists()
    whole = export(out, "swift", tmp_path / "data")
    assert whole.rows == len(lines_of(tmp_path / "data" / "train.jsonl"))
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
    assert export_table(whole)


def test_a_dataset_in_s3_is_exported_like_a_local_one(out: Path, s3_bucket: str, tmp_path: Path) -> None:
    from mmpr_pipeline.storage import open_store

    store = open_store(f"s3://{s3_bucket}/out")
    for path in out.rglob("*"):
        if path.is_file() and not path.name.startswith("."):
            store.write(path.relative_to(out).as_posix(), path.read_bytes())
    near, far = export(out, "parquet", tmp_path / "a" / "x"), export(store.url, "parquet", tmp_path / "b" / "x")
    assert (near.rows, near.files, near.bytes) == (far.rows, far.files, far.bytes)
    for path in near.dest.rglob("*.parquet"):
        assert path.read_bytes() == (far.dest / path.relative_to(near.dest)).read_bytes()
