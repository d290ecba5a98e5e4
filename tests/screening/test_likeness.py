"""Perceptual hashes: near under what happens to images on their way, far between different ones, none of blank ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.screening.likeness import (
    BITS,
    VIEWS,
    WORDS,
    Hash,
    SimilarQuestions,
    distances,
    jaccard,
    perceptual_hash,
    shingles,
    split_words,
)
from tests.screening.figures import encoded, figure, scene

NEAR = 40
"""`similar_image_bits` of the settings."""
SAME = 16
"""`image_bits` of the settings."""

pictures = st.builds(lambda make, seed: make(seed), st.sampled_from([figure, scene]), st.integers(0, 10_000))


def hashed(picture: Image.Image, format: str = "PNG", **options: int) -> Hash:
    found = perceptual_hash(encoded(picture, format, **options))
    assert found is not None
    return found


def apart(one: Hash, other: Hash) -> int:
    return int(distances(one, other[None])[0])


@settings(max_examples=25, deadline=None)
@given(pictures, st.floats(0.5, 2.0))
def test_another_size_is_the_same_image(picture: Image.Image, scale: float) -> None:
    size = (round(picture.width * scale), round(picture.height * scale))
    assert apart(hashed(picture), hashed(picture.resize(size, Image.Resampling.BICUBIC))) <= NEAR


@settings(max_examples=25, deadline=None)
@given(pictures, st.integers(50, 95))
def test_jpeg_is_the_same_image(picture: Image.Image, quality: int) -> None:
    assert apart(hashed(picture), hashed(picture, "JPEG", quality=quality)) <= NEAR


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.integers(0, 60), st.integers(0, 60), st.integers(0, 40), st.integers(0, 40))
def test_a_plain_margin_changes_nothing(seed: int, left: int, right: int, top: int, bottom: int) -> None:
    picture = figure(seed)
    wider = Image.new("RGB", (picture.width + left + right, picture.height + top + bottom), "white")
    wider.paste(picture, (left, top))
    low_x, low_y, high_x, high_y = ImageOps.invert(wider).getbbox() or (0, 0, 0, 0)
    assume(high_x - low_x > 0.55 * wider.width and high_y - low_y > 0.55 * wider.height)  # else it is no margin
    drawn = hashed(picture)
    assert apart(drawn, hashed(wider)) <= NEAR


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_a_small_cropped_border_is_near(seed: int) -> None:
    picture = scene(seed)
    cropped = picture.crop((2, 2, picture.width - 2, picture.height - 2))
    assert apart(hashed(picture), hashed(cropped)) <= NEAR


def test_most_changes_keep_an_image_within_the_strict_bound() -> None:
    """The bound by which the image alone decides holds for the plain cases: half the size, good JPEG, a margin."""
    within = []
    for seed in range(40):
        for picture in (figure(seed), scene(seed)):
            first = hashed(picture)
            half = picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)
            within += [apart(first, hashed(half)) <= SAME, apart(first, hashed(picture, "JPEG", quality=85)) <= SAME]
    assert sum(within) >= 0.9 * len(within)


@pytest.mark.parametrize("make", [figure, scene])
def test_different_images_are_far(make: object) -> None:
    hashes = [hashed(make(seed)) for seed in range(120)]  # type: ignore[operator]
    stack = np.stack(hashes)
    nearest = min(int(np.delete(distances(one, stack), i).min()) for i, one in enumerate(hashes))
    assert nearest > NEAR


@pytest.mark.parametrize(
    "picture",
    [
        Image.new("RGB", (400, 300), "white"),
        Image.new("L", (1, 1)),
        Image.new("RGB", (4000, 1), "red"),
        Image.new("RGBA", (64, 64), (0, 0, 0, 0)),
        Image.fromarray(np.random.default_rng(0).integers(250, 255, (200, 200), np.uint8)),
    ],
)
def test_blank_images_have_no_hash(picture: Image.Image) -> None:
    assert perceptual_hash(encoded(picture)) is None


def test_a_thin_line_is_not_blank() -> None:
    picture = Image.new("L", (600, 400), 255)
    for x in range(600):
        for thick in range(3):
            picture.putpixel((x, 199 + thick), 0)
    assert perceptual_hash(encoded(picture)) is not None


def test_transparency_is_white_and_modes_do_not_matter() -> None:
    picture = figure(3)
    clear = picture.convert("RGBA")
    clear.putdata([(0, 0, 0, 0) if pixel[:3] == (255, 255, 255) else pixel for pixel in clear.getdata()])  # type: ignore[attr-defined]
    assert apart(hashed(picture), hashed(clear)) <= SAME
    assert apart(hashed(picture), hashed(picture.convert("L"))) == 0
    assert apart(hashed(picture), hashed(picture.convert("P"))) <= SAME


def test_where_a_lone_shape_stands_is_not_lost_with_its_margin() -> None:
    left, right = (Image.new("RGB", (200, 200), "white") for _ in range(2))
    left.paste(Image.new("RGB", (50, 50), "black"), (10, 10))
    right.paste(Image.new("RGB", (50, 50), "black"), (140, 140))
    assert apart(hashed(left), hashed(right)) > NEAR


def test_what_cannot_be_decoded_is_rejected() -> None:
    with pytest.raises(ItemRejected, match="broken_image"):
        perceptual_hash(b"\x89PNG\r\n\x1a\n torn")


def test_distances_have_their_shapes_and_bounds() -> None:
    ones = np.full((VIEWS, WORDS), 2**64 - 1, np.uint64)
    many = np.stack([ones, np.zeros_like(ones)])
    assert distances(ones, many).tolist() == [0, BITS]
    assert distances(ones, np.zeros((0, VIEWS, WORDS), np.uint64)).shape == (0,)


TEXTS = st.lists(st.sampled_from(["a", "b", "c", "d", "e", "f", "g", "h"]), min_size=0, max_size=12).map(" ".join)


def of(text: str):  # type: ignore[no-untyped-def]
    return shingles(split_words(text))


def test_words_are_words_numbers_and_chinese_signs() -> None:
    assert split_words("<image>\nIn $\\angle ABC$, AB = 3.14 cm?") == ["in", "angle", "abc", "ab", "3.14", "cm"]
    assert split_words("如图,AB=5") == ["如", "图", "ab", "5"]


def test_signs_case_and_blanks_do_not_matter_numbers_do() -> None:
    asked = "How many red cubes are left of the 3 blue balls?"
    assert jaccard(of(asked), of("<image> how many RED cubes  are left of the 3 blue balls")) == 1
    assert jaccard(of(asked), of(asked.replace("3", "4"))) < 0.6


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_similarity_is_the_jaccard_index_of_the_sets(one: str, other: str) -> None:
    def sets(text: str) -> set[tuple[str, ...]]:
        tokens = text.split()
        size = min(3, len(tokens))
        return {tuple(tokens[i : i + size]) for i in range(len(tokens) - size + 1)} if tokens else set()

    a, b = sets(one), sets(other)
    expected = len(a & b) / len(a | b) if a and b else 0.0
    assert jaccard(of(one), of(other)) == expected == jaccard(of(other), of(one))


def test_every_similar_question_is_found_among_many() -> None:
    known = [f"in figure {n} the angle at p{n} of polygon q{n} measures {n} degrees find s{n}" for n in range(3000)]
    index = SimilarQuestions(map(of, known))
    for n in range(0, 3000, 97):
        asked = of(known[n] + " please")
        expected = [(i, jaccard(asked, of(text))) for i, text in enumerate(known)]
        assert index.like(asked, 0.8) == [(i, value) for i, value in expected if value >= 0.8]
        assert index.like(asked, 0.8)[0][0] == n


def test_nothing_is_like_nothing() -> None:
    index = SimilarQuestions([of(""), of("a b c")])
    assert index.like(of(""), 0.5) == []
    assert index.like(of("x y z"), 0.5) == []
