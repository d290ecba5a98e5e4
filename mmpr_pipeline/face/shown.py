"""Pairs to look at: in a notebook as HTML, elsewhere as text."""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmpr_pipeline.dataset.review.show import PickedPair, pick_pairs

MOST_CHARS = 4_000
"""Characters of a text that are shown."""


class ShownPair(PickedPair):
    """A pair with its images: format and bytes of each."""

    shown_images: list[tuple[str, bytes]]


@dataclass(frozen=True)
class Shown:
    """A few pairs of an output. A notebook renders them with images; `print` gives their texts."""

    rows: Sequence[ShownPair]

    def __repr__(self) -> str:
        blocks = [
            f"{row['prompt']}\n  chosen    {row['chosen']}\n  rejected  {row['rejected']}  ({row['strategy']})"
            for row in self.rows
        ]
        return "\n\n".join(blocks)

    def _repr_html_(self) -> str:
        return "".join(_card(row) for row in self.rows)


def show(out: str | Path, number: int = 3, seed: int = 0) -> Shown:
    """`number` pairs of a finished output, drawn by `seed`. Raises DatasetError where it is not finished."""
    from mmpr_pipeline.dataset.files import layout
    from mmpr_pipeline.dataset.files.lookup import ShardImages
    from mmpr_pipeline.dataset.files.summary import shards_of
    from mmpr_pipeline.storage import open_store

    store = open_store(out)
    shards = shards_of(store)
    rows: list[ShownPair] = []
    for pair in pick_pairs(out, number, seed):
        images = ShardImages(store.local_copy(layout.shard_key("images", pair["shard"], shards)))
        shown = [(images.format(name), images.data(name).to_pybytes()) for name in pair["images"] if name in images]
        rows.append({**pair, "shown_images": shown})
    return Shown(rows)


def _card(row: ShownPair) -> str:
    pictures = "".join(
        f'<img style="max-height:14em;margin-right:.5em" alt="image of the question" '
        f'src="data:image/{html.escape(form or "png")};base64,{b64encode(data).decode()}">'
        for form, data in row["shown_images"]
    )
    sides = "".join(
        f'<td style="vertical-align:top;text-align:left;width:50%;white-space:pre-wrap"><b>{side}</b>\n'
        f"{_text(response)}</td>"
        for side, response in (("chosen", row["chosen"]), ("rejected", row["rejected"]))
    )
    return (
        f'<div style="border-top:1px solid #8888;padding:.6em 0">{pictures}'
        f'<p style="white-space:pre-wrap">{_text(row["prompt"])}</p>'
        f'<table style="width:100%"><tr>{sides}</tr></table></div>'
    )


def _text(text: str) -> str:
    return html.escape(text if len(text) <= MOST_CHARS else text[:MOST_CHARS] + " …")
