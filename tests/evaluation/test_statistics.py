from __future__ import annotations

import math

import numpy as np
import pytest

from mmpr_pipeline.evaluation.statistics import bootstrap_mean, compare_scores, sign_test


def test_the_interval_of_an_accuracy_is_about_the_normal_one() -> None:
    scores = [1.0] * 300 + [0.0] * 100
    found = bootstrap_mean(scores)
    half = 1.96 * math.sqrt(0.75 * 0.25 / 400)
    assert found.mean == 0.75
    assert found.low == pytest.approx(0.75 - half, abs=0.006)
    assert found.high == pytest.approx(0.75 + half, abs=0.006)
    assert bootstrap_mean(scores) == found
    assert bootstrap_mean(scores, seed=1) != found


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        found = bootstrap_mean(list((rng.random(80) < 0.6).astype(float)), resamples=400, seed=trial)
        covered += found.low <= 0.6 <= found.high
    assert 0.89 <= covered / 200 <= 0.99


def test_paired_questions_tell_more_than_two_intervals() -> None:
    rng = np.random.default_rng(1)
    first = (rng.random(200) < 0.5).astype(float)
    second = first.copy()
    second[np.flatnonzero(first == 0)[:20]] = 1.0  # better on 20 questions, worse on none
    found = compare_scores(list(second), list(first))
    assert (found.better, found.worse) == (20, 0)
    assert found.difference.mean == pytest.approx(0.1)
    assert found.difference.low > 0.05
    assert found.p < 1e-5
    alone = [bootstrap_mean(list(s)) for s in (first, second)]
    assert alone[0].high > alone[1].low  # intervals of the two alone overlap


@pytest.mark.parametrize(
    ("better", "worse", "p"), [(0, 0, 1.0), (5, 5, 1.0), (10, 0, 2 / 1024), (8, 2, 112 / 1024), (2, 8, 112 / 1024)]
)
def test_the_sign_test_is_exact(better: int, worse: int, p: float) -> None:
    assert sign_test(better, worse) == pytest.approx(p)


def test_no_questions_have_no_accuracy() -> None:
    assert math.isnan(bootstrap_mean([]).mean)
    assert bootstrap_mean([]).questions == 0
