"""`python -m tests.fuzz`: the long form. 220,000 rows through every declaration, then pictures, archives, texts, pages.

Whatever is raised ends it with status 1 and the seed; FUZZ_SEED or --seed draws other ones, --times does more of all.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.pictures import try_archives, try_pictures
from tests.fuzz.rows import try_rows
from tests.fuzz.words import try_pages, try_texts


def main() -> int:
    """Run all of it; 1 where something was raised."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(os.environ.get("FUZZ_SEED", 1)))
    parser.add_argument("--times", type=float, default=1.0, help="how much of each, as a multiple")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    seed, folder, failed = asked.seed, Path(tempfile.mkdtemp(prefix="mmpr-fuzz-")), []
    work: dict[str, tuple[int, Callable[[int], object]]] = {
        "rows": (220_000, lambda count: try_rows(count, seed)),
        "pictures": (20_000, lambda count: try_pictures(count, seed)),
        "archives": (5_000, lambda count: try_archives(count, seed, folder)),
        "texts": (6_000, lambda count: try_texts(count, seed)),
        "pages": (300, lambda count: try_pages(count, seed, folder)),
    }
    for name, (usual, attempt) in work.items():
        count, began = int(usual * asked.times), time.monotonic()
        try:
            print(f"{count} {name}, seed {seed}: {attempt(count)}; {time.monotonic() - began:.0f} s", flush=True)
        except Exception:
            traceback.print_exc()
            failed.append(name)
    print(f"failed: {failed}" if failed else "nothing was raised")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
