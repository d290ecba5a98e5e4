"""A folder of images alone as a source: open-ended questions about each, as DropNTP needs them."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.sources.adding.look import MAX_LISTED
from mmpr_pipeline.sources.adding.table import IMAGE_NAME


def write_rows(folder: Path, questions: Sequence[str], rows: Path, force: bool = False) -> int:
    """Write a row for each image below `folder` to the JSONL file `rows`; gives how many.

    Of several questions each image is asked one, by the hash of its path: the same one however often this is done.
    Raises ConfigError where there are no images, or `rows` cannot be written or, without `force`, is there already.
    """
    found = (path for path in folder.rglob("*") if IMAGE_NAME.search(path.name) and path.is_file())
    images = sorted(islice(found, MAX_LISTED * 50))
    if not images:
        raise ConfigError(f"{folder} has no images.", remedy="Give a folder of png, jpg, webp, gif, bmp or tiff files.")
    try:
        with rows.open("w" if force else "x", encoding="utf-8") as file:
            for image in images:
                name = image.relative_to(folder).as_posix()
                asked = questions[int(content_id(name)[:8], 16) % len(questions)]
                path = Path(os.path.relpath(image, rows.parent)).as_posix()
                file.write(json.dumps({"id": name, "image": path, "question": asked}, ensure_ascii=False) + "\n")
    except FileExistsError:
        raise ConfigError(
            f"{rows} is there already.", remedy="Give another --out, or write over it: --force."
        ) from None
    except OSError as error:
        raise ConfigError(f"Cannot write {rows}: {error.strerror or error}.", remedy="Give another --out.") from None
    return len(images)
