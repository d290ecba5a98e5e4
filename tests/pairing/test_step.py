"""Steps: where a response is split, and what its completions are."""

from __future__ import annotations

import asyncio

import pytest

from mmpr_pipeline.dataset.export.formats.steps import labelled
from mmpr_pipeline.engines.scripted.engine import ScriptedEngine, parse_script
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.step import Steps, step_ends
from mmpr_pipeline.pairing.strategy import Recipe
from mmpr_pipeline.rollouts.prompts import Prompt
from mmpr_pipeline.rollouts.sampling import SamplingSettings
from tests.records import a_checked, a_question

QUESTION = a_question()


@pytest.mark.parametrize(
    ("text", "most", "steps"),
    [
        ("a\nb\n\nc", 12, ["a\n", "b\n\n", "c"]),
        ("One here. Two there. Three.", 12, ["One here. ", "Two there. ", "Three."]),
        ("一。二。三", 12, ["一。", "二。", "三"]),
        ("a\nb\nc\nd\ne", 2, ["a\nb\n", "c\nd\ne"]),
        ("a\nb\n\n", 12, ["a\n", "b\n\n"]),
        ("one", 12, ["one"]),
        ("", 12, [""]),
    ],
)
def test_a_response_is_split_into_lines_or_sentences(text: str, most: int, steps: list[str]) -> None:
    ends = step_ends(text, most)
    assert [text[a:b] for a, b in zip([0, *ends], ends, strict=False)] == steps


def test_each_beginning_is_completed_and_labelled() -> None:
    texts = ["I see a.\nI see b.\nFinal answer: 3", "I see c.\nFinal answer: 4"]
    rollouts = [
        a_checked(QUESTION, i, t, o) for i, (t, o) in enumerate(zip(texts, ("correct", "incorrect"), strict=True))
    ]
    pairing = PairingSettings(strategies=("step",), options={"step": {"samples": 4}})
    recipe = Recipe(SamplingSettings(), pairing, seed=0)
    engine = ScriptedEngine(parse_script({"solve_rate": 0.5, "extremes": 0, "tokens": 8}))
    made = asyncio.run(Steps().pair(QUESTION, Prompt("How many?", "cot-final-en@1"), rollouts, engine, recipe))
    assert not made.pairs
    assert sorted((r.parent, r.prefix_chars) for r in made.rollouts) == sorted(
        [(0, 9)] * 4 + [(0, 18)] * 4 + [(1, 9)] * 4
    )
    assert [r.index for r in made.rollouts] == list(range(2, 14))
    assert len({r.seed for r in made.rollouts}) == 12
    assert all(r.text.startswith(texts[r.parent or 0][: r.prefix_chars]) for r in made.rollouts)
    rows = [r.model_dump() for r in [*rollouts, *made.rollouts]]
    first, second = labelled(rows)
    assert [s["step"] for s in first.steps] == ["I see a.\n", "I see b.\n", "Final answer: 3"]
    assert [s["num_mc_total"] for s in first.steps] == [4, 4, 1]
    right = sum(r.outcome == "correct" and r.prefix_chars == 9 and r.parent == 1 for r in made.rollouts)
    assert [s["score"] for s in second.steps] == [right / 4, 0]
