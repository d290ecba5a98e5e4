"""What an output weighs on the Hub: published Parquet against its unique images and its text. Sends to a loopback Hub.

python bench/publish.py OUT [OUT ...]
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHILD = """
import sys, time, itertools, datasets, mmpr_pipeline
from mmpr_pipeline.dataset.publish.run import publish
out, began = sys.argv[1], time.monotonic()
sent = publish(out, "bench/pairs")
again = publish(out, "bench/pairs")
seconds = time.monotonic() - began
there = datasets.load_dataset("bench/pairs", split="train")
mine = mmpr_pipeline.load(out)
assert len(there) == len(mine) == sent.rows
for a, b in zip(there, mine):
    assert all(a[name] == b[name] for name in a if name != "images")
    assert [i.tobytes() for i in a["images"]] == [i.convert(j.mode).tobytes() for i, j in zip(b["images"], a["images"])]
parquet = sum(size for path, size in sent.files.items() if path.endswith(".parquet"))
print(sent.rows, parquet, sent.commits, again.commits, again.uploaded, round(seconds, 1))
"""


def weigh(out: Path) -> tuple[int, int]:
    """Bytes of the unique images that pairs name, and of the pairs' text as Arrow keeps it (zstd)."""
    import pyarrow as pa

    named: set[str] = set()
    sizes: dict[str, int] = {}
    for file in (out / "pairs").iterdir():
        named.update(*pa.ipc.open_file(file).read_all().column("images").to_pylist())
    for file in (out / "images").iterdir():
        table = pa.ipc.open_file(file).read_all()
        sizes.update(zip(table.column("sha256").to_pylist(), map(len, table.column("data").to_pylist()), strict=True))
    return sum(sizes[name] for name in named), sum(f.stat().st_size for f in (out / "pairs").iterdir())


def main() -> None:
    """Publish each output to a Hub of its own, load it back, compare every row, and print the sizes."""
    sys.path.insert(0, str(ROOT))
    from tests.hub.server import HubServer

    print("output, pairs, image bytes, text bytes, published, ratio, commits, commits of a second run, seconds")
    for name in sys.argv[1:]:
        hub = HubServer({})
        hub.tokens["hf_bench"] = "write"
        environment = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": "hf_bench"}
        environment["HF_HOME"] = str(
            Path(os.environ.get("TMPDIR", "/tmp")) / f"bench-hub-{os.getpid()}-{Path(name).name}"
        )
        ran = subprocess.run([sys.executable, "-c", CHILD, name], env=environment, capture_output=True, text=True)
        hub.close()
        if ran.returncode:
            sys.exit(ran.stderr[-3000:])
        rows, parquet, commits, again, _, seconds = ran.stdout.split()[-6:]
        images, text = weigh(Path(name))
        sizes = f"{images:,}, {text:,}, {int(parquet):,}, {int(parquet) / (images + text):.3f}"
        print(f"{Path(name).name}, {rows}, {sizes}, {commits}, {again}, {seconds}")


if __name__ == "__main__":
    main()
