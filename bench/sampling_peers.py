"""The contenders of `bench/sampling.py`; each call is one contender in this process, and prints what it measured.

python bench/sampling_peers.py CONTENDER MODEL SIZE QUESTIONS N THREADS
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]
import sampling as bench  # noqa: E402

BATCH = 8  # of the loop
Response = tuple[str, int]
"""Text and generated tokens, the one that ended it included."""


@dataclass(frozen=True)
class Run:
    """What one contender did while the clock ran."""

    seconds: float
    cpu: float
    """Seconds of processor time, of this process and all below it."""
    given: list[list[Response]]


def cpu_seconds() -> float:
    """Processor time so far of this process and all below it."""
    import psutil

    total, me = 0.0, psutil.Process()
    for process in (me, *me.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def clocked(work: Callable[[], list[list[Response]]]) -> Run:
    """The run of `work`."""
    began, before = time.perf_counter(), cpu_seconds()
    given = work()
    return Run(time.perf_counter() - began, cpu_seconds() - before, given)


def settings(model: str) -> Any:
    """The engine settings of all contenders: those of a build, with a cache that holds the longest batch."""
    from mmpr_pipeline.engines.settings import EngineSettings

    return EngineSettings(name="vllm", model=model, kv_cache_gib=2.0)


def arguments(model: str) -> dict[str, Any]:
    """vLLM's engine arguments, those that ours uses."""
    from mmpr_pipeline.engines.vllm.load import engine_arguments
    from mmpr_pipeline.models import torchvision_cpu
    from mmpr_pipeline.models.resolve import resolve_model

    torchvision_cpu.install()
    return engine_arguments(settings(model), resolve_model(model), cpu=True)


def prompt(question: Any) -> str:
    """The user turn, as a build asks it."""
    from mmpr_pipeline.rollouts.prompts import prompt_for

    return prompt_for(question, "cot-final").text


def seed_of(question: Any) -> int:
    """Seed of the question's first rollout, as in a build."""
    from mmpr_pipeline.rollouts.sampling import sampling_seed

    return sampling_seed(0, question.question_id, 0)


def sampling_parameters(question: Any, size: Any, n: int, first: int = 0) -> dict[str, Any]:
    """What every contender samples with."""
    return {
        "n": n, "temperature": 1.0, "top_p": 1.0, "max_tokens": size.max_tokens, "seed": seed_of(question) + first,
    }  # fmt: skip


def rendered(tokenizer: Any, question: Any, size: Any) -> dict[str, Any]:
    """A prompt for `generate`: the chat template's text, the decoded image, its tiles, a name to cache by."""
    from mmpr_pipeline.models.messages import decode_image, tile_settings
    from mmpr_pipeline.nano.sample import Request, chat_text

    return {
        "prompt": chat_text(tokenizer, Request(prompt(question), question.images[0].data)),
        "multi_modal_data": {"image": [decode_image(image) for image in question.images]},
        "multi_modal_uuids": {"image": [image.sha256 for image in question.images]},
        "mm_processor_kwargs": tile_settings("InternVLForConditionalGeneration", size.tiles),
    }


def load(model: str, asked: Sequence[Any], size: Any) -> tuple[Any, list[dict[str, Any]]]:
    """A started `vllm.LLM`, and the prompts."""
    fields = arguments(model)
    from vllm import LLM

    llm = LLM(**fields)
    tokenizer = llm.get_tokenizer()
    return llm, [rendered(tokenizer, question, size) for question in asked]


def responses(output: Any) -> list[Response]:
    """What one request of vLLM gave."""
    return [(completion.text, len(completion.token_ids)) for completion in output.outputs]


def raw(model: str, asked: Sequence[Any], size: Any, n: int) -> Run:
    """All prompts in one call."""
    from vllm import SamplingParams

    llm, prompts = load(model, asked, size)
    how = [SamplingParams(**sampling_parameters(question, size, n)) for question in asked]
    llm.generate(prompts[: bench.WARM], how[: bench.WARM], use_tqdm=False)

    def all_at_once() -> list[list[Response]]:
        return [responses(output) for output in llm.generate(prompts[bench.WARM :], how[bench.WARM :], use_tqdm=False)]

    return clocked(all_at_once)


