from __future__ import annotations

import pytest

from mmpr_pipeline.models.images import _tell_once, tile_settings


@pytest.mark.parametrize(
    ("architecture", "tiles", "expected"),
    [
        ("InternVLChatModel", 6, {"max_dynamic_patch": 6}),
        ("InternVLChatModel", 40, {"max_dynamic_patch": 12}),
        ("InternVLForConditionalGeneration", 1, {"crop_to_patches": True, "min_patches": 1, "max_patches": 1}),
        ("InternVLForConditionalGeneration", 12, {"crop_to_patches": True, "min_patches": 1, "max_patches": 12}),
        ("Qwen2_5_VLForConditionalGeneration", 6, {}),
        (None, 6, {}),
    ],
)
def test_each_format_is_told_in_its_own_words(architecture: str | None, tiles: int, expected: dict[str, int]) -> None:
    assert tile_settings(architecture, tiles) == expected


def test_more_tiles_than_are_planned_for_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    _tell_once.cache_clear()  # an earlier test of this process may have caused the warning
    for _ in range(3):
        assert tile_settings("InternVLChatModel", 24) == {"max_dynamic_patch": 12}
    assert tile_settings("InternVLChatModel", 24, 24) == {"max_dynamic_patch": 24}
    assert tile_settings("Qwen2VLForConditionalGeneration", 30) == {}
    assert [record.getMessage() for record in caplog.records] == [
        "a source asks for up to 24 tiles an image; here they are cut into at most 12"
        " (engine.most_tiles when sampling, max_tiles when training)"
    ]
