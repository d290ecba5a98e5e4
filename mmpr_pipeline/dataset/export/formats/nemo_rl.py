"""NeMo-RL's VLM MPO: what its `MMPRPreference` data set reads, MMPR's own layout with one image a pair.

Its loader (`nemo_rl/data/datasets/preference_datasets/mmpr.py`) takes the paths in `meta.json` from the folder above
the one that holds it, passes over rows without exactly one image, and puts an empty thought before responses whose
chosen one has none. What it would pass over is left out here, and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from mmpr_pipeline.dataset.export.built import Built, ExportedPair, follows_on, misplaced
from mmpr_pipeline.dataset.export.formats.internvl import write_recipe


def write(built: Built, folder: Path, announce: Callable[[int], None]) -> Counter[str]:
    """Write `meta.json`, `annotations/SOURCE.jsonl` and `images/`."""
    return write_recipe(built, folder, announce, _refused)


def _refused(row: ExportedPair) -> str | None:
    return misplaced(row) or follows_on(row) or (None if len(row["images"]) == 1 else "not_one_image")


def usage(dest: Path) -> str:
    """How NeMo-RL opens it: by an absolute path."""
    where = dest if dest.is_absolute() else f"$PWD/{dest}"
    return (
        "# For NeMo-RL\n\n"
        "    uv run --extra mcore python examples/run_vlm_mpo.py --config CONFIG \\\n"
        f"      data.train.dataset_name=MMPRPreference data.train.data_path={where}/meta.json\n"
    )
