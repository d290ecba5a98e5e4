"""Merged outputs: each question once, rollouts of all with their models, and pairs across them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.engines.engine import EngineInfo, SampleRequest
from mmpr_pipeline.engines.scripted.engine import ScriptedEngine, parse_script
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.pipeline.plans.merged import make_merge
from tests.pipeline.made import files_of, make_source
from tests.pipeline.test_golden import finished


class Model(ScriptedEngine):
    """A scripted model of a name that is always right, or always wrong."""

    def __init__(self, name: str, rate: float) -> None:
        super().__init__(parse_script({"solve_rate": rate, "extremes": 0, "unparseable_rate": 0, "tokens": 8}))
        self.info = EngineInfo(engine="scripted", model=name, context=None, can_continue=True)

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        return [r.model_copy(update={"text": f"{self.info.model}: {r.text}"}) for r in await super().sample(request)]


def built(folder: Path, out: str, engine: ScriptedEngine, **settings: Any) -> str:
    given = {
        "sources": [str(folder / "source" / "made.yaml")],
        "out": str(folder / out),
        "engine.name": "scripted",
        "screening.decontaminate": False,
        "sampling.samples": 4,
        "sampling.adaptive": False,
        "pairing.max_pairs": 4,
        **settings,
    }
    finished(make_build_plan(load_config(None, given)), engine)
    return str(folder / out)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """One of a model that is never wrong, over two thirds of the rows; one of a model that is never right."""
    folder = tmp_path_factory.mktemp("merge")
    make_source(folder / "source", questions=30, open_ended=3)
    good = built(folder, "good", Model("good", 1.0), shards=2, limit=22)
    return folder, good, built(folder, "bad", Model("bad", 0.0), shards=3)


def rows_of(out: Path, kind: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / kind).glob("*")) for row in pa.ipc.open_file(path).read_all().to_pylist()]


def test_each_question_is_there_once_with_the_rollouts_of_all(outputs: tuple[Path, str, str]) -> None:
    folder, good, bad = outputs
    finished(make_merge([good, bad], {"out": str(folder / "both")}), None)
    questions, rollouts = rows_of(folder / "both", "questions"), rows_of(folder / "both", "rollouts")
    assert len({row["question_id"] for row in questions}) == len(questions) == 33
    counted = Counter((row["question_id"], row["model"]) for row in rollouts if row["parent"] is None)
    for row in questions:
        sampled = 4 if row["kind"] != "none" else 2
        models = ("good", "bad") if int(row["source_id"][1:]) < 22 else ("bad",)
        assert {m: counted[row["question_id"], m] for m in ("good", "bad") if counted[row["question_id"], m]} == (
            dict.fromkeys(models, sampled)
        )


def test_pairs_are_made_across_models_and_say_so(outputs: tuple[Path, str, str]) -> None:
    folder, good, bad = outputs
    finished(make_merge([good, bad], {"out": str(folder / "across")}), None)
    pairs = [row for row in rows_of(folder / "across", "pairs") if row["strategy"] == "correctness"]
    assert Counter((p["model"], p["rejected_model"]) for p in pairs) == {("good", "bad"): 22 * 4}
    assert all(p["chosen"].startswith("good: ") and p["rejected"].startswith("bad: ") for p in pairs)


def test_a_merge_is_the_same_each_time_and_tells_what_was_merged(outputs: tuple[Path, str, str]) -> None:
    import json

    folder, good, bad = outputs
    for name in ("one", "two"):
        finished(make_merge([bad, good], {"out": str(folder / name)}), None)
    assert files_of(folder / "one") == files_of(folder / "two")
    summary = json.loads((folder / "one" / "summary.json").read_text())
    assert [each["digest"] for each in summary["merged"]] == [
        json.loads((Path(out) / "config.json").read_text())["digest"] for out in (bad, good)
    ]


def test_continuations_follow_their_parents(outputs: tuple[Path, str, str]) -> None:
    folder, good, bad = outputs
    finished(make_merge([bad, good], {"out": str(folder / "parents")}), None)
    texts = {(r["question_id"], r["index"]): r["text"] for r in rows_of(folder / "parents", "rollouts")}
    for pair in rows_of(folder / "parents", "pairs"):
        assert texts[pair["question_id"], pair["chosen_index"]] == pair["chosen"]
        assert texts[pair["question_id"], pair["rejected_index"]] == pair["rejected"]
        assert pair["chosen"][: pair["shared_chars"]] == pair["rejected"][: pair["shared_chars"]]


def test_one_output_is_not_merged_with_itself(outputs: tuple[Path, str, str]) -> None:
    with pytest.raises(ConfigError, match="nothing to merge"):
        make_merge([outputs[1], outputs[1]], {"out": str(outputs[0] / "x")})


def test_a_question_that_one_output_could_not_ask_is_there_once(outputs: tuple[Path, str, str]) -> None:
    folder, good, _ = outputs
    refusing = ScriptedEngine(parse_script({"fail_on": ["q3"]}))
    some = built(folder, "some", refusing, shards=2, limit=22)
    finished(make_merge([some, good], {"out": str(folder / "once")}), None)
    rows = [row for row in rows_of(folder / "once", "questions") if row["source_id"] == "q3"]
    assert [row["status"] == "rejected" for row in rows] == [False]


def test_notes_of_a_source_hold_what_any_of_the_outputs_asked_for(outputs: tuple[Path, str, str]) -> None:
    folder, good, bad = outputs
    plan = make_merge([good, bad], {"out": str(folder / "noted")})
    few, many = plan.described["sources"][0].copy(), plan.described["sources"][0].copy()
    few["tiles"], many["tiles"], few["instructions"], many["instructions"] = 18, 24, ["few"], ["many"]
    mixed = replace(
        plan,
        described={**plan.described, "sources": [few]},
        descriptions=({**plan.descriptions[0], "sources": [many]},),
    )
    (note,) = mixed.described_sources
    assert (note["tiles"], note["instructions"]) == (24, ["few", "many"])
