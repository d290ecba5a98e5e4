"""The seed pipeline's answer rules, described in code of our own from what was measured of it, to compare with.

Each function names the trap it falls into. It is a description, not the seed's code: where the seed's behaviour was
not recorded, the simplest reading that shows the recorded one was taken.
"""

from __future__ import annotations

import re


def extracted(response: str) -> str:
    """What follows "Final answer:", else the last box, else the whole response (trap: a guess is an answer)."""
    marked = re.search(r"Final answer:\s{0,3}(.{0,500})", response)
    if marked:
        return marked.group(1).strip()
    start = response.rfind("\\boxed{")
    if start < 0:
        return response.strip()
    depth, index = 0, start + 6
    while index < len(response):
        depth += {"{": 1, "}": -1}.get(response[index], 0)
        if depth == 0:
            return response[start + 7 : index]
        index += 1
    return response.strip()


def judged(prediction: str, row: dict) -> bool:
    """True if the seed's rules take `prediction` for the gold."""
    golds = [row["gold"], *row.get("golds", [])]
    kind = row.get("kind")
    if kind == "choice" or row.get("choices"):
        return any(option_matches(prediction, gold, row) for gold in golds)
    if kind == "document":
        return any(anls(prediction, gold) >= 0.5 for gold in golds)
    if kind in ("number", "chart"):
        return any(relaxed(prediction, gold, 0.05 if kind == "chart" else 0.001) for gold in golds)
    return any(math_matches(prediction, gold) or normalised(prediction) == normalised(gold) for gold in golds)


def option_matches(prediction: str, gold: str, row: dict) -> bool:
    """First character before a dot, or the text (traps: `3.14` is 3, `a.m.` is A; `A)` and `Option A` are not read)."""
    choices = row.get("choices") or []
    letter = row.get("gold_letter") or gold
    head = prediction.strip().strip("()").split(".")[0].strip()
    if head.upper() == letter.upper():
        return True
    index = ord(letter) - 65 if len(letter) == 1 else -1
    text = choices[index] if 0 <= index < len(choices) else gold
    return normalised(prediction) == normalised(text)


def normalised(text: str) -> str:
    """Lower case, letters and digits only (trap: signs, comparisons and brackets are deleted)."""
    words = re.sub(r"[^\w\s.]", " ", text.lower()).split()
    return " ".join(word.strip(".") for word in words if word not in ("a", "an", "the"))


def relaxed(prediction: str, gold: str, tolerance: float) -> bool:
    """First number, relative tolerance, units dropped (traps: 2008 is 2009, 5 cm is 5 m, 30 and 0.3 are 30%)."""
    a, b = number_in(prediction), number_in(gold)
    if a is None or b is None:
        return normalised(prediction) == normalised(gold)
    candidates = [b, b / 100] if "%" in gold else [b]
    return any(abs(a - c) <= tolerance * abs(c) for c in candidates)


def number_in(text: str) -> float | None:
    """The first number of a text."""
    match = re.search(r"-?\d{1,15}(?:\.\d{1,15})?", text.replace(",", ""))
    return float(match.group()) if match else None


def math_matches(prediction: str, gold: str) -> bool:
    r"""Plain LaTeX shrinks to one number (traps: `2\sqrt{3}` is `2\sqrt{5}`; `2\sqrt{3}` is not `\sqrt{12}`)."""
    return relaxed(prediction, gold, 0.001)


def anls(prediction: str, gold: str) -> float:
    """Edit distance over length, without taking it from one (trap: what is far is taken, what is near is not)."""
    a, b = prediction.lower().strip(), gold.lower().strip()
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (x != y))
    return row[len(b)] / max(len(a), len(b), 1)
