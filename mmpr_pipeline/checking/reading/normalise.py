"""Harmless differences of writing, taken away: full-width forms, typographic marks, Markdown and LaTeX dressing.

Nothing here deletes meaning: signs, digits, units, comparisons and words stay. Every pattern is linear in its input.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_FULL_WIDTH: dict[int, int] = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_MARKS: dict[int | str, int | str | None] = {
    0x3000: " ", 0xA0: " ", 0x2009: " ", 0x202F: " ", 0x2002: " ", 0x2003: " ",
    "‘": "'", "’": "'", "“": '"', "”": '"', "′": "'", "‐": "-", "‑": "-", "‒": "-", "–": "-",
    "—": "-", "−": "-", "﹣": "-", "。": ".", "、": ",", "【": "[", "】": "]",
    "「": '"', "」": '"', "『": '"', "』": '"', "﹪": "%", "﹕": ":", "∶": ":", "\r": "\n",
    0x200B: None, 0x200C: None, 0x200D: None, 0x2060: None, 0xFEFF: None,
}  # fmt: skip
_FOLDED = {
    chr(mark) if isinstance(mark, int) else mark: chr(other) if isinstance(other, int) else other or ""
    for mark, other in (_FULL_WIDTH | _MARKS).items()
}

_TEXT_COMMAND = re.compile(
    r"\\(?:text|textbf|textit|textrm|textsf|texttt|mathrm|mathbf|mathit|mathsf|mathtt|operatorname|mbox|hbox|emph|bf|rm)"
    r"\s{0,3}\{([^{}]{0,400})\}"
)
_SPACING = re.compile(r"\\(?:[,;:!> ]|quad|qquad|displaystyle|left|right|bf|rm)(?![a-zA-Z])")
_EMPHASIS = re.compile(r"[*_`~](?:(?<=\*)\*{0,2}|(?<=_)_{1,2}|(?<=`)`{0,2}|(?<=~)~)")
_BOX = re.compile(r"\\(?:boxed|fbox)\s{0,3}\{(.{0,2000})\}", re.DOTALL)
_DOUBLED = re.compile(r"\\\\(?=(?:d?frac|left|right|sqrt|boxed|text|mathrm|pi|times|cdot|circ|infty|theta)(?![a-z]))")


def fold_width(text: str) -> str:
    """Full-width ASCII, blanks, quotes, dashes and the Chinese stop written in ASCII; zero-width characters gone.

    Circled numbers, superscripts and fractions stay as they are: they are not the digits that they resemble.
    """
    if text.isascii() and "\r" not in text:
        return text
    for mark in _FOLDED.keys() & set(text):
        text = text.replace(mark, _FOLDED[mark])
    return text


def blanks(text: str) -> str:
    """Runs of white space as one blank, none at the ends."""
    return " ".join(text.split())


def without_emphasis(text: str) -> str:
    """Markdown emphasis and code marks taken away; a `*` or `_` between word characters or digits stays."""
    if not ("*" in text or "_" in text or "`" in text or "~" in text):
        return text
    return _EMPHASIS.sub(lambda m: m.group() if _is_operator(text, m) else "", text)


def _is_operator(text: str, match: re.Match[str]) -> bool:
    """True for `2*3`, `2 * 3` and `2**3`: the same on both sides, which marks of emphasis are not."""
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    if not (before == " " == after or (before.isalnum() and after.isalnum())):
        return False
    around = text[max(match.start() - 2, 0) : match.start()], text[match.end() : match.end() + 2]
    if match.group() not in ("*", "**") or not (around[0].isascii() and around[1].isascii()):
        return False
    close = around[0][-1:].isalnum() and around[1][:1].isalnum()
    apart = around[0][-1:] == " " == around[1][:1] and around[0][:1].isalnum() and around[1][1:].isalnum()
    return close or apart


def without_text_commands(text: str) -> str:
    r"""`\text{A}` and its kin as `A`, nested up to three deep."""
    for _ in range(3):
        if "\\" not in text or "{" not in text:
            return text
        shorter = _TEXT_COMMAND.sub(r"\1", text)
        if shorter == text:
            break
        text = shorter
    return text


def undressed(text: str) -> str:
    r"""The bare answer: no emphasis, `$...$`, `\(...\)`, `\text{...}`, outer quotes or brackets, final stop."""
    if text.isalnum() and text.isascii():
        return text
    return _undressed_short(text) if len(text) <= 200 else _undressed(text)


def _undressed(text: str) -> str:
    text = fold_width(text)
    if "\\\\" in text:  # LaTeX that was escaped once too often on its way: `\\frac` for `\frac`
        text = _DOUBLED.sub(lambda _: "\\", text)
    text = without_text_commands(without_emphasis(text.strip()))
    previous = None
    while previous != text and text and (text[0] in _FIRST or text[-1] in _LAST):
        previous = text
        text = _peel(text.strip())
    return blanks(text)


_undressed_short = lru_cache(maxsize=16_384)(_undressed)

_FIRST, _LAST = frozenset(" \n\t$\\\"'《:,;"), frozenset(" \n\t$\\)]}\"'》.,;:!")
"""Characters without which there is nothing to peel off."""


_FRAMES = {
    "$": (("$$", "$$"), ("$", "$")),
    "\\": ((r"\(", r"\)"), (r"\[", r"\]")),
    '"': (('"', '"'),),
    "'": (("'", "'"),),
    "《": (("《", "》"),),
}


def _peel(text: str) -> str:
    box = _BOX.fullmatch(text) if text.startswith("\\") else None
    if box and box[1].count("{") == box[1].count("}") and "boxed" not in box[1]:
        return box[1]
    for opening, closing in _FRAMES.get(text[:1], ()):
        inner = text[len(opening) : len(text) - len(closing)]
        framed = text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing)
        if framed and opening not in inner and closing not in inner:
            return inner
    if text.endswith((".", ",", ";", ":")) and not text.endswith(".."):
        return text[:-1]
    if text.endswith("!") and text[-3:-1].isalpha():  # never the sign of a factorial
        return text[:-1]
    if text.startswith((":", ",", ";")):
        return text[1:]
    return text


def fold_diacritics(text: str) -> str:
    """Letters without their accents: `café` is `cafe`, `Müller` is `Muller`; other scripts stay."""
    if text.isascii():
        return text
    decomposed = unicodedata.normalize("NFD", text)
    return unicodedata.normalize("NFC", "".join(c for c in decomposed if not 0x300 <= ord(c) <= 0x36F))


def without_spacing_commands(text: str) -> str:
    r"""LaTeX spacing such as `\,` and `\quad`, and `\left` `\right`, taken away."""
    return _SPACING.sub(" ", text) if "\\" in text else text
