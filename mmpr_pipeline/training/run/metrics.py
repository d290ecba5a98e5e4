"""What a run writes down of every step, shows of it on a terminal, and draws: `metrics.jsonl`, one JSON object a line,
and other watchers on request.

The last field of a line, `check`, is its checksum.

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
import math
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired, Self, TypedDict

from mmpr_pipeline.core.charts import COLOURS, CurvePanel, Points, curves_svg
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import checked_line, sound_lines
from mmpr_pipeline.core.progress import ProgressBar
from mmpr_pipeline.storage import open_store

if TYPE_CHECKING:
    from rich.console import Console


METRICS, REJECTS, WANDB_ID = "metrics.jsonl", "rejects.jsonl", "wandb_id"
HELD_OUT, SAMPLES = "held_out.jsonl", "samples.jsonl"  # see `measuring`


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


LEAST_MFU = 0.1  # below, as on a CPU, it says nothing


class TrainingView:
    """Shows a run. This one shows nothing: ranks other than the first, and tests."""

    def message(self, lines: str | Sequence[str]) -> None:
        """Something to be read."""

    def scoring(self, done: int, shards: int) -> None:
        """Progress of the reference pass."""

    def step(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        """A step was done; `step` counts from 1."""


class TrainingConsole(TrainingView):
    """The view of a terminal or a log file; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = ProgressBar(console)

    def __enter__(self) -> Self:
        self._bar.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._bar.__exit__(*error)

    def message(self, lines: str | Sequence[str]) -> None:
        for line in [lines] if isinstance(lines, str) else lines:
            self._console.print(line, highlight=False, markup=False)

    def scoring(self, done: int, shards: int) -> None:
        self._bar("scoring the reference, shards", done, shards)

    def step(self, step: int, steps: int, metrics: Mapping[str, float]) -> None:
        parts = [
            f"loss {metrics['loss']:.4f}",
            f"margin {metrics['reward/margin']:+.3f}",
            f"chosen ahead {metrics['reward/accuracy']:.0%}",
            f"grad {metrics['grad_norm']:.2f}",
            f"{metrics['tokens_per_second']:,.0f} tokens/s",
            f"{metrics['memory_gib']:.1f} GiB",
        ]
        if (mfu := metrics.get("mfu") or 0.0) >= LEAST_MFU:
            parts.append(f"MFU {mfu:.0%}")
        self._bar("training, steps", step, steps, note="  ".join(parts))


SMOOTHING = 0.8
"""Weight of the past in the moving average that is drawn over the raw values."""
PANELS: dict[str, dict[str, str]] = {
    "loss, weighted sum": {"loss": "loss"},
    "loss by term, unweighted": {},  # filled from what the run has
    "rewards and δ": {"reward/chosen": "chosen", "reward/rejected": "rejected", "delta": "δ"},
    "reward margin": {"reward/margin": "margin"},
    "share of pairs with the chosen ahead": {"reward/accuracy": "accuracy"},
    "KL to the reference, nats a response": {"kl": "KL"},
    "nats a token of the chosen": {"nll": "nats"},
    "gradient norm": {"grad_norm": "norm"},
    "learning rate": {"lr": "rate"},
    "speed, tokens a second": {"tokens_per_second": "tokens/s"},
}
"""Titles of the diagrams, with metrics by the label that each is shown under."""
_SIDES = ("#1a8a55", "#c8374e", "#b7791f")
"""Colours of chosen, rejected and δ."""
HELD_OUT_PANELS = {
    "held out: pairs with the chosen ahead": {"accuracy": "accuracy"},
    "held out: reward margin": {"reward/margin": "margin"},
    "held out: loss and nats a token": {"loss": "loss", "nll": "nats of the chosen"},
}


def plot(run: str | Path, out: str | Path | None = None, smoothing: float = SMOOTHING) -> Path:
    """Draw a run's curves to `out` (default RUN/metrics.svg) and return that path.

    Raises ConfigError where the run has no metrics yet, or where `smoothing` is not from 0 to below 1.
    """
    if not 0 <= smoothing < 1:
        raise ConfigError(f"--smoothing {smoothing} is not from 0 to below 1.", remedy="Use 0 for the raw values.")
    folder = Path(run).expanduser().absolute()
    lines = read_lines(folder / METRICS)
    if not lines:
        raise ConfigError(f"{folder} has no metrics.", remedy="Give the directory of a run that made a step.")
    target = Path(out).expanduser().absolute() if out else folder / "metrics.svg"
    svg = metrics_svg(lines, folder.name, read_lines(folder / HELD_OUT), smoothing)
    open_store(target.parent).write(target.name, svg.encode())
    return target


def metrics_svg(
    lines: Sequence[Mapping[str, float]],
    title: str,
    held_out: Sequence[Mapping[str, float]] = (),
    smoothing: float = SMOOTHING,
) -> str:
    """The SVG of a run's metrics; what was measured on held-out pairs is shown as it is, never smoothed."""
    terms = {name: name.partition("/")[2] for name in lines[0] if name.startswith("loss/")}
    panels = []
    for shown, measured in ((PANELS, lines), (HELD_OUT_PANELS, held_out)):
        for name, metrics in shown.items():
            curves: dict[str, Points] = {}
            for metric, label in (metrics or terms).items():
                found = ((line["step"], line.get(metric)) for line in measured)
                curves[label] = [(s, v) for s, v in found if isinstance(v, int | float) and math.isfinite(v)]
            exact = shown is HELD_OUT_PANELS or name == "learning rate"
            panels.append(CurvePanel(name, curves, exact=exact, colours=_SIDES if "chosen" in curves else COLOURS))
    return curves_svg(f"{title}: {len(lines)} steps", panels, smoothing=smoothing)
