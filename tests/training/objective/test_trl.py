"""TRL's DPOTrainer as oracle: over several optimizer steps, the same losses and rewards as ours.

TRL dropped BCO's reward shift (δ = 0 there) and takes the SFT term as a token mean over the micro-batch, so it equals
the paper with one pair per micro-batch; those two settings are matched here.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from mmpr_pipeline.training.data.batch import collate
from mmpr_pipeline.training.data.groups import Group, IndexedPair
from mmpr_pipeline.training.objective.loss import LossSettings, PairLogProbs, mixed, mpo, pair_log_probs, recipe
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy

STEPS, RATE = 4, 1e-2

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def processor() -> Any:
    pytest.importorskip("trl")
    from mmpr_pipeline.nano.model import make_tokenizer, nano_processor

    return nano_processor(make_tokenizer(["a red circle left of a blue square", "count the shapes in row two"] * 20))


def rows() -> list[dict[str, Any]]:
    """Pairs with one image or two, of different sizes (so of 1 to 5 tiles), and unequal responses."""
    from PIL import Image

    sizes = [[(112, 112)], [(224, 112)], [(112, 112), (150, 224)], [(224, 224)]]
    made = []
    for index, pictures in enumerate(sizes):
        parts = [{"type": "image"} for _ in pictures] + [{"type": "text", "text": f"count the shapes in row {index}"}]
        made.append(
            {
                "images": [Image.effect_noise(size, 60.0 + index).convert("RGB") for size in pictures],
                "prompt": [{"role": "user", "content": parts}],
                "chosen": [{"role": "assistant", "content": "one red, two blue: three! " * (index + 1)}],
                "rejected": [{"role": "assistant", "content": "a square! " * (4 - index)}],
            }
        )
    return made


def make_model(processor: Any) -> Any:
    from mmpr_pipeline.nano.model import make_model

    model = make_model(processor.tokenizer, 0)
    model.config.text_config.pad_token_id = None
    return model


def trl_run(processor: Any, folder: Path, loss_type: list[str], weights: list[float]) -> tuple[list[dict], list[dict]]:
    """TRL's log of each step, and the batches that it trained on."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from trl import DPOConfig, DPOTrainer

    class InOrder(DPOTrainer):
        def _get_train_sampler(self, *args: Any) -> Any:
            return SequentialSampler(self.train_dataset)

        def training_step(self, model: Any, inputs: Any, *args: Any) -> Tensor:
            batches.append({name: value.clone() for name, value in inputs.items()})
            return super().training_step(model, inputs, *args)

    batches: list[dict[str, Tensor]] = []
    config = DPOConfig(
        output_dir=str(folder), loss_type=loss_type, loss_weights=weights, beta=0.1, per_device_train_batch_size=1,
        max_steps=STEPS, learning_rate=RATE, lr_scheduler_type="constant", max_grad_norm=0.0, weight_decay=0.0,
        optim="adamw_torch", logging_steps=1, report_to=[], save_strategy="no", use_cpu=True, max_length=None,
        gradient_checkpointing=False, disable_tqdm=True, bf16=False,
    )  # fmt: skip
    model = make_model(processor)
    trainer = InOrder(
        model=model, ref_model=copy.deepcopy(model), args=config, train_dataset=Dataset.from_list(rows()),
        processing_class=processor,
    )  # fmt: skip
    trainer.train()
    return [line for line in trainer.state.log_history if "loss" in line], batches


