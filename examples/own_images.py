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
import sys
from pathlib import Path

import mmpr_pipeline as mmpr

MODEL = "nano"
FOLDER = Path(sys.argv[1] if len(sys.argv) > 1 else "out/own-images")
WORK = Path("out/own-images-work")
HELD_OUT = 10  # of the questions, for the comparison at the end; nothing is learned from them


# %% Stand-ins, where there is no such folder: questions about 50 generated pictures.
def generate(folder: Path) -> None:
    """Write 50 generated images and `questions.jsonl` into the folder."""
    from mmpr_pipeline.sources.generated.scenes import rows

    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for row in [*rows("nano_grid", stop=25, seed=7), *rows("nano_geometry", stop=25, seed=7)]:
        (folder / f"{row['id']}.png").write_bytes(row["image"])
        lines.append(json.dumps({**row, "image": f"{row['id']}.png"}) + "\n")
    (folder / "questions.jsonl").write_text("".join(lines[::2] + lines[1::2]))


# %% Some questions to learn from, some to be asked at the end. A source declares which column is what.
def declare(folder: Path) -> tuple[Path, Path]:
    """Split the questions; returns the declarations of those to learn from and of those to ask."""
    questions = (folder / "questions.jsonl").read_text().splitlines(keepends=True)
    for part, lines in (("learn", questions[:-HELD_OUT]), ("ask", questions[-HELD_OUT:])):
        (folder / f"{part}.jsonl").write_text("".join(lines))
        (folder / f"my_{part}.yaml").write_text(f"""
name: my_{part}
description: My own images.
licence: my own
files: {part}.jsonl
columns: {{id: id, question: question, image: image, choices: choices, answer: answer}}
kind: {{column: kind}}
answer_form: letter
tiles: 6
""")
    return folder / "my_learn.yaml", folder / "my_ask.yaml"


def main() -> None:
    """Build, look, train, compare."""
    if not (FOLDER / "questions.jsonl").is_file():
        generate(FOLDER)
    learn, ask = declare(FOLDER)

    # %% Build. Interrupted? The same call goes on from there.
    summary = mmpr.build(
        learn,
        out=WORK / "pairs",
        engine={"name": "vllm", "model": MODEL},
        shards=2,
        sampling={"decoding": {"max_tokens": 256}},
        screening={"decontaminate": False},  # these images are in no benchmark
    )
    print("pairs:", summary["counts"]["pairs"])

    # %% Look before you train: a wrong verdict teaches the wrong thing. `mmpr view` lets you mark those.
    print(mmpr.show(WORK / "pairs", 2))
    pairs = mmpr.load(WORK / "pairs")
    print(pairs[0]["question"], "| chosen:", pairs[0]["chosen"][-60:], "| rejected:", pairs[0]["rejected"][-60:])

    # %% MPO. Fifty images are a rehearsal, not a training set: docs/study.md says how many pairs bring how much.
    better = WORK / "model"
    mmpr.train(WORK / "pairs", model=MODEL, run_dir=WORK / "run", export=str(better), lr=1e-4, batch=32)

    # %% After and before, on the questions kept back. Ten of them settle nothing: look at the width of the interval.
    results = mmpr.evaluate(str(better), [str(ask)], against=MODEL, samples=8, temperature=1.0, max_tokens=256)
    print(json.dumps(results["comparison"], indent=1, default=str))


if __name__ == "__main__":
    main()
