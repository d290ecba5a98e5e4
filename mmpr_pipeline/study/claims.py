"""Teach the embedded model to verify claims: `python -m mmpr_pipeline.study.claims --out DIR`.

Feedback with the model's own labels (`feedback: {labels: model}`) needs a model that can tell whether a claim about a
picture is true. As bundled, it cannot. Each step trains the language model (its vision is frozen) on three things:
- claims: say what the picture shows at the claimed place, then yes or no;
- comparisons without a picture: the same last step alone, many in each step, easy ones first. Without them the model
  learned to say what a place shows, but its yes or no stayed at chance (three ways, 300 to 400 steps each);
- its old lessons, so that it forgets nothing.

Prints the share of held-out claims that the model judges correctly, before and after. As everywhere, a picture's hash
decides its split, so no held-out picture was trained on.
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
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from mmpr_pipeline.core.records import Question
from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.engines.start import start_engines
from mmpr_pipeline.models.resolve import NANO, resolve_model
from mmpr_pipeline.nano.batches import Batch, LessonEncoder, sorted_batches
from mmpr_pipeline.nano.lessons import Lesson, lesson
from mmpr_pipeline.nano.train import NanoSettings, Student, optimizers, rate_factor, take_step
from mmpr_pipeline.pairing.feedback import REASONING, Asking, claim_prompt
from mmpr_pipeline.pairing.settings import FeedbackSettings
from mmpr_pipeline.rollouts.prompts import Prompt, place_images
from mmpr_pipeline.sources.generated.describe import PLACES, Scene
from mmpr_pipeline.sources.generated.scenes import png, scene_and_question
from mmpr_pipeline.sources.generated.shapes import COLOURS, SHAPES
from mmpr_pipeline.sources.images.load import load_image

CLAIM_SHARE = 0.6
"""Share of claims among the lessons of a step; the rest are old lessons."""
RATES = 0.5
"""Learning rates, as a share of those at which the embedded model was trained."""
COMPARISONS = 160
"""Comparisons without a picture in each step."""
EASY_SHARE, EASY_STEPS = 0.7, 0.6
"""Share of false comparisons in which both colour and shape differ; it falls to 0 by this share of the steps."""

_PLACES = [place for row in PLACES for place in row]


@dataclass(frozen=True)
class ClaimedObject:
    """A claim about a picture, as a description makes it, what the place shows, and whether the claim is true."""

    scene: Scene
    text: str
    shown: str
    true: bool


def claim_about(seed: int, index: int, split: str) -> ClaimedObject:
    """Claim `index` of a seed's endless series; half of them are true, and false ones err in colour, shape or place."""
    rng = Random(f"claim/{split}/{seed}/{index}")
    scene, _ = scene_and_question("nano_describe", split, seed, index)
    assert isinstance(scene, Scene)
    things = list(zip([thing.name for thing in scene.things], scene.places, strict=True))
    name, place = rng.choice(things)
    true = rng.random() < 0.5
    while not true and (name, place) in things:
        colour, shape = name.split(" ", 1)
        error = rng.choice(["colour", "colour", "shape", "shape", "place", "all"])
        if error in ("colour", "all"):
            colour = rng.choice(list(COLOURS))
        if error in ("shape", "all"):
            shape = rng.choice(SHAPES)
        if error in ("place", "all"):
            place = rng.choice(_PLACES)
        name = f"{colour} {shape}"
    shown = next((stating(place, f"a {name}") for name, where in things if where == place), stating(place, "nothing"))
    return ClaimedObject(scene, worded(rng, name, place), shown, true)


def worded(rng: Random, name: str, place: str) -> str:
    """A claim in the words of the first of a description, or of a later one."""
    return f"{'The picture shows ' if rng.random() < 0.35 else ''}a {name} at the {place}"


def stating(place: str, shown: str) -> str:
    """What is said before the verdict."""
    return f"At the {place} the picture shows {shown}."


def last_line(true: bool) -> str:
    """The last line of a response."""
    return f"Final answer: {'Yes' if true else 'No'}"


def claim_lesson(claim: ClaimedObject) -> Lesson:
    """Asked as the strategy `feedback` asks: say what the place shows, then whether the claim is true."""
    prompt = place_images(f"{claim_prompt(claim.text)}\n{REASONING}", 1)
    return Lesson("claim", "cot-final", prompt, f"{claim.shown}\n{last_line(claim.true)}", claim.scene)


def comparison_loss(student: Student, encoder: LessonEncoder, rng: Random, easy: float) -> torch.Tensor:
    """Mean negative log-likelihood of yes or no after a claim and what its place is said to show, without a picture."""
    chats: list[list[int]] = []
    for _ in range(COMPARISONS):
        claimed = shown = (rng.choice(list(COLOURS)), rng.choice(SHAPES))
        true, place = rng.random() < 0.5, rng.choice(_PLACES)
        while not true and shown == claimed:
            other = (rng.choice(list(COLOURS)), rng.choice(SHAPES))
            if rng.random() < easy:
                shown = other if other[0] != claimed[0] and other[1] != claimed[1] else claimed
            else:
                shown = (other[0], claimed[1]) if rng.random() < 0.5 else (claimed[0], other[1])
        asked = encoder.prompt(f"{claim_prompt(worded(rng, ' '.join(claimed), place))}\n{REASONING}")
        # The last token is the yes or the no; the response's end is not learned here.
        chats.append(asked + encoder.response(f"{stating(place, 'a ' + ' '.join(shown))}\n{last_line(true)}")[:-1])
    rows = torch.arange(len(chats))
    last = torch.tensor([len(chat) - 1 for chat in chats])
    ids = pad_sequence([torch.tensor(chat) for chat in chats], batch_first=True, padding_value=encoder.pad)
    hidden = student.model.model.language_model(input_ids=ids, use_cache=False).last_hidden_state
    return cross_entropy(student.model.lm_head(hidden[rows, last - 1]), ids[rows, last])


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
    tools, encoder = optimizers(student, plan), LessonEncoder(processor.tokenizer)
    batches, rng, sums = lessons_and_claims(encoder, seed, batch), Random(f"comparisons/{seed}"), [0.0, 0.0]
    for step in range(steps):
        chats = next(batches)
        with torch.no_grad():
            visual = student.see(chats.pixels)
        easy = max(0.0, EASY_SHARE * (1 - step / (EASY_STEPS * steps)))
        losses = student.speak_loss(chats, visual), comparison_loss(student, encoder, rng, easy)
        take_step(student, tools, sum(losses, torch.zeros(())), rate_factor(step, steps, plan))
        sums = [total + loss.item() for total, loss in zip(sums, losses, strict=True)]
        if (step + 1) % 20 == 0:
            spoken, compared = (round(total / 20, 4) for total in sums)
            print(json.dumps({"step": step + 1, "response_nats": spoken, "comparison_nats": compared}), flush=True)
            sums = [0.0, 0.0]
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
    parser.add_argument("--steps", type=int, default=360, help="optimizer steps")
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
