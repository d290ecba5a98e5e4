"""Numbers, formulas and lists: text first, then the trees; what neither decides goes to the symbolic worker.

The public functions never raise on any text. `unparseable` is the answer whenever it is not plain what the
prediction says, or whether it is the gold.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

from mmpr_pipeline.checking.case import Gold, Match
from mmpr_pipeline.checking.matching.text import is_word_list, match_word_list
from mmpr_pipeline.checking.reading.focus import core, is_prose, plain_text
from mmpr_pipeline.checking.reading.latex.parser import parse_latex
from mmpr_pipeline.checking.reading.normalise import undressed
from mmpr_pipeline.checking.reading.quantity import COMMA_LANGUAGES, Quantity, expression_of, read_quantity
from mmpr_pipeline.checking.reading.times import compare_times
from mmpr_pipeline.checking.symbolic.client import equal, start_worker
from mmpr_pipeline.checking.values.compare import compare_values, compare_words
from mmpr_pipeline.checking.values.expression import (
    SCALAR_OPS,
    Context,
    Decision,
    Expr,
    ParseError,
    function_names,
    operations,
    tree_size,
)
from mmpr_pipeline.checking.values.numbers.exact import NotRational, Undecided
from mmpr_pipeline.checking.values.numbers.scalars import compare_scalars

_FOR_SYMPY = frozenset({"calculus", "no_value", "same_for_positives_only"})
MAX_SYMBOLIC_SIZE = 200
"""Nodes of a tree that is worth a question to the symbolic worker."""
_BLANK = re.compile(r"(?<!\d) | (?!\d)| (?=\d{3}(?!\d))")
"""A blank that says nothing. The one of `4 2`, which is not 42, does; before three digits it marks thousands."""


def match_math(
    prediction: str,
    gold: str,
    *,
    question: str = "",
    unit: str | None = None,
    precision: float | Sequence[float] | None = None,
    language: str = "en",
) -> Match:
    """Decide whether an extracted mathematical answer is the gold.

    `unit` is the gold's unit where the source keeps it apart; `precision` the decimals asked for, or an absolute
    tolerance where it is not a small whole number. A list of golds may have one precision for each of them.
    """
    each = precision if isinstance(precision, Sequence) else () if precision is None else (precision,)
    return _match(prediction, gold, question[:4000], unit, tuple(map(float, each)), language)


@lru_cache(maxsize=4096)
def _match(
    prediction: str, gold: str, question: str, unit: str | None, precision: tuple[float, ...], language: str
) -> Match:
    if not gold.strip():
        return Match("unparseable", "no_gold")
    if not prediction.strip():
        return Match("unparseable", "no_prediction")
    if len(prediction) < 2000 and _squeezed(prediction) == _squeezed(gold):
        return Match("correct", "same_text")
    context = Context(question, precision[0] if precision else None, unit, language)
    try:
        found = _decide(prediction, gold, context, precision)
        doubtful = found.outcome == "incorrect" and (is_prose(gold) or is_prose(prediction))
        return Match("unparseable", "prose_and_mathematics", found.rule) if doubtful else found
    except (RecursionError, MemoryError, OverflowError, ArithmeticError, Undecided, NotRational) as error:
        return Match("unparseable", "over_a_bound", type(error).__name__)
    except Exception as error:  # A fault of ours costs one verdict, under a name that the counts show; never the run.
        return Match("unparseable", "internal_error", f"{type(error).__name__}: {error}"[:200])


def _squeezed(text: str) -> str:
    return _BLANK.sub("", " ".join(text.split()))


def _decide(prediction: str, gold: str, context: Context, precision: tuple[float, ...]) -> Match:
    try:
        left, right = core(prediction), core(gold)
    except ParseError as error:
        return Match("unparseable", "not_understood", str(error))
    for early in (_compare_plain(left, right, context), compare_times(left, right)):
        if early is not None:
            return _as_match(early)
    if _squeezed(left) == _squeezed(right):
        return Match("correct", "same_text")
    label, gold_label = undressed(left).strip("()"), undressed(right).strip("()")
    if label == gold_label and len(label) == 1 and "A" <= label <= "Z":  # `\text{(C)}` and `C`, the label of a choice
        return Match("correct", "same_text")
    try:
        start_worker()
        gold_tree = parse_latex(right)
        tree = parse_latex(left)
    except ParseError as error:
        return _as_text(left, right, str(error))
    if len(precision) > 1:
        return _each_within(tree, gold_tree, precision)
    decision = compare_values(tree, gold_tree, context)
    if (
        decision[0] is None
        and decision[1] in _FOR_SYMPY
        # The worker builds scalar operations only, and few of them.
        and all(operations(t) <= SCALAR_OPS and tree_size(t) <= MAX_SYMBOLIC_SIZE for t in (tree, gold_tree))
    ):
        decision = equal(tree, gold_tree)
    logarithms = decision[0] is False and {"ln", "log"} <= function_names(tree) | function_names(gold_tree)
    if logarithms and compare_values(_natural(tree), _natural(gold_tree), context)[0]:
        decision = None, "log_or_ln"
    if decision[0] is None and plain_text(left) == plain_text(right):
        return Match("correct", "same_text")
    return _as_match(decision)


def _natural(tree: Expr) -> Expr:
    r"""Every `\log` read as `\ln`, as most books of analysis mean it."""
    if tree.op == "num":
        return tree
    args = tuple(_natural(arg) for arg in tree.args)
    return tree._replace(args=args, value="ln" if tree.op == "func" and tree.value == "log" else tree.value)


def _compare_plain(left: str, right: str, context: Context) -> Decision | None:
    """Two plain numbers; None where either is not one."""
    gold = read_quantity(right, context.language)
    read = read_quantity(left, context.language) if gold is not None else None
    if gold is None or read is None:
        return None
    zeros = {"m": 6, "b": 9, "t": 12}.get(read.unit.lower(), 0)
    if zeros and zeros == gold.zeros and not gold.unit:  # `2.5m` beside a gold in millions: no metres
        literal = f"{read.literal}e{zeros}" if read.literal else ""
        read = read._replace(value=read.value * 10**zeros, zeros=zeros, unit="", literal=literal)
    if (gold.unit or read.unit) and gold.digits and read.digits and not (read.comma or gold.comma):
        return None  # units of measure are the parser's; numbers in words and commas it does not read
    if read.comma != gold.comma and context.language not in COMMA_LANGUAGES:
        same = read.value == gold.value and read.unit == gold.unit
        return (True if read.comma or right.startswith("0,") else None, "decimal_comma") if same else None
    if read.bracketed != gold.bracketed:
        if read.value == -gold.value:
            return True, "accounting_brackets"
        return (None if read.value == gold.value else False), "accounting_brackets"
    decision = compare_scalars(expression_of(read), expression_of(gold), context)
    unsigned = decision[0] is False and not (read.percent or gold.percent) and read.value
    if unsigned and context.asks_percent() and gold.value / read.value in (100, Fraction(1, 100)):
        return None, "percent_or_share"
    if decision[0] is False and bool(read.zeros) != bool(gold.zeros):
        # `31.5 million` and `31.5` are one number, of which one side leaves the scale to the question.
        unscaled = compare_scalars(expression_of(_unscaled(read)), expression_of(_unscaled(gold)), context)
        return (None, "scale_left_out") if unscaled[0] is not False else decision
    return decision


def _unscaled(quantity: Quantity) -> Quantity:
    literal = quantity.literal.partition("e")[0] if quantity.zeros else quantity.literal
    return quantity._replace(value=quantity.value / 10**quantity.zeros, literal=literal, zeros=0)


def _as_match(decision: Decision) -> Match:
    verdict, rule = decision
    return Match("unparseable" if verdict is None else "correct" if verdict else "incorrect", rule)


def _each_within(left: Expr, right: Expr, precision: tuple[float, ...]) -> Match:
    """Each gold of a list with its own tolerance, as OlympiadBench grades; the prediction may be in any order."""
    ones = left.args if left.op == "list" else (left,)
    others = right.args if right.op == "list" else (right,)
    if not len(ones) == len(others) == len(precision):
        return Match("incorrect", "other_length")
    free = list(ones)
    for other, tolerance in zip(others, precision, strict=True):
        found = next((one for one in free if compare_values(one, other, Context("", tolerance))[0]), None)
        if found is None:
            return Match("incorrect", "other_value")
        free.remove(found)
    return Match("correct", "stated_precision")


def _as_text(left: str, right: str, reason: str) -> Match:
    """One of them is not mathematics that we read: the same words are a match, short other words are not one."""
    one, other = plain_text(left), plain_text(right)
    if one and one == other:
        return Match("correct", "same_text")
    if one.replace(" ", "").isalpha() and other.replace(" ", "").isalpha():
        return _as_match(compare_words(one, other))
    return Match("unparseable", "not_mathematics", reason)


# ---- by the kind that was asked


def match_formula(text: str, gold: str, known: Gold) -> Match:
    """Compare by the kind that was asked: a number, a formula or a list."""
    if known.asked.kind == "list" and is_word_list(gold):
        return match_word_list(text, gold)
    if ":" in gold and ":" not in text and re.fullmatch(r"\d{1,9}(?:\s+\d{1,9})+", text):
        return Match("unparseable", "ratio_or_time")
    unit = known.unit or None
    if unit and not _RATE.search(text):
        # Of a rate (`$, per year`) what is measured, where the answer leaves the rest unsaid (`$6`).
        unit = _RATE.split(unit, maxsplit=1)[0]
    return match_math(
        _TIE.sub(" ", text),
        _TIE.sub(" ", gold),
        question=known.asked.question,
        unit=unit,
        precision=known.precision,
        language=known.asked.language,
    )


_TIE = re.compile(r"(?<=[A-Za-z{}])~|(?<=\d)~(?=[\\A-Za-z])")
"""TeX's blank at which no line breaks: `5~\\mathrm{~cm}`. `~5` is about five, and `5~10` a range."""
_RATE = re.compile(r",?\s*\bper\b|/\s?[A-Za-z]")
