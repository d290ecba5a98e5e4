"""Where a choice may be named when nothing announces it: leading and last words, marked letters, words of a choice."""

from __future__ import annotations

import re

from mmpr_pipeline.checking.case import Asked, Reading
from mmpr_pipeline.checking.finding.answer import hedges
from mmpr_pipeline.checking.finding.choice_answer import (
    INSTEAD,
    LABELLED,
    choice_by_truth,
    lists_choices,
    names_another,
    negated,
    of_choice,
    value_alone,
    value_given,
)
from mmpr_pipeline.checking.finding.concluding import restated_truth, restating
from mmpr_pipeline.checking.finding.reply import abstains
from mmpr_pipeline.checking.finding.sentence_values import formula_of_sentence
from mmpr_pipeline.checking.reading.choices import begins_with_own_text, by_index, choice_value, mentions, read_choice


def judged_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The one choice of a list that is said to be right, where every other one is said to be wrong."""
    if negated(asked.question[-300:]):  # which one is not?
        return []
    items: dict[str, str] = {}
    letter = ""
    for s in said:
        labelled = LABELLED.match(s)
        letter = labelled[1] if labelled else letter
        if letter:
            items[letter] = f"{items.get(letter, '')} {s[labelled.end() :] if labelled else s}"
    wrong = [letter for letter, item in items.items() if _JUDGED_WRONG.search(item)]
    right = [letter for letter, item in items.items() if letter not in wrong and _JUDGED_RIGHT.search(item)]
    if len(right) != 1 or len(wrong) != len(items) - 1 or len(items) < max(len(asked.choices), 2):
        return []
    return [of_choice(c, asked) for c in [read_choice(right[0], asked.choices)] if c is not None]


_JUDGED_RIGHT = re.compile(r"\b(?:correct|right answer|true|yes|fits|matches)\b|正确|✓|✔|✅", re.IGNORECASE)
_JUDGED_WRONG = re.compile(r"\b(?:no|not|cannot|incorrect|wrong|false|neither)\b|n't\b|不|错|✗|✘|❌", re.IGNORECASE)


def concluded_value(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The value that the last sentence comes to, to be compared with those of the choices."""
    if not said or not asked.choices or negated(said[-1]) or hedges(said[-1]):
        return []
    found = formula_of_sentence(said[-1], asked.question)
    value = value_alone(found, asked) if found else None
    return [value] if value else []


def leading_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The letter that the response begins with."""
    found = read_choice(said[0], asked.choices) if said else None
    if found is None or found.by != "letter" or re.match(r"\s?[a-z]", found.rest) or lists_choices(said):
        return []
    if names_another(found):
        return []
    return [of_choice(found, asked)]


_SAID_CORRECT = re.compile(
    r"(?:\b(?:option|choice) |选项)?[(\[]?(?<![A-Za-z])([A-J])(?![A-Za-z0-9])[)\]]?(?:选?项)?"
    r"(?: (?:is|would be|must be)(?: (?:the|indeed|therefore|thus|most|only|a)){0,2} (?:(?:correct|right|best"
    r"|appropriate|accurate) "
    r"(?:answer|option|choice|one|response)|correct\b|the answer\b)|(?:是|才是)?(?:唯一)?(?:正确|最符合|符合题意"
    r"|最佳|最合适|对)的?)"
)
_NONE_OF = re.compile(r"\bnone of\b|\bneither of\b", re.IGNORECASE)


def said_correct(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """`B is the correct answer`, `选项B正确`, said of one letter only and denied nowhere in its sentence."""
    found = [m.group(1) for s in said for m in _SAID_CORRECT.finditer(s) if not negated(s) and not _NONE_OF.search(s)]
    return [of_choice(c, asked) for letter in found if (c := read_choice(letter, asked.choices)) is not None]


_CONCLUDING_WORD = re.compile(r"^(?:therefore|so|thus|hence|option|答案|选项)[,:]? ?", re.IGNORECASE)
_ENDS_ON = re.compile(
    r"\b(?:is|as|to|matches|with|gives|means|indicates|select|choose) (?:the )?(?:correct )?"
    r"(?:option|choice|answer|letter) ?[(\[]?(?P<en>[A-J])[)\]]?\W{0,3}$"
    r"|\b(?:option|choice|answer)\b[^.,;:]{0,60} is (?:the )?[(\[]?(?P<after>[A-J])[)\]]?\W{0,3}$"
    r"|[是为] ?(?P<zh>[A-J])(?= ?(?:[(\uff08.\u3002,]|$))"
)
"""`is option C`, 为 C: a sentence that ends on one of the choices' letters says that it is the one."""


