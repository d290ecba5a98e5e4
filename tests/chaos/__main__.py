"""`python -m tests.chaos`: campaign after campaign for so many seconds or seeds, then a table of what was struck.

Each seed draws a place (a folder, a bucket on a real S3 server behind a faulty proxy, a three-node cluster), blows,
and their moments. A seed that failed is told with its folder, and can be run alone: --seed N --seeds 1.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.chaos.campaign import Campaign, Reference, Result, draw_blows, make_reference
from tests.chaos.places import PLACES

WEIGHTS = {"folder": 4, "bucket": 5, "cluster": 2}


def main() -> int:
    """Run the campaigns that the command line asks for; 1 where one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(os.environ.get("CHAOS_SECONDS", 600)))
    parser.add_argument("--seeds", type=int, default=int(os.environ.get("CHAOS_SEEDS", 1000)), help="most campaigns")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CHAOS_SEED", 1)), help="the first seed")
    parser.add_argument("--place", choices=sorted(PLACES), help="only this place")
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="mmpr-chaos-"))
    reference = make_reference(folder)
    results: list[tuple[str, Result]] = []
    failed = []
    until = time.monotonic() + asked.seconds
    for seed in range(asked.seed, asked.seed + asked.seeds):
        if time.monotonic() > until:
            break
        try:
            results.append(one(folder / str(seed), reference, seed, asked.place))
        except AssertionError:
            traceback.print_exc()
            failed.append(seed)
            print(f"seed {seed} FAILED; its files are in {folder / str(seed)}", flush=True)
        else:
            shutil.rmtree(folder / str(seed), ignore_errors=True)
    tell(reference, results, failed)
    if not failed:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if failed else 0


def one(folder: Path, reference: Reference, seed: int, place: str | None) -> tuple[str, Result]:
    """The campaign of one seed."""
    draw = random.Random(f"place {seed}")
    drawn = draw.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    name, mark = place or drawn, f"{os.getpid()}-{seed}"
    folder.mkdir(parents=True)
    with PLACES[name](folder, seed, mark) as there:
        kinds = [draw.choice(there.kinds) for _ in range(draw.randint(2, 6))]
        result = Campaign(folder, reference, there, seed, mark, draw_blows(seed, kinds)).run()
        if hasattr(there, "proxy"):
            result.faults = Counter(there.proxy.faults)
    blows = ", ".join(f"{count} {kind}" for kind, count in result.blows.items()) or "nothing"
    print(
        f"seed {seed} {name}: {result.runs} runs, struck {blows}; {result.digest[:12]}, {result.journalled} of "
        f"{result.steps} steps seen in journals, {result.generated} generated, {result.seconds:.0f} s",
        flush=True,
    )
    return name, result


def tell(reference: Reference, results: list[tuple[str, Result]], failed: list[int]) -> None:
    """The table."""
    blows = sum((result.blows for _, result in results), Counter[str]())
    faults = sum((result.faults for _, result in results), Counter[str]())
    places = Counter(name for name, _ in results)
    print(f"\n{len(results)} builds finished, {sum(r.runs for _, r in results)} runs, {len(failed)} failed {failed}")
    print("places  " + ", ".join(f"{count} {name}" for name, count in places.most_common()))
    print(f"struck  {blows.total()}: " + ", ".join(f"{count} {kind}" for kind, count in blows.most_common()))
    print(f"store   {faults.total()} requests met a fault: " + ", ".join(f"{n} {k}" for k, n in faults.most_common()))
    steps, generated = sum(r.steps for _, r in results), sum(r.generated for _, r in results)
    print(f"engine  {generated} requests for {steps} steps; {sum(r.journalled for _, r in results)} seen in journals")
    print(f"hashes  {len({r.digest for _, r in results} - {reference.digest})} differ from {reference.digest}")


if __name__ == "__main__":
    sys.exit(main())
