from __future__ import annotations

from mmpr_pipeline.core.records import PresetPair
from mmpr_pipeline.pairing.settings import PairingSettings
from mmpr_pipeline.pairing.strategy import STRATEGIES, Recipe
from mmpr_pipeline.pipeline.config import BuildConfig
from mmpr_pipeline.pipeline.question import work_question
from mmpr_pipeline.rollouts.sampling import SamplingSettings
from tests.pipeline.engines import TextEngine
from tests.records import a_question

CHOSEN = "A dog sits on a bench beside a lake, and it looks up."


async def test_the_chosen_response_of_a_row_is_cut_and_nothing_is_sampled() -> None:
    question = a_question(kind="none", answer=None, preset=PresetPair(chosen=CHOSEN, rejected="A cat."))
    engine = TextEngine(lambda source_id, index: "never asked", lambda kept: kept + "and a ship sails by.")
    pairing = PairingSettings(strategies=("dropout_preset",))
    recipe = Recipe(sampling=SamplingSettings(), pairing=pairing, seed=0)
    found = await work_question(question, engine, recipe, [STRATEGIES.get(name)() for name in pairing.strategies])
    [pair] = found.pairs
    assert (pair.chosen, pair.strategy) == (CHOSEN, "dropout_ntp")
    assert pair.rejected.startswith(CHOSEN[: pair.shared_chars])
    assert pair.rejected.endswith("and a ship sails by.")
    assert engine.asked == [("q1", "continue/0")]
    assert [rollout.parent for rollout in found.rollouts] == [None, 0]


async def test_a_row_without_a_pair_is_told_by_name() -> None:
    engine = TextEngine(lambda source_id, index: "never asked")
    pairing = PairingSettings(strategies=("dropout_preset",))
    recipe = Recipe(sampling=SamplingSettings(), pairing=pairing, seed=0)
    found = await work_question(
        a_question(kind="none", answer=None), engine, recipe, [STRATEGIES.get(name)() for name in pairing.strategies]
    )
    assert (found.row.status, found.row.reason) == ("unpaired", "no_preset_pair")


def test_rows_that_share_a_question_are_all_kept() -> None:
    """RLAIF-V has several pairs of a question: each has a chosen response of its own."""
    config = BuildConfig.model_validate({"sources": ["rlaif_v_pairs"], "pairing": {"strategies": ["dropout_preset"]}})
    assert not config.screening.dedup
    assert BuildConfig.model_validate({"sources": ["rlaif_v_pairs"]}).screening.dedup
