"""Questions made in Python: from texts, pictures and dictionaries, and whole sources of them."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import cache_folder
from mmpr_pipeline.core.records import Image, Language, Question, question_id
from mmpr_pipeline.core.verdict import AnswerKind

if TYPE_CHECKING:
    import PIL.Image


Picture = Union[str, Path, bytes, Image, "PIL.Image.Image"]
"""A path, an encoded image file, a checked image, or a picture of Pillow's."""


def question(
    text: str,
    images: Picture | Sequence[Picture] = (),
    *,
    answer: str | float | None = None,
    answers: Sequence[str] = (),
    choices: Sequence[str] = (),
    kind: AnswerKind | None = None,
    unit: str | None = None,
    language: Language = "en",
    tiles: int = 6,
    source: str = "python",
    id: str | None = None,
) -> Question:
    """A question from plain values: `question("How many dots?", "dots.png", answer=3)`.

    `answer`: the gold; with `choices` a letter or the text of a choice. `kind`: what kind of answer is expected; by
    default `choice` with choices, `number` for a number, `none` (open-ended) without an answer, else `math`. `id`: the
    question's name in its source, by default the first digits of its content's hash. Raises ItemRejected for a broken
    image, ConfigError for a choice that does not exist.
    """
    pictures = [images] if isinstance(images, str | Path | bytes | Image) or hasattr(images, "save") else list(images)
    loaded = tuple(_image(picture) for picture in pictures)  # type: ignore[arg-type]
    gold = None if answer is None else str(answer)
    if kind is None:
        number = re.fullmatch(r"[-+]?\d{1,30}(\.\d{1,30})?%?", (gold or "").strip())
        kind = "choice" if choices else "none" if gold is None else "number" if number else "math"
    if kind == "choice" and gold is not None:
        gold = _letter(gold, choices)
    identity = question_id(source, [image.sha256 for image in loaded], text, choices)
    return Question(
        question_id=identity,
        source=source,
        source_id=id or identity[:12],
        text=text,
        choices=tuple(choices),
        images=loaded,
        kind=kind,
        answer=gold,
        answers=tuple(answers),
        unit=unit,
        language=language,
        tiles=tiles,
    )


def as_question(item: Question | Mapping[str, Any]) -> Question:
    """A question as it is, or one made of a mapping with the arguments of `question`."""
    return item if isinstance(item, Question) else question(**item)


class PythonSource:
    """A source of questions that Python makes, for `build`.

    Its rows are written once, content-addressed, into the cache folder: shard workers in other processes read them
    there, and a build that goes on after a stop finds the same rows. On a cluster the cache folder ($MMPR_CACHE) must
    be on a disk that all nodes share.
    """

    def __init__(self, name: str, declaration: Path) -> None:
        self.name = name
        self.declaration = declaration

    @classmethod
    def from_iterable(cls, name: str, items: Iterable[Question | Mapping[str, Any]]) -> PythonSource:
        """A source of these questions; mappings hold the arguments of `question`, and may hold `chosen` and `rejected`.

        Raises ConfigError where the name is none for a source, or where there is no row.
        """
        if not re.fullmatch(r"[a-z0-9][a-z0-9_]{0,63}", name):
            raise ConfigError(f"{name!r} is not a valid source name.", remedy="Use lower-case letters, digits and _.")
        rows = list(_rows(items))
        if not rows:
            raise ConfigError(f"The source {name} has no rows.", remedy="Give at least one question.")
        pairs = "chosen" in rows[0][0]
        text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row, _ in rows)
        folder = cache_folder() / "sources" / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
        declaration = folder / f"{name}.yaml"
        if not declaration.exists():
            folder.mkdir(parents=True, exist_ok=True)
            for _, images in rows:
                for image in images:
                    (folder / _file(image)).write_bytes(image.data)
            (folder / "rows.jsonl").write_text(text, "utf-8")
            declaration.write_text(_declaration(name, pairs), "utf-8")  # last: the folder is whole
        return cls(name, declaration)

    def __repr__(self) -> str:
        return f"Source({self.name!r})"


def _rows(items: Iterable[Question | Mapping[str, Any]]) -> Iterator[tuple[dict[str, object], tuple[Image, ...]]]:
    for item in items:
        pair = {}
        if not isinstance(item, Question):
            pair = {side: str(item[side]) for side in ("chosen", "rejected") if side in item}
            item = {name: value for name, value in item.items() if name not in ("chosen", "rejected")}
        asked = as_question(item)
        row = {
            "id": asked.source_id,
            "question": asked.text,
            "images": [_file(image) for image in asked.images],
            "answer": [asked.answer, *asked.answers] if asked.answers else asked.answer,
            "choices": list(asked.choices) or None,
            "kind": asked.kind,
            "unit": asked.unit,
            "language": asked.language,
        }
        yield {**row, **pair}, asked.images


def _declaration(name: str, pairs: bool) -> str:
    columns = {name: name for name in ("id", "question", "answer", "choices", "unit")} | {"image": "images"}
    columns |= {side: side for side in ("chosen", "rejected")} if pairs else {}
    declared = {
        "name": name,
        "description": "Questions made in Python.",
        "files": "rows.jsonl",
        "columns": columns,
        "kind": {"column": "kind"},
        "language": {"column": "language", "values": {"en": "en", "zh": "zh"}},
        "answer_form": "letter",
        "text_only": True,
    }
    return json.dumps(declared, indent=1)  # JSON is YAML


def _file(image: Image) -> str:
    return f"{image.sha256}.{image.format or 'png'}"


def _image(picture: Picture) -> Image:
    from mmpr_pipeline.sources.images.load import load_image

    if isinstance(picture, Image):
        return picture
    if isinstance(picture, bytes):
        return load_image(picture)
    if isinstance(picture, str | Path):
        try:
            return load_image(Path(picture).expanduser().read_bytes())
        except OSError as error:
            raise ConfigError(f"Cannot read the image {picture}: {error}", remedy="Correct its path.") from None
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return load_image(buffer.getvalue())


def _letter(gold: str, choices: Sequence[str]) -> str:
    letters = [chr(ord("A") + i) for i in range(len(choices))]
    if gold in choices:
        return letters[list(choices).index(gold)]
    if gold.strip().upper() in letters:
        return gold.strip().upper()
    raise ConfigError(f"The answer {gold!r} is none of the choices {list(choices)}.", remedy="Name a choice.")
