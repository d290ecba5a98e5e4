"""A small task for lmms-eval that needs no network: generated pictures of nano_grid with their answers.

It shows that the bridge works, from the served model to the table. Rows and the task's two files are written into a
folder whose path lmms-eval gets.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mmpr_pipeline.core.records import Question
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK, prompt_for
from mmpr_pipeline.sources.source import open_source

SMALL_TASK = "mmpr_nano_grid"
ROWS = 40

_YAML = """task: mmpr_nano_grid
dataset_path: parquet
dataset_kwargs:
  data_files:
    test: {rows}
test_split: test
output_type: generate_until
doc_to_visual: !function scoring.pictures
doc_to_text: !function scoring.text
doc_to_target: answer
process_results: !function scoring.score
generation_kwargs:
  max_new_tokens: 256
  temperature: 0
  do_sample: false
metric_list:
  - metric: accuracy
    aggregation: mean
    higher_is_better: true
metadata:
  - version: 0.0
"""

_SCORING = """import io

from PIL import Image


def pictures(doc):
    return [Image.open(io.BytesIO(doc["image"])).convert("RGB")]


def text(doc, lmms_eval_specific_kwargs=None):
    return doc["prompt"]


def score(doc, results):
    said = results[0].rsplit("Final answer:", 1)[-1].strip().rstrip(".").lower()
    return {"accuracy": float(said == doc["answer"].strip().lower())}
"""


def write_small_task(folder: Path, limit: int | None) -> Path:
    """Write the task into `folder`, with as many rows as are asked for at most; gives the folder."""
    source = open_source("nano_grid")
    index = source.index(min(limit or ROWS, ROWS))
    questions = [item for item in source.read(index, 0, index.rows) if isinstance(item, Question)]
    task = folder / SMALL_TASK
    task.mkdir(parents=True)
    rows = [
        {
            "prompt": prompt_for(question, "cot-final").text.replace(IMAGE_MARK, "").strip(),
            "answer": question.answer,
            "image": question.images[0].data,
        }
        for question in questions
    ]
    pq.write_table(pa.Table.from_pylist(rows), task / "rows.parquet")
    (task / f"{SMALL_TASK}.yaml").write_text(_YAML.format(rows=task / "rows.parquet"))
    (task / "scoring.py").write_text(_SCORING)
    return folder
