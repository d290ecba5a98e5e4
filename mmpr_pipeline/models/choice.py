"""Which model a build uses where its user names none."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from mmpr_pipeline.models.resolve import NANO

DEFAULT = "OpenGVLab/InternVL2-8B"
"""The paper's model. vLLM serves it without remote code once it is converted to the native format."""
ALTERNATIVES = (DEFAULT, "OpenGVLab/InternVL3-2B-hf", "OpenGVLab/InternVL3-8B-hf")
"""Models that can be named instead of the embedded one."""
DEFAULT_TEXT = f"{DEFAULT} where there are GPUs, else a rehearsal with {NANO}"


@dataclass(frozen=True)
class ModelChoice:
    """The model of a build, and why it is this one."""

    model: str
    line: str
    """The choice in a sentence, for the first line of a build."""
    rehearsal: bool = False


def choose_model(gpus: int, where: str) -> ModelChoice:
    """The model for a build that names none; `where` says what was looked at, as `this machine`."""
    if gpus:
        return ModelChoice(
            DEFAULT, f"Model: {DEFAULT}, the default with GPUs ({gpus} on {where}); --model names another."
        )
    return ModelChoice(
        NANO, f"Rehearsal: {REHEARSAL} No GPU was found on {where} and no --model was named. {INSTEAD}", True
    )


REHEARSAL = (
    f"made with the embedded toy model {NANO}, which knows the nano_* sources only. The pairs show how a build works; "
    "do not train on them."
)
INSTEAD = (
    f"For real data name a model with --model (each needs a GPU): {', '.join(ALTERNATIVES)}; or a server with --engine "
    "openai."
)
REHEARSAL_WARNING = f"This is a rehearsal, {REHEARSAL} {INSTEAD}"


def local_gpus() -> int:
    """GPUs that CUDA programs may use on this machine, found without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() and not part.strip().startswith("-")])
    if shutil.which("nvidia-smi"):
        try:
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return 0
        return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()])
