"""Short answers in words: ANLS, relaxed accuracy, and the words of the gold."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.matching.documents_and_charts import levenshtein
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring.conclusion import conclusion
from mmpr_pipeline.evaluation.scoring.graded import Graded

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NOT_WORD = re.compile(r"[^\w%.\-]+")
MOST_CHARS = 1000


def anls(item: BenchmarkItem, response: str) -> Graded:
    """Average normalised Levenshtein similarity, below 0.5 none (Biten et al. 2019, ST-VQA); the best gold counts."""
    said = conclusion(response)
    best = 0.0
    for gold in (item.question.answer or "", *item.question.answers):
        a, b = (" ".join(text.strip().lower().split())[:MOST_CHARS] for text in (said, gold))
        if longest := max(len(a), len(b)):
            likeness = 1 - levenshtein(a, b, longest) / longest
            best = max(best, likeness if likeness >= 0.5 else 0.0)
    return Graded(best, said, "anls")


def relaxed(item: BenchmarkItem, response: str) -> Graded:
    """Relaxed accuracy (Methani et al. 2020, PlotQA; Masry et al. 2022, ChartQA): numbers within 5%, words the same."""
    said = conclusion(response).strip().rstrip(".")
    return Graded(float(any(_relaxed(said, gold) for gold in (item.question.answer or "", *item.question.answers))),
                  said, "relaxed")  # fmt: skip


def _relaxed(said: str, gold: str) -> bool:
    one, other = _float(said), _float(gold)
    if one is not None and other:
        return abs(one - other) / abs(other) <= 0.05
    return said.lower() == gold.strip().lower()


def _float(text: str) -> float | None:
    try:
        return float(text.rstrip("%").replace(",", "")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None


def words_in_order(item: BenchmarkItem, response: str) -> Graded:
    """VisualProbe (Lai et al. 2025) by rule: the gold's words stand in the answer in their order; articles aside.

    The authors let a language model compare the two; with --judge that is done here too.
    """
    said, gold = _plain(conclusion(response)), _plain(item.question.answer or item.text("answer"))
    return Graded(float(bool(gold) and f" {gold} " in f" {said} "), said[:200] or None, "words")


def _plain(text: str) -> str:
    return " ".join(_ARTICLES.sub(" ", _NOT_WORD.sub(" ", text.lower())).split()).strip(".")
