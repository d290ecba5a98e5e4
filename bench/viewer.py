"""The viewer over a million pairs: how soon the index is there, how long searches, questions and doubts take.

    python bench/viewer.py [--shards 512] [--characters 0] [--folder DIR] [--keep]

One shard of 490 questions, 7,824 rollouts and 2,608 pairs is written by the real writer and stands for all shards by
hard links, so that 1.3 million pairs need little disk. With --characters, responses are that long and of random words;
without, they are some 70 characters. Times are of the server's own answers, one after the other.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
from starlette.testclient import TestClient

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.records import QuestionOutcome
from mmpr_pipeline.dataset.files import layout
from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.server import make_app
from mmpr_pipeline.storage import open_store
from tests.dataset.conftest import make_outcome, write_shard


def many_shards(folder: Path, shards: int, characters: int = 0) -> None:
    """The dataset: every shard holds the same rows under its own number."""
    chance = random.Random(0)
    words = ["".join(chance.choices("etaoinshrdlucmfw", k=chance.randint(2, 9))) for _ in range(3000)]

    def lengthened(outcome: QuestionOutcome) -> QuestionOutcome:
        said = [" ".join([r.text, *chance.choices(words, k=max(0, characters - 70) // 6)]) for r in outcome.rollouts]
        rollouts = zip(outcome.rollouts, said, strict=True)
        return replace(outcome, rollouts=tuple(rollout.model_copy(update={"text": text}) for rollout, text in rollouts))

    store = open_store(folder)
    store.write(layout.CONFIG, json_bytes({"config": {"shards": shards}, "digest": "0" * 32}))
    outcomes = [make_outcome(n * 5 + k, f"source{n % 7}", rollouts=16) for n in range(163) for k in (0, 1, 3)]
    write_shard(store, 0, shards, [lengthened(outcome) for outcome in (*outcomes, make_outcome(4))])
    manifest = json.loads(store.read(layout.shard_key("manifest", 0, shards)))
    for shard in range(1, shards):
        for kind in layout.SCHEMAS:
            os.link(folder / layout.shard_key(kind, 0, shards), folder / layout.shard_key(kind, shard, shards))
        store.write(layout.shard_key("manifest", shard, shards), json_bytes({**manifest, "shard": shard}))


def measure(folder: Path, shards: int) -> None:
    """Print each answer's seconds."""

    def timed(name: str, path: str) -> dict[str, str]:
        start = time.perf_counter()
        answer = browser.get(path)
        assert answer.status_code == 200, path
        print(f"{name:<44}{time.perf_counter() - start:8.3f} s {len(answer.content):>12,} bytes")
        return dict(answer.headers)

    start = time.perf_counter()
    browser = TestClient(make_app(Library(folder)), base_url="http://127.0.0.1:8123")
    print(f"{'opened':<44}{time.perf_counter() - start:8.3f} s")
    timed("overview", "/api/overview")
    timed("first piece of the index", "/api/index")
    whole = (("whole index", "index"), ("whole index, asked for again", "index"), ("all doubts", "doubts"))
    for name, path in whole:
        start, reached, pieces = time.perf_counter(), "0", 0
        while reached:
            reached = browser.get(f"/api/{path}?from={reached}").headers["x-mmpr-next"]
            pieces += 1
        print(f"{name:<44}{time.perf_counter() - start:8.3f} s in {pieces} pieces")
    timed("a question", f"/api/question?shard={shards // 2}&row=7")
    timed(
        "40 rows of a list, of 40 shards", "/api/rows?at=" + ",".join(f"{shard}.3" for shard in range(min(40, shards)))
    )
    for text, where in (("bar 77", "questions"), ("bar 77", "responses"), ("blindly", "responses")):
        start, cpu, following, first, hits = time.perf_counter(), time.process_time(), 0, 0.0, 0
        while following is not None:
            found = browser.get("/api/search", params={"text": text, "in": where, "from": following}).json()
            following, hits = found["next"], hits + sum(len(rows) for _, rows in found["found"])
            first = first or time.perf_counter() - start
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        name = f"{text!r} in all {where}"
        print(f"{name:<44}{seconds:8.3f} s, first answer {first:.3f} s, CPU {cpu:.3f} s, {hits} hits")


def over_http(folder: Path) -> None:
    """200 clients at once through a real server, and the first paint in Chromium, where there is one."""
    from tests.report.viewer.driven import serving

    def visit(number: int) -> list[float]:
        with httpx.Client(base_url=address, timeout=120) as client:
            paths = (
                "overview",
                f"question?shard={number % 500}&row={number}",
                f"search?text=bar+{number}&in=questions",
            )
            seconds = []
            for path in paths:
                start = time.perf_counter()
                client.get(f"api/{path}").raise_for_status()
                seconds.append(time.perf_counter() - start)
            return seconds

    with serving(folder) as address:
        start = time.perf_counter()
        with ThreadPoolExecutor(200) as pool:
            each = sorted(second for seconds in pool.map(visit, range(200)) for second in seconds)
        print(f"{'200 clients over HTTP, three answers each':<44}{time.perf_counter() - start:8.3f} s", end="")
        print(f"; an answer {each[len(each) // 2]:.3f} s, 99 of 100 below {each[int(0.99 * len(each))]:.3f} s")
        if shutil.which("chromium") and shutil.which("chromedriver"):
            painted(address)


def painted(address: str) -> None:
    """Print when Chromium painted first, listed questions and opened one, in ms from the page's start."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1280,860"):
        options.add_argument(f"--{flag}")
    options.binary_location = str(shutil.which("chromium"))
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        driver.set_script_timeout(120)
        driver.get(address)
        listed, opened = driver.execute_async_script(
            "const done = arguments[0], at = []; const look = () => { const item = document.querySelector('.item');"
            "if (item && !at.length) at.push(performance.now());"
            "if (at.length && document.querySelector('#detail .question')) { at.push(performance.now()); done(at); }"
            "else setTimeout(look, 5); }; look();"
        )
        first = driver.execute_script("return performance.getEntriesByName('first-contentful-paint')[0].startTime")
        print(f"Chromium: first paint {first:.0f} ms, questions listed {listed:.0f} ms, one opened {opened:.0f} ms")
    finally:
        driver.quit()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=512)
    parser.add_argument("--characters", type=int, default=0, help="length of a response; 0: as short as they come")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--keep", action="store_true", help="keep the dataset, to look at it in a browser")
    asked = parser.parse_args()
    place = asked.folder or Path(tempfile.mkdtemp(prefix="mmpr-viewer-"))
    if not (place / layout.CONFIG).is_file():
        many_shards(place, asked.shards, asked.characters)
    measure(place, asked.shards)
    over_http(place)
    if not asked.keep:
        shutil.rmtree(place)