_SO_IT_IS = re.compile(
    r"[,;] ?(?:(?:so|thus|hence|therefore|but),? )?(?:it|the answer)(?:'s| is| must be| has to be) (?:option )?"
    r"([(\[]?[A-J][)\]]?)\W{0,3}$",
    re.IGNORECASE,
)
_LONE_LETTER = re.compile(r"\W{0,4}[A-J]\W{0,4}")
"""A line of a list of letters: `A`, `B`, `C`, one below the other."""


def last_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The letter that the last line is, or that the last sentence begins with or ends on, or the one that it marks."""
    if not said:
        return []
    *before, last = text.strip().rsplit("\n", 2)
    if before and _LONE_LETTER.fullmatch(before[-1]) and _LONE_LETTER.fullmatch(last):
        return []
    line = read_choice(last, asked.choices)
    if line is not None and line.by == "letter" and not any(c.isalnum() for c in line.rest):
        return [of_choice(line, asked)]
    found = read_choice(_CONCLUDING_WORD.sub("", said[-1]), asked.choices)
    if found is not None and names_another(found):
        return []
    alone = found is not None and not found.rest.strip(" .") and _CONCLUDING_WORD.match(said[-1])
    if (
        found is not None
        and found.by == "letter"
        and len(found.rest.split()) <= 8
        and (alone or not lists_choices(said))
    ):
        return [of_choice(found, asked)]
    thus = _SO_IT_IS.search(said[-1])
    if thus:
        named = read_choice(thus[1], asked.choices)
        return [of_choice(named, asked)] if named else []
    if negated(said[-1]):
        return []
    ending = _ENDS_ON.search(said[-1])
    if ending:
        named = read_choice(said[-1][ending.start(ending.lastgroup or 0) :], asked.choices)
        return [of_choice(named, asked)] if named else []
    marked = set(_MARKED.findall(said[-1]))
    inside = read_choice(f"({marked.pop()})", asked.choices) if len(marked) == 1 else None
    return [of_choice(inside, asked)] if inside else []


_MARKED = re.compile(r"[(\[]([A-Z])[)\]]")


def marked_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The one letter of the response that stands in brackets before its own choice's text: `(C) Snake and raccoon`."""
    if lists_choices(said):
        return []
    found = [(m[1], s, s[m.end() :]) for s in said for m in _MARKED.finditer(s)]
    own = {letter for letter, s, rest in found if begins_with_own_text(rest, letter, asked.choices) and not negated(s)}
    return [Reading(letter, choice=by_index(ord(letter) - 65, "letter")) for letter in own] if len(own) == 1 else []


def leading_truth_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The choice `yes` or `no` of a response that begins with yes or no."""
    found = choice_by_truth(said[0], asked) if said and not lists_choices(said) else None
    return [found] if found else []


def restated_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The choice `yes` or `no` of a response that says the question's words again, or denies them."""
    truth = restated_truth(said, asked.question) if asked.choices else None
    found = None if truth is None else choice_by_truth("yes" if truth else "no", asked)
    return [found] if found else []


def abstains_or_denies(choice: str) -> bool:
    """True for a choice that says itself that nothing can be told, or that all choices are wrong."""
    return abstains(choice) or negated(choice)


def mentioned_choice(said: list[str], text: str, asked: Asked) -> list[Reading]:
    """The one choice whose words a concluding sentence holds, the whole response, or its only sentences with any."""
    if not asked.choices or (lists_choices(said) and LABELLED.match(said[-1])):
        return []
    for part in [*said[-1:], *restating(said, asked.question)[-1:], " ".join(said)]:
        named = mentions(part, asked.choices)
        named = mentions(INSTEAD.split(part, maxsplit=1)[0], asked.choices) if len(named) > 1 else named
        own = len(named) == 1 and abstains_or_denies(asked.choices[named[0]])
        if named and (own or not (negated(part) or hedges(part) or abstains(part))):
            if all(choice_value(asked.choices[index]) is not None for index in named):
                found = value_given(part, asked) if part in said else None
            else:
                found = named[0] if len(named) == 1 else None
            if found is not None:
                return [of_choice(by_index(found, "mention"), asked)]
    naming = [(s, named) for s in said if (named := mentions(s, asked.choices))]
    only = {tuple(named) for _, named in naming}
    if len(only) == 1 and not any(negated(s) or hedges(s) or abstains(s) for s, _ in naming):
        index, *others = only.pop()
        if not others and choice_value(asked.choices[index]) is None:
            return [of_choice(by_index(index, "mention"), asked)]
    return []
