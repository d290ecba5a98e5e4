"""Blind filter, step data and format pairs in a build: counts, a crash in the middle, pairs made again, export."""

from __future__ import annotations

import html
import io
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from rich.console import Console

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import Rollout
from mmpr_pipeline.dataset.export.run import export, export_table
from mmpr_pipeline.dataset.publish.card import dataset_card
from mmpr_pipeline.dataset.review.beside import beside_sentences
from mmpr_pipeline.dataset.review.facts import facts_of
from mmpr_pipeline.dataset.review.stats import stats
from mmpr_pipeline.dataset.review.terminal import stats_page, summary_page
from mmpr_pipeline.engines.engine import SampleRequest
from mmpr_pipeline.engines.registry import make_engine
from mmpr_pipeline.engines.scripted.engine import ScriptedEngine, parse_script
from mmpr_pipeline.pipeline.config import load_config
from mmpr_pipeline.pipeline.plans.from_rollouts import make_rebuild_plan
from mmpr_pipeline.pipeline.plans.from_sources import make_build_plan
from mmpr_pipeline.report.pages.page import report
from tests.pipeline.made import files_of, make_source
from tests.pipeline.test_golden import finished

QUESTIONS = 24
SCRIPT = {"solve_rate": 0.6, "extremes": 0.4, "blind_rate": 0.6, "unparseable_rate": 0.2, "tokens": 24}


def plan_of(folder: Path, out: str, **settings: Any) -> Any:
    source = folder / "source" / "made.yaml"
    if not source.exists():
        make_source(folder / "source", questions=QUESTIONS, open_ended=4)
    given = {
        "sources": [str(source)],
        "out": str(folder / out),
        "shards": 2,
        "engine.name": "scripted",
        "engine.script": SCRIPT,
        "screening.decontaminate": False,
        "sampling.samples": 8,
        "pairing.max_pairs": 4,
        "pairing.strategies": ["correctness", "dropout_ntp", "format", "step"],
        "pairing.options.blind.samples": 2,
        "pairing.options.step.samples": 3,
        "pairing.options.step.responses": 2,
        **settings,
    }
    return make_build_plan(load_config(None, given))


class Sloppy(ScriptedEngine):
    """Forgets the form of the answer in every third response; may fail for good after so many requests.

    `served` counts the requests of all such engines.
    """

    served: Counter[tuple[str, str, str]] = Counter()

    def __init__(self, most: int | None = None) -> None:
        super().__init__(parse_script(SCRIPT))
        self.most = most

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        if self.most == 0:
            raise RuntimeError("dead")
        self.most = None if self.most is None else self.most - 1
        self.served[request.question.question_id, request.prompt_version, f"{request.round}{request.prefix}"] += 1
        rollouts = await super().sample(request)
        return [
            r.model_copy(update={"text": r.text.replace("Final answer:", "The answer is")}) if r.index % 3 == 1 else r
            for r in rollouts
        ]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The finished build."""
    folder = tmp_path_factory.mktemp("beside")
    finished(plan_of(folder, "whole"), Sloppy())
    return folder / "whole"


def counts_of(out: Path) -> dict[str, Any]:
    return json.loads((out / "summary.json").read_text())["counts"]


def rows_of(out: Path, kind: str) -> list[dict[str, Any]]:
    return [row for path in sorted((out / kind).glob("*")) for row in pa.ipc.open_file(path).read_all().to_pylist()]


def test_each_signal_is_counted_with_its_tokens_and_yield(whole: Path) -> None:
    counts = counts_of(whole)
    assert counts["rollouts"]["blind"] == 2 * QUESTIONS
    assert 0 < counts["unpaired"]["solved_without_image"] < QUESTIONS
    assert min(counts["rollouts"]["step"], counts["pairs"]["format"], counts["pairs"]["correctness"]) > 0
    assert counts["beside_tokens"].keys() == {"blind", "step"}
    assert sum(counts["beside_tokens"].values()) < counts["generated_tokens"]
    blind, step, formed = beside_sentences(counts)
    assert f"({counts['beside_tokens']['blind']:,} tokens); {counts['unpaired']['solved_without_image']:,}" in blind
    assert f"{counts['rollouts']['step']:,} completions" in step
    assert f"({counts['beside_tokens']['step']:,} tokens)" in step
    assert formed.startswith(f"Format: {counts['pairs']['format']:,} pairs")
    assert "no further tokens" in formed
    everywhere(whole, blind, step, formed)


def everywhere(out: Path, *sentences: str) -> None:
    """Each sentence stands in the terminal's summary, in the report and in the card."""
    card = dataset_card(facts_of(out), "org/set", "https://example.org", 1, 1)
    page = report(out, out.parent / f"{out.name}.html")
    console = Console(width=10_000, record=True, file=io.StringIO())
    console.print(stats_page(stats(out)))
    shown = console.export_text()
    for sentence in sentences:
        assert sentence in card
        assert sentence in html.unescape(page.read_text())
        assert sentence in shown


def test_a_dropped_question_costs_its_blind_answers_only(whole: Path) -> None:
    rows, kept = rows_of(whole, "questions"), rows_of(whole, "rollouts")
    made = Counter(row["question_id"] for row in kept)
    dropped = [row for row in rows if row["reason"] == "solved_without_image"]
    assert {(row["rollouts"], made[row["question_id"]]) for row in dropped} == {(0, 2)}
    assert {row["detail"] for row in dropped} == {"solved without the image: 2 of 2"}


def test_rollouts_are_numbered_from_zero_and_those_beside_follow_the_others(whole: Path) -> None:
    numbers: dict[str, list[int]] = defaultdict(list)
    for row in rows_of(whole, "rollouts"):
        numbers[row["question_id"]].append(row["index"])
    assert all(sorted(each) == list(range(len(each))) for each in numbers.values())


