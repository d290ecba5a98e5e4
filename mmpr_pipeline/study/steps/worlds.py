"""Declarations of the generated questions of a study: the catalog's nano sources with another split, seed and size."""

from __future__ import annotations

from pathlib import Path

import yaml

from mmpr_pipeline.core.settings.base import load_yaml
from mmpr_pipeline.sources.declaration.catalog import CATALOG
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.study.settings import QuestionSettings


def write_sources(folder: Path, sources: tuple[str, ...], questions: QuestionSettings) -> None:
    """One declaration for each nano source, under its own name."""
    store = open_store(folder)
    for name in sources:
        declared = load_yaml((CATALOG / f"{name}.yaml").read_text("utf-8"))
        generated = {"name": name, "split": questions.split, "rows": questions.each, "seed": questions.seed}
        if not questions.answers:
            kept = {name: column for name, column in declared["columns"].items() if name != "answer"}
            declared = {**declared, "columns": kept, "kind": "none"}
        text = yaml.safe_dump({**declared, "rows": questions.each, "generated": generated}, sort_keys=False)
        if not store.exists(f"{name}.yaml") or store.read(f"{name}.yaml") != text.encode():
            store.write(f"{name}.yaml", text.encode())
