"""Make the base model of the study: `python -m mmpr_pipeline.nano.hasty --out DIR`.

The bundled checkpoint was stopped in the middle of its schedule, and every chain of thought that it was taught names
each thing it sees. Its mistakes are noise in what it sees, and those are not what preference data mend. The models that
the paper begins with are another kind: trained to the end, mostly on short answers, with a chain of thought that is
little practised and often jumps to the answer (InternVL2-8B is right less often with one than without, on M3CoT).

This goes on from the bundled checkpoint to such a model: rates that fall to zero, and lessons of which most chains of
thought give the answer without a step towards it. The steps are still known, and still come up in some of the samples.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from mmpr_pipeline.nano.batches import Encoder, batches
from mmpr_pipeline.nano.train import Plan, Student, learn

BUNDLED = Path(__file__).parent / "checkpoint"
HASTY_SHARE = 0.75
PLAN = Plan(seed=1, see_steps=0, speak_steps=600, stop=600, matrix_rate=2e-3, other_rate=1e-3, decay_share=0.9)


def go_on(plan: Plan, hasty: float, start: Path, out: Path) -> None:
    """Train the checkpoint in `start` on; writes the new one with its learning curve."""
    from transformers import InternVLForConditionalGeneration, InternVLProcessor

    from mmpr_pipeline.torchvision_cpu import install

    install()
    torch.manual_seed(plan.seed)
    processor = InternVLProcessor.from_pretrained(start)
    model = InternVLForConditionalGeneration.from_pretrained(start, dtype=torch.float32)
    student = Student(model)
    lessons = batches(Encoder(processor.tokenizer), plan.seed, plan.batch, hasty)
    curve: list[dict[str, Any]] = []
    for point in learn(student, lessons, plan, "speak"):
        curve.append(point)
        print(json.dumps(point), flush=True)
    model.save_pretrained(out)
    processor.save_pretrained(out)
    described = {"plan": asdict(plan), "hasty": hasty, "start": "the bundled checkpoint", "curve": curve}
    (out / "learning_curve.json").write_text(json.dumps(described, indent=1))


def main() -> None:
    """Command line; flags are the fields of `Plan`."""
    parser = argparse.ArgumentParser(description="Make the base model of the study.")
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoint")
    parser.add_argument("--start", type=Path, default=BUNDLED, help="the checkpoint to go on from")
    parser.add_argument("--hasty", type=float, default=HASTY_SHARE, help="share of chains without steps")
    for name, default in asdict(PLAN).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    settings = vars(parser.parse_args())
    go_on(
        Plan(**{name: settings[name] for name in asdict(PLAN)}), settings["hasty"], settings["start"], settings["out"]
    )


if __name__ == "__main__":
    main()
