"""The tiles that a model of InternVL's kind cuts an image into, to be drawn over it."""

from __future__ import annotations

TILE = 448
"""Side of a tile, in pixels."""


def tile_grid(width: int, height: int, most: int) -> tuple[int, int]:
    """Tiles across and down of an image, at most `most` in all.

    InternVL's rule (`dynamic_preprocess`): of all grids the one whose aspect is nearest to the image's; among equally
    near ones the larger, if the image has more than half of its pixels. The image is resized to the grid, so that the
    tiles lie evenly over it.
    """
    aspect = width / height
    grids = sorted(
        {(i, j) for n in range(1, max(1, most) + 1) for i in range(1, n + 1) for j in range(1, n + 1) if i * j <= most},
        key=lambda grid: (grid[0] * grid[1], grid),
    )
    best, least = (1, 1), float("inf")
    for grid in grids:
        apart = abs(aspect - grid[0] / grid[1])
        larger = width * height > 0.5 * TILE * TILE * grid[0] * grid[1]
        if apart < least or (apart == least and larger):
            best, least = grid, apart
    return best
