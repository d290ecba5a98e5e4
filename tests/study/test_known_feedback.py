"""Claims about generated pictures, and what the world behind a picture says of them."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random

import pytest

from mmpr_pipeline.engines.settings import EngineSettings
from mmpr_pipeline.pairing.feedback import split_claims
from mmpr_pipeline.sources.generated.describe import Scene
from mmpr_pipeline.sources.generated.scenes import scene_of
from mmpr_pipeline.sources.source import open_source
from mmpr_pipeline.study.run import write_sources
from mmpr_pipeline.study.settings import QuestionSettings
from mmpr_pipeline.study.steps import known_feedback
from mmpr_pipeline.study.steps.known_feedback import is_true
from tests.pipeline.engines import TextEngine


def scene() -> Scene:
    return Scene.sample(Random("a scene"))


def test_every_claim_of_a_true_caption_is_true_and_stands_alone() -> None:
    shown = scene()
    claims = split_claims(shown.caption())
    assert len(claims) == len(shown.things)
    assert all(is_true(claim, shown) for claim in claims)


@pytest.mark.parametrize("change", ["name", "place", "both swapped"])
def test_a_claim_with_another_thing_or_place_is_false(change: str) -> None:
    shown = scene()
    (one, here), (two, there) = list(zip(shown.things, shown.places, strict=True))[:2]
    assert one.name != two.name
    said = {
        "name": f"a {two.name} at the {here}",
        "place": f"a {one.name} at the {there}",
        "both swapped": f"The picture shows a {two.name} at the {here}.",
    }
    assert not is_true(said[change], shown)


def test_a_claim_without_a_place_is_about_the_whole_picture_and_one_without_an_object_is_about_nothing() -> None:
    shown = scene()
    assert is_true(f"There is a {shown.things[0].name}.", shown)
    absent = next(f"{c} {s}" for c in ("red", "blue", "green") for s in ("circle", "cross")
                  if f"{c} {s}" not in shown.names())  # fmt: skip
    assert not is_true(f"There is a {absent}.", shown)
    assert is_true("It is a pleasant picture.", shown)


def test_pairs_by_the_world_have_fewer_false_claims_in_what_is_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that swaps in a thing that is not there, in every answer but the first two of a picture."""

    def text(source_id: str, index: int) -> str:
        shown = scene_of(source_id)
        assert isinstance(shown, Scene)
        place, invented = shown.places[0], next(n for n in ("red cross", "blue cross") if n != shown.things[0].name)
        said = shown.caption() if index < 2 else f"The picture shows a {invented} at the {place}, answer {index}."
        return said if index != 1 else said.replace("The picture shows", "It shows")

    async def start(settings: EngineSettings) -> TextEngine:
        return TextEngine(text)

    monkeypatch.setattr(known_feedback, "start_engines", start)
    write_sources(tmp_path / "source", ("nano_describe",), QuestionSettings(split="practice", each=5, seed=3))
    settings = {
        "source": str(tmp_path / "source" / "nano_describe.yaml"),
        "each": 5,
        "answers": 4,
        "pairs": 2,
        "engine": {"name": "scripted", "actors": 0},
        "decoding": {},
        "seed": 0,
        "folder": str(tmp_path / "rows"),
    }
    counts = known_feedback.pair_by_world(settings)
    rows = [json.loads(line) for line in (tmp_path / "rows" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == counts["pairs"] == 10
    assert all("answer" in row["rejected"] and "answer" not in row["chosen"] for row in rows)
    source = open_source(str(tmp_path / "rows" / "same_chosen.yaml"))
    read = list(source.read(source.index(None), 0, 10))
    assert [item.preset.chosen for item in read] == [row["chosen"] for row in rows]  # type: ignore[union-attr]
    assert counts["generated_tokens"] > sum(row["chosen_tokens"] for row in rows)
