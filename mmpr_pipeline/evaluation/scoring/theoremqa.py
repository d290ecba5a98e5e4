"""TheoremQA (Chen et al. 2023): bool, integer, float, list of numbers, option; 4% of a decimal gold are allowed."""

from __future__ import annotations

import ast
import math
import re

from mmpr_pipeline.checking.reading.latex.parser import parse_latex
from mmpr_pipeline.checking.values.expression import ParseError
from mmpr_pipeline.checking.values.numbers.evaluate import approximate
from mmpr_pipeline.checking.values.numbers.exact import Undecided
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring.conclusion import conclusion
from mmpr_pipeline.evaluation.scoring.graded import Graded

TOLERANCE = 0.04
"""Share of a decimal gold by which an answer may differ (the authors' `within_eps`)."""

_ANSWER = re.compile(r"(?:\bthe (?:final )?answer is|\banswer\s*[:：])\s*[:：]?\s*", re.IGNORECASE)
_OPTION = re.compile(r"\(([a-f])\)", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
_TRUE, _FALSE = re.compile(r"\b(?:yes|true)\b", re.IGNORECASE), re.compile(r"\b(?:no|false)\b", re.IGNORECASE)


def theoremqa(item: BenchmarkItem, response: str) -> Graded:
    """Right by the answer's type, which the row names."""
    text = conclusion(response)
    stated = list(_ANSWER.finditer(text))
    text = (text[stated[-1].end() :] if stated else text).strip()
    text = (text.splitlines() or [""])[0 if stated else -1].strip().rstrip(".")
    gold, kind = item.text("Answer").strip(), item.text("Answer_type").lower()
    if kind == "bool":
        # `true` where the text says yes or true anywhere, as the authors read it; else `false` where it says
        # that.
        said = "true" if _TRUE.search(text) else "false" if _FALSE.search(text) else None
        return Graded(float(said is not None and said == gold.lower()), said, "bool")
    if kind == "option":
        options = [f"({letter.lower()})" for letter in _OPTION.findall(text)] or [text.lower()[:20]]
        return Graded(float(gold.lower() in options), options[-1], "option")
    if kind.startswith("list"):
        said_list, gold_list = _numbers(text), _numbers(gold)
        right = bool(gold_list) and len(said_list) == len(gold_list)
        pairs = zip(sorted(said_list), sorted(gold_list), strict=True) if right else ()
        return Graded(float(right and all(_same(a, b) for a, b in pairs)), text[:200], "list")
    several = text.startswith(("[", "(")) and "," in text  # a list is no number
    value, wanted = None if several else number_in(text), number_in(gold)
    right = value is not None and wanted is not None and _same(value, wanted, whole=kind == "integer")
    return Graded(float(right), text[:200] or None, kind or "number")


def number_in(text: str) -> float | None:
    """The value of a text: what follows its last `=`, as a formula; else its last number."""
    part = text.rsplit("=", 1)[-1].strip().strip("$").replace("°", "").replace(",", "")
    share = part.endswith("%")
    try:  # as a formula without letters
        formula = approximate(parse_latex(part.rstrip("%\\ ")[:500]), {})
        value = formula.real if abs(formula.imag) <= 1e-9 * max(1.0, abs(formula.real)) else None
    except (ParseError, Undecided, RecursionError):
        value = None
    if value is None:
        found = _NUMBER.findall(part) or _NUMBER.findall(text)
        value = float(found[-1]) if found else None
    return value / 100 if share and value is not None else value


def _same(said: float, gold: float, whole: bool | None = None) -> bool:
    whole = float(gold).is_integer() if whole is None else whole
    if not math.isfinite(said):
        return False
    return round(said) == round(gold) if whole else abs(said - gold) <= TOLERANCE * abs(gold)


def _numbers(text: str) -> list[float]:
    inside = text[text.find("[") : text.rfind("]") + 1] or text[text.find("(") : text.rfind(")") + 1] or text
    try:
        values = ast.literal_eval(inside[:2000].replace("(", "[").replace(")", "]"))
        return [float(value) for value in values]
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return [float(found) for found in _NUMBER.findall(inside)]
