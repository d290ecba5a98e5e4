"""A raw response, made ready: thinking cut away, control tokens and invented further turns removed, length bounded."""

from __future__ import annotations

import re
from typing import NamedTuple

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
    return Reply(_cleaned(text), _cleaned(further) if question else "")


def _cleaned(text: str) -> str:
    text = _CONTROL.sub(" \n", text) if "<" in text or "[/" in text else text
    text = _CALCULATION.sub("", text) if "<<" in text else text
    if "```" in text:
        # A number in a program is not the answer: drop fenced blocks, unless nothing else is left or one holds a box.
        outside = _FENCED.sub("\n", text)
        boxed = "boxed" in text and "boxed" not in outside
        text = text if boxed or not any(c.isalnum() for c in outside) else outside
    text = text.strip()
    if len(text) <= MAX_CHARS:
        return text
    return text[:_HEAD_CHARS].rstrip() + "\n" + text[_HEAD_CHARS - MAX_CHARS :].lstrip()
