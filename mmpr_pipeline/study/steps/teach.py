"""Teach a model of the nano architecture to check claims: what feedback asks, and the bundled model never learned.

Claims are about pictures of `nano_describe`, in the words of the strategy `feedback`: true ones, and ones with another
colour, shape or place. Each step has as many lessons of the kind that the model was made with, so that nothing is lost.
The rates stay where the bundled model's were when it was stopped: with falling rates it would settle, and hardly name
an object that is not there, so that there was nothing left to prefer.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from mmpr_pipeline.nano.lessons import Lesson, lesson
from mmpr_pipeline.pairing.feedback import claim_prompt
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK
from mmpr_pipeline.sources.generated.describe import PLACES, Scene
from mmpr_pipeline.sources.generated.scenes import scene_and_question
from mmpr_pipeline.sources.generated.shapes import COLOURS, SHAPES

REVIEW_FROM = 10**7
"""Number of the first lesson of the old kind: behind all that the bundled model was made with."""


def claim_lesson(seed: int, index: int) -> Lesson:
    """A claim about a picture as an answer makes it, and whether it is true; half of them are.

    After yes or no the response says what the place shows: that the model must look there is hard to learn from a
    single word.
    """
    scene = scene_and_question("nano_describe", "train", seed, index)[0]
    assert isinstance(scene, Scene)
    rng = Random(f"claim/{seed}/{index}")
    at = rng.randrange(len(scene.things))
    true = (scene.things[at].name, scene.places[at])
    is_true = rng.random() < 0.5
    name, place = true if is_true else _changed(rng, scene, *true)
    text = f"a {name} at the {place}"
    text = f"The picture shows {text}" if at == 0 else text
    text = f"{text}." if at == len(scene.things) - 1 else text
    shown = scene.things[scene.places.index(place)].name if place in scene.places else "empty"
    response = f"{'Yes' if is_true else 'No'}. {shown}"
    return Lesson("nano_describe", "claim", f"{IMAGE_MARK}\n{claim_prompt(text)}", response, scene)


def _changed(rng: Random, scene: Scene, name: str, place: str) -> tuple[str, str]:
    """Another colour, another shape, an empty place, or all of it made up; never what is there."""
    colour, shape = name.split()
    how = rng.choice(("colour", "colour", "shape", "shape", "place", "all"))
    empty = [each for row in PLACES for each in row if each not in scene.places]
    if how in ("colour", "all"):
        colour = rng.choice([each for each in COLOURS if each != colour])
    if how in ("shape", "all"):
        shape = rng.choice([each for each in SHAPES if each != shape])
    return f"{colour} {shape}", rng.choice(empty) if how in ("place", "all") else place


def review_lesson(seed: int, index: int) -> Lesson:
    """A lesson of the old kind that the bundled model has not seen."""
    return lesson(seed, REVIEW_FROM + index)


def teach_claims(model: Path, out: Path, *, steps: int, batch: int, rate: float, seed: int) -> Iterator[dict[str, Any]]:
    """Train a checkpoint on; writes the taught one into `out`, and yields the loss of every 50 steps, in nats a token.

    A step has `batch` claims and as many other lessons; `rate` is a share of the rates that the bundled model was made
    at.
    """
    import torch
    from transformers import InternVLForConditionalGeneration, InternVLProcessor

    from mmpr_pipeline.models.torchvision_cpu import install
    from mmpr_pipeline.nano.batches import LessonEncoder, lesson_batches
    from mmpr_pipeline.nano.train import NanoSettings, Student, optimizers, take_step

    install()
    torch.manual_seed(seed)
    processor = InternVLProcessor.from_pretrained(model, trust_remote_code=False)
    weights = InternVLForConditionalGeneration.from_pretrained(model, dtype=torch.float32, trust_remote_code=False)
    student = Student(weights)
    tools = optimizers(student, NanoSettings())
    encoder = LessonEncoder(processor.tokenizer)
    series = [lesson_batches(encoder, seed, batch, each) for each in (claim_lesson, review_lesson)]
    sums = [0.0, 0.0]
    for step in range(steps):
        batches = [next(each) for each in series]
        losses = [
            student.speak_loss(each, student.see(each.pixels), weight)
            for each, weight in zip(batches, (1.0, 0.0), strict=True)
        ]
        take_step(student, tools, losses[0] + losses[1], rate * min(1.0, (step + 1) / 50))
        sums = [total + loss.item() for total, loss in zip(sums, losses, strict=True)]
        if (step + 1) % 50 == 0 or step + 1 == steps:
            claims, review = (total / (step % 50 + 1) for total in sums)
            yield {"step": step + 1, "claims_nats": claims, "review_nats": review}
            sums = [0.0, 0.0]
    student.model.save_pretrained(out)
    processor.save_pretrained(out)
