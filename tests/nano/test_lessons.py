"""Lessons: of the train split only, written with the pipeline's own prompts, and partly without their picture."""

from __future__ import annotations

import re
from collections import Counter

from mmpr_pipeline.nano.lessons import BLIND_SHARE, SHARES, lesson, lesson_prompt, response_of
from mmpr_pipeline.rollouts.prompts import TEMPLATES
from mmpr_pipeline.sources.generated.scenes import split_of
from mmpr_pipeline.sources.generated.shapes import SceneQuestion


def test_prompts_and_responses_fit_each_other() -> None:
    endings = {
        "cot-final": r"(?s).+\nFinal answer: [^\n]+",
        "cot-boxed": r"(?s).+\n\\boxed\{[^\n{}]+\}",
        "direct": r"[A-Za-z0-9 ]{1,20}",
        "open": r"The picture shows .+\.",
    }
    for index in range(300):
        each = lesson(1, index)
        assert re.fullmatch(endings[each.style], each.response), each
        assert each.prompt.endswith(TEMPLATES[f"{each.style}-en"].suffix)
        assert each.prompt.startswith("<image>\n") == (each.world is not None)
        assert "<image>" not in each.prompt.removeprefix("<image>\n")
        assert each.world is None or split_of(each.world) == "train"


def test_shares_are_as_declared() -> None:
    lessons = [lesson(2, index) for index in range(1500)]
    counts = Counter(each.source for each in lessons)
    assert all(abs(counts[source] / 1500 - share) < 0.05 for source, share in SHARES.items())
    assert abs(sum(each.world is None for each in lessons) / 1500 - BLIND_SHARE) < 0.03


def test_choices_are_lettered_in_the_prompt() -> None:
    item = SceneQuestion("Which?", "choice", "B", "Because.", ("one", "two"))
    assert lesson_prompt(item, "direct") == "<image>\nWhich?\n(A) one\n(B) two\nReply with the answer only."
    assert response_of(item, "cot-boxed") == "Because.\n\\boxed{B}"
