"""`mmpr sources check`: is a source what its declaration says? Its rows are read, its golds put before the checker.

A gold must be accepted as the answer to its own question, and another row's gold refused: otherwise chosen and
rejected would say nothing. What is found carries the numbers of the rows.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from mmpr_pipeline.checking import check_question
from mmpr_pipeline.core.masking import steering_nothing
from mmpr_pipeline.core.records import PresetPair, Question
from mmpr_pipeline.sources.review.findings import Checked, Places, count_text, finding_sentence
from mmpr_pipeline.sources.rows.choices import LETTERS
from mmpr_pipeline.sources.rows.columns import is_missing
from mmpr_pipeline.sources.source import Source

if TYPE_CHECKING:
    from mmpr_pipeline.sources.review.findings import Checked


ROWS = 200
"""Rows that are looked at where no number is given."""

BLOCKS = 10
"""Places of a source that the rows are taken from, spread evenly."""

SERIOUS_REJECTED = 0.2
SERIOUS_GOLDS = 0.05
"""Shares of rows, and of questions with a gold, from which on a build would be wasted."""

_CALCULATED = ("number", "math", "chart")
_LETTERED = re.compile(r"(?:^|[\s(])([A-H])\s?[).:．：]", re.MULTILINE)

SMALL_SIDE, LONG_SIDE = 28, 20
"""Images with fewer pixels on a side, or more times longer than wide, hardly show anything."""


def check_source(source: Source, rows: int = ROWS) -> Checked:
    """Look at `rows` rows (0: all), spread over the source; of a Hub data set the first ones, which are read by ranges.

    Raises SourceError where it has no rows, or cannot be read.
    """
    spread = source.declaration.hub is None or not rows
    index = source.index(None if spread else rows)
    checked = Checked(source, index.rows)
    for low, high in blocks(index.rows, rows or index.rows):
        checked.items += enumerate(source.read(index, low, high), start=low)
    inspect_rows(checked)
    return checked


def inspect_rows(checked: Checked) -> None:
    """Fill in the counts and findings of what was read."""
    by_reason: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for row, reject in checked.rejects:
        by_reason[reject.reason].append((row, reject.detail))
    whole = len(checked.items)
    for reason, rows in by_reason.items():
        if reason != "not_selected":
            checked.found(
                reason, "rows that cannot become questions", rows, serious=len(rows) > SERIOUS_REJECTED * whole
            )
    if whole and not checked.questions:
        checked.found("no_questions", "not one row became a question", [(checked.items[0][0], "")], serious=True)
    _golds(checked)
    _foreign(checked)
    # Questions of kind choice have choices: in a column, or as letters in their text.
    asked = [(row, question) for row, question in checked.questions if question.kind == "choice"]
    without = [
        (row, f'gold "{(question.answer or "")[:40]}"')
        for row, question in asked
        if not question.choices and len(set(_LETTERED.findall(question.text))) < 2
    ]
    text = "kind is choice, but there are no choices: name their column with `choices:`, or set another kind"
    checked.found("no_choices", text, without, serious=len(without) > SERIOUS_GOLDS * max(len(asked), 1))
    _sameness(checked)
    odd = []
    same = []
    for row, question in checked.questions:
        for image in question.images:
            short, long = sorted((image.width, image.height))
            if short < SMALL_SIDE or long > LONG_SIDE * short:
                odd.append((row, f"{image.width} x {image.height}"))
        if len({choice.lower() for choice in question.choices}) < len(question.choices):
            same.append((row, ", ".join(question.choices)[:100]))
    checked.found("odd_image", "an image that hardly shows anything", odd)
    checked.found("equal_choices", "two choices say the same", same)
    judge_pairs(checked)
    checked.findings.sort(key=lambda finding: (finding.level, -len(finding.rows)))


def blocks(total: int, wanted: int) -> list[tuple[int, int]]:
    """Where to read `wanted` of `total` rows: everything, or even blocks from the first row to the last."""
    if wanted >= total:
        return [(0, total)]
    number = min(BLOCKS, wanted)
    sizes = [wanted // number + (i < wanted % number) for i in range(number)]
    starts = [i * (total - sizes[i]) // max(number - 1, 1) for i in range(number)]
    return [(start, start + size) for start, size in zip(starts, sizes, strict=True)]


def _golds(checked: Checked) -> None:
    """Each gold as a response: the checker has to accept it."""
    wrong = []
    for row, question in checked.questions:
        if question.answer is None:
            continue
        checked.answered += 1
        verdicts = [(gold, _outcome(question, gold)) for gold in (question.answer, *question.answers)]
        bad = [f'"{gold[:80]}" is {outcome} as {question.kind}' for gold, outcome in verdicts if outcome != "correct"]
        if bad:
            wrong.append((row, bad[0]))
    missing = [
        (row, f'"{question.answer}" as {question.kind}')
        for row, question in checked.questions
        if question.answer is not None and question.kind in _CALCULATED and is_missing(question.answer)
    ]
    checked.found(
        "gold_is_no_number", "a gold that says that there is none; leave the row out, or give its answer", missing
    )
    checked.accepted = checked.answered - len(wrong)
    text = "the checker does not accept the gold as the answer; kind or answer_form may be wrong"
    checked.found("gold_not_accepted", text, wrong, serious=len(wrong) > SERIOUS_GOLDS * checked.answered)


def _foreign(checked: Checked) -> None:
    """Another row's gold (of a choice: every other letter) as a response: the checker has to refuse it."""
    wrong = []
    by_kind: dict[str, list[Question]] = defaultdict(list)
    for _, question in checked.questions:
        by_kind[question.kind].append(question)
    places: Counter[str] = Counter()
    for row, question in checked.questions:
        if question.answer is None:
            continue
        others = by_kind[question.kind]
        places[question.kind] += 1
        foreign = _foreign_answer(question, others, places[question.kind])
        if foreign is None:
            continue
        checked.foreign += 1
        if _outcome(question, foreign) == "correct":
            wrong.append((row, f'"{foreign[:60]}" passes for "{question.answer[:60]}"'))
    checked.refused = checked.foreign - len(wrong)
    text = "the checker accepts another row's gold; the kind may be too lenient for these answers"
    checked.found("foreign_accepted", text, wrong, serious=len(wrong) > SERIOUS_GOLDS * checked.foreign)


