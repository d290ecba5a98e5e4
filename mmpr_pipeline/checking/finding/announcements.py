r"""Where a response announces its answer.

By a mark: `\boxed{...}`, `<answer>...</answer>`, `"answer": ...`. By words, in English, Chinese and others: "Final
answer:", "the answer is", 答案, 故选.

A `Span` is the text from the point at which an answer is announced; a reader of the answer's kind (see `answer`) takes
the answer from its beginning. A pattern of words is tried only on a text that holds one of its keywords. Where it
begins with its keyword it is tried only there, and where it begins with a line only on lines with a keyword: a scan for
words in any case looks at every character.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

FINAL, STATED = 0, 1
"""Tiers: a formal final answer; "the answer is ...". An answer is taken from the most explicit tier that has one."""

SPAN_CHARS = 600
BOX_CHARS = 4_000
"""The longest text that follows a mark; the longest box with its braces."""

MOST_SPANS = 12
"""Announcements that are read, counted from the end of a response."""


class Span(NamedTuple):
    """Text that starts where an answer is announced; `closed` if its end is known (a box, a tag)."""

    text: str
    rule: str
    tier: int
    start: int
    end: int
    closed: bool = False


# ---- marks

_BOX = re.compile(r"\\(?:boxed|fbox|framebox)\s{0,3}(?=\{)|\\boxed\s{1,3}(?=[^\s{])")
_BRACE = re.compile(r"\\[\\{}]|[{}]")
_TAG = re.compile(r"<(answer|final_answer|finalanswer|ans)\s{0,2}>", re.IGNORECASE)
_BOX_TOKEN = re.compile(r"<\|begin_of_box\|>")


def boxed_spans(text: str) -> list[Span]:
    r"""Every `\boxed{...}` with its braces balanced, outermost ones only, in order; unbalanced ones are left out.

    Boxes that stand side by side in one sentence are one answer: `\boxed{1}, \boxed{2}` is `1, 2`.
    """
    found: list[Span] = []
    marks = list(_BOX.finditer(text)) if "\\" in text else []
    closings = matching_braces(text, marks[0].end()) if marks else {}
    for match in marks:
        if found and match.start() < found[-1].end:
            continue
        opening = match.end()
        if text[opening] != "{":
            found.append(Span(text[opening], "boxed", FINAL, match.start(), opening + 1, closed=True))
            continue
        closing = closings.get(opening)
        if closing is not None and closing - opening < BOX_CHARS:
            found.append(Span(text[opening + 1 : closing], "boxed", FINAL, match.start(), closing + 1, closed=True))
    joined: list[Span] = []
    for box in found:
        if not any(c.isalnum() or c in "√∞≥≤+-∅\\" for c in _EMPTY.sub("", box.text)):
            continue
        before = joined[-1] if joined else None
        between = text[before.end : box.start] if before else ""
        if before and len(between) <= 40 and "\n\n" not in between and _BETWEEN_BOXES.fullmatch(between):
            joiner = " or " if re.search(r"\bor\b|或", between) else ", "
            content = before.text if before.text == box.text else f"{before.text}{joiner}{box.text}"
            joined[-1] = Span(content, "boxed", FINAL, before.start, box.end, closed=True)
        else:
            joined.append(box)
    return joined


_BETWEEN_BOXES = re.compile(
    r"(?:\\q?quad|\\text\s?\{\s?(?:and|or)\s?\}|and|or|和|或|[\s,;$.()\[\]]|\\[()\[\],; ]){0,40}"
    r"(?:[A-Za-z](?:_\{?\w\}?)?\s{0,2}=)?\s{0,3}"
)
_EMPTY = re.compile(
    r"\\(?:h?phantom|vphantom)\s?\{[^{}]*\}|\\(?:quad|qquad|square|Box|hspace\{[^{}]*\}|text\s?\{\s*\}|[ ,;:!])"
)
r"""What a box to be filled in holds, which is no answer: `\phantom{2}`, `\square`."""


def matching_braces(text: str, start: int = 0) -> dict[int, int]:
    r"""For each `{` from `start` on that is closed, the index of its `}`; `\{` and `\}` do not count. Linear."""
    opened: list[int] = []
    closings: dict[int, int] = {}
    for token in _BRACE.finditer(text, start):
        if token[0] == "{":
            opened.append(token.start())
        elif token[0] == "}" and opened:
            closings[opened.pop()] = token.start()
    return closings


_TAG_END = re.compile(r"</(?:answer|final_answer|finalanswer|ans)\b", re.IGNORECASE)
_JSON = re.compile(
    r"\"(?:final[_ ]?)?answer\"\s{0,3}:\s{0,3}(?:\"([^\"\n]{1,300})\"|([^\s\",}\]][^,}\n]{0,100}))", re.IGNORECASE
)


def tagged(text: str) -> list[Span]:
    """Every `<answer>...</answer>`, of which an unclosed one runs to the end of its text, and every `"answer": ...`."""
    found = []
    for match in list(_TAG.finditer(text))[-MOST_SPANS:] if "<" in text else ():
        closing = _TAG_END.search(text, match.end())
        end = closing.start() if closing else min(len(text), match.end() + SPAN_CHARS)
        found.append(Span(text[match.end() : end].strip(), "answer_tag", FINAL, match.start(), end, closed=True))
    for match in list(_JSON.finditer(text))[-MOST_SPANS:] if '"' in text else ():
        found.append(Span(match[1] or match[2], "json_answer", FINAL, match.start(), match.end(), closed=True))
    return found


# ---- words

_NOT_WRONG = r"(?<!wrong )(?<!incorrect )(?<!first )(?<!possible )(?<!initial )(?<!your )"
_NOT_WRONG += r"(?<!if the )(?<!suppose the )(?<!supposing the )(?<!whether the )(?<!assuming the )(?<!unless the )"
_IS = r"(?:is|are|was|were|be|becomes|equals|would be|must be|should be|will be|could only be|has to be|comes out to|=)"
_SURELY = r"(?: therefore| thus| then| indeed| simply| clearly| most likely| likely| probably)?"
_HEADING = r"(?:step|part|case|solution|explanation|reasoning|analysis|given|method|note|calculation|final|answer)\b"
_WHAT = r"(?:answer|option|choice|solution|result|response|value|number|letter)"
_LINE = r"(?:^|\n)[ #>]{0,6}"
_FORM = r"(?: ?\([^()\n]{1,40}\))?"
"""What kind of answer is meant, in brackets: `the answer (Yes or No) is`."""
_ABOUT = r"(?: (?:to|for|of|in|from|that|among|here|based|according|therefore|then|thus|also)\b[^\n.?!:]{0,100}?)?"

_AT_LINE, _ANYWHERE = ("\n",), ()
"""Where a pattern may begin: at these texts or at the very beginning; anywhere. The patterns' columns are: keywords, of
which a text must hold one; the rule's name; where a match begins; the pattern."""

