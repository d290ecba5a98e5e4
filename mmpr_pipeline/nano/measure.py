"""Measure a checkpoint on held-out nano questions: `python -m mmpr_pipeline.nano.measure CHECKPOINT`.

Prints, as JSON, per source and per kind of answer: the share of right responses, the share of questions with both a
right and a wrong one (those make correctness pairs), tokens a response and the share that ended by itself; and for
descriptions the share of named objects that are not in the picture, with the picture and continued without it.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from mmpr_pipeline.nano.lessons import lesson_prompt
from mmpr_pipeline.nano.sample import Request, Sample, by_transformers, by_vllm
from mmpr_pipeline.rollouts.prompts import without_images
from mmpr_pipeline.sources.generated.describe import Scene, hallucinated, missed, named_objects
from mmpr_pipeline.sources.generated.scenes import NANO_SOURCES, png, scene_and_question
from mmpr_pipeline.sources.generated.shapes import SceneQuestion

_FINAL = re.compile(r"\nFinal answer: ([^\n]{1,80})\Z")
_BOXED = re.compile(r"\n\\boxed\{([^\n{}]{1,80})\}\Z")


def final_answer(response: str, style: str) -> str | None:
    """The answer of a response in the form that its style asks for; None where it has not that form."""
    if style == "direct":
        return response.strip()
    match = (_BOXED if style == "cot-boxed" else _FINAL).search(response)
    return match.group(1).strip() if match else None


def is_right(item: SceneQuestion, response: str, style: str) -> bool:
    """Whether the final answer is exactly the gold, as the generated world makes sure that it can be."""
    answer = final_answer(response, style)
    return answer is not None and item.answer is not None and answer.lower() == item.answer.lower()


def accuracy_by_source(
    asked: list[tuple[str, SceneQuestion]], answers: list[list[Sample]], style: str
) -> dict[str, dict[str, float]]:
    """Per source, per source and kind, and overall: questions, share right, share mixed, tokens, share finished."""
    groups: dict[str, list[tuple[list[bool], list[Sample]]]] = defaultdict(list)
    for (source, item), samples in zip(asked, answers, strict=True):
        right = [is_right(item, sample.text, style) for sample in samples]
        for name in ("all", source, f"{source}/{item.kind}"):
            groups[name].append((right, samples))
    return {name: _summary(group) for name, group in sorted(groups.items())}


def _summary(group: list[tuple[list[bool], list[Sample]]]) -> dict[str, float]:
    samples = [sample for _, each in group for sample in each]
    return {
        "questions": len(group),
        "right": _mean(r for right, _ in group for r in right),
        "mixed": _mean(any(right) and not all(right) for right, _ in group),
        "tokens": _mean(sample.tokens for sample in samples),
        "finished": _mean(sample.finished for sample in samples),
    }


def description(scenes: list[Scene], texts: list[list[str]]) -> dict[str, float]:
    """Objects named a response, share of them not in the picture, share of objects missed, share of clean responses."""
    pairs = [(scene, text) for scene, each in zip(scenes, texts, strict=True) for text in each]
    named = sum(len(named_objects(text)) for _, text in pairs)
    false = sum(len(hallucinated(text, scene)) for scene, text in pairs)
    lost = sum(len(missed(text, scene)) for scene, text in pairs)
    present = sum(len(scene.names()) for scene, _ in pairs)
    return {
        "named": round(named / len(pairs), 3),
        "hallucinated": round(false / max(1, named), 4),
        "missed": round(lost / present, 4),
        "clean": _mean(not hallucinated(text, scene) for scene, text in pairs),
    }


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return round(sum(listed) / max(1, len(listed)), 4)


def measure_checkpoint(checkpoint: Path, args: argparse.Namespace) -> dict[str, object]:
    """All figures of one checkpoint; with the picture, and descriptions also continued from their half without it."""
    sampler = by_vllm if args.engine == "vllm" else by_transformers
    drawn = [(s, *scene_and_question(s, args.split, args.seed, n)) for s in NANO_SOURCES for n in range(args.questions)]
    asked = [(source, item) for source, _, item in drawn if item.answer is not None]
    scenes = [world for _, world, _ in drawn if isinstance(world, Scene)]
    requests = [
        Request(lesson_prompt(item, args.style if item.answer else "open"), png(world)) for _, world, item in drawn
    ]
    answers = sampler(checkpoint, requests, args.samples, args.temperature)
    answered = answers[: len(asked)]  # describe is the last source
    described = [[sample.text for sample in samples] for samples in answers[len(asked) :]]
    halves = [each[0][: each[0].find(" ", len(each[0]) // 2)] for each in described]
    blind = [
        Request(without_images(request.turn), None, prefix=half)
        for request, half in zip(requests[len(asked) :], halves, strict=True)
    ]
    continued = sampler(checkpoint, blind, 1, args.temperature)
    whole = [[half + sample.text for sample in samples] for half, samples in zip(halves, continued, strict=True)]
    return {
        "accuracy": accuracy_by_source(asked, answered, args.style),
        "describe": description(scenes, described) | {"finished": _finished(answers[len(asked) :])},
        "describe_blind_half": description(scenes, whole) | {"finished": _finished(continued)},
        "examples": [samples[0].text for samples in answers[:: max(1, args.questions // 3)]],
        "blind_examples": [each[0] for each in whole[:4]],
    }


def _finished(answers: list[list[Sample]]) -> float:
    return _mean(sample.finished for samples in answers for sample in samples)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Measure a nano checkpoint on generated questions.")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--engine", choices=("vllm", "transformers"), default="vllm")
    parser.add_argument("--style", choices=("cot-final", "cot-boxed", "direct"), default="cot-final")
    parser.add_argument("--questions", type=int, default=60, help="questions of each source")
    parser.add_argument("--samples", type=int, default=8, help="responses to each question")
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--split", choices=("heldout", "train"), default="heldout")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(json.dumps(measure_checkpoint(args.checkpoint, args), indent=1))


if __name__ == "__main__":
    main()
