"""Yes or no: POPE (Li et al. 2023)."""

from __future__ import annotations

import re

from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring.conclusion import conclusion
from mmpr_pipeline.evaluation.scoring.graded import Graded

_WORDS = re.compile(r"[a-z]+")


def stated_yes_no(text: str) -> str | None:
    """`yes` or `no` where the text says only one of them as a word; None otherwise, as VLMEvalKit reads it."""
    words = set(_WORDS.findall(text.lower()))
    if ("yes" in words) == ("no" in words):
        return None
    return "yes" if "yes" in words else "no"


def pope(item: BenchmarkItem, response: str) -> Graded:
    """Whether the object is in the image. POPE counts a response that is neither yes nor no as wrong, and as no `yes`.

    The authors' script takes the first sentence and looks for `No`, `not` or `no`, and takes all else for yes; both
    kits want one of the two words, and so do we: silence is no yes.
    """
    said, gold = stated_yes_no(conclusion(response)), (item.question.answer or "").strip().lower()
    parts = {"truth": float(gold == "yes"), "yes": float(said == "yes")}
    return Graded(float(said == gold), said, "yes_no", parts)
