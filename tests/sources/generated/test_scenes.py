"""The generated sources: pure, disjoint, and with right answers, recomputed here from the world alone."""

from __future__ import annotations

import io
import re
from itertools import islice

import pytest
from PIL import Image

from mmpr_pipeline.core.errors import SourceError
from mmpr_pipeline.sources.generated.pictures import CORNERS, Chart, Grid, Triangle
from mmpr_pipeline.sources.generated.scenes import (
    NANO_SOURCES,
    SPLITS,
    row,
    rows,
    scene_and_question,
    scene_of,
    split_of,
)
from mmpr_pipeline.sources.generated.shapes import COLOURS, SceneQuestion


@pytest.mark.parametrize("source", NANO_SOURCES)
def test_a_row_is_a_pure_function_of_its_place(source: str) -> None:
    straight = list(rows(source, "heldout", 0, 20, seed=3))
    backwards = [row(source, "heldout", 3, index) for index in reversed(range(20))][::-1]
    assert straight == backwards
    assert list(rows(source, "heldout", 7, 9, seed=3)) == straight[7:9]


@pytest.mark.parametrize("source", NANO_SOURCES)
def test_rows_differ_by_index_seed_and_split(source: str) -> None:
    sets = [
        [r["image"] for r in rows(source, split, 0, 40, seed)]
        for split, seed in (("heldout", 0), ("heldout", 1), ("train", 0))
    ]
    images = [image for each in sets for image in each]
    assert len(set(images)) == len(images)


def test_rows_without_end_go_on() -> None:
    ids = [r["id"] for r in islice(rows("nano_chart", stop=None), 3)]
    assert ids == [f"nano_chart-0-00000{n}" for n in range(3)]
    assert sum(1 for _ in rows("nano_chart", stop=5, start=2)) == 3


@pytest.mark.parametrize("source", NANO_SOURCES)
def test_no_scene_is_in_both_splits(source: str) -> None:
    keys = {
        split: {scene_and_question(source, split, seed, n)[0].key() for seed in (0, 1) for n in range(300)}
        for split in ("train", "heldout")
    }
    assert keys["train"].isdisjoint(keys["heldout"])
    assert len(keys["heldout"]) > 50


@pytest.mark.parametrize("source", NANO_SOURCES)
def test_practice_and_validation_are_disjoint_parts_of_train(source: str) -> None:
    drawn = {split: [scene_and_question(source, split, 1, n)[0] for n in range(200)] for split in SPLITS}
    keys = {split: {world.key() for world in worlds} for split, worlds in drawn.items()}
    for one, other in (("practice", "validation"), ("practice", "heldout"), ("validation", "heldout")):
        assert keys[one].isdisjoint(keys[other])
    assert all(split_of(world) == "train" for split in ("practice", "validation") for world in drawn[split])
    assert scene_of(row(source, "validation", 1, 4)["id"]).key() == drawn["validation"][4].key()


@pytest.mark.parametrize("source", NANO_SOURCES)
def test_pictures_are_one_tile_and_the_world_can_be_found_again(source: str) -> None:
    for each in rows(source, "heldout", 0, 10):
        image = Image.open(io.BytesIO(each["image"]))
        assert (image.format, image.size, image.mode) == ("PNG", (112, 112), "RGB")
        world = scene_of(each["id"])
        assert split_of(world) == "heldout"
        assert world.draw().tobytes() == image.tobytes()


def test_every_kind_comes_up() -> None:
    kinds = {source: {r["kind"] for r in rows(source, "heldout", 0, 120)} for source in NANO_SOURCES}
    assert kinds["nano_grid"] == {"number", "text", "choice", "yes_no"}
    assert kinds["nano_chart"] == {"chart", "number", "text", "choice", "yes_no"}
    assert kinds["nano_geometry"] == {"number", "math", "choice", "yes_no"}
    assert kinds["nano_describe"] == {"none"}


def test_answers_are_not_given_away_by_frequency() -> None:
    answers = [r["answer"] for s in NANO_SOURCES[:3] for r in rows(s, "heldout", 0, 300) if r["kind"] == "yes_no"]
    assert 0.35 < answers.count("Yes") / len(answers) < 0.65


