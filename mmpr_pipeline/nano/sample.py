"""Sample the nano checkpoint in process, by vLLM or by transformers; to measure it, and to compare the two.

The pipeline itself samples through `mmpr_pipeline.engines`; this is the shortest way to the same tokens.
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpr_pipeline.models.torchvision_cpu import install
from mmpr_pipeline.rollouts.prompts import IMAGE_MARK


@dataclass(frozen=True)
class Request:
    """A user turn, its picture (PNG bytes; None: text only), and the start of the assistant's response, if given."""

    turn: str
    image: bytes | None
    prefix: str = ""


@dataclass(frozen=True)
class Sample:
    """A response without its prefix; `finished`: it ended by itself within the limit."""

    text: str
    tokens: int
    finished: bool


def chat_text(tokenizer: Any, request: Request) -> str:
    """The prompt as the chat template writes it, up to and with the prefix."""
    text = request.turn.replace(IMAGE_MARK, "").strip()
    content = [{"type": "text", "text": text}]
    if request.image is not None:
        content.insert(0, {"type": "image"})
    messages = [{"role": "user", "content": content}]
    written = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    return f"{written}{request.prefix}"


def by_vllm(
    checkpoint: Path, requests: list[Request], samples: int, temperature: float, seed: int = 0, limit: int = 160
) -> list[list[Sample]]:
    """`samples` responses to each request, all requests at once in one in-process vLLM engine."""
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")
    install()
    from PIL import Image
    from vllm import LLM, SamplingParams

    llm = LLM(str(checkpoint), dtype="float32", max_model_len=2048, enable_chunked_prefill=False, enforce_eager=True)
    tokenizer, prompts, settings = llm.get_tokenizer(), [], []
    for number, request in enumerate(requests):
        prompt: dict[str, object] = {"prompt": chat_text(tokenizer, request)}
        if request.image is not None:
            prompt["multi_modal_data"] = {"image": Image.open(io.BytesIO(request.image)).convert("RGB")}
        prompts.append(prompt)
        wide_apart = seed + 1000 * number  # n samples take the seeds seed .. seed + n - 1
        settings.append(SamplingParams(n=samples, temperature=temperature, max_tokens=limit, seed=wide_apart))
    results = llm.generate(prompts, settings, use_tqdm=False)
    return [[Sample(o.text, len(o.token_ids), o.finish_reason == "stop") for o in r.outputs] for r in results]


def by_transformers(
    checkpoint: Path, requests: list[Request], samples: int, temperature: float, seed: int = 0, limit: int = 160
) -> list[list[Sample]]:
    """The same by `generate` of transformers, in batches of 32 requests."""
    install()
    import torch
    from transformers import InternVLForConditionalGeneration, InternVLProcessor

    processor = InternVLProcessor.from_pretrained(checkpoint, trust_remote_code=False)
    model = InternVLForConditionalGeneration.from_pretrained(checkpoint, dtype=torch.float32, trust_remote_code=False)
    model.eval()
    torch.manual_seed(seed)
    how: dict[str, object] = {
        "do_sample": True,
        "temperature": temperature,
        "top_k": 0,
        "num_return_sequences": samples,
    }
    how = how if temperature > 0 else {"do_sample": False}
    results: list[list[Sample]] = []
    for start in range(0, len(requests), 32):
        batch = requests[start : start + 32]
        from PIL import Image

        inputs_texts = [chat_text(processor.tokenizer, request) for request in batch]
        images = [
            Image.open(io.BytesIO(request.image)).convert("RGB") for request in batch if request.image is not None
        ]
        inputs = dict(processor(images=images or None, text=inputs_texts, padding=True, return_tensors="pt"))
        with torch.no_grad():
            out = model.generate(**inputs, max_new_tokens=limit, **how)
        new = out[:, inputs["input_ids"].shape[1] :].tolist()
        texts = [_sample(processor.tokenizer, ids) for ids in new]
        each = len(texts) // len(batch)
        results += [texts[n * each : (n + 1) * each] for n in range(len(batch))]
    return results


def _sample(tokenizer: Any, ids: list[int]) -> Sample:
    finished = tokenizer.eos_token_id in ids
    kept = ids[: ids.index(tokenizer.eos_token_id)] if finished else ids
    return Sample(tokenizer.decode(kept, skip_special_tokens=True), len(kept) + finished, finished)
