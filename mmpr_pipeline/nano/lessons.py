"""What the nano checkpoint is taught: chats about generated worlds, written with the pipeline's own prompts."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from mmpr_pipeline.core.records import Image, Question
from mmpr_pipeline.rollouts.prompts import TEMPLATES, prompt_text, template_for, without_images
from mmpr_pipeline.sources.generated.scenes import scene_and_question
from mmpr_pipeline.sources.generated.shapes import GeneratedScene, SceneQuestion

SHARES = {"nano_grid": 0.3, "nano_chart": 0.25, "nano_geometry": 0.25, "nano_describe": 0.2}
STYLES = {"cot-final": 0.5, "cot-boxed": 0.2, "direct": 0.3}
BLIND_SHARE = 0.1  # chats without their picture: what is left of DropNTP's prompt
_PICTURE = Image(sha256="", data=b"", format="png", width=112, height=112)


@dataclass(frozen=True)
class Lesson:
    """One chat to learn from; `world` is None where the picture is withheld."""

    source: str
    style: str
    prompt: str
    response: str
    world: GeneratedScene | None


def lesson(seed: int, index: int) -> Lesson:
    """Lesson `index` of the endless series of a seed; all of them are of the train split."""
    rng = Random(f"lesson/{seed}/{index}")
    source = _pick(rng, SHARES)
    world, item = scene_and_question(source, "train", seed, index)
    style = "open" if item.kind == "none" else _pick(rng, STYLES)
    prompt = lesson_prompt(item, style)
    blind = rng.random() < BLIND_SHARE
    return Lesson(
        source,
        style,
        without_images(prompt) if blind else prompt,
        response_of(item, style),
        None if blind else world,
    )


def lesson_prompt(item: SceneQuestion, style: str) -> str:
    """The user turn of an item, exactly as the pipeline asks it."""
    question = Question(
        question_id="",
        source="",
        source_id="",
        text=item.question,
        choices=item.choices,
        images=(_PICTURE,),
        kind=item.kind,
    )
    return prompt_text(question, template_for(question, style))


def response_of(item: SceneQuestion, style: str) -> str:
    """The response of an item that a style asks for."""
    if item.answer is None:
        return item.reasoning
    endings = {
        "cot-final": f"{item.reasoning}\nFinal answer: {item.answer}",
        "cot-boxed": f"{item.reasoning}\n\\boxed{{{item.answer}}}",
        "direct": item.answer,
    }
    return endings[style]


def tokenizer_texts(seed: int, count: int) -> list[str]:
    """Texts to train the tokenizer on: lessons, and every prompt template with all of its words."""
    lessons = [lesson(seed, index) for index in range(count)]
    texts = [text for each in lessons for text in (each.prompt, each.response)]
    return texts + [template.suffix for template in TEMPLATES.values() for _ in range(count // 20)]


def _pick(rng: Random, shares: dict[str, float]) -> str:
    return rng.choices(list(shares), weights=list(shares.values()))[0]
