"""What builds do on a disk that fills up. Run inside a mount namespace of its own, where FOLDER is a small tmpfs:

unshare -rm sh -c 'mount -t tmpfs none FOLDER && exec python -m tests.chaos.full_disk WORK FOLDER'

prints what was seen as JSON; the tests judge it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import yaml

from mmpr_pipeline.core.errors import StoreError
from mmpr_pipeline.dataset.review.verify import verify
from mmpr_pipeline.pipeline.config import absolute_build_paths, load_config
from mmpr_pipeline.pipeline.plans.from_sources import BuildPlan, make_build_plan
from mmpr_pipeline.pipeline.workers.shard import work_shard
from tests.chaos.campaign import SHARDS, data_of, digest_of, make_reference, settings

KIB = 1024


def main(work: Path, disk: Path) -> dict[str, Any]:
    """Shards on ever larger disks, until one is large enough; then a whole build whose disk fills up on the way."""
    reference = make_reference(work, questions=40, open_ended=4)
    need = sum(len(data) for data in reference.files.values())
    tries = []
    plan = make_build_plan(
        absolute_build_paths(load_config(None, settings(reference.source, str(disk / "out"), work / "log", {})))
    )
    for size in range(24 * KIB, 3 * need, 40 * KIB):
        resize(disk, size)
        tries.append(one_try(plan, disk / "out"))
        if not tries[-1]["error"]:
            break
    return {"reference": reference.digest, "tries": tries, "driver": driver(work, disk, reference.source)}


def resize(disk: Path, size: int) -> None:
    """Make the disk larger (or smaller), with what is on it."""
    subprocess.run(["mount", "-o", f"remount,size={size}", str(disk)], check=True)


def one_try(plan: BuildPlan, out: Path) -> dict[str, Any]:
    """Go on with the shards until one fails for want of space."""
    error = ""
    try:
        asyncio.run(make_shards(plan))
    except StoreError as failed:
        error = str(failed)
    files = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    return {
        "error": error,
        "journal": sum(len(data) for key, data in files.items() if key.startswith("journal/")),
        "finished": sum(key.startswith("manifests/") for key in files),
        "unfinished": sorted(key for key in files if ".unfinished-" in key),
        "digest": digest_of(data_of(files)),
        "sizes": {key: len(data) for key, data in data_of(files).items()},
    }


async def make_shards(plan: BuildPlan) -> None:
    """Every shard, one after the other, in this process."""
    engine = await plan.start()
    for shard in range(SHARDS):
        await work_shard(plan, shard, engine, lambda _: None)


def driver(work: Path, disk: Path, source: Path) -> dict[str, Any]:
    """`mmpr build` on a disk that another program fills while it runs; then, with space again, to its end."""
    resize(disk, 200 << 20)
    out, log, ballast = disk / "whole", work / "driver.log", disk / "ballast"
    config = work / "driver.yaml"
    config.write_text(yaml.safe_dump(settings(source, str(out), log, {}, latency=0.2)))
    filler = threading.Thread(target=fill, args=(ballast, log))
    filler.start()
    command = [sys.executable, "-m", "mmpr_pipeline.cli", "build", str(config)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    filler.join()
    ballast.unlink()
    plan = make_build_plan(absolute_build_paths(load_config(config, {})))
    kept = len(list((out / "journal").rglob("*.jsonl")))
    asyncio.run(make_shards(plan))
    problems = sorted({problem.name for problem in verify(out).problems})
    files = {p.relative_to(out).as_posix(): p.read_bytes() for p in out.rglob("*") if p.is_file()}
    return {
        "status": done.returncode,
        "said": done.stdout + done.stderr,
        "journals": kept,
        "problems": problems,
        "digest": digest_of(data_of(files)),
    }


def fill(ballast: Path, log: Path) -> None:
    """Take all the space that is left, as soon as the engine has served some requests."""
    while not log.exists() or log.read_bytes().count(b"\n") < 10:
        time.sleep(0.05)
    handle = os.open(ballast, os.O_WRONLY | os.O_CREAT)
    for block in (1 << 20, 4096):
        try:
            while True:
                os.write(handle, bytes(block))
        except OSError:
            continue
    os.close(handle)


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]))))
