from __future__ import annotations

import pytest

from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.records import Image
from mmpr_pipeline.engines.vllm import prompts
from mmpr_pipeline.engines.vllm.prompts import DecodedImages
from mmpr_pipeline.models.messages import decode_image
from tests.engines.contract import an_image


def test_an_image_is_decoded_once_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[str] = []

    def counted(image: Image) -> object:
        decoded.append(image.sha256)
        return decode_image(image)

    monkeypatch.setattr(prompts, "decode_image", counted)
    one, two, three = (an_image(seed, 100, 100) for seed in (1, 2, 3))
    kept = DecodedImages(most_pixels=20_000)
    assert kept.get(one) is kept.get(one)
    kept.get(two)
    kept.get(one)
    kept.get(three)  # the second one has to go
    kept.get(one)
    assert decoded == [one.sha256, two.sha256, three.sha256]
    kept.get(two)
    assert decoded[3:] == [two.sha256]


def test_an_image_larger_than_all_the_room_is_still_decoded() -> None:
    kept = DecodedImages(most_pixels=10)
    assert kept.get(an_image(1, 50, 40)).size == (50, 40)
    assert kept._pixels == 0
    with pytest.raises(ItemRejected):
        kept.get(an_image().model_copy(update={"data": b"torn"}))
