"""The index as Python writes it and as the page reads it, with node where that is installed."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

import mmpr_pipeline
from mmpr_pipeline.report.viewer.index import MAGIC, Column, encode, join

JS = Path(mmpr_pipeline.__file__).parent / "report" / "static" / "viewer" / "index.js"
CASES = Path(__file__).parent / "index_cases.mjs"
NODE = shutil.which("node")


def coded(names: list[str]) -> Column:
    values = tuple(dict.fromkeys(names))
    return Column(np.array([values.index(name) for name in names], np.uint8), values)


BLOCKS = [
    {"source": coded(["a", "b", "a"]), "pairs": Column(np.array([3, 0, 300], np.uint16))},
    {"source": coded(["c", "a"]), "pairs": Column(np.array([7, 70_000], np.uint32))},
]


def test_blocks_are_joined_with_one_list_of_names() -> None:
    joined = join(BLOCKS)
    source = joined["source"]
    assert [(source.values or ())[code] for code in source.data] == ["a", "b", "a", "c", "a"]
    assert joined["pairs"].data.tolist() == [3, 0, 300, 7, 70_000]
    assert joined["pairs"].data.dtype == np.uint32


def test_a_block_says_where_its_columns_lie() -> None:
    raw = encode(join(BLOCKS))
    assert raw.startswith(MAGIC)
    (size,) = struct.unpack_from("<I", raw, len(MAGIC))
    head = json.loads(raw[len(MAGIC) + 4 :][:size])
    pairs = next(column for column in head["columns"] if column["name"] == "pairs")
    assert pairs["at"] % 8 == 0
    assert np.frombuffer(raw, np.uint32, head["rows"], pairs["at"]).tolist() == [3, 0, 300, 7, 70_000]
    assert encode({}).startswith(MAGIC), "a build without a finished shard has an empty block"


@pytest.mark.skipif(NODE is None, reason="no node on this machine")
def test_the_page_filters_orders_and_counts_what_python_wrote(tmp_path: Path) -> None:
    files = []
    for number, block in enumerate(BLOCKS):
        path = tmp_path / f"{number}.bin"
        empty = {name: Column(np.zeros(len(block["source"].data), np.uint32)) for name in ("id_high", "id_low")}
        path.write_bytes(encode({**block, **empty}))
        files.append(str(path))
    done = subprocess.run(
        [str(NODE), str(CASES), JS.as_uri(), *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["all"] == ["a3", "b0", "a300", "c7", "a70000"]
    assert found["a"] == ["a3", "a300", "a70000"]
    assert found["range"] == ["a3", "a300", "c7"]
    assert found["except"] == ["a3", "b0", "c7"], "a column's own histogram is not cut by its own filter"
    assert found["masked"] == ["a3", "b0"]
    assert found["up"] == ["b0", "a3", "c7", "a300", "a70000"]
    assert found["down"] == found["up"][::-1]
    assert found["bySource"] == ["c7", "b0", "a3", "a300", "a70000"], "equal ones stay as they stood"
    assert found["histogram"] == [["a", 3], ["b", 1], ["c", 1]]
    assert found["numbers"] == [4, 1]
    assert (found["none"], found["find"]) == ([], 0)
