"""What the licences of sources mean for passing their questions on: warnings, and the Hub's names of licences.

A licence is free text, as its source states it. These are hints for a person who reads the licence itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_HUB_NAMES = {
    "mit": "mit",
    "apache-2.0": "apache-2.0",
    "gpl-3.0": "gpl-3.0",
    "bsd-3-clause": "bsd-3-clause",
    "cc0-1.0": "cc0-1.0",
    "cc0 1.0": "cc0-1.0",
    "cc by 4.0": "cc-by-4.0",
    "cc by-sa 4.0": "cc-by-sa-4.0",
    "cc by-sa 3.0": "cc-by-sa-3.0",
    "cc by-nc 4.0": "cc-by-nc-4.0",
    "cc by-nc-sa 4.0": "cc-by-nc-sa-4.0",
    "cc by-nd 4.0": "cc-by-nd-4.0",
    "cc by-nc-nd 4.0": "cc-by-nc-nd-4.0",
}

_CONCERNS = [
    (r"no[- ]?deriv|\bND\b|-nd\b", "forbids derived works, and a preference dataset is one"),
    (r"no(?:t for)? re-?distribution|may not be (?:re-?distributed|passed on)", "forbids passing the data on"),
    (r"registration|agreement|\bEULA\b|on request", "is given after registration or by agreement only"),
    (r"non-?commercial|\bNC\b|-nc\b", "allows no commercial use"),
    (r"research|education", "limits use to research or education"),
    (r"\bGPL\b|\bGPL-|share-?alike|\bSA\b|-sa\b", "asks that what is made of it carries the same licence"),
    (r"own terms|terms of (?:its|their) own|data set's own", "refers to terms that are to be read where the data is"),
    (r"^\s*(?:unknown)?\s*$|none stated", "is not known: whether the data may be passed on must be asked"),
]


def concerns(licence: str) -> list[str]:
    """What speaks against passing on, without further thought, what is made of data under this licence."""
    return [concern for pattern, concern in _CONCERNS if re.search(pattern, licence, re.IGNORECASE)]


def warnings_of(sources: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence for each reason why data made of these sources (`name`, `role`, `licence`) may not be published or
    trained on just so."""
    found = []
    for source in sources:
        name, licence = source["name"], str(source.get("licence") or "unknown")
        found += evaluation_warnings([source])
        if reasons := concerns(licence):
            found.append(f"The licence of {name} ({licence}) {'; it '.join(reasons)}.")
    return found


def evaluation_warnings(sources: Iterable[Mapping[str, Any]]) -> list[str]:
    """One sentence for each source that is an evaluation set."""
    return [
        f"{source['name']} is an evaluation set: training on pairs made of it makes every later result on it "
        "worthless, and publishing them spreads its questions and answers."
        for source in sources
        if source.get("role") == "evaluation"
    ]


def hub_licence(licences: Sequence[str]) -> str:
    """The Hub's name of the licence that all sources have; `other` where they differ or the Hub has no name for it."""
    names = {_HUB_NAMES.get(licence.strip().lower(), "other") for licence in licences}
    return names.pop() if len(names) == 1 else "other"
