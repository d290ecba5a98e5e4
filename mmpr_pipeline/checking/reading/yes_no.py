"""Yes or no, true or false, in English and Chinese."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.reading.normalise import undressed

_YES = "yes|yeah|yep|yup|true|correct|right|affirmative|是的|是|对的|对|正确|有|能|可以|会|√|✓|✔"
_YES += "|(?:ja|oui|sí|sim|да)(?!-)|はい|예|네"
_YES += r"|(?:absolutely|definitely|indeed)(?=[,.]|$)"
_NO = r"(?:not at all|not really|i don't think so|(?:definitely|certainly|absolutely) not)(?=[,.]|$)"
_NO += "|no|nope|false|incorrect|wrong|negative|不是|不对|不正确|错误|错|否|没有|不能|不可以|不会|不|×|✗|✘"
_NO += "|(?:nein|non|não|нет)(?!-)|いいえ|아니요"
_FIRST = re.compile(
    r"(?:(?:based on|according to|in|from|looking at|as shown in|given)\b[^,.\n]{0,80}, )?(?:\(?[A-D][).:] ?)?[\"']?"
    r"(?:it is |it's |this is |that is |that's |the (?:statement|claim|answer|assertion) is )?"
    rf"(?:(?P<no>{_NO})|(?P<yes>{_YES}))(?![A-Za-z0-9'])",
    re.IGNORECASE,
)
_OTHER_TOO = re.compile(r"(?:or|and|或|/)\s?(?:no|yes|true|false|是|否)\b", re.IGNORECASE)
_COUNTED = re.compile(r"(?:\d|one\b|more\b|less\b|idea\b|way to\b|such\b|problem\b|information\b|answer\b)")
_LETTERS = {"y": True, "n": False, "t": True, "f": False, "1": True, "0": False}


def read_yes_no(text: str) -> bool | None:
    """Yes (True) or no (False) at the beginning of a text; None if it starts otherwise or offers both."""
    text = undressed(text[:300]).lstrip(" ([")
    if len(text) == 1 and text.isascii() and text.isalpha():
        return _LETTERS.get(text.casefold())
    match = _FIRST.match(text)
    if match is None:
        return None
    rest = text[match.end() :]
    if _OTHER_TOO.match(rest.lstrip(" )],")):
        return None
    if match["no"] and rest[:1] == " " and _COUNTED.match(rest.lstrip()):  # "no one", "no 5": not the answer no
        return None
    return match["no"] is None


def gold_yes_no(gold: str) -> bool | None:
    """The gold as a truth value; None if it is not one."""
    text = undressed(gold).casefold()
    if text in _LETTERS:
        return _LETTERS[text]
    match = _FIRST.fullmatch(text)
    return None if match is None else match["no"] is None
