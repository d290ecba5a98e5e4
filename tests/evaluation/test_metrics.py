"""Each metric's numbers, worked out by hand from its definition."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.evaluation.metrics import rates
from mmpr_pipeline.evaluation.metrics.metric import ScoredItem
from mmpr_pipeline.evaluation.metrics.rates import metric_of
from mmpr_pipeline.evaluation.scoring.graded import Graded
from mmpr_pipeline.evaluation.statistics import metric_difference, metric_interval


def marks(*scores: float) -> list[ScoredItem]:
    return [ScoredItem(str(i), (Graded(score),)) for i, score in enumerate(scores)]


def samples(*responses: tuple[str | None, float]) -> ScoredItem:
    return ScoredItem("q", tuple(Graded(score, said) for said, score in responses))


def truth(*answers: tuple[bool, str | None]) -> list[ScoredItem]:
    """Marks of (truth, said)."""
    return [
        ScoredItem(str(i), (Graded(float((said == "yes") == gold and said is not None), said, "",
                             {"truth": float(gold), "yes": float(said == "yes")}),))
        for i, (gold, said) in enumerate(answers)
    ]  # fmt: skip


def test_accuracy_counts_what_was_not_asked_as_wrong() -> None:
    assert rates.accuracy().of([*marks(1, 1, 0), ScoredItem("lost", (), reason="prompt_too_long")]) == 50.0


def test_pass_at_k_is_the_unbiased_estimate() -> None:
    """Chen et al. 2021: with 2 of 4 right, pass@2 = 1 - C(2,2)/C(4,2) = 5/6."""
    mark = samples(("1", 1), ("2", 0), ("1", 1), ("3", 0))
    assert rates.pass_at(2).of([mark]) == pytest.approx(100 * 5 / 6)
    assert rates.pass_at(4).of([mark]) == 100.0
    assert rates.pass_at(1).of([mark]) == rates.accuracy().of([mark]) == 50.0


def test_the_majority_decides_and_silence_does_not_vote() -> None:
    right = samples(("7", 1), (None, 0), (None, 0), ("5", 0), ("7", 1))
    wrong = samples(("5", 0), ("7", 1), ("5", 0))
    tied = samples(("5", 0), ("7", 1))
    assert rates.majority().of([right, wrong, tied, ScoredItem("none", ())]) == 25.0


def test_pope_counts_yes_as_positive_and_silence_as_no_yes() -> None:
    found = truth((True, "yes"), (True, "no"), (True, None), (False, "yes"), (False, "no"), (False, "no"))
    assert rates.precision().of(found) == 50.0
    assert rates.recall().of(found) == pytest.approx(100 / 3)
    assert rates.f1().of(found) == pytest.approx(40.0)
    assert rates.yes_share().of(found) == pytest.approx(100 / 3)
    assert rates.accuracy().of(found) == 50.0
    assert rates.f1().of(truth((True, "no"))) == 0.0


def test_a_circle_is_right_only_as_a_whole() -> None:
    scores = [(1, "a"), (1, "a"), (1, "b"), (0, "b"), (1, "c")]
    found = [ScoredItem(f"{i}", (Graded(score),), cycle=cycle) for i, (score, cycle) in enumerate(scores)]
    assert rates.circular().of(found) == pytest.approx(200 / 3)


def test_the_mean_over_rotations_weighs_each_rotation_once() -> None:
    scores = [(1, "0"), (0, "0"), (0, "0"), (1, "1")]
    found = [ScoredItem(f"{i}", (Graded(score),), cycle=cycle) for i, (score, cycle) in enumerate(scores)]
    assert rates.cycle_mean(rates.accuracy()).of(found) == pytest.approx((100 / 3 + 100) / 2)


def test_the_mean_over_categories_weighs_each_category_once() -> None:
    scores = [(1, "counting"), (0, "counting"), (0, "counting"), (1, "colour")]
    found = [ScoredItem(f"{i}", (Graded(s),), {"category": (name,)}) for i, (s, name) in enumerate(scores)]
    assert rates.category_mean("category", rates.accuracy()).of(found) == pytest.approx(200 / 3)


def test_relative_is_the_ratio_of_means_not_the_mean_of_ratios() -> None:
    found = [
        ScoredItem(str(i), (Graded(score, parts={"reference": ref}),))
        for i, (score, ref) in enumerate([(2, 4), (9, 9)])
    ]
    assert rates.relative().of(found) == pytest.approx(100 * 11 / 13)


def test_hallucination_is_a_score_below_three() -> None:
    assert rates.rate_below(3).of(marks(0, 2, 3, 6)) == 50.0
    assert rates.mean_score().of(marks(0, 2, 3, 6)) == 2.75


def test_wins_and_rewards() -> None:
    assert rates.win_rate().of(marks(2, 1, 0, -1, -2)) == 40.0
    assert rates.reward().of(marks(2, 2, 1, -1)) == 50.0


def test_chair() -> None:
    """Two descriptions name 3 and 1 objects, of which 1 and 0 are not there; a third names none."""
    parts = [(1, 3, 2, 4), (0, 1, 1, 1), (0, 0, 0, 2)]
    found = [
        ScoredItem(str(i), (Graded(float(bad > 0), parts={"hallucinated": bad, "named": named,
                                                   "names_objects": named > 0,
                                                   "recalled": recalled, "shown": shown}),))
        for i, (bad, named, recalled, shown) in enumerate(parts)
    ]  # fmt: skip
    assert rates.chair_responses(of_all=False).of(found) == 50.0
    assert rates.chair_responses(of_all=True).of(found) == pytest.approx(100 / 3)
    assert rates.chair_objects().of(found) == 25.0
    assert rates.chair_recall().of(found) == pytest.approx(300 / 7)


def test_of_nothing_there_is_no_number() -> None:
    assert math.isnan(rates.accuracy().of([]))
    assert math.isnan(metric_interval([], rates.accuracy(), 100, 0).low)


def test_unknown_metrics_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="Unknown metric 'f2'"):
        metric_of("f2")
    with pytest.raises(ConfigError, match="Unknown metric"):
        metric_of("pass@0")


def test_an_interval_of_independent_items_is_about_the_normal_one() -> None:
    found = metric_interval(marks(*[1.0] * 300, *[0.0] * 100), rates.accuracy(), 4000, 0)
    half = 196 * math.sqrt(0.75 * 0.25 / 400)
    assert (found.value, found.items, found.clusters) == (75.0, 400, 400)
    assert found.low == pytest.approx(75 - half, abs=0.6)
    assert found.high == pytest.approx(75 + half, abs=0.6)


def test_items_of_one_image_are_drawn_together() -> None:
    """100 images, each with four questions of the same fate: the interval is that of 100 observations, not of 400."""
    alone = marks(*[1.0] * 200, *[0.0] * 200)
    shared = [ScoredItem(m.id, m.graded, cluster=f"image {int(m.id) // 4}") for m in alone]
    narrow, wide = (metric_interval(each, rates.accuracy(), 4000, 0) for each in (alone, shared))
    assert wide.clusters == 100
    assert (wide.high - wide.low) / (narrow.high - narrow.low) == pytest.approx(2, rel=0.1)


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    """F1 of 30 images with 6 questions each, answered alike within an image; the truth is that of 200,000 images."""
    rng = np.random.default_rng(0)

    def drawn(images: int) -> list[ScoredItem]:
        hit = rng.random(images) < 0.7
        made = []
        for image in range(images):
            for question in range(6):
                gold = question % 2 == 0
                said = "yes" if gold == bool(hit[image]) else "no"
                made.append((gold, said, str(image)))
        return [
            ScoredItem(
                str(i), (Graded(0.0, said, "", {"truth": float(gold), "yes": float(said == "yes")}),), cluster=image
            )
            for i, (gold, said, image) in enumerate(made)
        ]

    covered = 0
    for seed in range(150):
        found = metric_interval(drawn(30), rates.f1(), 300, seed)
        covered += found.low <= 70.0 <= found.high
    assert 0.87 <= covered / 150 <= 0.99


def test_a_difference_is_the_model_minus_the_other_and_pairs_tell_more() -> None:
    rng = np.random.default_rng(1)
    before = (rng.random(200) < 0.5).astype(float)
    after = before.copy()
    after[np.flatnonzero(before == 0)[:20]] = 1.0
    found = metric_difference(marks(*after), marks(*before), rates.accuracy(), 2000, 0)
    assert (found.better, found.worse) == (20, 0)
    assert found.value == pytest.approx(10.0)
    assert 5 < found.low < 10 < found.high < 15
    assert found.p == pytest.approx(2 / 2**20)
    back = metric_difference(marks(*before), marks(*after), rates.accuracy(), 2000, 0)
    assert (back.value, back.better, back.worse) == (pytest.approx(-10.0), 0, 20)


def test_models_are_compared_on_the_same_items_only() -> None:
    with pytest.raises(ValueError, match="same items"):
        metric_difference(marks(1, 0), marks(1), rates.accuracy(), 100, 0)
