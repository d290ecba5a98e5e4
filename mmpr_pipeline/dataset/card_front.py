"""The front matter of a dataset card: what the Hub, its viewer and `datasets` read of it."""

from __future__ import annotations

from typing import Any

from mmpr_pipeline.dataset.facts import Facts
from mmpr_pipeline.dataset.licences import hub_licence

TAGS = ("preference", "dpo", "mpo", "mmpr", "multimodal", "reasoning", "image")
TASKS = ("visual-question-answering", "image-text-to-text")
_SIZES = [
    (10**3, "n<1K"),
    (10**4, "1K<n<10K"),
    (10**5, "10K<n<100K"),
    (10**6, "100K<n<1M"),
    (10**7, "1M<n<10M"),
    (10**8, "10M<n<100M"),
]


def front_matter(facts: Facts, name: str, parquet_bytes: int, arrow_bytes: int) -> str:
    """YAML between `---` lines. Sizes are bytes: of the Parquet files, and of what they are in memory."""
    import datasets
    import yaml
    from datasets.info import DatasetInfosDict
    from huggingface_hub import DatasetCardData

    from mmpr_pipeline.dataset.load import pair_features

    licence = hub_licence([source["licence"] for source in facts.sources])
    fields: dict[str, Any] = {
        "license": licence,
        "language": sorted(facts.made_by["language"]) or ["en"],
        "pretty_name": name.rpartition("/")[2],
        "task_categories": list(TASKS),
        "size_categories": [size_category(facts.pairs)],
        "tags": list(TAGS),
    }
    if licence == "other":
        fields["license_name"] = "licences-of-the-sources"
    info = datasets.DatasetInfo(features=pair_features())
    info.splits = datasets.SplitDict()
    info.splits.add(datasets.SplitInfo("train", num_bytes=arrow_bytes, num_examples=facts.pairs))
    info.download_size, info.dataset_size = parquet_bytes, arrow_bytes
    card = DatasetCardData()
    DatasetInfosDict({"default": info}).to_dataset_card_data(card)
    files = [{"split": "train", "path": "data/train-*"}]
    fields |= {"configs": [{"config_name": "default", "data_files": files}], **card.to_dict()}
    return f"---\n{yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)}---\n"


def size_category(rows: int) -> str:
    """The Hub's name for so many rows."""
    return next((name for limit, name in _SIZES if rows < limit), "100M<n<1B")
