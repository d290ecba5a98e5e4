"""A raw response, made ready: thinking cut away, control tokens and invented further turns removed, length bounded."""

from __future__ import annotations

import re

MAX_CHARS = 24_000
"""The most characters of a response that are looked at: its head and, mostly, its tail, where answers are."""

_HEAD_CHARS = 4_000
_THINK_CLOSE = re.compile(r"</\s{0,2}(?:think|thinking|thought|reasoning|analysis)\s{0,2}>", re.IGNORECASE)
_THINK_OPEN = re.compile(r"<\s{0,2}(?:think|thinking|thought|reasoning|analysis)\s{0,2}>", re.IGNORECASE)
_NEW_TURN = re.compile(
    r"<\|im_start\|>\s{0,3}(?:user|system|human)?|<\|start_header_id\|>|<\|user\|>|"
    r"\n\s{0,3}#{0,4}\s{0,3}(?:Human|User|USER|HUMAN)\s{0,2}:|\[INST\]"
)
_CONTROL = re.compile(r"<\|[a-z_0-9]{1,30}\|>|</?s>|<eo[aem]>|<(?:unk|pad|eos|bos)>|\[/INST\]", re.IGNORECASE)


def prepare(response: str) -> str:
    """The part of a response in which its answer is to be looked for.

    Thinking (`<think>...</think>`) never counts, and thinking that was never closed leaves nothing. Text longer than
    `MAX_CHARS` keeps its head and its tail.
    """
    text = _without_thinking(response.strip())
    text = _without_further_turns(text)
    text = _CONTROL.sub(" \n", text) if "<" in text or "[/" in text else text
    text = text.strip()
    if len(text) <= MAX_CHARS:
        return text
    return text[:_HEAD_CHARS].rstrip() + "\n" + text[_HEAD_CHARS - MAX_CHARS :].lstrip()


def _without_thinking(text: str) -> str:
    closes = list(_THINK_CLOSE.finditer(text)) if "</" in text else []
    if closes:
        text = text[closes[-1].end() :]
    opened = _THINK_OPEN.search(text) if "<" in text else None
    return text[: opened.start()] if opened else text


def _without_further_turns(text: str) -> str:
    """Cut at the first further turn that the model invented, unless nothing stands before it."""
    turn = _NEW_TURN.search(text) if "<|" in text or "\n" in text or "[INST]" in text else None
    if turn is None or not _CONTROL.sub("", text[: turn.start()]).strip():
        return text
    return text[: turn.start()]
