"""Shows a few pairs in the terminal: the question, chosen and rejected, with what they share dimmed."""

from __future__ import annotations

import random
from bisect import bisect_right
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from mmpr_pipeline.core.masking import steering_nothing
from mmpr_pipeline.core.schemas import PairFields
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.dataset.files.arrow_file import record_batches
from mmpr_pipeline.dataset.files.lookup import ShardImages
from mmpr_pipeline.dataset.files.summary import finished_shards, manifests_of, shards_of
from mmpr_pipeline.rollouts.prompts import without_images
from mmpr_pipeline.storage import open_store

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text


class PickedPair(PairFields):
    """A pair with the shard that holds it, and format, width and height of each of its images."""

    shard: int
    image_sizes: list[tuple[str, int, int]]


def pick_pairs(out: str | Path, number: int, seed: int) -> list[PickedPair]:
    """`number` pairs of the finished shards, chosen evenly by `seed`, of different questions where there are enough.

    Raises DatasetError where no shard is finished.
    """
    store = open_store(out)
    shards, done = shards_of(store), finished_shards(store)
    rows_of = [next(f.rows for f in m.files if f.path.startswith("pairs/")) for m in manifests_of(store, shards, done)]
    ends = [0, *accumulate(rows_of)]
    drawn = random.Random(seed).sample(range(ends[-1]), min(ends[-1], number * 8))
    picked: list[PickedPair] = []
    seen: set[str] = set()
    for strict in (True, False):
        for position in drawn:
            if len(picked) == number:
                return picked
            place = bisect_right(ends, position) - 1
            shard = done[place]
            pair = _row(store.local_copy(layout.shard_key("pairs", shard, shards)), position - ends[place])
            if pair["pair_id"] not in seen and not (strict and pair["question_id"] in seen):
                seen |= {pair["pair_id"], pair["question_id"]}
                images = ShardImages(store.local_copy(layout.shard_key("images", shard, shards)))
                sizes = [(images.format(name), *images.size(name)) for name in pair["images"] if name in images]
                picked.append({**pair, "image_sizes": sizes, "shard": shard})
    return picked


def _row(path: Path, number: int) -> PairFields:
    for batch in record_batches(path):
        if number < batch.num_rows:
            return cast(PairFields, batch.slice(number, 1).to_pylist()[0])
        number -= batch.num_rows
    raise IndexError(number)


def show_pairs(out: str | Path, number: int, seed: int, console: Console) -> None:
    """Print `number` pairs, chosen by `seed`. Raises DatasetError where no shard is finished."""
    from rich.text import Text

    pairs = pick_pairs(out, number, seed)
    if not pairs:
        shown = "No pair was asked for." if number < 1 else "The dataset holds no pairs: `mmpr stats` says why."
        console.print(shown)
    for pair in pairs:
        console.rule(Text(f"{pair['source']} · {pair['source_id']} · {pair['strategy'].replace('_', ' ')}", "bold"))
        asked = Text(steering_nothing(without_images(pair["prompt"])).strip())
        for kind, width, height in pair["image_sizes"]:
            asked.append(f"  [{kind} {width}x{height}]", "cyan")
        if pair["answer"] is not None:
            asked.append(f"\nanswer: {steering_nothing(pair['answer'])}", "bold")
        console.print(asked)
        console.print(_responses(pair, console.width))
        rules = " / ".join(steering_nothing(rule) for rule in (pair["chosen_rule"], pair["rejected_rule"]) if rule)
        origin = [pair["model"], pair["prompt_version"], pair["checker"], rules]
        origin += [f"seed {pair['seed']}", pair["pair_id"]]
        console.print(Text(" · ".join(steering_nothing(part) for part in origin if part), "dim"), "")


def _responses(pair: PairFields, width: int) -> Table:
    """Chosen and rejected side by side, or one above the other in a narrow terminal."""
    from rich.box import SIMPLE
    from rich.table import Table

    shared = shared_prefix(pair["chosen"], pair["rejected"])
    titles = [_title(pair, "chosen", "green"), _title(pair, "rejected", "red")]
    bodies = [_body(pair["chosen"], shared, "green"), _body(pair["rejected"], shared, "red")]
    if width < 90:
        table = Table.grid()
        for title, body in zip(titles, bodies, strict=True):
            table.add_row(title)
            table.add_row(body)
        return table
    table = Table(box=SIMPLE, expand=True, show_edge=False)
    for title in titles:
        table.add_column(title, ratio=1, overflow="fold")
    table.add_row(*bodies)
    return table


def shared_prefix(one: str, other: str) -> int:
    """Number of leading characters that two texts share."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _title(pair: PairFields, side: Literal["chosen", "rejected"], style: str) -> Text:
    from rich.text import Text

    chosen = side == "chosen"
    answer = pair["chosen_answer"] if chosen else pair["rejected_answer"]
    tokens = pair["chosen_tokens"] if chosen else pair["rejected_tokens"]
    title = Text(side, f"bold {style}")
    if answer is not None:
        title.append(f"  {steering_nothing(answer)}", style)
    return title.append(f"  {tokens} tokens", "dim") if tokens else title


def _body(response: str, shared: int, style: str) -> Text:
    from rich.text import Text

    return Text.assemble((steering_nothing(response[:shared]), "dim"), (steering_nothing(response[shared:]), style))