A_LINE = "a_line"
"""The last line `A: 33`, which for a choice would be the first one's label."""
_FOREIGN = (
    *("antwort", "lösung", "ergebnis", "réponse", "résultat", "respuesta", "solución", "resultado", "resposta"),
    *("opción correcta", "opção correta", "opzione corretta", "option correcte"),
    *("risposta", "risultato", "ответ", "答え", "正解", "正答", "정답", "답은", "답 :"),
    *("antwoord", "resultaat", "odpowied", "wynik", "cevap", "sonuç", "svaret", "đáp án", "jawaban", "الإجابة", "उत्तर"),
)
"""`Die Antwort ist 3,5`, `La bonne réponse est B`, `Respuesta: sí`, 正解は: languages but English and Chinese."""

_Words = tuple[tuple[tuple[str, ...], str, tuple[str, ...], str], ...]
_FINAL_WORDS: _Words = (
    (
        ("final",),
        "final_answer",
        ("final",),
        rf"\bfinal(?:[ -]|_(?!\w+\s?=))-?(?:\w{{1,12}} ){{0,2}}{_WHAT}s?\b(?: letter)?{_FORM}[^\n:.]{{0,60}}?"
        rf"(?:(?: {_IS}\b)? ?:| {_IS}(?= |$))",
    ),
    (("final",), "final_answer", _AT_LINE, rf"{_LINE}(?:the )?final[ _-]{{1,2}}{_WHAT}s?[ ]{{0,3}}(?=\n|\$|\\)"),
    (
        ("ans",),
        "answer_line",
        _AT_LINE,
        r"(?:^|\n)[ #>\-]{0,6}(?:the )?(?:correct |best |short )?(?:answers?|ans)\.?[ ]{0,2}(?::|->|=>|=|- )",
    ),
    (("answer",), "answer_line", _AT_LINE, rf"{_LINE}(?:correct )?answer[ ]{{0,3}}(?=\n)"),
    (("####",), "hash_answer", ("####",), rf"(?<!#)#{{4}}(?![ ]{{0,3}}{_HEADING})[ ]{{0,3}}(?=[^\n#]{{1,80}}(?:\n|$))"),
    (("答案]",), "zh_answer", _ANYWHERE, r"\[(?:最终|参考|正确)?答案\][ ]{0,3}(?:[:,]|[是为](?=[ ]?[^\s.]))?"),
    (("最终", "最后"), "zh_answer", ("最",), r"最[终后](?:的)?(?:答案|结果|选择)(?:应该|应)?(?:是|为|:|选)[ ]{0,3}:?"),
    (("答",), "zh_answer", _AT_LINE, rf"{_LINE}(?:(?:正确)?答案|答)[ ]{{0,3}}:"),
    (("\na:", "\na :"), A_LINE, _AT_LINE, r"\n[ ]{0,3}A ?:[ ]{0,3}(?=[^\n]{1,80}\s*$)"),
    (_FOREIGN, "foreign_answer", _AT_LINE, rf"{_LINE}(?:\w{{1,12}} )?(?:{'|'.join(_FOREIGN)})(?: \w{{1,12}})?[ ]?:"),
)
_STATED_WORDS: _Words = (
    (
        ("answer", "solution"),
        "answer_is",
        ("answer", "solution"),
        rf"\b{_NOT_WRONG}(?:answers?|solutions?(?=[^\n:.?!]{{0,100}} {_IS}\b))(?: choice| letter| option)?{_FORM}"
        rf"{_ABOUT}(?: {_IS}\b{_SURELY}(?: ?:)?|,? ?:)",
    ),
    (
        _FOREIGN,
        "foreign_answer",
        _FOREIGN,
        rf"(?:{'|'.join(_FOREIGN)})(?:\b|(?=[はが은는이]))[^\n.?!:]{{0,60}}?"
        r"(?: (?:ist|lautet|beträgt|est|es|é|è|sera|será|sarà|is|jest|to|är|er|adalah|là|هي|هو)\b"
        r"(?: (?:also|donc|entonces|dus|zatem))?(?: ?:)?"
        r"(?: (?:la|le|el|die|der|das)(?= [(\[]?[A-J]\b))?| ?:"
        r"|(?:は|은|는)[ ]?|(?<=답은)[ ])",
    ),
    (
        ("correct ", "right ", "best ", "proper ", "appropriate ", "only valid "),
        "correct_is",
        ("correct ", "right ", "best ", "proper ", "appropriate ", "only valid "),
        r"\b(?:correct|right|best|proper|appropriate|only valid) (?:answer )?"
        r"(?:option|choice|response|value|statement|letter|one|number)s?\b(?: letter)?"
        rf"[^\n.?!:]{{0,100}}?(?: {_IS}\b(?: ?:)?|,? ?:)",
    ),
    (
        ("choose", "select", "pick", "go with", "opt for", "answer"),
        "chosen",
        ("i ", "i'"),
        r"\bI(?:'d| would| will|'ll)? (?:choose|select|pick|go with|opt for|answer)(?: with)?(?: ?:)?",
    ),
    (
        ("答案", "结果", "结论"),
        "zh_stated",
        ("答案", "结果", "结论"),
        r"(?:答案|(?:结果|结论)(?=[是为:]))(?:应该|应当|应|可能|就|只能|只|便)?(?:是|为|选|:)[ ]{0,3}:?",
    ),
    (
        ("选",),
        "zh_chosen",
        _ANYWHERE,
        r"(?:故|所以|因此|因而|综上|应|应该|本题|答案|可|则|只能|于是)[^\n.;选]{0,12}?选(?:择)?(?:项)?(?:的是|为"
        r"|是)?[ ]{0,3}:?"
        r"(?=[ ]{0,2}[(\[]?[A-H])",
    ),
    (("选项",), "zh_chosen", ("选项",), r"选项(?:应该|应当|应)?[是为][ ]{0,3}:?(?=[ ]{0,2}[(\[]?[A-H])"),
    (("选",), "zh_chosen", _ANYWHERE, r"(?:^|[\n,.;])[ ]{0,3}选(?:择)?[ ]{0,3}:?(?=[ ]{0,2}[(\[]?[A-H])"),
)