def _foreign_answer(question: Question, others: Sequence[Question], after: int) -> str | None:
    """A wrong answer of the same kind: the next letter, or the next row's gold that is another."""
    golds = (question.answer or "", *question.answers)
    if question.choices:
        wrong = [letter for letter in LETTERS[: len(question.choices)] if letter not in golds]
        return wrong[after % len(wrong)] if wrong else None
    for step in range(min(len(others), 50)):
        gold = others[(after + step) % len(others)].answer or ""
        if not any(_same(gold, own) for own in golds):
            return gold
    return None


def _same(one: str, other: str) -> bool:
    if " ".join(one.lower().split()) == " ".join(other.lower().split()):
        return True
    try:
        return float(one) == float(other)
    except ValueError:
        return False


def _sameness(checked: Checked) -> None:
    """What should differ from row to row, and does not."""
    seen: dict[str, int] = {}
    twice = []
    for row, question in checked.questions:
        if (first := seen.setdefault(question.question_id, row)) != row:
            twice.append((row, f"as row {first}"))
    checked.found("repeated_question", "the same question on the same images", twice)
    golds = Counter(question.answer for _, question in checked.questions if question.answer)
    if golds and golds.total() >= 10:
        gold, count = golds.most_common(1)[0]
        rows = [(row, "") for row, question in checked.questions if question.answer == gold]
        if count == golds.total():
            checked.found("one_gold", f'every gold is "{gold[:60]}"', rows, serious=True)
        elif count > 0.9 * golds.total():
            checked.found("one_gold", f'{count / golds.total():.0%} of the golds are "{gold[:60]}"', rows)
    images = Counter(image.sha256 for _, question in checked.questions for image in question.images)
    if images and len(checked.questions) >= 10 and images.most_common(1)[0][1] > 0.9 * len(checked.questions):
        rows = [(row, "") for row, _ in checked.questions]
        checked.found("one_image", "nearly all questions show the same image", rows)


