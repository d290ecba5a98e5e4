"""Words that announce an answer, in English and Chinese: "Final answer:", "the answer is", 答案, 故选.

Every pattern is tried only where one of its keywords stands in the text: most responses hold few of them.
"""

from __future__ import annotations

import re

from mmpr_pipeline.checking.spans import FINAL, MOST_SPANS, SPAN_CHARS, STATED, Span

_NOT_WRONG = r"(?<!wrong )(?<!incorrect )(?<!first )(?<!possible )(?<!initial )(?<!your )"
_IS = r"(?:is|are|was|were|be|becomes|equals|would be|must be|should be|will be|could only be|has to be|comes out to|=)"
_SURELY = r"(?: therefore| thus| then| indeed| simply| clearly| most likely| likely| probably)?"
_WHAT = r"(?:answer|option|choice|solution|result|response|value|number|letter)"
_LINE = r"(?:^|\n)[ #>]{0,6}"
_ABOUT = r"(?: (?:to|for|of|in|from|that|among|here|based|according|therefore|then|thus|also)\b[^\n.?!:]{0,100}?)?"

_FINAL_WORDS = (
    (
        ("final",),
        "final_answer",
        rf"\bfinal[ _-]{{1,2}}(?:\w{{1,12}} ){{0,2}}{_WHAT}s?\b(?: letter)?[^\n:.]{{0,60}}?"
        rf"(?:(?: {_IS}\b)? ?:| {_IS}(?= |$))",
    ),
    (("final",), "final_answer", rf"{_LINE}(?:the )?final[ _-]{{1,2}}{_WHAT}s?[ ]{{0,3}}(?=\n|\$|\\)"),
    (
        ("ans",),
        "answer_line",
        r"(?:^|\n)[ #>\-]{0,6}(?:the )?(?:correct |best |short )?(?:answers?|ans)\.?[ ]{0,2}(?::|->|=>|=|- )",
    ),
    (("answer",), "answer_line", rf"{_LINE}(?:correct )?answer[ ]{{0,3}}(?=\n)"),
    (("####",), "hash_answer", r"(?:^|\n)[ ]{0,3}#{4}[ ](?=[^\n#]{1,80}(?:\n|$))"),
    (("答案]",), "zh_answer", r"\[(?:最终|参考|正确)?答案\][ ]{0,3}(?:[:,]|[是为](?=[ ]?[^\s.]))?"),
    (("最终", "最后"), "zh_answer", r"最[终后](?:的)?(?:答案|结果|选择)(?:应该|应)?(?:是|为|:|选)[ ]{0,3}:?"),
    (("答",), "zh_answer", rf"{_LINE}(?:(?:正确)?答案|答)[ ]{{0,3}}:"),
)
_STATED_WORDS = (
    (
        ("answer", "solution"),
        "answer_is",
        rf"\b{_NOT_WRONG}(?:answers?|solutions?(?=[^\n:.?!]{{0,100}} {_IS}\b))(?: choice| letter| option)?{_ABOUT}"
        rf"(?: {_IS}\b{_SURELY}(?: ?:)?|,? ?:)",
    ),
    (
        ("correct ", "right ", "best ", "proper ", "appropriate ", "only valid "),
        "correct_is",
        r"\b(?:correct|right|best|proper|appropriate|only valid) (?:answer )?"
        r"(?:option|choice|response|value|statement|letter|one|number)s?\b(?: letter)?"
        rf"[^\n.?!:]{{0,100}}?(?: {_IS}\b(?: ?:)?|,? ?:)",
    ),
    (
        ("choose", "select", "pick", "go with", "opt for", "answer"),
        "chosen",
        r"\bI(?:'d| would| will|'ll)? (?:choose|select|pick|go with|opt for|answer)(?: with)?(?: ?:)?",
    ),
    (
        ("答案", "结果", "结论"),
        "zh_stated",
        r"(?:答案|(?:结果|结论)(?=[是为:]))(?:应该|应当|应|可能|就|只能|只|便)?(?:是|为|选|:)[ ]{0,3}:?",
    ),
    (
        ("选",),
        "zh_chosen",
        r"(?:故|所以|因此|因而|综上|应|应该|本题|答案|可|则|只能|于是)[^\n.;选]{0,12}?选(?:择)?(?:项)?(?:的是|为"
        r"|是)?[ ]{0,3}:?"
        r"(?=[ ]{0,2}[(\[]?[A-H])",
    ),
    (("选",), "zh_chosen", r"(?:^|[\n,.;])[ ]{0,3}选(?:择)?[ ]{0,3}:?(?=[ ]{0,2}[(\[]?[A-H])"),
)

Trigger = tuple[frozenset[str], str, re.Pattern[str]]


def _compiled(words: tuple[tuple[tuple[str, ...], str, str], ...]) -> tuple[Trigger, ...]:
    return tuple((frozenset(keys), rule, re.compile(pattern, re.IGNORECASE)) for keys, rule, pattern in words)


_FINAL = _compiled(_FINAL_WORDS)
_STATED = _compiled(_STATED_WORDS)


_STEP = re.compile(r"(?:1[.)]|[-*•]|step\b|first\b)\s", re.IGNORECASE)
"""Begins a list of steps: "Here is how I got to the answer:" announces a way, not an answer."""
_KEYS = sorted({key for keys, _, _ in (*_FINAL_WORDS, *_STATED_WORDS) for key in keys}, key=len)


def announced(text: str) -> list[Span]:
    """Final and stated answers announced in words, in order of place, at most a dozen of each tier, the last ones."""
    low = text.lower()
    present = {key for key in _KEYS if key in low}
    if not present:
        return []
    final = _spans(text, present, _FINAL, FINAL)
    ends = {span.end for span in final}
    stated = [span for span in _spans(text, present, _STATED, STATED) if span.end not in ends]
    return sorted(final[-MOST_SPANS:] + stated[-MOST_SPANS:], key=lambda span: span.start)


def _spans(text: str, present: set[str], triggers: tuple[Trigger, ...], tier: int) -> list[Span]:
    found: dict[int, Span] = {}
    for keys, rule, pattern in triggers:
        if keys.isdisjoint(present):
            continue
        for match in pattern.finditer(text):
            after = text[match.end() : match.end() + SPAN_CHARS]
            bare = after.lstrip(" \n\t:")
            if bare and not ("\n" in after[: len(after) - len(bare)] and _STEP.match(bare)):
                found.setdefault(match.end(), Span(bare, rule, tier, match.start(), match.end()))
    return sorted(found.values(), key=lambda span: span.start)
