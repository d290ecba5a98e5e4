r"""Where a response states its answer: boxes, "Final answer:", "the answer is", Chinese triggers, concluding sentences.

A `Span` is the text from the point at which an answer is announced; a reader of the answer's kind (see `reading`)
takes the answer from its beginning. Tiers rank how explicit the announcement is; an answer is taken from the most
explicit tier that holds one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FINAL, STATED, CONCLUDED = 0, 1, 2
"""Tiers: a formal final answer; "the answer is ..."; a concluding sentence."""

SPAN_CHARS = 600
_MOST_SPANS = 12


@dataclass(frozen=True, slots=True)
class Span:
    """Text that starts where an answer is announced; `closed` if its end is known (a box, a tag)."""

    text: str
    rule: str
    tier: int
    start: int
    end: int
    closed: bool = False


_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s{0,3}(?=\{)|\\boxed\s{1,3}(?=[^\s{])")
_TAG = re.compile(r"<(answer|final_answer|finalanswer|ans)\s{0,2}>", re.IGNORECASE)
_BOX_TOKEN = re.compile(r"<\|begin_of_box\|>")

_NOT_WRONG = r"(?<!wrong )(?<!incorrect )(?<!first )(?<!possible )(?<!initial )(?<!your )"
_IS = r"(?:is|are|was|were|be|becomes|equals|would be|must be|should be|will be|could only be|has to be|comes out to|=)"
_WHAT = r"(?:answer|option|choice|solution|result|response|value|number|letter)"
_FINAL_PATTERNS = (
    ("final_answer", rf"\bfinal[ _-]{{1,2}}(?:\w{{1,12}} ){{0,2}}{_WHAT}s?\b(?: letter)?[^\n:.]{{0,60}}?(?:(?: {_IS}\b)? ?:| {_IS}(?= |$))"),
    ("final_answer", rf"(?:^|\n)[ #>]{{0,6}}(?:the )?final[ _-]{{1,2}}{_WHAT}s?[ ]{{0,3}}(?=\n|\$|\\)"),
    ("answer_line", r"(?:^|\n)[ #>\-]{0,6}(?:the )?(?:correct |best |short )?(?:answers?|ans)\.?[ ]{0,2}(?::|->|=>|=|- )"),
    ("answer_line", r"(?:^|\n)[ #>]{0,6}(?:correct )?answer[ ]{0,3}(?=\n)"),
    ("hash_answer", r"(?:^|\n)[ ]{0,3}#{4}[ ](?=[^\n#]{1,80}(?:\n|$))"),
    ("zh_answer", r"\[(?:最终|参考|正确)?答案\][ ]{0,3}(?:[:,]|[是为](?=[ ]?[^\s.]))?"),
    ("zh_answer", r"(?:最终|最后)(?:的)?(?:答案|结果|选择)(?:应该|应)?(?:是|为|:|选)[ ]{0,3}:?"),
    ("zh_answer", r"(?:^|\n)[ #>]{0,6}(?:(?:正确)?答案|答)[ ]{0,3}:"),
)  # fmt: skip
_STATED_PATTERNS = (
    ("answer_is", rf"\b{_NOT_WRONG}(?:answers?|solutions?(?=[^\n:.?!]{{0,100}} {_IS}\b))(?: choice| letter| option)?(?: (?:to|for|of|in|from|that|among|here|based|according|therefore|then|thus|also)\b[^\n.?!:]{{0,100}}?)?(?: {_IS}\b(?: therefore| thus| then| indeed| simply| clearly| most likely| likely| probably)?(?: ?:)?|,? ?:)"),
    ("correct_is", rf"\b(?:correct|right|best|proper|appropriate|only valid) (?:answer )?(?:option|choice|response|value|statement|letter|one|number)s?\b(?: letter)?[^\n.?!:]{{0,100}}?(?: {_IS}\b(?: ?:)?|,? ?:)"),
    ("chosen", r"\bI(?:'d| would| will|'ll)? (?:choose|select|pick|go with|opt for|answer)(?: with)?(?: ?:)?"),
    ("zh_stated", r"(?:答案|(?:结果|结论)(?=[是为:]))(?:应该|应当|应|可能|就|只能|只|便)?(?:是|为|选|:)[ ]{0,3}:?"),
    ("zh_chosen", r"(?:故|所以|因此|因而|综上|应|应该|本题|答案|可|则|只能|于是)[^\n.;选]{0,12}?选(?:择)?(?:项)?(?:的是|为|是)?[ ]{0,3}:?(?=[ ]{0,2}[(\[]?[A-H])"),
    ("zh_chosen", r"(?:^|[\n,.;])[ ]{0,3}选(?:择)?[ ]{0,3}:?(?=[ ]{0,2}[(\[]?[A-H])"),
)  # fmt: skip


def _compiled(patterns: tuple[tuple[str, str], ...]) -> tuple[tuple[str, re.Pattern[str]], ...]:
    return tuple((rule, re.compile(pattern, re.IGNORECASE)) for rule, pattern in patterns)


_FINAL = _compiled(_FINAL_PATTERNS)
_STATED = _compiled(_STATED_PATTERNS)
_ANNOUNCING = re.compile(r"answer|final|solution|correct|right|best|choos|select|pick|opt |go with|####|ans|答|选|最[终后]|结[果论]|proper|valid|appropriate", re.IGNORECASE)  # fmt: skip


def boxes(text: str) -> list[Span]:
    r"""Every `\boxed{...}` with its braces balanced, outermost ones only, in order; unbalanced ones are left out."""
    found: list[Span] = []
    for match in _BOX.finditer(text) if "\\" in text else ():
        if found and match.start() < found[-1].end:
            continue
        opening = match.end()
        if text[opening] != "{":
            found.append(Span(text[opening], "boxed", FINAL, match.start(), opening + 1, closed=True))
            continue
        closing = matching_brace(text, opening)
        if closing is not None:
            found.append(Span(text[opening + 1 : closing], "boxed", FINAL, match.start(), closing + 1, closed=True))
    return [box for box in found if not _is_blank(box.text)]


def _is_blank(content: str) -> bool:
    r"""True for a box to be filled in, not an answer: empty, `\phantom{2}`, `\square`, `?`."""
    bare = re.sub(
        r"\\(?:h?phantom|vphantom)\s?\{[^{}]*\}|\\(?:quad|qquad|square|Box|hspace\{[^{}]*\}|text\s?\{\s*\}|[ ,;:!])",
        "",
        content,
    )
    return not any(c.isalnum() or c in "√∞≥≤+-∅" or c == "\\" for c in bare)


def matching_brace(text: str, opening: int, limit: int = 4_000) -> int | None:
    r"""Index of the `}` that closes the `{` at `opening`; `\{` and `\}` do not count; None if there is none near."""
    depth, index, stop = 0, opening, min(len(text), opening + limit)
    while index < stop:
        char = text[index]
        if char == "\\":
            index += 1
        elif char == "{":
            depth += 1
        elif char == "}":
            depth -= 1
            if depth == 0:
                return index
        index += 1
    return None


_JSON = re.compile(r"\"(?:final[_ ]?)?answer\"\s{0,3}:\s{0,3}(?:\"([^\"\n]{1,300})\"|([^\s\",}\]][^,}\n]{0,100}))", re.IGNORECASE)


def in_json(text: str) -> list[Span]:
    """Every value of an `"answer"` key."""
    found = list(_JSON.finditer(text))[-_MOST_SPANS:] if '"' in text else []
    return [Span(m[1] or m[2], "json_answer", FINAL, m.start(), m.end(), closed=True) for m in found]


def tagged(text: str) -> list[Span]:
    """Every `<answer>...</answer>`; an unclosed one runs to the end of its text."""
    found = []
    for match in list(_TAG.finditer(text))[-_MOST_SPANS:] if "<" in text else ():
        closing = text.lower().find(f"</{match.group(1).lower()}", match.end())
        end = closing if closing >= 0 else min(len(text), match.end() + SPAN_CHARS)
        found.append(Span(text[match.end() : end].strip(), "answer_tag", FINAL, match.start(), end, closed=True))
    return found


def announced(text: str) -> list[Span]:
    """Final and stated answers announced in words, in order of place, at most a dozen of each tier, the last ones."""
    if not _ANNOUNCING.search(text):
        return []
    final = _spans(text, _FINAL, FINAL)
    ends = {span.end for span in final}
    stated = [span for span in _spans(text, _STATED, STATED) if span.end not in ends]
    return sorted(final[-_MOST_SPANS:] + stated[-_MOST_SPANS:], key=lambda span: span.start)


def _spans(text: str, patterns: tuple[tuple[str, re.Pattern[str]], ...], tier: int) -> list[Span]:
    found: dict[int, Span] = {}
    for rule, pattern in patterns:
        for match in pattern.finditer(text):
            after = text[match.end() : match.end() + SPAN_CHARS].lstrip(" \n\t:")
            if after:
                found.setdefault(match.end(), Span(after, rule, tier, match.start(), match.end()))
    return sorted(found.values(), key=lambda span: span.start)


_SENTENCE_END = re.compile(
    r"(?<!\b[A-Z])(?<!\b(?:Mr|Dr|St|vs|No))(?<!\b(?:Mrs|etc|Fig))[.!?](?:[\"')\]]{0,2})(?=\s|$|[\u4e00-\u9fff])"
    r"|(?:\$\$|\\\])(?=\s+[A-Z])"
)
_COURTESY = re.compile(
    r"^(?:I hope|Hope (?:this|that)|Let me know|Please (?:let|note|provide)|Is there anything|If you (?:have|need|would)|Feel free|"
    r"Do you|Would you|Thank|Note:|Note that|The code snippet|希望|如果您|如有)",
    re.IGNORECASE,
)


def sentences(text: str) -> list[str]:
    """Sentences and lines of a text, courtesies ("I hope this helps!") left out."""
    found = []
    for line in text.split("\n"):
        start = 0
        for match in _SENTENCE_END.finditer(line):
            found.append(line[start : match.end()].strip())
            start = match.end()
        found.append(line[start:].strip())
    return [s for s in found if s and any(c.isalnum() for c in s) and not _COURTESY.match(s)]


def first_sentence(text: str) -> str:
    """What stands before the first sentence end or line end."""
    line = text.split("\n", 1)[0]
    match = _SENTENCE_END.search(line)
    return line[: match.start()] if match else line