def _outcome(question: Question, answer: str) -> str:
    return check_question(question, f"Final answer: {answer}").outcome


def finding_lines(checked: Checked, most: int = 8) -> Iterator[str]:
    """What was found, as lines of text."""
    name, places = checked.source.name, Places(checked.source)
    yield f"{name}: {len(checked.items):,} of {checked.total:,} rows looked at, {len(checked.questions):,} questions"
    if checked.answered:
        yield f"  golds accepted by the checker    {checked.accepted:,} of {checked.answered:,}"
        yield f"  foreign golds refused            {checked.refused:,} of {checked.foreign:,}"
    opened = len(checked.questions) - checked.answered
    if opened:
        yield f"  open-ended, nothing to check     {opened:,}"
    for finding in checked.findings:
        text = steering_nothing(finding.text)
        yield f"{finding.level}: {finding.name}, {count_text(len(finding.rows))}: {text}"
        if finding.name == "missing_column" and len({seen for _, seen in finding.rows}) == 1:
            whole = len(finding.rows) == len(checked.items)
            place = "every row" if whole else ", ".join(places(row) for row, _ in finding.rows[:most])
            yield f"    {finding_sentence(finding, place, finding.rows[0][1])}"
            continue
        if finding.name == "no_questions":
            continue
        for row, seen in finding.rows[:most]:
            yield f"    {finding_sentence(finding, places(row), seen)}"
        if len(finding.rows) > most:
            more = ", ".join(places(row) for row, _ in finding.rows[most : most + 20])
            yield f"    and {more}{' ...' if len(finding.rows) > most + 20 else ''}"
    if not checked.findings:
        yield "  nothing wrong was found"


SERIOUS_MISSING = 0.2
"""Share of the questions without a whole pair from which on a build would be wasted."""

SERIOUS_SWAPPED = 0.5
"""Share of the pairs with a gold whose verdicts are the other way round: then the columns are, most likely."""

ONE_SIDED = 0.9
"""Share of the pairs of which one side is the longer one, from which on length is what is learned."""

FEWEST = 10

Pairs = Sequence[tuple[int, Question, PresetPair]]


def judge_pairs(checked: Checked) -> None:
    """Note what is wrong with the pairs of a source whose declaration names chosen and rejected."""
    if not checked.source.declaration.columns.chosen:
        return
    pairs = [(row, question, question.preset) for row, question in checked.questions if question.preset]
    missing = [(row, "") for row, question in checked.questions if not question.preset]
    serious = len(missing) > SERIOUS_MISSING * len(checked.questions)
    checked.found("no_preset_pair", "chosen or rejected is empty, or is no text", missing, serious=serious)
    same = [(row, pair.chosen[:80]) for row, _, pair in pairs if pair.chosen.strip() == pair.rejected.strip()]
    checked.found("same_responses", "chosen and rejected are the same", same)
    # Pairs whose rejected response is right and whose chosen one is wrong, where there is a gold.
    with_gold = [(row, question, pair) for row, question, pair in pairs if question.answer is not None]
    wrong = []
    for row, question, pair in with_gold:
        chosen, rejected = (check_question(question, text) for text in (pair.chosen, pair.rejected))
        if (chosen.outcome, rejected.outcome) == ("incorrect", "correct"):
            wrong.append((row, f'"{chosen.extracted}" is chosen, the gold is "{question.answer}"'[:200]))
    text = "the checker finds rejected right and chosen wrong; are the columns swapped?"
    checked.found("wrong_preference", text, wrong, serious=len(wrong) > SERIOUS_SWAPPED * len(with_gold))
    # One side that is nearly always the longer one.
    longer = [(row, len(pair.chosen) > len(pair.rejected)) for row, _, pair in pairs]
    for side, is_chosen in (("chosen", True), ("rejected", False)):
        rows = [(row, "") for row, chosen in longer if chosen is is_chosen]
        if len(longer) >= FEWEST and len(rows) > ONE_SIDED * len(longer):
            share = len(rows) / len(longer)
            checked.found("length_bias", f"{side} is the longer response in {share:.0%}: length will be learned", rows)