_Trigger = tuple[tuple[str, ...], str, tuple[str, ...], re.Pattern[str]]


def _compiled(words: _Words) -> tuple[_Trigger, ...]:
    return tuple((keys, rule, begins, re.compile(pattern, re.IGNORECASE)) for keys, rule, begins, pattern in words)


_TRIGGERS = (_compiled(_FINAL_WORDS), _compiled(_STATED_WORDS))
"""By tier."""


_STEP = re.compile(r"(?:1[.)]|[-*•]|step\b|first\b)\s", re.IGNORECASE)
"""Begins a list of steps: "Here is how I got to the answer:" announces a way, not an answer."""
_BY_KEY: dict[str, list[tuple[int, int]]] = {}
"""Keyword -> tier and place of the triggers that need it."""
for _tier, _triggers in enumerate(_TRIGGERS):
    for _place, (_keys, *_) in enumerate(_triggers):
        for _key in _keys:
            _BY_KEY.setdefault(_key, []).append((_tier, _place))


def announced(text: str) -> list[Span]:
    """Final and stated answers announced in words, in order of place, at most a dozen of each tier, the last ones."""
    low = text.lower()
    present = sorted({at for key, found in _BY_KEY.items() if key in low for at in found})
    if not present:
        return []
    final = _spans(text, low, [_TRIGGERS[FINAL][place] for tier, place in present if tier == FINAL], FINAL)
    stated = _spans(text, low, [_TRIGGERS[STATED][place] for tier, place in present if tier == STATED], STATED)
    if final and stated:
        ends = {span.end for span in final}
        stated = [span for span in stated if span.end not in ends]
    return sorted(final[-MOST_SPANS:] + stated[-MOST_SPANS:], key=lambda span: span.start)


