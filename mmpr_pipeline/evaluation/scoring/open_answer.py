"""Short answers: ANLS, relaxed accuracy, the words of the gold; MathVista's and TheoremQA's, by the type of the answer.

MathVista (Lu et al. 2024): the answer is extracted, brought into the form of its type, and compared as text. Extraction
is by this package's checker; the authors let a language model do it. What follows is the authors' rule: the choice of
smallest edit distance, an integer cut at the point, a decimal rounded to the precision asked for.

TheoremQA (Chen et al. 2023): bool, integer, float, list of numbers, option; 4% of a decimal gold are allowed.
"""

from __future__ import annotations

import ast
import math
import re

from mmpr_pipeline.checking import check_question
from mmpr_pipeline.checking.matching.documents_and_charts import levenshtein
from mmpr_pipeline.checking.reading.latex.parser import parse_latex
from mmpr_pipeline.checking.values.expression import ParseError
from mmpr_pipeline.checking.values.numbers.evaluate import approximate
from mmpr_pipeline.checking.values.numbers.exact import Undecided
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring.graded import Graded, conclusion

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


_BRACKETED = re.compile(r"\(([a-zA-Z])\)")
_PLAIN_NUMBER = re.compile(r"[-+]?\d[\d,]*\.?\d*(?:[eE][-+]?\d{1,3})?|[-+]?\.\d+")


def mathvista(item: BenchmarkItem, response: str) -> Graded:
    """Right where the extracted answer, in the form of its type, is the gold's text."""
    verdict = check_question(item.question, response)
    extracted = verdict.extracted if verdict.extracted is not None else ""
    answer_type, choices = item.text("answer_type"), item.question.choices
    said = normalised(extracted, choices, answer_type, item.question.precision)
    gold = choices[ord(item.question.answer[0]) - 65] if choices and item.question.answer else item.text("answer")
    right = said is not None and said.strip() == gold.strip()
    if answer_type == "list" and not choices and verdict.outcome == "correct":
        right = True  # `[1, 2]` and `1, 2` are one list; the authors' own extraction writes it as the gold is
    return Graded(float(right), said, verdict.rule)


def normalised(extracted: str, choices: tuple[str, ...], answer_type: str, precision: float | None) -> str | None:
    """The extracted answer in the form of its type; None where it has none."""
    text = extracted.strip()
    if choices:
        bracketed = _BRACKETED.findall(text)
        text = bracketed[0].upper() if bracketed else text
        if len(text) == 1 and text.isalpha() and 0 <= ord(text.upper()) - 65 < len(choices):
            return choices[ord(text.upper()) - 65]
        if not text:
            return None
        return min(choices, key=lambda choice: levenshtein(text, choice, max(len(text), len(choice))))
    if answer_type not in ("integer", "float"):
        return text or None
    found = _PLAIN_NUMBER.search(text)
    if not found:
        return None
    try:
        value = float(found[0].replace(",", ""))
        return str(int(value)) if answer_type == "integer" else str(round(value, int(precision or 0)))
    except (ValueError, OverflowError):
        return None


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
