"""The text of a response in which to look for an answer, and its sentences; whether it says that it has no answer.

Thinking, control tokens, invented further turns and choices listed over again are taken away; the length is bounded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from mmpr_pipeline.checking.reading.choices import canonical
from mmpr_pipeline.checking.reading.normalise import undressed

MAX_CHARS = 24_000
"""The most characters of a response that are looked at: its head and, mostly, its tail, where answers are."""

_HEAD_CHARS = 4_000
_THINK_CLOSE = re.compile(r"</\s{0,2}(?:think|thinking|thought|reasoning|analysis)\s{0,2}>", re.IGNORECASE)
_THINK_OPEN = re.compile(r"<\s{0,2}(?:think|thinking|thought|reasoning|analysis)\s{0,2}>", re.IGNORECASE)
_NEW_TURN = re.compile(
    r"<\|im_start\|>\s{0,3}(?:user|system|human)?|<\|start_header_id\|>|<\|user\|>|"
    r"\n\s{0,3}#{0,4}\s{0,3}(?:Human|User|USER|HUMAN)\s{0,2}:|\[INST\]"
)
_MAY_TURN = re.compile(r"[<\[HU](?:\||INST\]|uman|ser|SER|UMAN)")
_FENCED = re.compile(r"```[^`]{0,8000}```")
_CALCULATION = re.compile(r"<<[^<>\n]{1,80}>>")
_NEW_QUESTION = re.compile(r"\n\s{0,3}#{0,4}\s{0,3}(?:Question|Q|Problem)\s{0,2}\d{0,2}\s{0,2}:")
_CONTROL = re.compile(r"<\|[a-z_0-9]{1,30}\|>|</?s>|<eo[aem]>|<(?:unk|pad|eos|bos)>|\[/INST\]", re.IGNORECASE)


class Reply(NamedTuple):
    """A response in which to look for an answer, and what a model that ran on into further questions wrote there."""

    text: str
    further: str = ""


def prepare_reply(response: str) -> Reply:
    """The part of a response in which its answer is to be looked for.

    Thinking (`<think>...</think>`) never counts, and thinking that was never closed leaves nothing. Text longer than
    `MAX_CHARS` keeps its head and its tail.
    """
    said = response.strip()
    closes = list(_THINK_CLOSE.finditer(said)) if "</" in said else []
    if closes:
        said = said[closes[-1].end() :]
    opened = _THINK_OPEN.search(said) if "<" in said else None
    text, further = said[: opened.start()] if opened else said, ""
    # Cut at the first further turn that the model invented, unless nothing stands before it.
    turn = _NEW_TURN.search(text) if _MAY_TURN.search(text) else None
    if turn is not None and _CONTROL.sub("", text[: turn.start()]).strip():
        text, further = text[: turn.start()], text[turn.end() :]
    question = _NEW_QUESTION.search(text) if ":" in text else None
    if question is not None and any(c.isalnum() for c in text[: question.start()]):
        text, further = text[: question.start()], text[question.end() :]
    parts = []
    for part in (text, further if question else ""):
        part = _CONTROL.sub(" \n", part) if "<" in part or "[/" in part else part
        part = _CALCULATION.sub("", part) if "<<" in part else part
        if "```" in part:
            # A number in a program is no answer: drop fenced blocks, unless nothing else is left or one holds a box.
            outside = _FENCED.sub("\n", part)
            boxed = "boxed" in part and "boxed" not in outside
            part = part if boxed or not any(c.isalnum() for c in outside) else outside
        part = part.strip()
        if len(part) > MAX_CHARS:
            part = part[:_HEAD_CHARS].rstrip() + "\n" + part[_HEAD_CHARS - MAX_CHARS :].lstrip()
        parts.append(part)
    return Reply(*parts)


# ---- sentences

_SENTENCE_END = re.compile(
    r"[.!?$\\](?:(?<=[.!?])(?<!\b[A-Z].)(?<!\b(?:Mr|Dr|St|vs|No).)(?<!\b(?:Mrs|etc|Fig).)"
    r"[\"')\]]{0,2}(?=\s|$|[\u4e00-\u9fff])"
    r"|(?:(?<=\$)\$|(?<=\\)\])(?=\s+[A-Z]))"
)
_TABLE_RULE = re.compile(r"[\s|:+-]{3,200}")
_TABLE_HEAD = re.compile(r"^[ |:]*-{3,}[ :]*\|[-\s|:]*$", re.MULTILINE)
_FENCED_LINES = re.compile(r"^[ \t]*```.{0,20000}?(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
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
        text = _FENCED_LINES.sub("\n", text)
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


# ---- choices listed over again

MOST_LABELS = 200
"""Labels that are read, counted from the beginning of a response."""

_LABEL = re.compile(
    r"[A-Ja-j(\[](?:(?<=[(\[])(?<![^\s,;:.\u3002\uff0c\uff1b\uff1a\]].)([A-Ja-j])[)\]]"
    r"|(?<=([A-J]))(?<![^\s,;:.\u3002\uff0c\uff1b\uff1a\]].)[).:\uff0e\u3001])[ \t]{0,4}(?=\S)",
    re.DOTALL,
)
_EVERY_OTHER = re.compile(r"[BDFHJbdfhj][)\].:\uff0e\u3001]")
"""One of two labels that follow each other is one of these."""
_BETWEEN = re.compile(r"[\s,;.\u3002\uff0c\uff1b]*(?:\b(?:or|and)\b)?[\s,;]*$")
_ITEM_END = re.compile(r"\n|[?\u3002;]|\.(?=\s|$)")


def without_choice_list(text: str, choices: Sequence[str]) -> str:
    """`text` without lists of choices: labels in a row, each with the text of a choice and no word more.

    Two choices named beside each other are an answer, not a list: a list has three, or all that there are, or labels
    that the question does not have (`(C) yes (D) no`).
    """
    if len(choices) < 2 or not _EVERY_OTHER.search(text):
        return text
    labels = list(islice(_LABEL.finditer(text), MOST_LABELS))
    if len(labels) < 2:
        return text
    texts = _texts(tuple(choices))
    items = [
        (mark, _item_end(text, mark.end(), after.start() if after else None, texts))
        for mark, after in zip(labels, [*labels[1:], None], strict=True)
    ]
    kept, last = [], 0
    # Items in a row, nothing between them, whose labels follow each other.
    runs: list[list[_Item]] = []
    for mark, end in items:
        if end < 0:
            runs.append([])
            continue
        before = runs[-1][-1] if runs and runs[-1] else None
        between = text[before[1] : mark.start()][:40] if before else ""
        if before and _index(mark) == _index(before[0]) + 1 and _BETWEEN.fullmatch(between):
            runs[-1].append((mark, end))
        else:
            runs.append([(mark, end)])
    for run in [run for run in runs if len(run) > 1]:
        if len(run) > 2 or len(run) == len(choices) or _index(run[-1][0]) >= len(choices):
            kept.append(text[last : run[0][0].start()])
            last = run[-1][1]
    return "".join([*kept, text[last:]])


@lru_cache(maxsize=512)
def _texts(choices: tuple[str, ...]) -> frozenset[str]:
    return frozenset(canonical(choice) for choice in choices)


_Item = tuple[re.Match[str], int]


def _item_end(text: str, start: int, stop: int | None, texts: frozenset[str]) -> int:
    """Where the item that begins at `start` ends, if it is the text of a choice; -1 if it is not."""
    inner = _BETWEEN.sub("", text[start:stop]) if stop is not None else None
    ends = [start + len(inner)] if inner is not None else []
    ends += [match.start() for match in _ITEM_END.finditer(text, start, start + 400)][:2]
    ends += [min(len(text), start + 400)] if stop is None else []
    return next((end for end in ends if canonical(text[start:end]) in texts), -1)


def _index(mark: re.Match[str]) -> int:
    return ord((mark[1] or mark[2]).upper()) - 65


# ---- an honest "I can't tell"

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
BARE_ABSTENTIONS = frozenset(
    "n/a na none unknown undetermined unclear unanswerable indeterminate null - ? 无 未知".split()  # noqa: SIM905
)
"""What says so as the whole answer."""


def abstains(text: str) -> bool:
    """Whether a text says that the answer is unknown, cannot be determined, or is missing."""
    if undressed(text[:60]).casefold() in BARE_ABSTENTIONS:
        return True
    low = text[:2_000].lower().replace("’", "'")
    for keys, pattern in _ABSTAINS:
        for key in keys:
            if key in low:
                if pattern.search(low):
                    return True
                break
    return False
