"""A run's directory: claimed by one configuration, resumed only by the same one; what is written down of every step.

RUN/run.json         resolved settings, what model and data they meant, versions, on what it is computed; written first
RUN/metrics.jsonl    one line a step            RUN/rejects.jsonl   pairs that were left out, with reasons
RUN/checkpoints/     see `checkpoints`          RUN/summary.json    totals; written last, not there while a run is on

A line of metrics.jsonl is a JSON object; its last field, `check`, is its checksum.

loss, loss/TERM     mean over the step's pairs; terms unweighted
reward/chosen, reward/rejected, reward/margin, reward/accuracy     β h, its difference, share of pairs with h_c > h_r
delta               δ of BCO that the step used
kl                  -mean h over chosen and rejected: estimates KL(π_ref || π), nats a response, as far as responses
                    are samples of the reference
nll                 nats a token of the chosen responses
imbalance           of experts (`prefix_shared`): their number a token where the load is even; 0 for dense models
grad_norm, lr, pairs, groups' tokens and images' tiles computed, seconds, tokens_per_second, pairs_per_second, mfu,
memory_gib (most on a GPU; resident in main memory), rejected (pairs left out in this step)
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, TypedDict

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import checked_line, sealed, sound_lines, unsealed
from mmpr_pipeline.core.registry import plugins_of
from mmpr_pipeline.core.settings import differences, identity_of
from mmpr_pipeline.core.version import __version__
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.settings import TrainConfig

if TYPE_CHECKING:  # files of a run are read and drawn where no torch is imported
    from mmpr_pipeline.training.checkpoints import CheckpointPlace
    from mmpr_pipeline.training.policy.layers import Checkpointing
    from mmpr_pipeline.training.policy.load import ModelFolder

RUN_FILE, SUMMARY = "run.json", "summary.json"
METRICS, REJECTS, WANDB_ID = "metrics.jsonl", "rejects.jsonl", "wandb_id"
HELD_OUT, SAMPLES = "held_out.jsonl", "samples.jsonl"  # see `measuring`


class Computed(TypedDict, total=False):
    """By what device, type and kernel, and in what portions a run computes."""

    device: str
    ranks: int
    dtype: str
    attention: str
    layers: str
    recompute: Checkpointing
    recompute_vision: Checkpointing
    token_budget: int


class RunDescription(TypedDict):
    """run.json."""

    identity: dict[str, object]
    config: dict[str, object]
    versions: dict[str, str]
    computed: NotRequired[Computed]


def identity(config: TrainConfig, model: ModelFolder, data: str) -> dict[str, object]:
    """What makes a run this run: settings that decide its losses, the model's label, the dataset's identity.

    Losses and a model family of another distribution stand in it with their version.
    """
    from mmpr_pipeline.training.objective.loss import LOSSES
    from mmpr_pipeline.training.policy.families.family import FAMILIES

    families = FAMILIES.origins([model.kind]) if model.kind in FAMILIES.names() else {}
    plugins = plugins_of(losses=LOSSES.origins(config.weights()), families=families)
    return {**identity_of(config), "model": model.label, "data": data, **plugins}


def claim_run(
    run: Path, place: CheckpointPlace, config: TrainConfig, model: ModelFolder, data: str, resume: bool
) -> tuple[int | None, RunDescription]:
    """Take a run's directory; gives the checkpoint to go on from, None for a start at step 0, and what run.json says,
    how the run computed so far included.

    Raises ConfigError where the directory holds a run and `resume` is off, or a run with other settings.
    """
    import torch
    import transformers

    from mmpr_pipeline.training.checkpoints import step_name

    now = identity(config, model, data)
    store = open_store(run)
    store.check_writable()
    there = place.steps()
    versions = {"mmpr": __version__, "torch": torch.__version__, "transformers": transformers.__version__}
    described: RunDescription = {"identity": now, "config": config.model_dump(mode="json"), "versions": versions}
    if there and not resume:
        raise ConfigError(
            f"{run} already holds a run, kept at {step_name(there[-1])}.",
            remedy="Go on with --resume, or give another --out.",
        )
    if there and store.exists(RUN_FILE):
        try:
            before = unsealed(store.read(RUN_FILE), frozenset(described), frozenset())
        except ValueError as error:
            raise ConfigError(
                f"{store.url}/{RUN_FILE} is damaged: {error}.",
                remedy="Restore it from a copy. Or, if you are sure that the settings are unchanged, delete it; "
                "then --resume.",
            ) from None
        if "computed" in before:
            described["computed"] = before["computed"]
        if lines := differences(before["identity"], now):
            raise ConfigError(
                f"{run} was begun with other settings:\n    " + "\n    ".join(lines),
                remedy="Use the same settings to go on, or another --out for a new run.",
            )
    place.sweep()
    store.delete(SUMMARY)
    store.write(RUN_FILE, sealed(described))
    return there[-1] if there else None, described


class SampleLine(TypedDict):
    """A line of samples.jsonl, without its `step`."""

    question_id: str
    question: str
    answer: str | None
    outcome: NotRequired[str]
    text: str


class Metrics:
    """Writes the files of a run, and tells its other watchers; on the first rank only."""

    def __init__(self, run: Path, watch: tuple[str, ...], config: Mapping[str, object], resumed_at: int) -> None:
        self._run = run
        # The line of a checkpoint stands by it.
        for name, end in ((METRICS, 0), (REJECTS, 0), (HELD_OUT, 1), (SAMPLES, 1)):
            if (run / name).is_file():  # those after it are computed again
                kept = [line for line in read_lines(run / name) if line.get("step", 0) < resumed_at + end]
                open_store(run).write(name, b"".join(checked_line(line) for line in kept))
        self._tensorboard = _tensorboard(run, config, resumed_at) if "tensorboard" in watch else None
        self._wandb = _wandb(run, config) if "wandb" in watch else None

    def write(self, line: Mapping[str, float]) -> None:
        """A step's metrics; must hold `step`."""
        self.append(METRICS, line)
        self.watch({name: value for name, value in line.items() if name not in ("step", "steps")}, int(line["step"]))

    def watch(self, numbers: Mapping[str, float], step: int) -> None:
        """Numbers for the other watchers only."""
        if self._tensorboard:
            for name, value in numbers.items():  # in the groups train, loss, reward, held_out and performance
                group = "" if "/" in name else "performance/" if name in _PERFORMANCE else "train/"
                self._tensorboard.add_scalar(f"{group}{name}", value, step)
        if self._wandb:
            self._wandb.log(numbers, step=step)

    def samples(self, lines: Sequence[SampleLine], step: int) -> None:
        """What the model says of the fixed questions."""
        for number, line in enumerate(lines):
            self.append(SAMPLES, {"step": step, **line})
            if self._tensorboard is None:
                continue
            quoted = "\n".join(f"    {each}" for each in str(line["text"]).splitlines())  # as code: nothing is markup
            asked = "\n".join(f"    {each}" for each in str(line["question"]).splitlines())
            text = f"{asked}\n\n{line.get('outcome', 'not checked')}:\n\n{quoted}"
            self._tensorboard.add_text(f"samples/{number}", text, step)

    def close(self) -> None:
        """End the other watchers' files."""
        if self._tensorboard:
            self._tensorboard.close()
        if self._wandb:
            self._wandb.finish()

    def append(self, name: str, line: Mapping[str, object]) -> None:
        """A line of one of the run's files."""
        with open(self._run / name, "ab") as file:
            file.write(checked_line(line))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Whole lines of a JSONL file, without their checksums; a torn or damaged line is left out."""
    return sound_lines(path.read_bytes()) if path.is_file() else []


_PERFORMANCE = frozenset(
    ("seconds", "tokens_per_second", "pairs_per_second", "mfu", "memory_gib", "tokens", "tiles", "micro_batches",
     "pairs", "rejected")
)  # fmt: skip


def _tensorboard(run: Path, config: Mapping[str, object], resumed_at: int) -> Any:
    """Events of steps that a resumed run computes again are purged, as they are from the metrics file."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ConfigError(
            "TensorBoard is not installed.", remedy="Run pip install tensorboard, or remove it from `watch`."
        ) from None
    from torch.utils.tensorboard.summary import hparams

    writer = SummaryWriter(run / "tensorboard", purge_step=resumed_at or None)
    flat = {name: value for name, value in config.items() if isinstance(value, str | int | float | bool)}
    for summary in hparams(flat, {"held_out/accuracy": None, "held_out/loss": None}):  # what is compared across runs
        writer.file_writer.add_summary(summary)
    writer.add_text("settings", "\n".join(f"    {line}" for line in json.dumps(config, indent=1).splitlines()))
    return writer


def _wandb(run: Path, config: Mapping[str, object]) -> Any:
    try:
        import wandb
    except ImportError:
        raise ConfigError("W&B is not installed.", remedy="Run pip install wandb, or remove it from `watch`.") from None
    # Drawn once, kept with the run: a resumed run goes on in its history, others of the same name have theirs.
    path = run / WANDB_ID
    if not path.is_file():
        path.write_text(secrets.token_hex(8))
    own = path.read_text().strip()
    return wandb.init(dir=str(run), config=dict(config), id=own, name=run.name, resume="allow")


class TrainingView:
    """Shows a run. This one shows nothing: ranks other than the first, and tests."""

    def message(self, lines: str | Sequence[str]) -> None:
        """Something to be read."""

    def scoring(self, done: int, shards: int) -> None:
        """Progress of the reference pass."""

    def step(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        """A step was done; `step` counts from 1."""
