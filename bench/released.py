"""MMPR as it is released, read in place: time, peak memory and bytes, from disk and over the test Hub's range requests.

    python bench/released.py --gigabytes 2 --parts 8

The release is made for it: nested annotation zips, images in one stored zip that is cut into parts, paths of a cluster.
Each reader is a process of its own, whose memory and reads are measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.hub.release import CLUSTER, SOURCES, pairs, zipped
from tests.hub.repository import Repository
from tests.hub.server import HubServer
from tests.sources.made import png_bytes

ROOT = Path(__file__).resolve().parents[1]
IMAGE_BYTES = 2_000_000
PIECE = 1 << 24
REPOSITORY = "OpenGVLab/MMPR-v1.2"


def release(folder: Path, gigabytes: float, parts: int) -> int:
    """Write a release of roughly the size asked for; returns the rows of each source."""
    rows = max(2, round(gigabytes * 1e9 / IMAGE_BYTES / len(SOURCES)))
    folder.mkdir(parents=True)
    whole, meta, annotations = folder / "images.zip", {}, {}
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
        for number, source in enumerate(SOURCES):
            noise = Random(number)
            for i in range(rows):  # nobody reads what follows the end of a PNG: an image of the size that is wanted
                archive.writestr(f"images/{source}/{i}.png", png_bytes(i) + noise.randbytes(IMAGE_BYTES))
            lines = "".join(json.dumps(row) + "\n" for row in pairs(source, rows)).encode()
            annotations[f"annotations/{source}.zip"] = zipped({f"{source}.jsonl": lines})
            meta[source] = {"root": f"{CLUSTER}/images/{source}", "annotation": f"{CLUSTER}/annotations/{source}.jsonl"}
    size = -(-whole.stat().st_size // parts)
    with whole.open("rb") as file:
        for part in range(parts):
            with (folder / f"images.zip_a{chr(ord('a') + part)}").open("wb") as target:
                left = size
                while left and (piece := file.read(min(PIECE, left))):
                    target.write(piece)
                    left -= len(piece)
    whole.unlink()
    (folder / "annotations.zip").write_bytes(zipped(annotations))
    (folder / "meta.json").write_text(json.dumps(meta))
    return rows


def read(target: str, folder: str, most: int | None) -> None:
    """Declare the release and read rows of each source; print what it took. Runs in a process of its own."""
    from mmpr_pipeline.core.records import Question
    from mmpr_pipeline.sources import open_source
    from mmpr_pipeline.sources.adding import draft_entry, meta_entries

    started = time.perf_counter()
    Path(folder).mkdir(parents=True)
    drafts = [draft_entry(entry, Path(folder)) for entry in meta_entries(target)]
    for draft in drafts:
        draft.write()
    declared = time.perf_counter() - started
    found = rows = 0
    for draft in drafts:
        source = open_source(str(draft.path))
        index = source.index()
        rows += index.rows
        begin = 0 if most is None else index.rows // 2
        stop = index.rows if most is None else min(index.rows, begin + most)
        found += sum(isinstance(item, Question) for item in source.read(index, begin, stop))
    status = Path("/proc/self/status").read_text().splitlines()
    peak = int(next(line for line in status if line.startswith("VmHWM")).split()[1]) // 1024
    reads = int(Path("/proc/self/io").read_text().splitlines()[0].split()[1])
    figures = {
        "rows": rows, "read": found, "declare_s": round(declared, 1),
        "seconds": round(time.perf_counter() - started, 1), "peak_mib": peak, "mb_read": round(reads / 1e6),
    }  # fmt: skip
    print(json.dumps(figures))


def reader(target: str, folder: Path, most: int | None, **environment: str) -> dict[str, float]:
    """What `read` printed."""
    words = [
        sys.executable,
        __file__,
        "--read",
        target,
        "--folder",
        str(folder),
        *(["--rows", str(most)] if most else []),
    ]
    given = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_DISABLE_XET": "1", **environment}
    done = subprocess.run(words, env=given, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print one JSON line for each way of reading."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--parts", type=int, default=8)
    parser.add_argument("--rows", type=int, default=None)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.read:
        read(chosen.read, chosen.folder, chosen.rows)
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        release(folder / "MMPR-v1.2", chosen.gigabytes, chosen.parts)
        disk = str(folder / "MMPR-v1.2")
        print(json.dumps({"from": "disk, every row", **reader(disk, folder / "all", None)}), flush=True)
        print(json.dumps({"from": "disk, 50 rows a source", **reader(disk, folder / "some", 50)}), flush=True)
        server = HubServer()
        try:
            server.repositories[REPOSITORY] = Repository(REPOSITORY)
            files = {path.name: path.read_bytes() for path in sorted(Path(disk).iterdir())}
            server.repositories[REPOSITORY].put(files, "Upload")
            home = {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(folder / "home")}
            found = reader(REPOSITORY, folder / "hub", 50, **home)
            sent = round(sum(server.sent.values()) / 1e6)
            print(json.dumps({"from": "the Hub, 50 rows a source", **found, "mb_sent": sent}), flush=True)
        finally:
            server.close()


if __name__ == "__main__":
    main()
