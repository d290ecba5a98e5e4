"""CHAIR (Rohrbach et al. 2018): objects that a description names and the image does not show.

Objects are the 80 classes of COCO. What an image shows is the union of its instance annotations and of what its five
captions name. A word stands for a class by a list of synonyms: the authors' (`synonyms.txt` in the folder of benchmark
data), else the one of this package, which is shorter; the result says which.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, ItemRejected
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring.graded import Graded

OWN_SYNONYMS = Path(__file__).parent / "coco_objects.txt"
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
_IRREGULAR = {"people": "person", "children": "child", "men": "man", "women": "woman", "mice": "mouse",
              "knives": "knife", "geese": "goose", "sheep": "sheep", "calves": "calf", "policemen": "policeman",
              "feet": "foot", "teeth": "tooth", "loaves": "loaf"}  # fmt: skip
_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal", "cub")
_PHRASES = {"bow tie": "tie", "toilet seat": "toilet", "passenger jet": "jet", "passenger train": "train",
            "home plate": "home plate", "train track": "train track", "hot dog": "hot dog"}  # fmt: skip


@dataclass(frozen=True)
class Vocabulary:
    """Words and phrases of two words, and the class that each stands for."""

    classes: Mapping[str, str]

    def named(self, text: str) -> list[str]:
        """The class of every mention in a text, in order; a class is there as often as it is mentioned."""
        words = [self._singular(word) for word in _WORD.findall(text.lower())]
        found: list[str] = []
        at = 0
        while at < len(words):
            phrase = " ".join(words[at : at + 2])
            first, _, second = phrase.partition(" ")
            if first in ("baby", "adult") and second in _ANIMALS:
                word: str | None = second
            else:
                word = _PHRASES.get(phrase) or (phrase if phrase in self.classes else None)
            at += 2 if word else 1
            found.append(word or words[at - 1])
        if "toilet" in found:
            found = [word for word in found if word != "seat"]
        return [self.classes[word] for word in found if word in self.classes]

    def _singular(self, word: str) -> str:
        if word in self.classes or word in ("bus", "glass"):
            return word
        if word in _IRREGULAR:
            return _IRREGULAR[word]
        for ending, put in (("ies", "y"), ("ves", "f"), ("ves", "fe"), ("es", ""), ("s", "")):
            stem = word.removesuffix(ending) + put
            if not word.endswith(ending):
                continue
            if stem in self.classes or any(name.endswith(f" {stem}") for name in self.classes):
                return stem
        return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word


def read_vocabulary(path: Path) -> Vocabulary:
    """A file with a line a class: its name, then its synonyms, by commas."""
    classes: dict[str, str] = {}
    for line in path.read_text("utf-8").splitlines():
        words = [word.strip().lower() for word in line.split(",") if word.strip()]
        classes |= {word: words[0] for word in words if word not in classes}
    return Vocabulary(classes)


class Chair:
    """Scores descriptions of COCO images; a `Score`. Raises ConfigError where the annotations are missing."""

    def __init__(self, folder: Path, files: Mapping[str, str]) -> None:
        official = folder / files.get("synonyms", "synonyms.txt")
        self.synonyms = "authors'" if official.is_file() else "ours"
        self._words = read_vocabulary(official if official.is_file() else OWN_SYNONYMS)
        shown: dict[int, set[str]] = {}
        for path in _found(folder, files["instances"]):
            instances, classes = _json(path), self._words.classes
            plain = {each["id"]: each["name"].lower() for each in instances["categories"]}
            names = {number: classes.get(name, name) for number, name in plain.items()}
            for each in instances["annotations"]:
                shown.setdefault(each["image_id"], set()).add(names[each["category_id"]])
        for path in _found(folder, files["captions"]):
            for each in _json(path)["annotations"]:
                shown.setdefault(each["image_id"], set()).update(self._words.named(each["caption"]))
        self._shown = shown

    def __call__(self, item: BenchmarkItem, response: str) -> Graded:
        """1 where the description names an object that is not there. Raises ItemRejected: no_annotation."""
        text = item.text("image_id")
        digits = re.findall(r"\d+", text)
        shown = self._shown.get(int(digits[-1]) if digits else -1)
        if shown is None:
            raise ItemRejected("no_annotation", f"image {item.text('image_id')}")
        named = self._words.named(response)
        absent = [name for name in named if name not in shown]
        parts = {
            "hallucinated": float(len(absent)),
            "named": float(len(named)),
            "names_objects": float(bool(named)),
            "recalled": float(len(shown & set(named))),
            "shown": float(len(shown)),
        }
        return Graded(float(bool(absent)), ", ".join(dict.fromkeys(absent)) or None, "chair", parts)


def _found(folder: Path, pattern: str) -> Iterable[Path]:
    found = sorted(folder.glob(pattern))
    if not found:
        raise ConfigError(
            f"CHAIR needs the annotations of COCO 2014: {folder} has no {pattern}.",
            remedy="Put instances_*2014.json and captions_*2014.json into DIR/annotations, and give "
            "--benchmark-data DIR.",
        )
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} is not JSON: {error}", remedy="Fetch the annotations again.") from None