def loop(model: str, asked: Sequence[Any], size: Any, n: int) -> Run:
    """A batch of questions, n calls of one sample each, then the next batch."""
    from vllm import SamplingParams

    llm, prompts = load(model, asked, size)

    def one(start: int, stop: int, sample: int) -> list[Response]:
        how = [SamplingParams(**sampling_parameters(question, size, 1, sample)) for question in asked[start:stop]]
        return [responses(output)[0] for output in llm.generate(prompts[start:stop], how, use_tqdm=False)]

    def batch_by_batch() -> list[list[Response]]:
        given = []
        for start in range(bench.WARM, len(asked), BATCH):
            calls = [one(start, start + BATCH, sample) for sample in range(n)]
            given += [list(samples) for samples in zip(*calls, strict=True)]
        return given

    one(0, bench.WARM, 0)
    return clocked(batch_by_batch)


def ours(model: str, asked: Sequence[Any], size: Any, n: int) -> Run:
    """The questions of one shard in flight in a Ray task, the engine in an actor, as a build has them."""
    import ray

    from mmpr_pipeline.cluster.session import ray_session
    from mmpr_pipeline.engines.start import start_engines

    with ray_session("local"):
        pool: Any = asyncio.run(start_engines(settings(model)))
        # One worker process for both calls: a build's worker lives for a shard of hundreds of questions.
        worker = ray.remote(num_cpus=1)(ShardWorker).remote(pool)
        try:
            ray.get(worker.work.remote(asked[: bench.WARM], size.max_tokens, n))
            return clocked(lambda: ray.get(worker.work.remote(asked[bench.WARM :], size.max_tokens, n)))
        finally:
            asyncio.run(pool.close())


