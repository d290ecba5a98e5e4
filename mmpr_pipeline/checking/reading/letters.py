r"""Labels of choices at the beginning of a text: `B`, `(B)`, `b)`, `Option B`, `选项B`, `②`, `(ii)`, `A and C`, `BD`.

A letter counts only as a label: not the article in "A cat", nor the letter in "B flat", "B = 5", "Bob" or "3.14".
Below them yes or no, true or false, in English and Chinese.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

from mmpr_pipeline.checking.reading.normalise import undressed, without_spacing_commands, without_text_commands

MOST_CHOICES = 26
UNKNOWN_COUNT = 10

_CIRCLED = {chr(0x2460 + i): i for i in range(10)} | {chr(0x24B6 + i): i for i in range(26)}
_ROMAN = {roman: i for i, roman in enumerate(["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X"])}
_ORDINAL = {word: i for i, word in enumerate(["first", "second", "third", "fourth", "fifth", "sixth"])}

_NOUN = (
    r"(?P<noun>(?:the |an? |my |die |der |la |le |el |l')?(?:correct |right |best )?(?:options?|choices?|answers?"
    r"|letters?|statements?|item|figure|antwort|buchstabe|réponse|lettre|choix|opción|respuesta|letra|opção|opzione|选项|选择|选)"
    r"[ ]?:?[ ]{0,2})?"
)
_LABEL = re.compile(
    _NOUN + r"(?:[(\[{<][ ]?(?P<inside>[A-Z]|[IVX]{1,4})[ ]?[)\]}>]"
    r"|(?P<roman>[IVX]{2,4})(?![A-Z0-9])"
    r"|(?P<bare>[A-Z])(?![A-Z0-9'^_])(?P<close>[ ]?[).:](?![0-9A-Z])|[ ]?[)](?=[0-9A-Z]))?"
    r"|(?P<circled>[①-⑩Ⓐ-Ⓩ])(?![①-⑩]))",
    re.IGNORECASE,
)
_NUMBERED = re.compile(
    r"(?:the )?(?:(?:option|choice|answer) (?:number |no\.? ?|#)?\(?(?P<digit>[1-9])\)?(?![0-9.])"
    r"|(?P<ordinal>first|second|third|fourth|fifth|sixth) (?:option|choice|one|answer)\b)",
    re.IGNORECASE,
)
_QUOTES = ("_", "'", '"', "`")
_QUOTED = re.compile(r"^[_'\"`]{1,3}(\(?[A-Z]\)?)[_'\"`]{1,3}(?![A-Za-z0-9])")
_MANY = re.compile(r"(?:(?:options?|choices?|选项|选)[ ]?)?(?P<many>[A-J]{2,8})(?![A-Za-z0-9])")
_EQUATED = re.compile(r"\s?[=<>≈≤≥⊥∥~]")
"""`AB = 3` is a length."""
_SPACED = re.compile(r"[A-J](?:[ ]{1,3}[A-J]){1,7}[ .]{0,3}$")
_AND = re.compile(r"[ ]?(?:,[ ]?(?:and\b|&)?|;|&|and\b|和|及|与|/|\+)[ ]?(?=\S)", re.IGNORECASE)
_BESIDE = re.compile(r"[ ]?(?=[(\[][A-Z][)\]])")
"""Between `(A)` and `(C)`."""
_OR = re.compile(r"[ ,]{0,3}(?:or\b|或者?|还是)[ ]{0,2}", re.IGNORECASE)
_WRONG_AFTER = re.compile(
    r"^[^\n.;!?]{0,60}?(?:\b(?:is|are|seems?|would be) (?:not|wrong|incorrect|false|excluded|eliminated|ruled|out"
    r"|invalid)\b"
    r"|\bisn't\b|\bcan(?:not| ?not|'t) be\b|错误|不正确|不符合|不对|不合|不如|不及|排除|有误)",
    re.IGNORECASE,
)
_MAY_FOLLOW = re.compile(
    r"\s*(?:$|[,;:()\[\].\"'*!}\n\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7a3-]"
    r"|(?:is|are|was|because|since|as|which|with|and|or|who|where|that|for|corresponds?|corresponding|means|meaning"
    r"|representing"
    r"|in|on|from|based|here|at|to|would|if|due)\b)",
    re.IGNORECASE,
)


class Letters(NamedTuple):
    """Letters named, in order of the alphabet, e.g. `B` or `AC`.

    `hedged`: offered as alternatives. `denied`: said to be wrong by what follows. `loose`: followed by a word that a
    label is not usually followed by, so that it counts only where that is the choice's own text. `rest`: what follows.
    """

    letters: str
    rest: str
    hedged: bool = False
    loose: bool = False
    denied: bool = False


def read_letters(text: str, count: int) -> Letters | None:
    """Labels at the beginning of `text`, among `count` choices (0: not known); None if it starts otherwise."""
    text = without_text_commands(without_spacing_commands(text[:400]))
    for mark in ("$", "{}", "\\(", "\\)", "\\[", "\\]"):
        text = text.replace(mark, "")
    text = text.lstrip(" \n\t:-=,>#*")
    text = _QUOTED.sub(r"\1", text).lstrip("\"'`") if text[:1] in _QUOTES else text
    limit = min(count or UNKNOWN_COUNT, MOST_CHOICES)
    many = _MANY.match(text)
    if many and _is_set(many["many"], limit) and not _EQUATED.match(text, many.end()):
        return Letters(many["many"], text[many.end() :])
    if _SPACED.match(text) and _is_set(text.replace(" ", "").rstrip("."), limit):
        return Letters(text.replace(" ", "").rstrip("."), "")
    # Labels side by side in brackets, or joined by commas, `and` or `or`. `plain`: the last is a letter without marks.
    found: list[str] = []
    position = end = 0
    hedged = plain = joined_by_or = False
    while len(found) < MOST_CHOICES:
        match = _LABEL.match(text, position)
        letter = _letter(match, text, limit) if match else None
        if match is None or letter is None:
            break
        found.append(letter)
        hedged = hedged or (len(found) > 1 and joined_by_or)
        plain = match["bare"] is not None and match["close"] is None and match["noun"] is None
        end = match.end()
        joiner = _OR.match(text, end) or _AND.match(text, end) or (match["inside"] and _BESIDE.match(text, end))
        if not joiner:
            break
        joined_by_or = _OR.match(text, end) is not None
        position = joiner.end()
    if not found:
        match = _NUMBERED.match(text) if count else None
        if match is None:
            return None
        index = int(match["digit"]) - 1 if match["digit"] else _ORDINAL[match["ordinal"].lower()]
        return Letters(chr(65 + index), text[match.end() :]) if index < count else None
    rest = text[end:]
    loose = plain and not _MAY_FOLLOW.match(rest)
    denied = _WRONG_AFTER.match(rest) is not None
    return Letters("".join(sorted(set(found))), rest, hedged=hedged, loose=loose, denied=denied)


def _letter(match: re.Match[str], text: str, limit: int) -> str | None:
    if match["circled"]:
        index = _CIRCLED.get(match["circled"])
    elif match["roman"]:
        index = _ROMAN.get(match["roman"]) if match["roman"].isupper() else None
    elif match["inside"]:
        index = _index(match["inside"].upper(), limit)
    else:
        token, after = match["bare"], text[match.end() :]
        label, marked = True, match["noun"] is not None or match["close"] is not None
        if token.islower():  # a small letter that nothing marks is no label
            label = marked or not after.strip()
        elif token in "AI" and not marked and re.match(r" [a-z]", after):  # "A cat", "I think"
            label = _MAY_FOLLOW.match(after) is not None
        index = _index(token.upper(), limit) if label else None
    return chr(65 + index) if index is not None and index < limit else None


def _index(token: str, limit: int) -> int | None:
    """Place of a letter in the alphabet, else its value as a Roman numeral."""
    index = ord(token) - 65 if len(token) == 1 else MOST_CHOICES
    return index if index < limit else _ROMAN.get(token)


def _is_set(letters: str, limit: int) -> bool:
    return all(a < b for a, b in pairwise(letters)) and ord(letters[-1]) - 65 < limit


# ---- yes or no

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
_TRUTH_LETTERS = {"y": True, "n": False, "t": True, "f": False, "1": True, "0": False}


def read_yes_no(text: str) -> bool | None:
    """Yes (True) or no (False) at the beginning of a text; None if it starts otherwise or offers both."""
    text = undressed(text[:300]).lstrip(" ([")
    if len(text) == 1 and text.isascii() and text.isalpha():
        return _TRUTH_LETTERS.get(text.casefold())
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
    if text in _TRUTH_LETTERS:
        return _TRUTH_LETTERS[text]
    match = _FIRST.fullmatch(text)
    return None if match is None else match["no"] is None
