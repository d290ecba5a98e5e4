from __future__ import annotations

import random

import pytest

from mmpr_pipeline.report.assets import TILE, tile_grid

SIZES = {(448, 448, 6): (1, 1), (420, 292, 6): (3, 2), (900, 450, 6): (2, 1), (100, 900, 4): (1, 4)}


def test_a_grid_has_the_shape_of_the_image() -> None:
    assert {size: tile_grid(*size) for size in SIZES} == SIZES


def test_the_grid_is_the_one_that_the_model_s_own_processor_takes() -> None:
    module = pytest.importorskip("transformers.models.got_ocr2.image_processing_got_ocr2")
    draw = random.Random(0)
    for _ in range(300):
        width, height, most = draw.randint(20, 3000), draw.randint(20, 3000), draw.choice([1, 4, 6, 12])
        theirs = module.get_optimal_tiled_canvas((height, width), (TILE, TILE), 1, most)
        assert tile_grid(width, height, most) == tuple(theirs), (width, height, most)
