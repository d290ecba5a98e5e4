"""Where the training processes come from: this one, torchrun's, or Ray Train's workers. The train function is one."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmpr_pipeline.core import errors
from mmpr_pipeline.core.errors import ConfigError, MmprError, TrainingError
from mmpr_pipeline.storage import absolute_model, absolute_url, open_store
from mmpr_pipeline.training.run.console import NoView, View
from mmpr_pipeline.training.settings import TrainConfig

FOLLOW_EVERY = 2.0  # seconds
ERROR = "error.json"  # in the run's directory: what stopped a worker


def run_training(config: TrainConfig, view: View | None = None, *, resume: bool = False) -> Any:
    """Train as `config.launch` says; gives a `loop.Result`. Under torchrun, call it in every process (see `train`)."""
    shown = view or NoView()
    if config.launch.on == "ray":
        result = _on_ray(config, shown, resume)
    else:
        from mmpr_pipeline.training.run.loop import train

        result = train(config, shown, resume=resume)
    shown.say(said_at_the_end(result, config))
    return result


def said_at_the_end(result: Any, config: TrainConfig) -> list[str]:
    """What became of the run, and what can be done next."""
    lines = [f"{result.step} of {result.steps} steps; checkpoints and metrics in {config.run_dir}."]
    if result.rejected:
        counted = ", ".join(f"{count} {reason}" for reason, count in sorted(result.rejected.items()))
        lines.append(f"Pairs left out: {counted} (see {config.run_dir}/rejects.jsonl).")
    if result.interrupted:
        return [*lines, "Stopped by a signal: the same command with --resume goes on from here."]
    lines.append(f"Next  mmpr plot {config.run_dir}    the curves as a picture")
    if result.export:
        lines.append(f"      mmpr eval {config.model} --against {result.export} --sources NAMES    before and after")
    return lines


def absolute(config: TrainConfig) -> TrainConfig:
    """The settings with local paths made absolute: workers have other working directories."""
    places = {name: absolute_url(getattr(config, name)) for name in ("data", "run_dir", "export")}
    return config.model_copy(update={**places, "model": absolute_model(config.model)})


def _on_ray(config: TrainConfig, view: View, resume: bool) -> Any:
    """The same train function in workers of Ray Train, which sets up their process group.

    A run that lost a worker goes on from its newest checkpoint, up to three times.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    from mmpr_pipeline.cluster.session import ray_session
    from mmpr_pipeline.training.run.checkpoint import checkpoints

    config = absolute(config)
    if checkpoints(Path(config.run_dir)) and not resume:
        raise ConfigError(f"{config.run_dir} holds a run.", remedy="Go on with --resume, or give another --run-dir.")
    with ray_session(config.launch.address):
        has_gpus = ray.cluster_resources().get("GPU", 0) >= config.launch.workers
        if config.launch.device == "cuda" and not has_gpus:
            raise ConfigError(
                f"The cluster has fewer than {config.launch.workers} GPUs.", remedy="Lower launch.workers."
            )
        trainer = TorchTrainer(
            _work,
            train_loop_config={"config": config.model_dump(mode="json"), "resume": resume},
            scaling_config=ScalingConfig(
                num_workers=config.launch.workers, use_gpu=has_gpus and config.launch.device != "cpu"
            ),
            run_config=RunConfig(
                name="ray-train", storage_path=config.run_dir, failure_config=FailureConfig(max_failures=3)
            ),
        )
        error_file = Path(config.run_dir) / ERROR
        error_file.unlink(missing_ok=True)
        try:
            with _followed(Path(config.run_dir), view):
                trainer.fit()
        except Exception as error:
            raise _recorded(error_file) or TrainingError(
                f"Training on Ray failed: {type(error).__name__}: {str(error)[:500]}",
                remedy="Look at the workers' logs (ray logs); --resume goes on from the newest checkpoint.",
            ) from error
    return _result(config)


def _work(settings: dict[str, Any]) -> None:
    """What each worker runs. An error that mmpr made is written down: it would not survive Ray's wrapping, and a
    worker started again must not try once more what cannot work."""
    from mmpr_pipeline.training.run.checkpoint import checkpoints
    from mmpr_pipeline.training.run.loop import train

    config = TrainConfig.model_validate(settings["config"])
    error_file = Path(config.run_dir) / ERROR
    if before := _recorded(error_file):
        raise RuntimeError(before.message)
    # A worker that Ray starts again finds the checkpoints of the attempt before it.
    resume = settings["resume"] or bool(checkpoints(Path(config.run_dir)))
    try:
        train(config, resume=resume)
    except MmprError as error:
        made = {"type": type(error).__name__, "message": error.message, "remedy": error.remedy}
        open_store(config.run_dir).create(ERROR, json.dumps(made).encode())
        raise RuntimeError(error.message) from None


@contextmanager
def _followed(run: Path, view: View) -> Iterator[None]:
    """Show the workers' steps here, as their metrics come into the run's directory."""
    from mmpr_pipeline.training.run.metrics import METRICS, read_lines

    ended = threading.Event()

    def follow() -> None:
        shown = -1
        while not ended.wait(FOLLOW_EVERY):
            lines = read_lines(run / METRICS)
            if lines and lines[-1]["step"] != shown:
                shown = lines[-1]["step"]
                view.step(shown + 1, lines[-1]["steps"], lines[-1])

    thread = threading.Thread(target=follow, name="follow", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _result(config: TrainConfig) -> Any:
    from mmpr_pipeline.training.run.loop import Result
    from mmpr_pipeline.training.run.run_folder import SUMMARY

    return Result(**json.loads((Path(config.run_dir) / SUMMARY).read_text("utf-8")))


def _recorded(path: Path) -> MmprError | None:
    """The error that a worker wrote down."""
    if not path.is_file():
        return None
    made = json.loads(path.read_text("utf-8"))
    kind = getattr(errors, made["type"], TrainingError)
    return kind(made["message"], remedy=made["remedy"])
