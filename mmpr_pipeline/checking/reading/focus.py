"""The mathematics within an already extracted answer: out of a box, out of dollars, off the end of a short sentence."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.values.expression import MAX_CHARS, ParseError
from mmpr_pipeline.checking.values.numbers.units import parse_unit

MAX_BOXES_DEEP = 3
THINK_END = "</think>"
"""What ends a model's reasoning; the answer is read only after it."""
_PAIRS = ((r"\(", r"\)"), (r"\[", r"\]"))
_CONNECTIVE = re.compile(r"(?:\s|[.,;:、，；。+*_]|\\\\|\b(?:and|or)\b|和|或|与)*", re.IGNORECASE)
_SEGMENT = re.compile(r"\$\$([^$]+)\$\$|\$([^$]+)\$")
_MONEY = re.compile(r"[\d,.]+ [a-z ,]*")  # `$5 and $7` is money, not a formula.
_ARROWS = (r"\Rightarrow", r"\implies", "⇒", r"\therefore", "∴")
_STEPS = ("→", r"\to ", r"\rightarrow", "⟹", r"\Longrightarrow", "=>")
"""From one equation to the next; `x → 0` has none before it."""
_CLOCKED = re.compile(r"^(\d{1,4})\s?h(?:rs?)?\s?(\d{1,2})\s?m(?:ins?)?\.?$")
_FEET = re.compile(r"^(\d{1,3})\s?(?:'|′|ft)\s?(\d{1,2}(?:\.\d)?)\s?(?:\"|″|''|in)\.?$")
_DERIVATIVE = re.compile(r"frac\s?\{\s?\\?(?:d|partial)\s?\}\s?\{\s?\\?(?:d|partial)\s?[a-z]\s?\}")
_LOWERED_POWER = re.compile(r"(?<=\d)(\s?(?:×|\\times|x)\s?10)[-−–](\d{1,2})(?![\d.])")
"""`1.23 × 10−4`, whose exponent has come down on the way."""
_BRACKETED_UNIT = re.compile(r"(?:(?<=\d)|\s)\(([^()\d]{2,20}\d?)\)$")
_FINAL = re.compile(r"(?:\b(?:is|are|equals|be)|[=:]|为|是)\s*$", re.IGNORECASE)
_TAIL = re.compile(
    r"(?s:.*)(?:\b(?:is|are|equals|it's)|(?<![不非])(?:为|是|等于))\s{0,3}(?=[-+$€£\\(\[{|\d.])((?:[^,;!?]|,(?=\d)){1,200}?)\s*[.。!]?\s*$"
)
_LONG_TAIL = re.compile(r"\b(?:answer|result)\s(?:is|=|:)\s*\$?([-+]?\d[\d.,/]{0,40}?)\$?\.?$", re.IGNORECASE)
_ALL_REALS = frozenset(
    {"all real numbers", "all reals", "all real", "all real x", "real numbers", "the set of real numbers"}
    | {"全体实数", "一切实数", "任意实数", "实数集", "所有实数"}
)
_EMPHASIS = re.compile(r"^(\*\*|__|\*|`)(.+)\1$", re.DOTALL)
_PLAIN = re.compile(r"\\(?:text|textbf|mathrm|mathbf|mbox|left|right|boxed)(?![a-zA-Z])|[\\{}$\s.,;:!*\"`]+")


def boxed_contents(text: str) -> list[str]:
    r"""Contents of every \boxed{...} in order, nested braces kept; a box left open ends with the text."""
    found: list[str] = []
    at = 0
    while len(found) < 50 and (at := text.find(r"\boxed", at)) >= 0:
        start = text.find("{", at)
        if start < 0 or text[at + 6 : start].strip():
            at += 6
            continue
        depth, end = 0, start
        for end in range(start, len(text)):
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                break
        found.append(text[start + 1 : end if depth == 0 else end + 1].strip())
        at = end + 1
    return [box for box in found if box]


def core(text: str, depth: int = 0) -> str:
    """The mathematics of an answer, delimiters taken away. Raises ParseError when it cannot be told."""
    text = repaired(text).strip()
    if THINK_END in text:
        text = text.rpartition(THINK_END)[2].strip()
    if len(text) > MAX_CHARS:
        # Of a text that is too long to read, the number that it ends on, where it says that this is the answer.
        match = _LONG_TAIL.search(text[-200:])
        if match is None:
            raise ParseError("too long")
        return match[1]
    boxed = boxed_contents(text) if r"\boxed" in text else []
    if boxed:
        if depth == MAX_BOXES_DEEP:
            raise ParseError("boxes within boxes")
        contents = ", ".join(dict.fromkeys(core(box, depth + 1) for box in boxed))
        return f"{contents}%" if len(boxed) == 1 and _percent_behind(text.rpartition("}")[2]) else contents
    for arrow in _ARROWS:
        text = text.rpartition(arrow)[2] if arrow in text else text
    for arrow in _STEPS:
        before, _, after = text.rpartition(arrow) if arrow in text else ("", "", text)
        text = after if not before.strip() or "=" in before.replace(arrow, "") else text
    text = _FEET.sub(r"\1 ft \2 in", _CLOCKED.sub(r"\1 h \2 min", text)) if len(text) < 20 else text
    bare = text
    for opening, closing in _PAIRS:
        if opening in bare and closing in bare and r"\begin" not in bare:
            bare = bare.replace(opening, "$").replace(closing, "$")
    match = _EMPHASIS.match(bare)
    text = match[2].strip() if match else bare
    if _DERIVATIVE.search(text):
        raise ParseError("a derivative to be taken")
    text = _LOWERED_POWER.sub(r"\1^{-\2}", text)
    if "$" in text:
        text = _without_dollars(text)
    if plain_text(text) in _ALL_REALS:
        return r"\mathbb{R}"
    if len(text) <= 2_000 and any(c.isalpha() for c in text[:40]) and (match := _TAIL.match(text[-250:])):
        text = match[1]  # `the number is 5` gives 5; a text without a verb stays as it is
    return _unit_out_of_brackets(text.strip())


