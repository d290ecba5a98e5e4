"""An honest "I can't tell": no answer, and said so."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.reading.normalise import undressed

_UNABLE = (
    r"\b(?:can ?not|can't|could ?not|couldn't|unable to|impossible to|not possible to|not able to|isn't possible to"
    r"|hard to|difficult to) (?:be )?"
    r"(?:\w{1,12} )?(?:determined?|tell|told|say|said|answered|answer|find|found|identify|identified|see|view"
    r"|provide|provided|calculated?|"
    r"solved?|ascertain(?:ed)?|infer(?:red)?|analy[sz]e|analy[sz]ed|decided?|concluded?|know|assist|help|access"
    r"|display|interpret)"
)
_TOO_LITTLE = (
    r"\b(?:insufficient|not enough|no(?:t)? (?:sufficient|enough)|lack of|without (?:additional|further|more|any"
    r"|sufficient|enough)) (?:\w{1,12} )?(?:information|data|context|details?)"
    r"|\b(?:do|does|did)(?: not|n't) (?:provide|contain|include|give|specify|show|offer|state|mention|have) "
    r"(?:\w{1,12} ){0,2}?(?:information|data|context|details?|formula|equation)\b"
    r"|\b(?:more|additional|further) (?:information|data|context|details?) (?:is|are|would be) "
    r"(?:needed|required|necessary)"
    r"|\b(?:need|require) (?:more|additional|further) (?:information|data|context|details?)"
)
_NOT_SAID = (
    r"\bnot (?:provided|specified|given|mentioned|visible|shown|clear) in the\b"
    r"|\b(?:is|are) not (?:specified|provided|given|stated|mentioned|known|determinable|enough)\b"
)
_IN_CHINESE = (
    r"无法(?:确定|判断|回答|得知|得出|看|识别|提供|知道|计算)|不能确定|不确定|不知道|无从|没有(?:足够|提供)|抱歉"
    r"|不清楚|题目(?:可能)?有误|[没无]有?正确的?(?:答案|选项)|选项都不"
)
_ABSTAINS = tuple(
    (keys, re.compile(pattern))
    for keys, pattern in (
        (("not ", "n't ", "unable to ", "impossible to ", "hard to ", "difficult to "), _UNABLE),
        (("do not", "n't "), r"\b(?:i|we) (?:do not|don't|do n't) (?:\w{1,12} )?(?:know|have|see)\b"),
        (("information", "data", "context", "detail", "formula", "equation"), _TOO_LITTLE),
        (("i'm ", "i am "), r"\b(?:i'm|i am) (?:not sure|unsure|sorry|afraid|not certain|uncertain)"),
        (("please provide", "unanswerable", "as an ai"), r"\b(?:please provide\b|unanswerable\b|as an ai\b)"),
        (("not ",), _NOT_SAID),
        (("no image", "no pic", "no fig", "no answer"), r"\bno (?:image|picture|figure|answer)\b"),
        (tuple("无不没抱题选"), _IN_CHINESE),
    )
)
"""Each pattern is tried only on a text that holds one of its keys: most texts hold none."""
_BARE = frozenset(
    [
        "n/a",
        "na",
        "none",
        "unknown",
        "undetermined",
        "unclear",
        "unanswerable",
        "indeterminate",
        "null",
        "-",
        "?",
        "无",
        "未知",
    ]
)


def abstains(text: str) -> bool:
    """True if a text says that the answer is not known, cannot be told, or was not given."""
    if is_bare_abstention(text):
        return True
    low = text[:2_000].lower().replace("’", "'")
    for keys, pattern in _ABSTAINS:
        for key in keys:
            if key in low:
                if pattern.search(low):
                    return True
                break
    return False


def is_bare_abstention(text: str) -> bool:
    """True for `N/A`, `unknown` and the like as the whole answer."""
    return undressed(text[:60]).casefold() in _BARE
