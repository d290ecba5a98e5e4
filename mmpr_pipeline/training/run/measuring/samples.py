"""What the model says at every checkpoint on the same questions, none of which it trains on.

RUN/samples.jsonl   a line an answer: `step` finished steps, question_id, `question`, `answer` (the gold), `text`, and
                    for questions with a gold the checker's `outcome`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch.distributed.fsdp import FSDPModule

from mmpr_pipeline.checking.api import check
from mmpr_pipeline.core.errors import ItemRejected
from mmpr_pipeline.core.files import checked_line
from mmpr_pipeline.training.data.encode import PairEncoder
from mmpr_pipeline.training.data.order import Slice
from mmpr_pipeline.training.data.stream import Stream
from mmpr_pipeline.training.distributed.world import World
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.run.metrics import SampleLine

SAMPLES = "samples.jsonl"


def fixed_questions(slices: Sequence[Slice], number: int) -> list[Slice]:
    """`number` of the held-out questions, spread over them: the same at every checkpoint."""
    count = min(number, len(slices))
    return [slices[i * len(slices) // count] for i in range(count)]


@torch.no_grad()
def say(
    policy: PrefixSharedPolicy,
    stream: Stream,
    questions: Sequence[Slice],
    most: int,
    world: World,
    stopping: Callable[[], bool],
) -> Iterator[SampleLine]:
    """The policy's greedy answer to each question, of at most `most` tokens, by the model's own attention.

    By all ranks together, which gather sharded weights for each other. The policy is as it was before, afterwards. A
    question that cannot be encoded is passed over.
    """
    device, dtype, encoder = world.device, stream.dtype, stream.encoder
    training = policy.training
    policy.release()
    policy.eval()
    try:
        for each in questions:
            if world.any(stopping())[0]:
                return
            shard = stream.shards[each.shard]
            [pair] = shard.pairs(each.group, each.first, each.first + 1)
            try:
                prompt, images = encoder.prompt(pair, shard)
            except ItemRejected:
                continue
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                text = _answer(policy, encoder, prompt, images, device, most)
            line: SampleLine = {
                "question_id": pair.question_id, "question": pair.question, "answer": pair.answer, "text": text
            }  # fmt: skip
            if pair.answer is not None and pair.kind not in ("none", "choice"):  # a pair does not hold its choices
                line["outcome"] = check(text, pair.answer, kind=pair.kind).outcome
            yield line
    finally:
        policy.train(training)
        policy.take()
        if isinstance(policy, FSDPModule):
            policy.reshard()  # the root's weights, which generation leaves gathered


def _answer(
    policy: PrefixSharedPolicy,
    encoder: PairEncoder,
    prompt: Sequence[int],
    images: dict[str, torch.Tensor],
    device: torch.device,
    most: int,
) -> str:
    ids = torch.tensor([list(prompt)], device=device)
    pictures = {name: value.to(device) for name, value in images.items()}
    made = policy.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        **pictures,
        max_new_tokens=most,
        do_sample=False,
        eos_token_id=encoder.end,
        pad_token_id=encoder.end,
    )
    return encoder.text(made[0, ids.shape[1] :].tolist())


def add(run: Path, step: int, lines: Sequence[SampleLine]) -> None:
    """Append a checkpoint's answers."""
    with open(run / SAMPLES, "ab") as file:
        for line in lines:
            file.write(checked_line({"step": step, **line}))