@pytest.mark.parametrize("name", ["nano_maze", "describe", ""])
def test_unknown_sources_stop_at_once(name: str) -> None:
    with pytest.raises(SourceError, match="nano_grid"):
        next(rows(name))


@pytest.mark.parametrize("row_id", ["nano_grid-heldout-0-12", "nano_grid-test-0-000012", "../etc", ""])
def test_ids_of_no_row_are_refused(row_id: str) -> None:
    with pytest.raises(SourceError):
        scene_of(row_id)


@pytest.mark.parametrize("index", range(150))
def test_answers_are_right(index: int) -> None:
    for source, solve in (("nano_grid", _solve_grid), ("nano_chart", _solve_chart), ("nano_geometry", _solve_triangle)):
        world, item = scene_and_question(source, "train", 5, index)
        assert item.answer == _as_letter(item, solve(world, item.question)), item


def _as_letter(item: SceneQuestion, answer: str) -> str:
    return "ABCD"[item.choices.index(answer)] if item.kind == "choice" else answer


def _solve_grid(world: object, question: str) -> str:
    assert isinstance(world, Grid)
    table = [f"{c.colour} {c.shape}" if c else "empty" for c in world.cells]
    if match := re.fullmatch(r"What is in row (\d), column (\d)\?", question):
        return table[3 * int(match[1]) + int(match[2]) - 4]
    if match := re.fullmatch(r"How many (\w+) are there\?", question):
        shape = {"crosses": "cross"}.get(match[1], match[1].removesuffix("s"))
        return str(sum(name.endswith(f" {shape}") for name in table))
    if match := re.fullmatch(r"How many (\w+) shapes are there\?", question):
        return str(sum(name.startswith(f"{match[1]} ") for name in table))
    match = re.fullmatch(r"Is there a (.+) in the grid\?", question)
    assert match
    return "Yes" if match[1] in table else "No"


def _solve_chart(world: object, question: str) -> str:
    """Answer from the pixels: the height of each bar is counted in its middle column."""
    assert isinstance(world, Chart)
    picture = world.draw()
    value = {}
    for bar in world.bars:
        x = (bar.left + bar.right) // 2
        column = [picture.getpixel((x, y)) for y in range(107)]
        value[bar.colour] = round((107 - column.index(bar.rgb)) / 11)
    named = [word for word in re.findall(r"\w+", question) if word in value]
    if "taller" in question:
        one, two = (value[name] for name in named)
        return str(one - two) if question.startswith("How much") else ("Yes" if one > two else "No")
    if "sum" in question:
        return str(sum(value[name] for name in named))
    if "tallest" in question or "shortest" in question:
        return (max if "tallest" in question else min)(value, key=lambda name: value[name])
    return str(value[named[0]])


def _solve_triangle(world: object, question: str) -> str:
    assert isinstance(world, Triangle)
    angle = dict(zip(CORNERS, world.angles, strict=True))
    written = {corner: a for corner, a in angle.items() if corner != world.hidden}
    third = 180 - sum(written.values())
    if match := re.fullmatch(r"What number is written at the (\w+)\?", question):
        return str(written[match[1]])
    if match := re.fullmatch(r"Is the angle marked \? larger than (\d+) degrees\?", question):
        return "Yes" if third > int(match[1]) else "No"
    if "type" in question:
        largest = max(third, *written.values())
        return "right" if largest == 90 else ("obtuse" if largest > 90 else "acute")
    return str(third)


def test_every_cell_of_a_grid_is_drawn_in_the_colour_that_it_is_named_by() -> None:
    for index in range(30):
        world, _ = scene_and_question("nano_grid", "heldout", 0, index)
        assert isinstance(world, Grid)
        picture = world.draw()
        for cell in world.cells:
            if cell:
                seen = picture.getpixel((cell.x, cell.y + 1))
                assert min(COLOURS, key=lambda name: _distance(COLOURS[name], seen)) == cell.colour


def _distance(one: tuple[int, int, int], two: tuple[int, int, int]) -> int:
    return sum((a - b) ** 2 for a, b in zip(one, two, strict=True))