def test_what_crashes_goes_on_from_its_journal_to_the_same_bytes(whole: Path) -> None:
    Sloppy.served.clear()
    for most in (9, 40, None):
        plan = plan_of(whole.parent, "broken", in_flight=3)
        try:
            finished(plan, Sloppy(most))
        except RuntimeError:
            assert most is not None
    assert files_of(whole.parent / "broken") == files_of(whole)
    prefixes = [key for key in Sloppy.served if "step@1" in key[1]]
    assert prefixes, "completions were asked for"
    again = [key for key, times in Sloppy.served.items() if times > 2]  # two may share a beginning
    assert again == []


def test_pairs_made_again_are_the_same_without_an_engine(whole: Path) -> None:
    finished(make_rebuild_plan(str(whole), {"out": str(whole.parent / "again")}), None)
    before, after = files_of(whole), files_of(whole.parent / "again")
    assert {k: v for k, v in before.items() if "manifest" not in k} == {
        k: v for k, v in after.items() if "manifest" not in k
    }


def test_marking_keeps_what_dropping_drops(whole: Path) -> None:
    finished(plan_of(whole.parent, "marked", **{"pairing.options.blind.action": "mark"}), Sloppy())
    counts = counts_of(whole.parent / "marked")
    assert "solved_without_image" not in counts["unpaired"]
    assert sum(counts["pairs"].values()) > sum(counts_of(whole)["pairs"].values())


def test_step_labels_are_exported(whole: Path) -> None:
    found = export(whole, "steps", whole.parent / "steps")
    rows = [json.loads(line) for line in (whole.parent / "steps" / "steps.jsonl").read_text().splitlines()]
    assert len(rows) == found.rows > 0
    assert export_table(found)
    total = sum(step["num_mc_total"] for row in rows for step in row["steps_with_score"][:-1])
    assert total == counts_of(whole)["rollouts"]["step"]
    for row in rows:
        assert "".join(step["step"] for step in row["steps_with_score"]) == row["response"]
        assert (whole.parent / "steps" / row["image"][0]).is_file()
        assert all(step["score"] == step["num_mc_correct"] / step["num_mc_total"] for step in row["steps_with_score"])


def test_votes_are_asked_for_with_a_final_answer(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "votes", **{
        "pairing.strategies": ["correctness", "vote"], "pairing.options": {}, "engine.script": {"solve_rate": 0.8},
    })  # fmt: skip
    finished(plan, make_engine(plan.config.engine))
    asked = [row for row in rows_of(tmp_path / "votes", "questions") if row["kind"] == "none"]
    assert [("Final answer" in row["prompt"], row["rollouts"]) for row in asked] == [(True, 8)] * 4
    assert {row["reason"] for row in asked} <= {None, "no_majority", "unanimous"}
    voted = [row for row in rows_of(tmp_path / "votes", "pairs") if row["strategy"] == "vote"]
    assert voted
    assert {row["answer"] for row in voted} == {None}
    assert all(row["chosen_rule"].startswith("majority_") for row in voted)
    counts = counts_of(tmp_path / "votes")
    assert counts["pairs"]["vote"] == len(voted)
    ids = {row["question_id"] for row in asked}
    tokens = sum(row["tokens"] for row in rows_of(tmp_path / "votes", "rollouts") if row["question_id"] in ids)
    assert counts["beside_tokens"] == {"vote": tokens}
    (sentence,) = beside_sentences(counts)
    assert f"of {len(voted):,} pairs are a majority's, and no gold confirms them ({tokens:,} tokens" in sentence
    everywhere(tmp_path / "votes", sentence)


def test_feedback_says_what_its_claims_took_and_gave(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "claims", **{"pairing.strategies": ["feedback"], "pairing.options": {}})
    finished(plan, make_engine(plan.config.engine))
    counts = counts_of(tmp_path / "claims")
    claims = [row for row in rows_of(tmp_path / "claims", "rollouts") if "claim@1" in row["prompt_version"]]
    pairs, tokens = counts["pairs"].get("feedback", 0), sum(row["tokens"] for row in claims)
    assert claims
    assert counts["beside_tokens"] == {"claim": tokens}
    (sentence,) = beside_sentences(counts)
    assert f"{len(claims):,} verdicts of the model on claims ({tokens:,} tokens): {pairs:,} pairs" in sentence
    everywhere(tmp_path / "claims", sentence)


def test_a_strategy_that_made_no_pair_is_named(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "none", **{
        "pairing.strategies": ["correctness", "blind", "format"], "pairing.options": {},
        "engine.script": {"solve_rate": 0.8},
    })  # fmt: skip
    finished(plan, make_engine(plan.config.engine))
    assert counts_of(tmp_path / "none")["pairs"].keys() == {"correctness"}
    sentence = "The strategy format made no pair."
    summary = json.loads((tmp_path / "none" / "summary.json").read_text())
    assert summary["warnings"] == [sentence], "blind makes none by its nature"
    console = Console(width=10_000, record=True, file=io.StringIO())
    console.print(summary_page({**summary, "run": {}}))
    assert sentence in console.export_text()
    assert sentence in dataset_card(facts_of(tmp_path / "none"), "org/set", "https://example.org", 1, 1)
    assert sentence in report(tmp_path / "none", tmp_path / "none.html").read_text()


def test_recorded_rollouts_cannot_be_asked_without_the_image(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be sampled again: no blind, step"):
        plan_of(tmp_path, "out", **{"engine.name": "replay", "engine.rollouts": "x.jsonl", "engine.script": {}})
