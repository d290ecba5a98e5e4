"""Formulas within prose: which one an announced clause or a concluding sentence gives."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.finding.prose.numbers import first_number, number_alone
from mmpr_pipeline.checking.finding.prose.sentence_number import number_of_sentence
from mmpr_pipeline.checking.reading.normalise import undressed, without_text_commands

_MATH = re.compile(
    r"\$\$(?P<a>.{1,800}?)\$\$|\$(?P<b>[^$\n]{1,400})\$|\\\((?P<c>.{1,800}?)\\\)|\\\[(?P<d>.{1,800}?)\\\]", re.DOTALL
)
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}(?![A-Za-z]*\()|[\u4e00-\u9fff]")
_COMMAND = re.compile(r"\\(?:begin|end)\s?\{[A-Za-z]{1,12}\*?\}|\\[A-Za-z]+")
_VALUE = re.compile(r"\\(?:infty|emptyset|varnothing|mathbb|pi|theta|alpha|beta|lambda|phi|omega)(?![A-Za-z])|[∞∅]")
"""Signs that are a value of their own: a formula may hold neither letter nor digit beside them."""
_NOT_PROSE = frozenset(
    [
        "and",
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "log",
        "exp",
        "min",
        "max",
        "lim",
        "arcsin",
        "arccos",
        "arctan",
        "degrees",
        "units",
        "gcd",
        "lcm",
        "mod",
        "det",
    ]
)


def is_formula(text: str) -> bool:
    """True for text without words of prose: digits, letters, commands and signs only."""
    bare = _COMMAND.sub(" ", without_text_commands(text)) if "\\" in text else text
    if any(word.lower() not in _NOT_PROSE for word in _PROSE.findall(bare)):
        return False
    return any(map(str.isalnum, bare)) or _VALUE.search(text) is not None


def math_segments(text: str) -> list[re.Match[str]]:
    r"""Every `$...$`, `\(...\)`, `\[...\]` of a text."""
    return list(_MATH.finditer(text)) if "$" in text or "\\" in text else []


def first_formula(clause: str) -> str | None:
    """The formula that an announced clause gives: all of it, its leading math, or what follows its last copula."""
    text = clause.strip().rstrip(".。")
    if is_formula(text):
        return number_alone(text) or re.sub(r"^\[\s?([^\[\],]+)\s?\]$", r"\1", text)
    segments = math_segments(text)
    if segments and is_formula_like_prefix(text[: segments[0].start()]):
        # The first segment and those joined to it by a comma or `and`, as one text.
        end = segments[0].end()
        for segment in segments[1:]:
            if not re.fullmatch(r"[\s,;]{0,3}(?:and|or)?[\s,;]{0,3}", text[end : segment.start()]):
                break
            end = segment.end()
        return text[segments[0].start() : end]
    part = re.split(r"\s(?:is|are|be|equals|becomes|will be|as|by)\s|:\s|是|为|等于", text)[-1].strip()
    if part != text and part:
        return first_formula(part) if len(part) < len(text) else None
    lead = re.match(r"^[^A-Za-z\u4e00-\u9fff]*(?:[-+]?\d[^A-Za-z\u4e00-\u9fff]*)(?=\s?[A-Za-z\u4e00-\u9fff])", text)
    if lead and not segments:
        return first_number(text)
    return None


def bracketed(text: str) -> str | None:
    """The one bracketed list of a sentence: `[1, 2]` in "The list is [1, 2]."; None if there are more, or none."""
    found = re.findall(r"\[[^\[\]]{1,500}\]", text)
    return found[0] if len(found) == 1 and "," in found[0] else None


def is_formula_like_prefix(text: str) -> bool:
    """True if nothing but marks or one short word stands before a formula."""
    return len(re.findall(r"\w+", text)) <= 1


_CLAUSE = re.compile(
    r"^(?:given by|equal to|therefore|thus)\s|,? (?:which|where|with|since|because|so that)\b.*$", re.DOTALL
)


def formula_of_sentence(sentence: str, question: str = "") -> str | None:
    """The formula or number that a concluding sentence gives."""
    text = sentence.strip().rstrip(".。")
    if is_formula(text):
        return first_formula(text)
    segments = math_segments(text)
    if segments and segments[-1].end() >= len(text) - 25:
        inner = undressed(segments[-1].group())
        return inner
    parts = re.split(r"\s(?:is|are|be|equals|becomes)\s|是|为|等于", text)
    if len(parts) > 1 and is_formula(parts[-1]):
        return first_formula(parts[-1])
    clause = _CLAUSE.sub("", parts[-1]).strip() if len(parts) > 1 else ""
    if "=" in clause and is_formula(clause):
        return first_formula(clause)
    return number_of_sentence(text, question)
