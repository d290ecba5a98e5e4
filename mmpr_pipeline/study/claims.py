"""Teach the embedded model to verify claims: `python -m mmpr_pipeline.study.claims --out DIR`.

Feedback with the model's own labels (`feedback: {labels: model}`) needs a model that can tell whether a claim about a
picture is true. As bundled it cannot. Lessons about claims teach it to describe the picture first and then to say
whether the claim is listed: asked for yes or no as its first word it stayed at chance, in 350 steps. The other half of
the lessons are its old ones, so that it forgets nothing; its vision is left as it is.

Prints the share of held-out claims that it judges rightly, before and after. The picture's hash decides its split, as
everywhere, so no held-out picture was learned from.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from random import Random

import torch

from mmpr_pipeline.core.records import Question
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import start_engines
from mmpr_pipeline.models.resolve import NANO, resolve_model
from mmpr_pipeline.nano.batches import Batch, LessonEncoder, sorted_batches
from mmpr_pipeline.nano.lessons import Lesson, lesson
from mmpr_pipeline.nano.train import NanoSettings, Student, optimizers, rate_factor, take_step
from mmpr_pipeline.pairing.feedback import REASONING, Asking, claim_prompt
from mmpr_pipeline.pairing.options import FeedbackSettings
from mmpr_pipeline.rollouts.prompts import Prompt, place_images
from mmpr_pipeline.sources.generated.describe import PLACES, Scene
from mmpr_pipeline.sources.generated.scenes import png, scene_and_question
from mmpr_pipeline.sources.generated.shapes import COLOURS, SHAPES
from mmpr_pipeline.sources.images.decode import load_image

CLAIM_SHARE = 0.4
RATES = 0.25
"""Of the rates at which the embedded model was trained."""


@dataclass(frozen=True)
class ClaimedObject:
    """A claim about a picture, as a description makes it, and whether it is true."""

    scene: Scene
    description: str
    text: str
    true: bool


def claim_about(seed: int, index: int, split: str) -> ClaimedObject:
    """Claim `index` of a seed's endless series; half of them are true, and false ones err in colour, shape or place."""
    rng = Random(f"claim/{split}/{seed}/{index}")
    scene, item = scene_and_question("nano_describe", split, seed, index)
    assert isinstance(scene, Scene)
    things = list(zip([thing.name for thing in scene.things], scene.places, strict=True))
    name, place = rng.choice(things)
    true = rng.random() < 0.5
    places = [each for row in PLACES for each in row]
    while not true and (name, place) in things:
        colour, shape = name.split(" ", 1)
        error = rng.choice(["colour", "colour", "shape", "shape", "place", "all"])
        if error in ("colour", "all"):
            colour = rng.choice(list(COLOURS))
        if error in ("shape", "all"):
            shape = rng.choice(SHAPES)
        if error in ("place", "all"):
            place = rng.choice(places)
        name = f"{colour} {shape}"
    text = f"a {name} at the {place}"
    return ClaimedObject(scene, item.reasoning, f"The picture shows {text}" if rng.random() < 0.35 else text, true)


def claim_lesson(claim: ClaimedObject) -> Lesson:
    """Asked as the strategy `feedback` asks: describe the picture, then say whether the claim is listed."""
    prompt = place_images(f"{claim_prompt(claim.text)}\n{REASONING}", 1)
    core = claim.text.removeprefix("The picture shows ")
    verdict, answer = ("listed", "Yes") if claim.true else ("not listed", "No")
    response = f"{claim.description} {core[0].upper()}{core[1:]} is {verdict}.\nFinal answer: {answer}"
    return Lesson("claim", "cot-final", prompt, response, claim.scene)


def lessons_and_claims(encoder: LessonEncoder, seed: int, size: int) -> Iterator[Batch]:
    """Batches of an endless series: old lessons, and `CLAIM_SHARE` of claims among them."""
    rng = Random(f"claims or lessons/{seed}")
    mixed = (
        claim_lesson(claim_about(seed, n, "train")) if rng.random() < CLAIM_SHARE else lesson(seed + 1, n)
        for n in count()
    )
    return sorted_batches(encoder, mixed, seed, size)


def teach(out: Path, steps: int, seed: int, batch: int) -> None:
    """Teach the embedded model claims, and write it to `out`, with its processor."""
    from transformers import AutoProcessor, InternVLForConditionalGeneration

    torch.manual_seed(seed)
    bundled = resolve_model(NANO).path
    processor = AutoProcessor.from_pretrained(bundled, trust_remote_code=False)
    student = Student(InternVLForConditionalGeneration.from_pretrained(bundled, trust_remote_code=False))
    for name, weight in student.named_parameters():
        weight.requires_grad_(name.startswith(("model.model.language_model", "model.lm_head")))
    plan = NanoSettings(seed=seed, batch=batch)
    plan = replace(plan, matrix_rate=RATES * plan.matrix_rate, other_rate=RATES * plan.other_rate)
    tools, total = optimizers(student, plan), 0.0
    batches = lessons_and_claims(LessonEncoder(processor.tokenizer), seed, batch)
    for step in range(steps):
        chats = next(batches)
        with torch.no_grad():
            visual = student.see(chats.pixels)
        loss = student.speak_loss(chats, visual)
        take_step(student, tools, loss, rate_factor(step, steps, plan))
        total += loss.item()
        if (step + 1) % 50 == 0:
            print(json.dumps({"step": step + 1, "response_nats": round(total / 50, 4)}), flush=True)
            total = 0.0
    student.model.save_pretrained(out)
    processor.save_pretrained(out)


async def judged_rightly(model: str, claims: int, seed: int) -> dict[str, float]:
    """Shares of held-out claims, asked one by one as `feedback` does: judged rightly, of the true and of the false."""
    engine = await start_engines(EngineSettings(model=model, actors=0))
    settings = FeedbackSettings(verify="reasoning")
    right: dict[bool, list[bool]] = {True: [], False: []}

    async def ask(index: int) -> None:
        claim = claim_about(seed, index, "heldout")
        image = load_image(png(claim.scene))
        question = Question(
            question_id=f"{index:032x}", source="claims", source_id=str(index), text="", images=(image,), kind="none"
        )
        asking = Asking(question, Prompt("", "open-en@1"), engine, settings, seed)
        denied = await asking.denied([claim.text])
        right[claim.true].append(denied[claim.text] != claim.true)

    try:
        await asyncio.gather(*(ask(index) for index in range(claims)))
    finally:
        await engine.close()
    shares = {"all": right[True] + right[False], "true": right[True], "false": right[False]}
    return {name: round(sum(each) / len(each), 4) for name, each in shares.items()}


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Teach the embedded model to verify claims about pictures.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the taught model")
    parser.add_argument("--steps", type=int, default=400, help="optimizer steps")
    parser.add_argument("--batch", type=int, default=48, help="lessons of a step")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--claims", type=int, default=400, help="held-out claims to judge, before and after")
    args = parser.parse_args()
    teach(args.out, args.steps, args.seed, args.batch)
    for model in (NANO, str(args.out)):
        judged = asyncio.run(judged_rightly(model, args.claims, args.seed + 7))
        print(json.dumps({"model": model, "judged_rightly": judged}), flush=True)


if __name__ == "__main__":
    main()
