"""`mmpr report OUT`: one HTML page that tells what a dataset holds, readable anywhere, without a network.

In its gallery are random pairs: images as small data URIs, responses cut into what differs.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.schemas import PairFields
from mmpr_pipeline.dataset.files.lookup import ShardFiles
from mmpr_pipeline.dataset.files.summary import shards_of
from mmpr_pipeline.dataset.review.show import PickedPair, pick_pairs
from mmpr_pipeline.report.assets import MEDIA_TYPES, asset, data_uri, environment, href, page_script
from mmpr_pipeline.report.charts import charts_of
from mmpr_pipeline.report.differences import TextSpan, compare_texts
from mmpr_pipeline.report.pages.diff_page import flip_examples
from mmpr_pipeline.report.pages.figures import report_figures
from mmpr_pipeline.storage.store import open_store

PAIRS = 12
"""Pairs in the gallery."""
FLIPS = 4
"""Examples of each kind in a comparison; `mmpr diff` shows more."""


def report(
    out: str | Path,
    path: str | Path | None = None,
    *,
    pairs: int = PAIRS,
    seed: int = 0,
    viewer: str = "",
    price: float = 0.0,
    against: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write the report on the dataset at `out`, on its finished shards where it is not finished, and return its file.

    `path` is by default the output's name with `-report.html`, in the current directory. `pairs` are drawn by `seed`.
    `viewer` is the address of a viewer of the dataset, to be linked to; `price` what a million generated tokens cost;
    `against` another output of the same sources, to be compared with. Raises DatasetError where no shard is finished
    or no question is in both, ConfigError where the file cannot be there.
    """
    target = Path(path) if path is not None else Path(f"{_name(out)}-report.html")
    folder = open_store(out).folder
    if folder is not None and target.absolute().is_relative_to(folder):
        raise ConfigError(f"{target} lies within the dataset.", remedy="Give --path outside of it.")
    figures = {**report_figures(out, progress, against), "viewer": href(viewer), "price": price}
    html = page_html(_name(out), figures, gallery(out, pairs, seed), seed)
    try:
        target.write_text(html, encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"Cannot write {target}: {error.strerror}", remedy="Give another --out.") from None
    return target


def page_html(name: str, figures: dict[str, Any], shown: list[Any], seed: int) -> str:
    """The page. All text of the dataset is escaped, and a content policy lets only the page's own script run."""
    from markupsafe import Markup

    script = page_script()
    if compared := figures["against"]:
        figures["against"] = {**compared, "flips": flip_examples(compared["found"], FLIPS)}
    return (
        environment()
        .get_template("report.html")
        .render(
            name=name,
            f=figures,
            charts={key: Markup(svg) for key, svg in charts_of(figures).items()},
            shown=shown,
            seed=seed,
            style=Markup(asset("theme.css", "markup.css", "report.css")),
            script=Markup(script),
            script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def _name(out: str | Path) -> str:
    return Path(str(out).rstrip("/")).resolve().name if "://" not in str(out) else str(out).rstrip("/").split("/")[-1]


@dataclass(frozen=True)
class PairSide:
    """One response of a pair."""

    pieces: list[TextSpan]
    answer: str | None
    rule: str
    tokens: int
    model: str
    index: int
    seed: int


@dataclass(frozen=True)
class Shown:
    """A pair as the gallery shows it; `images` are data URIs with width and height in pixels."""

    pair: PickedPair
    images: list[tuple[str, int, int]]
    chosen: PairSide
    rejected: PairSide


def gallery(out: str | Path, number: int, seed: int) -> list[Shown]:
    """`number` pairs chosen evenly by `seed`. Raises DatasetError where no shard is finished."""
    store = open_store(out)
    shards = shards_of(store)
    pairs = pick_pairs(out, number, seed)
    files = {pair["shard"]: ShardFiles(store, pair["shard"], shards) for pair in pairs}
    shown = []
    for pair in pairs:
        shard = files[pair["shard"]]
        stored = ((shard.image(name), shard.size(name)) for name in pair["images"])
        images = [(data_uri(*image), *size) for image, size in stored if image and size and image[0] in MEDIA_TYPES]
        shown.append(Shown(pair, images, *sides(pair)))
    return shown


def sides(pair: PairFields) -> tuple[PairSide, PairSide]:
    """Chosen and rejected of a row of the pairs file."""
    answers = pair["chosen_answer"], pair["rejected_answer"]
    one, other = compare_texts(pair["chosen"], pair["rejected"], answers, pair["shared_chars"])
    return (
        PairSide(one, answers[0], pair["chosen_rule"], pair["chosen_tokens"], pair["model"], pair["chosen_index"],
             pair["seed"]),
        PairSide(other, answers[1], pair["rejected_rule"], pair["rejected_tokens"], pair["rejected_model"],
             pair["rejected_index"], pair["rejected_seed"]),
    )  # fmt: skip
