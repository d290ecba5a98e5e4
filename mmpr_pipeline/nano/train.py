"""Train the nano checkpoint: `python -m mmpr_pipeline.nano.train --out DIR`.

Two stages, a pure function of the seed as far as the machine's arithmetic allows:
1. *see*: the vision tower and the projector alone learn, through three linear probes on each visual token, which
   colour, shape and number its square of the picture shows; 400 short steps do it. (Taught by nothing but the words of
   the answers, a look-up task only began to ground after 400 steps of the whole model.)
2. *speak*: the whole model learns the responses of the lessons; the probes stay on at a small weight.

Writes the checkpoint (safetensors, with processor and chat template), and beside it `learning_curve.json` and its
picture. On a machine that is shared with other work, `OMP_WAIT_POLICY=PASSIVE GOMP_SPINCOUNT=0` keeps a thread that
waits for a busy core from spinning: without it, one busy core of two made a step 20 times slower.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from mmpr_pipeline.core.charts import CurvePanel, curves_svg
from mmpr_pipeline.nano.batches import PATCH_CLASSES, Batch, LessonEncoder, lesson_batches
from mmpr_pipeline.nano.lessons import tokenizer_texts
from mmpr_pipeline.nano.model import make_model, make_tokenizer, nano_processor

if TYPE_CHECKING:
    from transformers import InternVLForConditionalGeneration


@dataclass(frozen=True)
class NanoSettings:
    """Settings of a run; a step is one batch of `batch` lessons."""

    seed: int = 0
    see_steps: int = 400
    speak_steps: int = 2400  # what the rates are laid out for
    stop: int = 1600  # where speaking ends: later, geometry was all but solved and left nothing to prefer
    batch: int = 48
    matrix_rate: float = 4e-3  # Muon, on the matrices of the layers
    other_rate: float = 2e-3  # AdamW, on embeddings, head, norms and biases
    probe_weight: float = 0.2
    warm_up: int = 50
    decay_share: float = 0.4  # last part of the steps, with rates falling to zero


class Student(nn.Module):
    """The model, and the probes that are thrown away after training."""

    def __init__(self, model: InternVLForConditionalGeneration) -> None:
        super().__init__()
        self.model = model
        width = model.config.text_config.hidden_size
        self.probes = nn.ModuleDict({name: nn.Linear(width, size) for name, size in PATCH_CLASSES.items()})

    def see(self, pixels: torch.Tensor) -> torch.Tensor:
        """Visual tokens of the pictures, (P, 16, width)."""
        return self.model.model.get_image_features(pixel_values=pixels).pooler_output

    def probe_loss(self, visual: torch.Tensor, patches: torch.Tensor) -> torch.Tensor:
        """Sum over the probes of their mean cross-entropy."""
        losses = [
            cross_entropy(probe(visual).flatten(0, 1), patches[..., n].flatten())
            for n, probe in enumerate(self.probes.values())
        ]
        return torch.stack(losses).sum()

    def speak_loss(self, batch: Batch, visual: torch.Tensor) -> torch.Tensor:
        """Mean negative log-likelihood of the response tokens, nats."""
        core = self.model.model
        embedded = core.language_model.embed_tokens(batch.ids)
        here = (batch.ids == self.model.config.image_token_id)[..., None].expand_as(embedded)
        embedded = embedded.masked_scatter(here, visual)
        hidden = core.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        # Padding is on the right, where a causal model cannot see it, so no mask is needed.
        learn = batch.learn[:, 1:]
        logits = self.model.lm_head(hidden[:, :-1][learn])
        return cross_entropy(logits, batch.ids[:, 1:][learn])


def optimizers(student: Student, plan: NanoSettings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for the rest; none for weights that are frozen."""
    matrices: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for name, weight in student.named_parameters():
        if not weight.requires_grad:
            continue
        is_matrix = weight.ndim == 2 and not any(part in name for part in ("embed", "lm_head", "probes"))
        (matrices if is_matrix else others).append(weight)
    muon = torch.optim.Muon(matrices, lr=plan.matrix_rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.98), weight_decay=0.0)
    return [muon, adam]


def rate_factor(step: int, steps: int, plan: NanoSettings) -> float:
    """Factor of the learning rates: a linear warm-up, a plateau, a linear fall to zero."""
    fall = max(1, int(plan.decay_share * steps))
    return min(1.0, (step + 1) / plan.warm_up, (steps - step) / fall)


