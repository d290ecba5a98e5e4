"""Process supervision: one JSON line a response, its steps with the share of completions that reached the gold.

The fields are those of VisualPRM400K's raw form (question, image, answer, response, `steps_with_score` with step,
score, num_mc_correct and num_mc_total). The last step's score is the verdict on the response itself. Labels come from
the rollouts that the strategy `step` stored; a completion that could not be read counts as not correct.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict

from mmpr_pipeline.dataset.export.built import Built, ExportedImages, line
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.publish.parquet import PublishedImages
from mmpr_pipeline.rollouts.prompts import STEP, aside_of

FILE = "steps.jsonl"
UNITS = ("responses", "steps")
_ROLLOUT = ("question_id", "index", "text", "parent", "prefix_chars", "outcome", "prompt_version", "model")
_QUESTION = ("question_id", "source", "source_id", "text", "prompt", "answer", "images", "status")


class _Rollout(TypedDict):
    question_id: str
    index: int
    text: str
    parent: int | None
    prefix_chars: int
    outcome: str | None
    prompt_version: str
    model: str


class _Question(TypedDict):
    question_id: str
    source: str
    source_id: str
    text: str
    prompt: str
    answer: str | None
    images: list[str]
    status: str


class LabelledStep(TypedDict):
    """A step of a response, and of the completions after it how many reached the gold."""

    step: str
    score: float
    num_mc_correct: int
    num_mc_total: int


@dataclass(frozen=True)
class LabelledResponse:
    """A response with its steps."""

    index: int
    text: str
    model: str
    steps: list[LabelledStep]


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `steps.jsonl` and `images/`; counts `responses` and `steps`. Memory holds one shard's questions."""
    counts: Counter[str] = Counter()
    pictures = ExportedImages(folder / "images")
    with open(folder / FILE, "w", encoding="utf-8") as file:
        for shard in range(built.shards):
            with TemporaryDirectory(prefix="mmpr-") as work:
                questions, rollouts, images = (
                    built.fetch(kind, shard, Path(work)) for kind in ("questions", "rollouts", "images")
                )
                kept = PublishedImages(images)
                asked = {row["question_id"]: row for row in _rows(questions, _QUESTION) if row["status"] != "rejected"}
                for question_id, found in groupby(_rows(rollouts, _ROLLOUT), key=lambda row: row["question_id"]):
                    for response in labelled(list(found)):
                        question = asked[question_id]
                        paths = [f"images/{path}" for path in pictures.paths(kept, question["images"])]
                        file.write(line(_described(question, response, paths)))
                        counts.update(responses=1, steps=len(response.steps))
            announce(shard + 1)
    return counts


def labelled(rollouts: Sequence[_Rollout]) -> Iterator[LabelledResponse]:
    """Responses of one question whose beginnings were completed, with their steps and scores."""
    by_index = {row["index"]: row for row in rollouts}
    completed: dict[int, dict[int, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    for row in rollouts:
        parent = row["parent"]
        if aside_of(row["prompt_version"]) == STEP and parent is not None:
            completed[parent][row["prefix_chars"]][row["outcome"] or "unparseable"] += 1
    for index, ends in sorted(completed.items()):
        response, start, steps = by_index[index], 0, []
        for end, outcomes in sorted(ends.items()):
            right, total = outcomes["correct"], outcomes.total()
            steps.append(_step(response["text"][start:end], right, total))
            start = end
        steps.append(_step(response["text"][start:], int(response["outcome"] == "correct"), 1))
        yield LabelledResponse(index, response["text"], response["model"], steps)


def _step(text: str, right: int, total: int) -> LabelledStep:
    return {"step": text, "score": right / total, "num_mc_correct": right, "num_mc_total": total}


def _described(question: _Question, response: LabelledResponse, images: list[str]) -> dict[str, object]:
    return {
        "id": f"{question['question_id']}-{response.index}",
        "source": question["source"],
        "image": images,
        "question": question["prompt"],
        "question_orig": question["text"],
        "answer": question["answer"],
        "response": response.text,
        "model": response.model,
        "steps_with_score": response.steps,
    }


def _rows(path: Path, columns: Sequence[str]) -> Iterator[Any]:
    for batch in record_batches(path, list(columns)):
        yield from batch.to_pylist()


def usage(dest: Path) -> str:
    """How the labels are used."""
    return (
        f"# Step labels\n\n`{FILE}`: a response a line. `steps_with_score` holds each step with `score`, the share of "
        "`num_mc_total` completions after it that gave the right answer. VisualPRM trains on `score > 0` as a label.\n"
    )