class ShardWorker:
    """What a build's shard task does with its engine, without checking and writing."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def work(self, asked: Sequence[Any], max_tokens: int, n: int) -> list[list[Response]]:
        """The responses to each question."""
        return asyncio.run(work_all(self._pool, asked, max_tokens, n))


async def work_all(pool: Any, asked: Sequence[Any], max_tokens: int, n: int) -> list[list[Response]]:
    """All questions, as many in flight as a build with one worker has."""
    from mmpr_pipeline.engines.actors.routing import questions_each

    slots = asyncio.Semaphore(questions_each(pool.info, pool.size, 1, n))

    async def one(question: Any) -> list[Response]:
        async with slots:
            rollouts = await pool.sample(request(question, max_tokens, n))
        return [(r.text, r.tokens + (r.finish_reason == "stop")) for r in rollouts]

    return await asyncio.gather(*map(one, asked))


def request(question: Any, max_tokens: int, n: int) -> Any:
    """A request as `build.question` makes it."""
    from mmpr_pipeline.engines.engine import SampleRequest
    from mmpr_pipeline.rollouts.prompts import prompt_for
    from mmpr_pipeline.rollouts.sampling import Decoding

    turn = prompt_for(question, "cot-final")
    return SampleRequest(
        question=question, prompt=turn.text, prompt_version=turn.version, n=n, seed=seed_of(question),
        decoding=Decoding(max_tokens=max_tokens),
    )  # fmt: skip


READY = "BENCH_ENGINE_READY"


def note_when_ready() -> None:
    """Runs in each Ray worker: the engine stage writes down when its engine is loaded."""
    from ray.llm._internal.batch.stages import vllm_engine_stage as stage

    from mmpr_pipeline.models import torchvision_cpu

    torchvision_cpu.install()
    load_engine = stage.vLLMEngineWrapper.__init__

    def noted(self: Any, *args: Any, **fields: Any) -> None:
        load_engine(self, *args, **fields)
        Path(os.environ[READY]).write_text(repr(time.time()))

    stage.vLLMEngineWrapper.__init__ = noted


def ray_data(model: str, asked: Sequence[Any], size: Any, n: int) -> Run:
    """Rows repeated n times through ray.data.llm's processor."""
    import tempfile

    import ray
    from ray.data.llm import build_processor, vLLMEngineProcessorConfig

    from mmpr_pipeline.models.resolve import resolve_model

    ready = Path(tempfile.mkdtemp()) / "ready"
    os.environ[READY] = str(ready)
    fields = arguments(model)
    source = fields.pop("model")
    tokenizer = tokenizer_of(resolve_model(model).path)
    threads = {"OMP_NUM_THREADS": os.environ["OMP_NUM_THREADS"]}
    ray.init(
        address="local", num_cpus=max(2, os.cpu_count() or 1), include_dashboard=False, logging_level="ERROR",
        runtime_env={"worker_process_setup_hook": note_when_ready, "env_vars": threads},
    )  # fmt: skip
    ray.data.DataContext.get_current().enable_progress_bars = False
    config = vLLMEngineProcessorConfig(
        model_source=source, engine_kwargs=fields, batch_size=32, concurrency=1, log_engine_metrics=False,
        chat_template_stage=False, tokenize_stage=False, detokenize_stage=False,
        placement_group_config={"bundles": [{"CPU": 1}]},
    )  # fmt: skip
    process = build_processor(config, preprocess=to_engine, postprocess=from_engine)
    rows = [row for number, question in enumerate(asked) for row in rows_of(tokenizer, number, question, size, n)]
    warm = bench.WARM * n
    loaded: dict[str, float] = {}
    threading.Thread(target=note_processor_time, args=(ready, loaded), daemon=True).start()
    done = process(ray.data.from_items(rows[warm:], override_num_blocks=max(8, len(rows) // 64))).take_all()
    seconds, cpu = time.time() - float(ready.read_text()), cpu_seconds() - loaded["cpu"]
    done.sort(key=lambda row: (row["number"], row["sample"]))
    flat = [(str(row["text"]), int(row["tokens"])) for row in done]
    return Run(seconds, cpu, [flat[start : start + n] for start in range(0, len(flat), n)])


def note_processor_time(ready: Path, loaded: dict[str, float]) -> None:
    """Processor time at the moment at which the engine is loaded."""
    while not ready.exists():
        time.sleep(0.05)
    loaded["cpu"] = cpu_seconds()


def tokenizer_of(path: str) -> Any:
    """The model's tokenizer."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(path)


def rows_of(tokenizer: Any, number: int, question: Any, size: Any, n: int) -> list[dict[str, Any]]:
    """n rows of one question, the image as its file."""
    ready = rendered(tokenizer, question, size)
    common = {
        "number": number, "prompt": ready["prompt"], "file": question.images[0].data,
        "uuid": question.images[0].sha256, "tiles": size.tiles,
    }  # fmt: skip
    return [
        {**common, "sample": sample, "sampling_params": sampling_parameters(question, size, 1, sample)}
        for sample in range(n)
    ]


def to_engine(row: dict[str, Any]) -> dict[str, Any]:
    """A row as the engine stage takes it."""
    import io

    from PIL import Image

    from mmpr_pipeline.models.messages import tile_settings

    return {
        **{name: row[name] for name in ("number", "sample", "prompt", "sampling_params")},
        "multimodal_data": {"image": [Image.open(io.BytesIO(row["file"])).convert("RGB")]},
        "multimodal_uuids": {"image": [row["uuid"]]},
        "mm_processor_kwargs": tile_settings("InternVLForConditionalGeneration", row["tiles"]),
    }


def from_engine(row: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a row."""
    return {
        "number": row["number"], "sample": row["sample"], "text": row["generated_text"],
        "tokens": row["num_generated_tokens"],
    }  # fmt: skip


RUNS: dict[str, Callable[..., Run]] = {
    "raw": raw, "raw, 2 procs": raw, "ours": ours, "ray.data.llm": ray_data, "loop": loop,
}  # fmt: skip


def main() -> None:
    """One contender; prints one line of JSON."""
    name, model, size_name, count, n, _ = sys.argv[1:]
    size = bench.SIZES[size_name]
    asked = bench.questions(size, int(count))
    run = RUNS[name](model, asked, size, int(n))
    texts = [text for question in run.given for text, _ in question]
    each = [hashlib.sha256(text.encode()).hexdigest()[:12] for text in texts]
    result = {
        "seconds": run.seconds, "cpu": run.cpu,
        "tokens": sum(tokens for question in run.given for _, tokens in question),
        "responses": len(texts), "digest": hashlib.sha256("".join(each).encode()).hexdigest(), "each": each,
    }  # fmt: skip
    print("RESULT " + json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
