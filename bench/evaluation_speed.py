"""An evaluation beside raw vLLM: the same questions, prompts, seeds and engine arguments, in turns.

    python bench/evaluation_speed.py [--questions 96] [--n 8] [--repeats 2] [--threads 1]

*raw* is `LLM.generate` on all prompts at once, images decoded before the clock starts. *evaluation* is a benchmark as
`mmpr eval` does it: rows read and checked, images decoded, prompts made, responses scored, questions in flight. Each in
a process of its own with a warm engine; that the work was the same is checked by a digest over all responses.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]
import sampling  # noqa: E402
import sampling_peers  # noqa: E402

SOURCE = "nano_grid"


def questions(count: int) -> list[Any]:
    """The first rows of the source, which an evaluation asks too; some more before them for the warm-up."""
    from mmpr_pipeline.sources.source import open_source

    source = open_source(SOURCE)
    return list(source.read(source.index(count + sampling.WARM), 0, count + sampling.WARM))


def raw(asked: Sequence[Any], n: int) -> tuple[float, float, list[str], int]:
    """Seconds, processor seconds, the responses in order, and their tokens."""
    run = sampling_peers.raw("nano", asked, sampling.SIZES["nano"], n)
    flat = [response for each in run.given for response in each]
    return run.seconds, run.cpu, [text for text, _ in flat], sum(tokens for _, tokens in flat)


def evaluation(asked: Sequence[Any], n: int) -> tuple[float, float, list[str], int]:
    """The same of an evaluation; tokens without those that end a response, which it does not count."""
    from mmpr_pipeline.evaluation.benchmarks.catalog import of_source
    from mmpr_pipeline.evaluation.running.answers import answer_all
    from mmpr_pipeline.evaluation.scoring.registry import score_of
    from mmpr_pipeline.evaluation.seen import TrainingOverlap
    from mmpr_pipeline.evaluation.settings import EvalConfig

    benchmark, size = of_source(SOURCE), sampling.SIZES["nano"]
    config = EvalConfig(
        benchmarks=(SOURCE,),
        skip=sampling.WARM,
        limit=len(asked) - sampling.WARM,
        samples=n,
        temperature=1.0,
        max_tokens=size.max_tokens,
    )

    async def work() -> tuple[float, float, list[str], int]:
        from mmpr_pipeline.engines.start import start_engines

        engine = await start_engines(sampling_peers.settings("nano").model_copy(update={"actors": 0}))
        for question in asked[: sampling.WARM]:
            await engine.sample(sampling_peers.request(question, size.max_tokens, n))
        began, before = time.perf_counter(), sampling_peers.cpu_seconds()
        score = score_of(benchmark, ROOT)
        found = await answer_all(benchmark, engine, config, score, TrainingOverlap({}), lambda done, of: None)
        seconds, cpu = time.perf_counter() - began, sampling_peers.cpu_seconds() - before
        await engine.close()
        return seconds, cpu, [text for texts in found.texts for text in texts], found.tokens

    return asyncio.run(work())


CONTENDERS: dict[str, Callable[[Sequence[Any], int], tuple[float, float, list[str], int]]] = {
    "raw": raw,
    "evaluation": evaluation,
}


def measured(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """One contender in a process of its own."""
    command = [sys.executable, __file__, "--one", name, "--questions", str(given.questions), "--n", str(given.n)]
    ran = subprocess.run(
        command, capture_output=True, text=True, check=False, env=sampling.environment(given.threads, "raw")
    )
    line = next((each for each in ran.stdout.splitlines() if each.startswith("RESULT ")), None)
    if line is None:
        raise SystemExit(ran.stderr[-3000:])
    return dict(json.loads(line.removeprefix("RESULT ")))


def main() -> None:
    """Run the two in turns, and print a line for each and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=96)
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--one", choices=CONTENDERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        seconds, cpu, texts, tokens = CONTENDERS[given.one](questions(given.questions), given.n)
        digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
        found = {"seconds": seconds, "cpu": cpu, "responses": len(texts), "tokens": tokens, "digest": digest}
        print("RESULT " + json.dumps(found), flush=True)
        return
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in CONTENDERS}
    for _ in range(given.repeats):
        for name in CONTENDERS:
            runs[name].append(measured(name, given))
    tokens = runs["raw"][0]["tokens"]
    same = len({run["digest"] for each in runs.values() for run in each}) == 1
    print(f"{SOURCE}: {given.questions} questions x {given.n} responses, {tokens:,} tokens; best of {given.repeats}")
    print("| | seconds | tokens/s | cpu s |\n|---|---|---|---|")
    best = {name: min(each, key=lambda run: run["seconds"]) for name, each in runs.items()}
    least = {name: min(run["cpu"] for run in each) for name, each in runs.items()}
    for name, run in best.items():
        print(f"| {name} | {run['seconds']:.1f} | {tokens / run['seconds']:,.0f} | {least[name]:.1f} |")
    ratio = best["raw"]["seconds"] / best["evaluation"]["seconds"]
    print(
        f"evaluation is at {ratio:.2f} of raw by the clock, {least['raw'] / least['evaluation']:.2f} in processor time"
    )
    print("all responses are equal, text for text" if same else "the responses differ")


if __name__ == "__main__":
    main()
