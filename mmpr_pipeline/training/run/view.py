"""What a run shows: its steps on a terminal, and its curves as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mmpr_pipeline.core.charts import COLOURS, CurvePanel, Points, curves_svg
from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.progress import ProgressBar
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.run.run_folder import HELD_OUT, METRICS, TrainingView, read_lines

if TYPE_CHECKING:
    from rich.console import Console

LEAST_MFU = 0.1  # below, as on a CPU, it says nothing


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
