"""examples/large.md prints what `mmpr build --dry-run` prints: the command of the page is run, over the test Hub."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmpr_pipeline.sources.declaration.catalog import find_declaration
from tests.hub.repository import Repository
from tests.hub.served import Split, card
from tests.hub.server import HubServer

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "examples" / "large.md").read_text("utf-8")
MODEL = {  # of OpenGVLab/InternVL3-78B-hf: what decides its size
    "model_type": "internvl", "architectures": ["InternVLForConditionalGeneration"], "torch_dtype": "bfloat16",
    "text_config": {
        "model_type": "qwen2", "hidden_size": 8192, "intermediate_size": 29568, "num_hidden_layers": 80,
        "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 151674, "max_position_embeddings": 32768,
        "tie_word_embeddings": False,
    },
    "vision_config": {
        "hidden_size": 3200, "intermediate_size": 12800, "num_hidden_layers": 45, "num_attention_heads": 25,
        "image_size": [448, 448], "patch_size": [14, 14],
    },
    "tie_word_embeddings": False,
}  # fmt: skip


def words_of_the_plan() -> list[str]:
    """The command of the page that ends in --dry-run, in words."""
    blocks = re.findall(r"```\n(.*?)```", PAGE, re.DOTALL)
    command = next(block for block in blocks if "--dry-run" in block)
    return shlex.split(command.replace("\\\n", " "))


def a_hub(names: list[str], folder: Path) -> HubServer:
    """A Hub that has as many rows of each source as the catalog says, and nothing in them."""
    server = HubServer()
    files: dict[str, dict[str, bytes]] = {}
    configs: dict[str, dict[str, list[dict[str, str]]]] = {}
    commits: dict[str, str | None] = {}
    for name in names:
        declaration, _ = find_declaration(name)
        hub, rows = declaration.hub, declaration.rows
        assert hub
        assert rows
        pq.write_table(pa.table({declaration.columns.id or "row": range(rows)}), folder / "rows.parquet")
        split = Split(hub.config or "default", hub.split, name)
        files.setdefault(hub.id, {})[f"{name}/{hub.split}-0.parquet"] = (folder / "rows.parquet").read_bytes()
        paths = configs.setdefault(hub.id, {}).setdefault(split.config, [])
        paths.append({"split": hub.split, "path": f"{name}/{hub.split}-*"})
        commits[hub.id] = hub.revision
    for id, found in files.items():
        server.repositories[id] = Repository(id)
        server.repositories[id].put({"README.md": card(configs[id]), **found}, "made", sha=commits[id])
    return server


@pytest.mark.slow
def test_the_page_prints_the_plan_that_the_command_prints(tmp_path: Path) -> None:
    words = words_of_the_plan()
    sources = words[words.index("--sources") + 1].split(",")
    model = tmp_path / words[words.index("--model") + 1]
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(MODEL))
    hub = a_hub(sources, tmp_path)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "hf"),
        "MMPR_CACHE": str(tmp_path / "mmpr"), "HF_HUB_DISABLE_XET": "1", "COLUMNS": "120",
    }  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-m", "mmpr_pipeline.cli", *words[1:]],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
    finally:
        hub.close()
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.search(r"prints the plan[^\n]*\n\n(.*?)\n\n(?=\S)", PAGE, re.DOTALL)
    assert shown
    plan = [" ".join(line.split()) for line in shown[1].splitlines() if line.strip()]
    cells = re.sub(r"[│┃]", " ", done.stdout)
    printed = [" ".join(line.split()) for line in cells.splitlines()]
    assert [line for line in plan if line not in printed] == [], done.stdout