_DENOMINATOR = re.compile(r"(?<=[A-Za-z])\s?/\s?\(([A-Za-z]{1,6}(?:\s?(?:[·⋅*]|\\cdot)?\s?[A-Za-z]{1,6}){1,2})\)")


def _unit_out_of_brackets(text: str) -> str:
    """`5 (cm)` as `5 cm`, `5 J/(kg·K)` as `5 J/kg/K`."""
    below = _DENOMINATOR.search(text[-60:])
    names = re.findall(r"[A-Za-z]+", below[1].replace("\\cdot", " ")) if below else []
    if below and all(parse_unit(name) for name in names):
        return text[: len(text) - len(text[-60:])] + _DENOMINATOR.sub("/" + "/".join(names), text[-60:])
    match = _BRACKETED_UNIT.search(text[-30:]) if text.endswith(")") else None
    if match is None or parse_unit(match[1]) is None:
        return text
    return f"{text[: len(text) - len(match[0])]} {match[1]}"


def _without_dollars(text: str) -> str:
    """Dollars that delimit mathematics go; a dollar that is money stays."""
    stripped = text.strip().rstrip(".。")
    for mark in ("$$", "$"):
        inner = stripped[len(mark) : -len(mark)]
        if stripped.startswith(mark) and stripped.endswith(mark) and len(stripped) > 2 * len(mark) and "$" not in inner:
            return inner
    if text.count("$") % 2 or text.count("$") < 2:
        return text
    segments = list(_SEGMENT.finditer(text))
    outside = _SEGMENT.sub("", text)
    if not segments or "$" in outside or any(_MONEY.fullmatch(m[2] or "") for m in segments):
        return text
    if all(_CONNECTIVE.fullmatch(m[1] or m[2]) for m in segments):  # `69$,$84`: the outer dollars are gone.
        return text.replace("$", " ")
    if _CONNECTIVE.fullmatch(outside):
        return _SEGMENT.sub(lambda m: m[1] or m[2], text)
    # The one piece of mathematics in a sentence, or the one that the sentence ends on.
    last = segments[-1]
    if len(segments) == 1 and re.search(r"\d\s?$", text[: last.start()]):
        return text[: last.start()] + (last[1] or last[2]) + text[last.end() :]  # `16 $\pi$`: a factor stands before it
    if len(segments) == 1 or _FINAL.search(text[: last.start()]):
        return (last[1] or last[2]) + ("%" if _percent_behind(text[last.end() :]) else "")
    raise ParseError("several formulas in a sentence")


def _percent_behind(text: str) -> bool:
    """`$28$ percent`: the sign stands outside of the formula."""
    return _PERCENT.match(text) is not None


_PERCENT = re.compile(r"[\s$]*(?:\\?%|percent\b|per cent\b|pct\b)", re.IGNORECASE)


_PROSE = frozenset(
    """for all some any where when each every with such that if otherwise will be must has have does not the of is are
    which than""".split()  # noqa: SIM905
)


def is_prose(text: str) -> bool:
    """True for an answer that says something in words beside its mathematics: what it is then is not for us to deny."""
    words = re.findall(r"[a-z]{2,}", re.sub(r"\\[a-z]+", " ", text[:2_000].lower()))
    return sum(word in _PROSE for word in words) > 1


_DAMAGED = ((re.compile(r"\x0c(?=rac|orall|lat)"), r"\\f"), (re.compile(r"\x08(?=eta|ar|inom|egin|oxed|mod)"), r"\\b"),
            (re.compile(r"\t(?=ext|imes|an\b|heta|o\b|riangle)"), r"\\t"), (re.compile(r"\r(?=ight|ho|angle)"), r"\\r"),
            (re.compile(r"\n(?=eq?\b|abla|eg\b)"), r"\\n"))  # fmt: skip
"""LaTeX commands whose backslash and first letter became one sign, on the way through JSON say: `\\f` of `\\frac`."""
_HTML = ((re.compile(r"<sup>(.{1,40}?)</sup>"), r"^{\1}"), (re.compile(r"<sub>(.{1,40}?)</sub>"), r"_{\1}"))
_ORDINAL = ((re.compile(r"(?<=\d)\s?\^\s?\{?\s?\\(?:mathrm|text|textrm|rm)\s?\{?\s?(?:st|nd|rd|th)\s?\}?\s?\}?"), ""),)


def repaired(text: str) -> str:
    """LaTeX that was damaged in transport or holds HTML, as it was meant; `12^{\\mathrm{th}}` as 12."""
    patterns = (
        *(() if text.isprintable() else _DAMAGED),
        *(_HTML if "<su" in text else ()),
        *(_ORDINAL if "^" in text else ()),
    )
    for pattern, meant in patterns:
        text = pattern.sub(meant, text)
    return text


def plain_text(text: str) -> str:
    """Words alone, in lower case, for the comparison of answers that are not mathematics."""
    return " ".join(_PLAIN.sub(" ", text[:2000].lower()).split())
