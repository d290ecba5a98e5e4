"""Sentences of a response."""

from __future__ import annotations

import re

_SENTENCE_END = re.compile(
    r"[.!?$\\](?:(?<=[.!?])(?<!\b[A-Z].)(?<!\b(?:Mr|Dr|St|vs|No).)(?<!\b(?:Mrs|etc|Fig).)"
    r"[\"')\]]{0,2}(?=\s|$|[\u4e00-\u9fff])"
    r"|(?:(?<=\$)\$|(?<=\\)\])(?=\s+[A-Z]))"
)
_TABLE_RULE = re.compile(r"[\s|:+-]{3,200}")
_TABLE_HEAD = re.compile(r"^[ |:]*-{3,}[ :]*\|[-\s|:]*$", re.MULTILINE)
_FENCED = re.compile(r"^[ \t]*```.{0,20000}?(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_COURTESY = re.compile(
    r"^(?:I hope|Hope (?:this|that)|Let me know|Please (?:let|note|provide)|Is there anything|If you (?:have|need"
    r"|would)|Feel free|"
    r"Do you|Would you|Thank|Note:|Note that|The code snippet|希望|如果您|如有)",
    re.IGNORECASE,
)


def split_sentences(text: str) -> list[str]:
    """Sentences and lines of a text, without tables, fenced code and courtesies ("I hope this helps!")."""
    found = []
    if "```" in text:
        text = _FENCED.sub("\n", text)
    table = "|" in text and _TABLE_HEAD.search(text) is not None
    for line in text.split("\n"):
        if line.count("|") > (0 if table else 1) or _TABLE_RULE.fullmatch(line):
            continue  # a row of a table
        start = 0
        for match in _SENTENCE_END.finditer(line):
            found.append(line[start : match.end()].strip())
            start = match.end()
        found.append(line[start:].strip())
    sentences = [s for s in found if s and any(c.isalnum() for c in s) and not _COURTESY.match(s)]
    # A sentence that ends in a colon with the few words after it: `So the total is:` and `$13`.
    joined: list[str] = []
    for sentence in sentences:
        before = joined[-1] if joined else ""
        if before.endswith(":") and len(sentence.split()) <= 6 and not _ENUMERATED.match(sentence):
            joined[-1] = f"{before[:-1] if before.endswith((' is:', ' are:')) else before} {sentence}"
        else:
            joined.append(sentence)
    return joined


_ENUMERATED = re.compile(r"(?:\(?[a-z0-9]{1,2}[.)]|[-*•]|(?:step|therefore|thus|so|hence)\b)", re.IGNORECASE)


def first_sentence(text: str) -> str:
    """What stands before the first sentence end or line end."""
    line = text.split("\n", 1)[0]
    match = _SENTENCE_END.search(line)
    return line[: match.start()] if match else line
