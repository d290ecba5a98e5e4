"""What kind of answers a sample has, how its golds are given, and its language. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.sources.adding.table import LANGUAGE, Guess, Table, last
from mmpr_pipeline.sources.rows.choices import LETTERS, choice_letters, parse_choices
from mmpr_pipeline.sources.rows.columns import cut_answer, is_missing

MARKS = ("<answer>", "Final answer:", "final answer is", "####", "The answer is", "the answer is", "Answer:",
         "答案：", "答案:", "\\boxed{")  # fmt: skip
_NUMBER = re.compile(r"[-+−]?[$€£¥]?\d[\d,]*(\.\d+)?\s*%?|[-+−]?\.\d+")
_MATHS = re.compile(r"\\[a-zA-Z]+|\$|\^|[=≤≥√π°]|^(?!\d{1,4}/\d{1,2}/\d)\(?-?\d+(\.\d+)?\s*[,/:]\s*-?\d")
"""A date, 1/8/93, is not meant."""
_YES_NO = {"yes", "no", "yes.", "no.", "true", "false", "是", "否", "不是"}
_HAN = re.compile(r"[\u4e00-\u9fff]")
_TYPE = re.compile(r"type|kind|format|category|task", re.IGNORECASE)
_DOCUMENT = re.compile(r"doc|info_?graphic|ocr|receipt|scan|text_?vqa|page", re.IGNORECASE)
_CHART = re.compile(r"chart|plot|figure_?qa|graph|dvqa", re.IGNORECASE)


def guess_answers(guess: Guess, table: Table, place: str) -> None:
    """Add kind, answer_form, tiles and language to a guess; `place` is what the files or the data set are called."""
    _language(guess, table)
    if not {"answer", "answers"} & set(guess.columns):
        guess.fields["kind"] = "none"
        guess.why["kind"] = "no column of golds was found: open-ended questions"
        return
    _mark(guess, table)
    columns = guess.columns.get("choices")
    names = [columns] if isinstance(columns, str) else list(columns or ())
    found = []
    for number in range(table.size):
        values = [table.columns[name][number] for name in names if name in table.columns]
        value = values[0] if len(names) == 1 and values else [one for one in values if one not in (None, "")]
        try:
            found.append(parse_choices(value))
        except ItemRejected:
            found.append(())
    golds, choices = _golds(guess, table), found
    kind, why = kind_of_golds(golds, choices, place)
    guess.fields["kind"], guess.why["kind"] = kind, why
    by_type = _by_type(table, golds, choices, place)
    if by_type:
        guess.fields["kind"], guess.why["kind"] = by_type, f"{by_type['column']} tells the kinds apart"
    elif any(choices) and not all(choices):
        guess.doubts.append(
            f"Some rows have choices and some have none, and no column tells which: kind {kind} for all."
        )
    if missing := sum(map(is_missing, golds)):
        guess.doubts.append(f"{missing} of {len(golds)} golds only say that there is none, like n/a.")
    if any(choices):
        form, doubt = form_of_golds(golds, choices)
        guess.fields["answer_form"] = form
        rows = [(gold, options) for gold, options in zip(golds, choices, strict=True) if gold and options]
        fit = sum(_means(gold, form, options) for gold, options in rows)
        guess.why["answer_form"] = (
            f"fits {fit} of {len(rows)} golds, such as {rows[0][0][:40]!r}" if rows else "a guess"
        )
        if doubt:
            guess.doubts.append(f"answer_form: {doubt}.")
        if rows and {gold for gold, _ in rows} <= set(LETTERS) and form == "text":
            guess.doubts.append("answer_form: the golds are letters that are also texts of choices.")
    elif kind == "choice":
        guess.fields["answer_form"], guess.why["answer_form"] = "letter", "as the golds are"
    if _DOCUMENT.search(place) or _CHART.search(place):
        guess.fields["tiles"], guess.why["tiles"] = 12, f"{place} sounds like charts or documents"


def kind_of_golds(golds: Sequence[str], choices: Sequence[tuple[str, ...]], place: str) -> tuple[str, str]:
    """The kind that nearly all golds are of, and why."""
    stated = [gold for gold in golds if gold and not is_missing(gold)]
    if not stated:
        return "none", "no row has a gold"
    if sum(map(bool, choices)) > 0.5 * len(golds):
        return "choice", "rows have choices"

    def most(part: float) -> bool:
        return part >= 0.95 * len(stated)

    lower = [gold.lower() for gold in stated]
    numbers = sum(bool(_NUMBER.fullmatch(gold)) for gold in stated)
    if most(sum(gold in _YES_NO for gold in lower)):
        return "yes_no", "every gold is yes or no"
    if most(sum(bool(re.fullmatch(r"\(?[A-Ha-h]\)?\.?", gold)) for gold in stated)):
        return "choice", "every gold is a letter; the choices stand in the question or the image"
    if most(sum(map(_is_list, stated))):
        return "list", "every gold is a list"
    if _CHART.search(place):
        return "chart", f"{place} sounds like charts: numbers within 5%"
    if most(numbers):
        return "number", "every gold is a number" if numbers == len(
            stated
        ) else f"{numbers} of {len(stated)} golds are numbers"
    if numbers + sum(bool(_MATHS.search(gold)) and len(gold) < 200 for gold in stated) > 0.6 * len(stated):
        return "math", "golds are numbers and formulas"
    if sum(len(gold) for gold in stated) > 80 * len(stated):
        return "none", "golds are long texts, which no rule can check: open-ended"
    if _DOCUMENT.search(place):
        return "document", f"{place} sounds like documents: spelling may differ a little"
    return "text", "golds are short texts"


def form_of_golds(golds: Sequence[str], choices: Sequence[tuple[str, ...]]) -> tuple[str, str]:
    """How the golds name their choice, and a doubt where another way fits all of them as well."""
    rows = [(gold, options) for gold, options in zip(golds, choices, strict=True) if gold and options]
    fits = {form: sum(_means(gold, form, options) for gold, options in rows) for form in _FORMS}
    best = max(_FORMS, key=lambda form: fits[form])
    if best == "index" and fits["index1"] == fits["index"] and not any(gold in ("0", "0.0") for gold, _ in rows):
        return "index", "no gold is 0, so the golds may count from 1 (index1)"
    if best == "text" and fits["index"] == fits["text"]:
        return "text", "the golds are texts of choices, but could be their numbers"
    return best, ""


_FORMS = ("text", "letter", "index", "index1")


def _means(gold: str, form: str, options: tuple[str, ...]) -> bool:
    try:
        return bool(choice_letters(gold, form, options))
    except ItemRejected:
        return False


def _by_type(
    table: Table, golds: Sequence[str], choices: Sequence[tuple[str, ...]], place: str
) -> dict[str, Any] | None:
    """A column of types that tells kinds apart, first of all rows with choices from rows without."""
    if all(choices):
        return None
    plain = [(gold, options) for gold, options in zip(golds, choices, strict=True) if not options]
    otherwise = kind_of_golds([gold for gold, _ in plain], [options for _, options in plain], place)[0]
    for name in table.columns:
        values = [str(value) if isinstance(value, str) else "" for value in table.columns[name]]
        if not _TYPE.search(last(name)) or not 2 <= len(set(values)) <= 12 or "" in values:
            continue
        kinds = {}
        for value in sorted(set(values)):
            rows = [i for i, found in enumerate(values) if found == value]
            having = {bool(choices[i]) for i in rows}
            if len(having) > 1:
                break
            kinds[value] = kind_of_golds([golds[i] for i in rows], [choices[i] for i in rows], place)[0]
        else:
            if len(set(kinds.values())) > 1:
                return {"column": name, "values": kinds, "otherwise": otherwise}
    return None


def _mark(guess: Guess, table: Table) -> None:
    """Golds at the end of a worked solution."""
    column = guess.columns.get("answer")
    texts = table.texts(column) if isinstance(column, str) else []
    if "answer_after" in guess.columns or not texts:
        return
    having = {mark: [text for text in texts if mark in text] for mark in MARKS}
    usual = [mark for mark in MARKS if len(having[mark]) > 0.8 * len(texts)]
    if usual:
        # "... so the answer is option A.\nAnswer:A": behind the last of several marks stands the gold alone.
        mark = min(usual, key=lambda mark: sum(len(cut_answer(text, [mark], None)) for text in texts))
        return guess.suggest("answer_after", mark, f"{len(having[mark])} of {len(texts)} golds stand behind it")
    dots = [text for text in texts if text.endswith(".") and len(text) < 60]
    if len(dots) > 0.8 * len(texts):
        guess.suggest("answer_strip", ".", "golds end in a full stop")


def _golds(guess: Guess, table: Table) -> list[str]:
    """The first gold of each row as text; empty where it has none."""
    column = guess.columns.get("answer") or guess.columns.get("answers")
    values = table.columns.get(column, []) if isinstance(column, str) else []
    marks = guess.columns.get("answer_after")
    found = []
    for value in values:
        several = column == guess.columns.get("answers") and isinstance(value, list | tuple) and value
        one = value[0] if several else value
        one = one.get("answer") if isinstance(one, dict) else one
        if isinstance(one, list | tuple):
            one = one[0] if len(one) == 1 else json.dumps(one, ensure_ascii=False, default=str)
        text = "" if one is None or one != one else str(one).strip()
        found.append(cut_answer(text, [marks] if marks else [], guess.columns.get("answer_strip")))
    return found


def _is_list(text: str) -> bool:
    try:
        return text[:1] == "[" and isinstance(json.loads(text), list)
    except ValueError:
        return False


def _language(guess: Guess, table: Table) -> None:
    column = guess.columns.get("question")
    texts = table.texts(column) if isinstance(column, str) else []
    chinese = sum(len(_HAN.findall(text)) > 0.2 * len(text) for text in texts)
    if not chinese:
        return
    if chinese >= 0.9 * len(texts):
        guess.fields["language"], guess.why["language"] = "zh", "the questions are Chinese"
        return
    for name in table.columns:
        if last(name) in LANGUAGE:
            values = {text: "zh" if re.match(r"zh|cn|chin|中", text.lower()) else "en" for text in table.texts(name)}
            guess.fields["language"] = {"column": name, "values": dict(sorted(values.items()))}
            guess.why["language"] = "questions are Chinese and others; this column tells which"
            return
    guess.doubts.append(f"{chinese} of {len(texts)} questions are Chinese, and no column tells which.")
