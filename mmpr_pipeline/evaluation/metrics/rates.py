"""Metrics by the names that declarations use: accuracy, scores of judges, hallucination, wins, several samples of one
question; means over categories and rotations; POPE's numbers, where `yes` is the positive class (Li et al. 2023) and
neither yes nor no is a wrong answer and no `yes`. `NAME@K` and `NAME:BREAKDOWN` take a number or a breakdown.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from math import comb

import numpy as np

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.evaluation.metrics.metric import Metric, ScoredItem, divided, metric_columns, ratio


def _one(mark: ScoredItem) -> float:
    return 1.0


def accuracy() -> Metric:
    """Share of right responses, %; of several responses to one question the mean, avg@k. Not asked is wrong."""
    return Metric("accuracy", lambda marks: metric_columns(marks, ScoredItem.mean, _one), ratio(100))


def pass_at(k: int) -> Metric:
    """pass@k, %: the chance that one of k responses is right, estimated without bias from n of which c are right:
    1 - C(n - c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374, equation 1)."""

    def chance(mark: ScoredItem) -> float:
        n, right = len(mark.graded), sum(each.score >= 1 for each in mark.graded)
        return 1 - comb(n - right, k) / comb(n, k) if n >= k else float(right > 0)

    return Metric(f"pass@{k}", lambda marks: metric_columns(marks, chance, _one), ratio(100))


def majority() -> Metric:
    """Share of questions whose most frequent answer is right, % (self-consistency, Wang et al. 2022, arXiv 2203.11171).

    Of equally frequent answers the first counts; responses without an answer do not vote.
    """

    def right(mark: ScoredItem) -> float:
        votes = Counter(each.said for each in mark.graded if each.said is not None)
        if not votes:
            return 0.0
        chosen = votes.most_common(1)[0][0]
        return next(each.score for each in mark.graded if each.said == chosen)

    return Metric("majority", lambda marks: metric_columns(marks, right, _one), ratio(100))


def mean_score(unit: str = "points", over: float = 1.0) -> Metric:
    """Mean of a judge's scores, `over` times; items without a score count 0, as the official scripts have it."""
    return Metric("score", lambda marks: metric_columns(marks, ScoredItem.mean, _one), ratio(over), unit=unit)


def rate_below(threshold: float) -> Metric:
    """Share of responses that score below a threshold, %. MMHal-Bench (Sun et al. 2023): below 3 is a hallucination."""

    def below(mark: ScoredItem) -> float:
        return sum(each.score < threshold for each in mark.graded) / len(mark.graded) if mark.graded else 1.0

    return Metric("hallucination_rate", lambda marks: metric_columns(marks, below, _one), ratio(100), better="lower")


def relative() -> Metric:
    """100 times the mean score of the model over that of the reference (Liu et al. 2023, LLaVA-Bench): of the means,
    not the mean of ratios."""
    return Metric(
        "relative", lambda marks: metric_columns(marks, ScoredItem.mean, lambda m: m.mean("reference")), ratio(100)
    )


def win_rate() -> Metric:
    """Share of better and much better, % (MM-AlignBench; a score of 1 or 2 on -2 to 2)."""

    def wins(mark: ScoredItem) -> float:
        return sum(each.score > 0 for each in mark.graded) / max(1, len(mark.graded))

    return Metric("win_rate", lambda marks: metric_columns(marks, wins, _one), ratio(100))


def reward() -> Metric:
    """100, 50, 0, -50, -100 for much better to much worse, their mean (MM-AlignBench)."""
    return Metric("reward", lambda marks: metric_columns(marks, ScoredItem.mean, _one), ratio(50), unit="points")


def instruction_rate(loose: bool) -> Metric:
    """Share of all instructions that are followed, % (IFEval, instruction level)."""
    part = "followed_loosely" if loose else "followed"
    return Metric(
        f"instructions_{'loose' if loose else 'strict'}",
        lambda marks: metric_columns(
            marks, lambda m: m.mean(part), lambda m: float(m.mean("instructions") if m.graded else 1)
        ),
        ratio(100),
    )


def part_rate(name: str, part: str) -> Metric:
    """Mean of one part, %: IFEval's prompts that are followed loosely."""
    return Metric(name, lambda marks: metric_columns(marks, lambda m: m.mean(part), _one), ratio(100))


def chair_responses(of_all: bool) -> Metric:
    """CHAIRs, %: share of descriptions that name an object which is not there (Rohrbach et al. 2018, equation 2).

    RLAIF-V counts only the descriptions that name any object of COCO; `of_all` counts every description.
    """

    def counted(mark: ScoredItem) -> float:
        return 1.0 if of_all else mark.mean("names_objects")

    name = "chair_s_all" if of_all else "chair_s"
    return Metric(name, lambda marks: metric_columns(marks, ScoredItem.mean, counted), ratio(100), better="lower")


def chair_objects() -> Metric:
    """CHAIRi, %: share of the named objects that are not there (Rohrbach et al. 2018, equation 1)."""
    return Metric(
        "chair_i",
        lambda marks: metric_columns(marks, lambda m: m.mean("hallucinated"), lambda m: m.mean("named")),
        ratio(100),
        better="lower",
    )


def chair_recall() -> Metric:
    """Share of the shown objects that are named, %: what a silent model does not have."""
    return Metric(
        "object_recall",
        lambda marks: metric_columns(marks, lambda m: m.mean("recalled"), lambda m: m.mean("shown")),
        ratio(100),
    )