def as_group(batch: dict[str, Tensor]) -> tuple[Group, dict[str, Tensor]]:
    """Our group of one of TRL's batches of one pair: (2, L) rows with padding, tiles twice."""
    kept: list[list[tuple[int, ...]]] = [[], []]
    for row in range(2):
        mask, completion = batch["attention_mask"][row].bool(), batch["completion_mask"][row].bool()
        ids = batch["input_ids"][row]
        kept[row] = [tuple(ids[mask & ~completion].tolist()), tuple(ids[mask & completion].tolist())]
    assert kept[0][0] == kept[1][0]
    group = Group("q", kept[0][0], (), (kept[0][1], kept[1][1]), (IndexedPair("p", 0, 1),))
    tiles = batch["pixel_values"]
    return group, {"pixel_values": tiles[: len(tiles) // 2]}


def our_run(processor: Any, batches: list[dict[str, Tensor]]) -> list[dict[str, float]]:
    model = make_model(processor)
    policy, reference = PrefixSharedPolicy(model), PrefixSharedPolicy(copy.deepcopy(model))
    optimizer = torch.optim.AdamW(policy.parameters(), RATE, weight_decay=0.0)
    log = []
    for raw in batches:
        group, images = as_group(raw)
        batch = collate([group], [images])
        with torch.no_grad():
            ref = reference(batch).responses
        pairs = pair_log_probs(batch, policy(batch).responses, ref[batch.chosen], ref[batch.rejected])
        loss = mpo(pairs).total.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log.append(
            {
                "loss": loss.item(),
                "rewards/chosen": 0.1 * pairs.chosen_ratio.item(),
                "rewards/rejected": 0.1 * pairs.rejected_ratio.item(),
            }
        )
    return log


def test_mpo_steps_equal_trl(processor: Any, tmp_path: Path) -> None:
    theirs, batches = trl_run(processor, tmp_path, ["sigmoid", "bco_pair", "sft"], [0.8, 0.2, 1.0])
    ours = our_run(processor, batches)
    assert len(ours) == len(theirs) == STEPS
    moved = abs(theirs[-1]["rewards/chosen"]) + abs(theirs[-1]["rewards/rejected"])
    assert moved > 0.1  # the policy has left the reference: the comparison says something
    assert [line["loss"] for line in ours] == pytest.approx([line["loss"] for line in theirs], rel=1e-5)
    for name in ("rewards/chosen", "rewards/rejected"):
        assert [line[name] for line in ours] == pytest.approx([line[name] for line in theirs], rel=1e-4, abs=1e-5)


PAIRS = PairLogProbs(
    chosen=torch.tensor([-20.0, -31.5, -8.0]), rejected=torch.tensor([-33.0, -12.0, -40.0]),
    ref_chosen=torch.tensor([-22.0, -30.0, -9.5]), ref_rejected=torch.tensor([-30.0, -14.0, -35.0]),
    chosen_tokens=torch.tensor([10, 20, 5]), rejected_tokens=torch.tensor([12, 6, 30]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs", "noise"),
    [("dpo", "sigmoid", 0.0), ("bco", "bco_pair", 0.0), ("ipo", "ipo", 0.0), ("rso", "hinge", 0.0),
     ("robust_dpo", "robust", 0.2), ("sppo", "sppo_hard", 0.0), ("aot", "aot", 0.2)],
)  # fmt: skip
def test_variants_equal_trl(ours: str, theirs: str, noise: float, processor: Any, tmp_path: Path) -> None:
    """TRL's own loss function, fed with the log-probs of `PAIRS` by stand-ins for policy and reference."""
    from collections import defaultdict
    from types import SimpleNamespace

    from trl import DPOTrainer

    lengths = torch.cat([PAIRS.chosen_tokens, PAIRS.rejected_tokens])
    mask = torch.arange(1 + int(lengths.max()))[None] - 1 < lengths[:, None]
    mask[:, 0] = False  # one prompt token

    def stand_in(sums: Tensor) -> Any:
        spread = (sums / lengths)[:, None] * mask[:, 1:]  # the sum, spread evenly over the tokens
        zero = torch.zeros_like(spread)
        watched = {"entropy": zero, "mean_logits": zero, "is_top1": zero.bool()}
        return lambda **_: SimpleNamespace(log_probs=spread, aux_loss=None, label_mask=mask[:, 1:], **watched)

    policy = stand_in(torch.cat([PAIRS.chosen, PAIRS.rejected]))
    reference = stand_in(torch.cat([PAIRS.ref_chosen, PAIRS.ref_rejected]))
    policy.training = True
    seen = SimpleNamespace(
        model=policy, ref_model=reference, beta=0.1, label_smoothing=noise, loss_types=[theirs], loss_weights=[1.0],
        f_divergence_type="reverse_kl", ld_alpha=None, precompute_ref_logps=False, aux_loss_enabled=False,
        use_weighting=False, _metrics={"train": defaultdict(list)}, _total_train_tokens=0, _tp_size=1,
        args=SimpleNamespace(gradient_checkpointing_kwargs=None, discopop_tau=0.05),
        accelerator=SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=lambda t: t, gather=lambda t: t,
                                    reduce=lambda t, **_: t),
    )  # fmt: skip
    inputs = {"input_ids": mask.long(), "attention_mask": torch.ones_like(mask), "completion_mask": mask.long()}
    with pytest.MonkeyPatch.context() as patch:
        import contextlib

        import trl.trainer.dpo_trainer as module

        patch.setattr(module, "disable_gradient_checkpointing", lambda *_: contextlib.nullcontext())
        patch.setattr(module, "is_peft_model", lambda _: False)
        expected = DPOTrainer._compute_loss(seen, policy, inputs, False)  # type: ignore[arg-type]
    value = mixed(PAIRS, recipe(ours), LossSettings(0.1, noise)).total.mean()
    assert value.item() == pytest.approx(float(expected), rel=1e-5)