def _spans(text: str, low: str, triggers: Sequence[_Trigger], tier: int) -> list[Span]:
    found: dict[int, Span] = {}
    for keys, rule, begins, pattern in triggers:
        # Small letters of some scripts are two signs: then places in `low` are not those in `text`.
        if begins and len(low) == len(text):
            places = {0}  # the very beginning, and where one of the literals stands
            for literal in keys if begins == _AT_LINE else begins:
                place = low.find(literal)
                while place >= 0:
                    places.add(place)
                    place = low.find(literal, place + 1)
            if begins == _AT_LINE:  # where the lines begin, line break included, that hold a keyword
                places = {max(low.rfind("\n", 0, place + 1), 0) for place in places}
            matches: list[re.Match[str]] = []  # what `finditer` gives for a pattern whose matches begin there
            for place in sorted(places):
                if (not matches or place >= matches[-1].end()) and (hit := pattern.match(text, place)):
                    matches.append(hit)
        else:
            matches = list(pattern.finditer(text))
        for match in matches:
            after = text[match.end() : match.end() + SPAN_CHARS]
            bare = after.lstrip(" \n\t:")
            if bare and "\n" in after[: len(after) - len(bare)]:
                # The next line may begin how the answer is found: steps, or prose under "Here is the answer:".
                before = text[max(match.start() - 80, 0) : match.start()]
                if _STEP.match(bare) or (len(bare.partition("\n")[0]) > 40 and _HERE.search(before)):
                    continue
            if bare:
                found.setdefault(match.end(), Span(bare, rule, tier, match.start(), match.end()))
    return sorted(found.values(), key=lambda span: span.start)


_HERE = re.compile(r"\b(?:here(?:'s| is| are)|(?:below|following) (?:is|are))\b[^\n.]{0,60}$", re.IGNORECASE)
