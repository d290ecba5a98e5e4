"""The nano sources: each row a pure function of (source, split, seed, index).

A row of the real `nano_chart`:
    {"id": "nano_chart-0-000003", "question": "Which bar is the tallest?", "answer": "C", "kind": "choice",
     "choices": ["blue", "red", "green", "black"], "image": b"\\x89PNG..."}

The two splits are disjoint by construction: the hash of what a picture shows (without jitter) says which split it is
in, and worlds of the other split are drawn again. So no held-out scene was ever trained on, whatever the seeds.

A study of training on a model's own responses needs a third part to find settings on. `practice` and `validation` are
disjoint parts of `train` (six and one of its seven): learn on the first, choose settings by the second, and `heldout`
is touched only for the result.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from random import Random

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.generated.describe import Scene
from mmpr_pipeline.sources.generated.pictures import Chart, Grid, Triangle
from mmpr_pipeline.sources.generated.shapes import GeneratedScene, SceneQuestion

WORLDS: dict[str, type[Grid] | type[Chart] | type[Triangle] | type[Scene]] = {
    "nano_grid": Grid,
    "nano_chart": Chart,
    "nano_geometry": Triangle,
    "nano_describe": Scene,
}
NANO_SOURCES = tuple(WORLDS)
SPLITS = ("train", "heldout", "practice", "validation")
DEFAULT_ROWS = 10_000
HELDOUT_PART = 8  # one scene in eight is held out
_ROW_ID = re.compile(rf"(nano_[a-z]+)-(?:({'|'.join(SPLITS)})-)?(\d{{1,12}})-(\d{{6,12}})")


def split_of(world: GeneratedScene) -> str:
    """`heldout` or `train`: a function of what the scene shows."""
    return "heldout" if _part(world) == 0 else "train"


def is_in(world: GeneratedScene, split: str) -> bool:
    """Whether a scene belongs to a split, or to a part of one."""
    part = _part(world)
    return {"heldout": part == 0, "train": part > 0, "validation": part == 1, "practice": part > 1}[split]


def _part(world: GeneratedScene) -> int:
    return hashlib.sha256(world.key().encode()).digest()[0] % HELDOUT_PART


def scene_and_question(source: str, split: str, seed: int, index: int) -> tuple[GeneratedScene, SceneQuestion]:
    """The world and the question of one row."""
    if source not in WORLDS or split not in SPLITS:
        raise SourceError(
            f"No nano source {source!r} with split {split!r}.",
            remedy=f"Sources: {', '.join(NANO_SOURCES)}; splits: {', '.join(SPLITS)}.",
        )
    rng = Random(f"{source}/{split}/{seed}/{index}")  # a string seeds by its sha512: the same on every machine
    while True:
        world = WORLDS[source].sample(rng)
        if is_in(world, split):
            return world, world.ask(rng)


def row(source: str, split: str, seed: int, index: int) -> dict[str, object]:
    """One row: id, question, image (PNG bytes), answer (None if open-ended), kind, choices."""
    world, item = scene_and_question(source, split, seed, index)
    # The id does not name the usual split: what nano did not see, users build from and train on.
    named = "" if split == "heldout" else f"{split}-"
    return {
        "id": f"{source}-{named}{seed}-{index:06d}",
        "question": item.question,
        "image": png(world),
        "answer": item.answer,
        "kind": item.kind,
        "choices": list(item.choices),
    }


def rows(
    source: str, split: str = "heldout", start: int = 0, stop: int | None = DEFAULT_ROWS, seed: int = 0
) -> Iterator[dict[str, object]]:
    """Rows `start` to `stop` (exclusive; None: without end) of a source."""
    index = start
    while stop is None or index < stop:
        yield row(source, split, seed, index)
        index += 1


def scene_of(row_id: str) -> GeneratedScene:
    """The world behind a row's id, e.g. to tell what a description of it hallucinates."""
    match = _ROW_ID.fullmatch(row_id)
    if not match:
        raise SourceError(f"Not the id of a nano row: {row_id!r}.", remedy="Use an id as given by `rows`.")
    source, split, seed, index = match.groups()
    return scene_and_question(source, split or "heldout", int(seed), int(index))[0]


def png(world: GeneratedScene) -> bytes:
    """The picture as a PNG file."""
    buffer = io.BytesIO()
    world.draw().save(buffer, "PNG", compress_level=6)
    return buffer.getvalue()
