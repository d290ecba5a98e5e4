"""The whole loop on 50 images of your own, cell by cell. Run it as a script, or open it as a notebook (`# %%` cells).

    python examples/own_images.py [FOLDER]

FOLDER holds images and `questions.jsonl`, one line a question:

    {"id": "q1", "image": "kitchen.jpg", "kind": "number", "question": "How many cups are there?", "answer": "3"}

`kind` is number, text, choice (with `choices`, and a letter as the answer), yes_no, math, ..., or none, for questions
without an answer: of those DropNTP makes the pairs.

Without FOLDER, 50 generated images stand in for yours, so that the script runs anywhere in a few minutes. For real
images put a real model in MODEL, e.g. OpenGVLab/InternVL3-2B-hf, on a machine with a GPU.
"""

# %% What is yours: images, questions with answers, a model.
import json
import subprocess
import sys
from pathlib import Path

MODEL = "nano"
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "out/own-images")
WORK = Path("out/own-images-work")
HELD_OUT = 10  # of the questions, for the comparison at the end; nothing is learned from them


def mmpr(*arguments: object) -> None:
    """One command of the pipeline, shown and run."""
    print("\n$ mmpr", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "mmpr_pipeline.cli", *map(str, arguments)], check=True)


# %% Stand-ins, where there is no such folder: questions about 50 generated pictures.
if not (FOLDER / "questions.jsonl").is_file():
    from mmpr_pipeline.sources.generated.scenes import rows

    FOLDER.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in [*rows("nano_grid", stop=25, seed=7), *rows("nano_geometry", stop=25, seed=7)]:
        (FOLDER / f"{row['id']}.png").write_bytes(row["image"])
        lines.append(json.dumps({**row, "image": f"{row['id']}.png"}) + "\n")
    (FOLDER / "questions.jsonl").write_text("".join(lines[::2] + lines[1::2]))

# %% Some questions to learn from, some to be asked at the end.
WORK.mkdir(parents=True, exist_ok=True)
questions = (FOLDER / "questions.jsonl").read_text().splitlines(keepends=True)
(FOLDER / "learn.jsonl").write_text("".join(questions[:-HELD_OUT]))
(FOLDER / "ask.jsonl").write_text("".join(questions[-HELD_OUT:]))

# %% A source is one declaration: where the rows are, which column is what, what kind of answer is expected.
for part in ("learn", "ask"):
    declaration = f"""
name: my_{part}
description: My own images.
licence: my own
files: {part}.jsonl
columns: {{id: id, question: question, image: image, choices: choices, answer: answer}}
kind: {{column: kind}}
answer_form: letter
tiles: 6
"""
    (FOLDER / f"my_{part}.yaml").write_text(declaration)
mmpr("sources", "preview", FOLDER / "my_learn.yaml")

# %% What it would cost; then the build. Interrupted? The same command goes on.
build = ("build", "--sources", FOLDER / "my_learn.yaml", "--model", MODEL, "--out", WORK / "pairs", "--shards", 2)
mmpr(*build, "--dry-run")
mmpr(*build, "--max-tokens", 256)
mmpr("verify", WORK / "pairs")

# %% Look before you train: a wrong verdict teaches the wrong thing. `mmpr view` lets you mark those.
mmpr("show", WORK / "pairs", "-n", 2)
mmpr("stats", WORK / "pairs")

# %% MPO. Fifty images are a rehearsal, not a training set: see docs/study.md for what how many pairs bring.
run = ("--run-dir", WORK / "run", "--export", WORK / "model", "--lr", "1e-4", "--batch", 32)
mmpr("train", WORK / "pairs", "--model", MODEL, *run)
mmpr("plot", WORK / "run")

# %% Before and after, on the questions kept back. Ten of them settle nothing: look at the width of the interval.
sources = ("--sources", FOLDER / "my_ask.yaml", "--samples", 8, "--temperature", 1.0, "--max-tokens", 256)
mmpr("eval", MODEL, "--against", WORK / "model", *sources)