def circular() -> Metric:
    """CircularEval, % (Liu et al. 2023, MMBench): a question is right only if all its rotations are.

    All terms of a question stand at its first rotation, so a question is drawn as a whole where clusters are.
    """

    def terms(marks: Sequence[ScoredItem]) -> np.ndarray:
        first: dict[str, int] = {}
        right: dict[str, bool] = {}
        for number, mark in enumerate(marks):
            name = mark.cycle or mark.id
            first.setdefault(name, number)
            right[name] = right.get(name, True) and mark.mean() >= 1
        made = np.zeros((len(marks), 2))
        for cycle, at in first.items():
            made[at] = (float(right[cycle]), 1.0)
        return made

    return Metric("circular", terms, ratio(100))


def mean_over(name: str, group: Callable[[ScoredItem], str], of: Metric) -> Metric:
    """The mean, over the groups that there are, of a metric of the form a / b.

    Sums are (a, b) for each group in turn; a group that a bootstrap did not draw is left out of that mean.
    """

    def terms(marks: Sequence[ScoredItem]) -> np.ndarray:
        inner = of.terms(marks)
        names = sorted({group(mark) for mark in marks})
        made = np.zeros((len(marks), 2 * len(names)))
        for at, mark in enumerate(marks):
            place = 2 * names.index(group(mark))
            made[at, place : place + 2] = inner[at]
        return made

    def value(sums: np.ndarray) -> np.ndarray:
        ratios: np.ndarray = 100 * divided(sums[..., 0::2], sums[..., 1::2])
        counted = ~np.isnan(ratios)
        return divided(np.where(counted, ratios, 0).sum(-1), counted.sum(-1).astype(float))

    return Metric(name, terms, value, of.unit, of.better)


def category_mean(breakdown: str, of: Metric) -> Metric:
    """The mean over the groups of a breakdown, each counted once: XLRS-Bench's macro score, CRPE's overall score."""
    return mean_over(f"mean_{breakdown}", lambda mark: (mark.groups.get(breakdown) or ("",))[0], of)


def cycle_mean(of: Metric) -> Metric:
    """The mean over the rotations of the choices (HR-Bench, Wang et al. 2024): each rotation's accuracy, averaged.

    `Mark.cycle` names the rotation, which all rows of one rotation share.
    """
    return mean_over("cycle_mean", lambda mark: mark.cycle, of)


def _yes_no_terms(marks: Sequence[ScoredItem]) -> np.ndarray:
    """True positives, false positives, false negatives, all; of the mean response of each item."""
    made = np.zeros((len(marks), 4))
    for at, mark in enumerate(marks):
        for each in mark.graded:
            yes, truth = each.parts.get("yes", 0.0), each.parts.get("truth", 0.0)
            made[at] += np.array([yes * truth, yes * (1 - truth), (1 - yes) * truth, 1]) / len(mark.graded)
        if not mark.graded:
            made[at, 3] = 1
    return made


def _of_yes_no(name: str, value: Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]) -> Metric:
    return Metric(name, _yes_no_terms, lambda sums: 100 * value(*(sums[..., i] for i in range(4))))


def f1() -> Metric:
    """F1 of `yes`, %: 2 TP / (2 TP + FP + FN)."""
    return _of_yes_no("f1", lambda tp, fp, fn, _: np.nan_to_num(divided(2 * tp, 2 * tp + fp + fn)))


def precision() -> Metric:
    """Precision of `yes`, %."""
    return _of_yes_no("precision", lambda tp, fp, fn, _: np.nan_to_num(divided(tp, tp + fp)))


def recall() -> Metric:
    """Recall of `yes`, %."""
    return _of_yes_no("recall", lambda tp, fp, fn, _: np.nan_to_num(divided(tp, tp + fn)))


def yes_share() -> Metric:
    """Share of `yes` among the answers, %: the answers of the model, not the truth."""
    made = _of_yes_no("yes_share", lambda tp, fp, fn, n: divided(tp + fp, n))
    return Metric(made.name, made.terms, made.value, better="neither")


_PLAIN: dict[str, Callable[[], Metric]] = {
    "accuracy": accuracy,
    "majority": majority,
    "circular": circular,
    "relative": relative,
    "win_rate": win_rate,
    "reward": reward,
    "score": mean_score,
    "score_percent": lambda: mean_score("%", 100.0),
    "f1": f1,
    "precision": precision,
    "recall": recall,
    "yes_share": yes_share,
    "chair_s": lambda: chair_responses(of_all=False),
    "chair_s_all": lambda: chair_responses(of_all=True),
    "chair_i": chair_objects,
    "object_recall": chair_recall,
    "prompts_loose": lambda: part_rate("prompts_loose", "loose"),
    "instructions_strict": lambda: instruction_rate(loose=False),
    "instructions_loose": lambda: instruction_rate(loose=True),
    "cycle_mean": lambda: cycle_mean(accuracy()),
}


def metric_of(name: str) -> Metric:
    """The metric of a name. Raises ConfigError."""
    if name in _PLAIN:
        return _PLAIN[name]()
    base, at, number = name.partition("@")
    if at and base == "pass" and number.isdecimal() and int(number):
        return pass_at(int(number))
    base, colon, argument = name.partition(":")
    if colon and base == "below":
        return rate_below(float(argument))
    if colon and base in ("mean", "circular_mean"):
        return category_mean(argument, accuracy() if base == "mean" else circular())
    raise ConfigError(
        f"Unknown metric {name!r}.",
        remedy=f"Known: {', '.join(sorted(_PLAIN))}, pass@K, below:NUMBER, mean:BREAKDOWN, circular_mean:BREAKDOWN.",
    )
