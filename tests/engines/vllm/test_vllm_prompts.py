from __future__ import annotations

import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.models.messages import decode_image, interleaved, marked
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK
from tests.engines.contract import an_image

IMAGES = [{"type": "image_pil", "image_pil": name} for name in ("one", "two")]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("<image>\n<image>\nCompare.", ["one", "two", "Compare."]),
        ("Is <image> like <image>?", ["Is ", "one", " like ", "two", "?"]),
        ("Is this<image>\n\nlike <image>", ["Is this", "one", "\nlike ", "two"]),
    ],
)
def test_parts_keep_the_order_of_the_text(prompt: str, expected: list[str]) -> None:
    parts = interleaved(prompt.split(IMAGE_MARK), IMAGES)
    assert [part.get("text") or part.get("image_pil") for part in parts] == expected


def test_templates_of_one_string_get_the_models_own_marks() -> None:
    text = marked("Is <image>\nlike <image>?".split(IMAGE_MARK), lambda i: f"<|image_{i + 1}|>")
    assert text == {"type": "text", "text": "Is <|image_1|>\nlike <|image_2|>?"}


def test_images_are_decoded_to_rgb() -> None:
    assert (decode_image(an_image(0, 20, 10)).size, decode_image(an_image()).mode) == ((20, 10), "RGB")


def test_a_torn_image_is_rejected() -> None:
    image = an_image()
    with pytest.raises(ItemRejected, match="broken_image"):
        decode_image(image.model_copy(update={"data": image.data[:200]}))
