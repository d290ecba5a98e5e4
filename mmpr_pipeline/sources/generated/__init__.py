"""Questions that this program generates: grids, charts, geometry, scenes."""
