from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from mmpr_pipeline.core.records import PreferencePair
from mmpr_pipeline.dataset.files.marks import Mark, append_mark
from mmpr_pipeline.dataset.files.sealed import SourceNote
from mmpr_pipeline.dataset.publish.card import dataset_card, size_category
from mmpr_pipeline.dataset.review.facts import Facts, facts_of
from mmpr_pipeline.rollouts.prompts import version_of
from mmpr_pipeline.screening.report import NOT_COMPARED
from mmpr_pipeline.sources.declaration.catalog import concerns, hub_licence, warnings_of
from tests.dataset.built import build_made
from tests.dataset.conftest import write_dataset


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    return facts_of(build_made(tmp_path_factory.mktemp("made")))


def card_of(facts: Facts) -> str:
    return dataset_card(facts, "me/my-pairs", "https://hub/datasets/me/my-pairs", 1000, 5000)


def test_the_front_matter_is_what_the_hub_reads(facts: Facts) -> None:
    import datasets

    from mmpr_pipeline.dataset.files.load import pair_features

    front = yaml.safe_load(card_of(facts).split("---\n")[1])
    assert front["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "data/train-*"}]}]
    (split,) = front["dataset_info"]["splits"]
    assert (split["name"], split["num_examples"], split["num_bytes"]) == ("train", facts.pairs, 5000)
    assert front["dataset_info"]["download_size"] == 1000
    assert datasets.Features._from_yaml_list(front["dataset_info"]["features"]) == pair_features()
    assert front["size_categories"] == [size_category(facts.pairs)]
    assert (front["license"], front["license_name"]) == ("other", "licences-of-the-sources")
    assert front["language"] == ["en"]


def test_the_figures_are_those_of_the_dataset(facts: Facts) -> None:
    card = card_of(facts)
    for group in facts.figures["groups"]:
        assert f"| made | {group['strategy']} | {group['pairs']:,} | {group['questions']:,} |" in card.replace("\\", "")
    counts = facts.figures["counts"]
    assert f"| paired |  | {counts['paired']:,} |" in card
    for fate in ("unpaired", "rejected"):
        for reason, number in counts[fate].items():
            assert f"| {fate} | {reason.replace('_', ' ')} | {number:,} |" in card
    for name in PreferencePair.model_fields:
        assert f"| `{name}` |" in card
    assert "Think step by step, then end with a line of the form: Final answer: ANSWER" in card
    assert "`cot-final-en@1`" in card
    assert 'load_dataset("me/my-pairs", split="train")' in card
    assert all(checker in card for checker in facts.made_by["checker"] if checker)
    rollouts = sum(counts["rollouts"].values())
    assert f"- Cost: {rollouts:,} rollouts of {counts['generated_tokens']:,} generated tokens" in card
    assert f"{counts['generated_tokens'] / facts.pairs:,.0f} tokens a pair" in card
    assert card == card_of(facts)


def test_what_was_compared_with_evaluation_sets_is_said(facts: Facts) -> None:
    assert f"- {NOT_COMPARED}" in card_of(replace(facts, screening=None))
    screening = {
        "sources": {"made": {"questions": 9, "left_out": 0, "contaminated": 3}},
        "templates": 0, "contaminated": {"mathvista": 3}, "unchecked": {},
        "against": {"mathvista": {"rows": 1000}},
    }  # fmt: skip
    card = card_of(replace(facts, screening=cast(Any, screening)))
    assert "3 questions dropped that an evaluation set has too (mathvista: 3)" in card
    assert "Compared with the evaluation sets mathvista (1,000 rows)" in card
    assert NOT_COMPARED not in card


def test_lengths_of_responses_are_counted(facts: Facts) -> None:
    for (source, strategy), lengths in facts.characters.items():
        assert lengths.chosen > 0
        assert 0 <= lengths.chosen_longer <= 1
        assert f"| {source} | {strategy} |" in card_of(facts)
    biased = {group: replace(lengths, chosen_longer=0.91) for group, lengths in facts.characters.items()}
    assert "Length bias: in 91% of the correctness pairs of made" in card_of(replace(facts, characters=biased))
    even = {group: replace(lengths, chosen_longer=0.5) for group, lengths in facts.characters.items()}
    assert "Length bias" not in card_of(replace(facts, characters=even))


def test_an_evaluation_set_and_a_forbidding_licence_are_warned_of(facts: Facts) -> None:
    source: SourceNote = {**facts.sources[0], "role": "evaluation", "licence": "CC BY-NC-ND 4.0"}
    card = card_of(replace(facts, sources=[source]))
    assert "made is an evaluation set" in card
    assert "forbids derived works" in card
    assert card.index("Before you use it") < card.index("How to load")
    free: list[SourceNote] = [{**facts.sources[0], "role": "train", "licence": "MIT"}]
    assert "Warning" not in card_of(replace(facts, sources=free))
    assert "license: mit\n" in card_of(replace(facts, sources=free))


def test_text_of_a_declaration_stays_text(facts: Facts) -> None:
    description = "a | b\n# Head\n<script>alert(1)</script>"
    hostile: SourceNote = {**facts.sources[0], "description": description, "homepage": "x`y"}
    card = card_of(replace(facts, sources=[hostile]))
    assert "<script>" not in card
    assert "\n# Head" not in card
    row = next(line for line in card.splitlines() if "alert(1)" in line)
    assert len(re.findall(r"(?<!\\)\|", row)) == 7


@pytest.mark.parametrize(
    ("licence", "told"),
    [
        ("MIT", []),
        ("Apache-2.0", []),
        ("CC BY 4.0", []),
        ("CC BY-NC 4.0", ["no commercial"]),
        ("CC BY-NC-SA 4.0", ["no commercial", "same licence"]),
        ("CC BY-ND 4.0", ["derived works"]),
        ("GPL-3.0", ["same licence"]),
        ("unknown", ["not known"]),
        ("", ["not known"]),
        ("none stated where it was looked for; access by registration at the homepage", ["registration", "not known"]),
        ("Apache-2.0 on the card, which limits use to research and education", ["research"]),
        ("MIT, as OpenGVLab states it; the receipts have terms of their own", ["terms"]),
        ("The data set's own; see the homepage", ["terms"]),
    ],
)
def test_what_speaks_against_a_licence(licence: str, told: list[str]) -> None:
    found = concerns(licence)
    assert len(found) == len(told), found
    for word, text in zip(told, found, strict=True):
        assert word in text


def test_every_source_of_the_catalog_gets_its_warnings() -> None:
    from mmpr_pipeline.sources.declaration.catalog import catalog_names, find_declaration

    for name in catalog_names():
        declared = find_declaration(name)[0]
        found = warnings_of([{"name": name, "role": declared.role, "licence": declared.licence}])
        assert any("evaluation set" in text for text in found) == (declared.role == "evaluation")


def test_one_licence_is_named_and_several_are_other() -> None:
    assert hub_licence(["CC BY-SA 4.0", "cc by-sa 4.0"]) == "cc-by-sa-4.0"
    assert hub_licence(["MIT", "Apache-2.0"]) == "other"
    assert hub_licence(["MIT, as lmms-lab/GQA states it"]) == "other"


def test_sizes_have_the_hubs_names() -> None:
    assert [size_category(n) for n in (1, 999, 1000, 3_000_000)] == ["n<1K", "n<1K", "1K<n<10K", "1M<n<10M"]


def test_an_output_whose_build_noted_no_sources_is_called_unknown(tmp_path: Path) -> None:
    import json

    out = build_made(tmp_path, questions=6, open_ended=0, shards=1)
    config = json.loads((out / "config.json").read_text())
    del config["sources"], config["sha256"]
    (out / "config.json").write_text(json.dumps(config))
    facts = facts_of(out)
    assert [(s["name"], s["licence"]) for s in facts.sources] == [("made", "unknown")]
    assert "not known" in facts.warnings[0]


def test_a_source_s_own_instruction_is_shown_behind_its_label(facts: Facts) -> None:
    text = "Work in centimetres, then write: Final answer: X"
    label = f"cot-final-en-made@{version_of(text)}"
    source: SourceNote = {**facts.sources[0], "instructions": [text]}
    made_by = {**facts.made_by, "prompt_version": {label: 7, "cot-final-en-made@00000000": 1}}
    card = card_of(replace(facts, sources=[source], made_by=made_by))
    assert f"| `{label}` | 7 | {text} |" in card
    assert "| `cot-final-en-made@00000000` | 1 | (not known here) |" in card


def test_the_card_states_how_precise_people_found_the_verdicts(tmp_path: Path) -> None:
    store = write_dataset(tmp_path / "out")
    assert "random sample" not in dataset_card(facts_of(tmp_path / "out"), "org/name", "https://x", 1, 1)
    for index in range(20):
        outcome = "incorrect" if index < 2 else "correct"
        append_mark(store, Mark(question_id="a", index=index, outcome=outcome, drawn="sample", judged="correct"))
    card = dataset_card(facts_of(tmp_path / "out"), "org/name", "https://x", 1, 1)
    assert "people confirmed 18 of 20 (90%, 95% interval 70% to 97%) verdicts `correct`." in card