def take_step(student: Student, tools: list[torch.optim.Optimizer], loss: torch.Tensor, factor: float) -> None:
    """One step of the optimizers, with their rates times `factor` and gradients clipped to a norm of 1."""
    loss.backward()
    nn.utils.clip_grad_norm_(student.parameters(), 1.0)
    for tool in tools:
        for group in tool.param_groups:
            group.setdefault("base_rate", group["lr"])
            group["lr"] = factor * group["base_rate"]
        tool.step()
        tool.zero_grad(set_to_none=True)


def learn(
    student: Student, lessons: Iterator[Batch], plan: NanoSettings, stage: Literal["see", "speak"]
) -> Iterator[CurvePoint]:
    """Run one stage, `see` or `speak`; yields the losses of every 50th step, averaged over the 50 before it."""
    steps = plan.see_steps if stage == "see" else plan.speak_steps
    tools, sums, started = optimizers(student, plan), [0.0, 0.0], time.perf_counter()
    for step in range(steps if stage == "see" else min(steps, plan.stop)):
        batch = next(lessons)
        visual = student.see(batch.pixels)
        probe = student.probe_loss(visual, batch.patches)
        if stage == "see":
            speak, loss = torch.zeros(()), probe
        else:
            speak = student.speak_loss(batch, visual)
            loss = speak + plan.probe_weight * probe
        take_step(student, tools, loss, rate_factor(step, steps, plan))
        sums = [sums[0] + speak.item(), sums[1] + probe.item()]
        if (step + 1) % 50 == 0:
            seconds = round(time.perf_counter() - started, 1)
            speak_nats, probe_nats = sums[0] / 50, sums[1] / 50
            sums = [0.0, 0.0]
            yield {
                "stage": stage,
                "step": step + 1,
                "response_nats": speak_nats,
                "probe_nats": probe_nats,
                "seconds": seconds,
            }


def train_nano(plan: NanoSettings, out: Path) -> None:
    """Train and write checkpoint and learning curve; the checkpoint is renewed every 400 steps of the second stage."""
    torch.manual_seed(plan.seed)
    tokenizer = make_tokenizer(tokenizer_texts(plan.seed, 4000))
    student = Student(make_model(tokenizer, plan.seed))
    processor, lessons = nano_processor(tokenizer), lesson_batches(LessonEncoder(tokenizer), plan.seed, plan.batch)
    curve: list[CurvePoint] = []
    stages: tuple[Literal["see", "speak"], ...] = ("see", "speak")
    for stage in stages:
        for point in learn(student, lessons, plan, stage):
            curve.append(point)
            print(json.dumps(point), flush=True)
            last = point["step"] == min(plan.stop, plan.speak_steps)
            if stage == "speak" and (point["step"] % 400 == 0 or last):
                student.model.save_pretrained(out)
                processor.save_pretrained(out)
                (out / "learning_curve.json").write_text(json.dumps({"plan": asdict(plan), "curve": curve}, indent=1))
                (out / "learning_curve.svg").write_text(curve_svg(curve))


def main() -> None:
    """Command line; flags are the fields of `NanoSettings`."""
    parser = argparse.ArgumentParser(description="Train the nano checkpoint.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    for name, default in asdict(NanoSettings()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    settings = vars(parser.parse_args())
    train_nano(NanoSettings(**{name: settings[name] for name in asdict(NanoSettings())}), settings["out"])


if __name__ == "__main__":
    main()


_LABELS: dict[Literal["response_nats", "probe_nats"], str] = {
    "response_nats": "responses, nats a token",
    "probe_nats": "probes of the visual tokens, nats",
}


class CurvePoint(TypedDict):
    """Losses at a step of a stage, and the seconds since the stage began."""

    stage: Literal["see", "speak"]
    step: int
    response_nats: float
    probe_nats: float
    seconds: float


def curve_svg(curve: list[CurvePoint]) -> str:
    """SVG with both losses over the steps of both stages, on a logarithmic scale."""
    seen = max((point["step"] for point in curve if point["stage"] == "see"), default=0)
    steps = [point["step"] + (seen if point["stage"] == "speak" else 0) for point in curve]
    curves = {
        label: [(step, point[name]) for step, point in zip(steps, curve, strict=True) if point[name] > 0]
        for name, label in _LABELS.items()
    }
    axis = "step (dashed: from seeing to speaking)"
    panel = CurvePanel("", curves, x_title=axis, rules=(seen,), exact=True, log=True)
    return curves_svg(f"nano: {max(steps)} steps", [panel], columns=1, size=(560, 240))
