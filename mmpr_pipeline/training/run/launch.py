"""Where the training processes come from: this one, torchrun's, or Ray Train's workers. The train function is one."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any, TypedDict

from mmpr_pipeline.core import errors
from mmpr_pipeline.core.errors import ConfigError, DatasetError, MmprError, TrainingError, require
from mmpr_pipeline.core.settings import group_of
from mmpr_pipeline.dataset.files.sealed import read_config, refuse_rehearsal
from mmpr_pipeline.models.large_imports import large_imports
from mmpr_pipeline.models.resolve import NANO
from mmpr_pipeline.storage import MissingKeyError, absolute_model, absolute_url, open_store
from mmpr_pipeline.training.run.run_folder import TrainingView
from mmpr_pipeline.training.settings import TrainConfig

FOLLOW_EVERY = 1.0  # seconds
ERROR = "error.json"  # in the run's directory: what stopped a worker


def run_training(config: TrainConfig, view: TrainingView | None = None, *, resume: bool = False) -> Any:
    """Train as `config.launch` says; gives a `loop.Result`. Under torchrun, call it in every process (see `train`)."""
    require("train")
    shown, named = view or TrainingView(), config.model
    shown.message(f"Run: {config.run_dir}")
    config = with_policy(config)
    if config.model != named:
        shown.message([f"Model: {config.model}, which made these pairs; --model names another."])
    with large_imports():
        from mmpr_pipeline.training.world import STOP

    if os.environ.get("RANK", "0") == "0":
        (Path(config.run_dir) / STOP).unlink(missing_ok=True)  # it was meant for an earlier start
    if config.launch.on == "ray":
        result = _on_ray(config, shown, resume)
    else:
        with large_imports():
            from mmpr_pipeline.training.run.loop import train

        result = train(config, shown, resume=resume)
    shown.message(said_at_the_end(result, config))
    return result


def with_policy(config: TrainConfig) -> TrainConfig:
    """The settings with a model. Raises ConfigError where a real one would learn from a rehearsal."""
    store = open_store(config.data)
    if "model" not in config.model_fields_set:
        try:
            engine = group_of(read_config(store).get("config", {}), "engine")
        except (MissingKeyError, DatasetError):
            engine = {}
        sampler = engine.get("model") if engine.get("name") == "vllm" else None  # what can be loaded here
        config = config.model_copy(update={"model": str(sampler or NANO)})
    if config.model != NANO:
        refuse_rehearsal(store, "train on it", allowed=config.allow_rehearsal)
    return config


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
        lines.append(f"      mmpr eval {result.export} --against {config.model} --sources NAMES    what it gained")
    return lines


def absolute_training_paths(config: TrainConfig) -> TrainConfig:
    """The settings with local paths made absolute: workers have other working directories."""
    places = {name: absolute_url(getattr(config, name)) for name in ("data", "run_dir", "export", "checkpoints")}
    return config.model_copy(update={**places, "model": absolute_model(config.model)})


def _on_ray(config: TrainConfig, view: TrainingView, resume: bool) -> Any:
    """The same train function in workers of Ray Train, which sets up their process group.

    A run that lost a worker goes on from its newest checkpoint, up to three times. Asked to stop, this process leaves
    the file by which the workers know (no signal reaches them), and waits for their checkpoint.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    from mmpr_pipeline.cluster.session import ray_session
    from mmpr_pipeline.training.checkpoints import CheckpointPlace
    from mmpr_pipeline.training.world import stop_requested

    config = absolute_training_paths(config)
    if CheckpointPlace(config.run_dir, config.checkpoints).steps() and not resume:
        raise ConfigError(
            f"{config.run_dir} already holds a run.", remedy="Go on with --resume, or give another --out."
        )
    with ray_session(config.launch.address), stop_requested() as stopping:
        device = device_on_ray(config, int(ray.cluster_resources().get("GPU", 0)))
        launch = config.launch.model_copy(update={"device": device})
        config = config.model_copy(update={"launch": launch})
        trainer = TorchTrainer(
            _work,
            train_loop_config={"config": config.model_dump(mode="json"), "resume": resume},
            torch_config=TorchConfig(
                backend="cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout_s=int(60 * launch.patience)
            ),
            scaling_config=ScalingConfig(num_workers=launch.workers, use_gpu=device == "cuda"),
            run_config=RunConfig(
                name="ray-train", storage_path=config.run_dir, failure_config=FailureConfig(max_failures=3)
            ),
        )
        error_file = Path(config.run_dir) / ERROR
        error_file.unlink(missing_ok=True)
        try:
            _fit(trainer, Path(config.run_dir), view, stopping)
        except Exception as error:
            raise _recorded(error_file) or TrainingError(
                f"Training on Ray failed: {type(error).__name__}: {str(error)[:500]}",
                remedy="Look at the workers' logs (ray logs); --resume goes on from the newest checkpoint.",
            ) from error
    from mmpr_pipeline.training.run.loop import Result
    from mmpr_pipeline.training.run.run_folder import SUMMARY

    return Result(**json.loads((Path(config.run_dir) / SUMMARY).read_text("utf-8")))


def device_on_ray(config: TrainConfig, gpus: int) -> str:
    """What the workers compute on, in a cluster that has that many GPUs now.

    Raises ConfigError where they are too few: a model that was meant for GPUs is not trained on CPUs without a word.
    Only a Ray that was started here is known to have no node that joins later.
    """
    wanted, workers = config.launch.device, config.launch.workers
    if wanted == "cpu" or (wanted == "auto" and not gpus and config.launch.address == "local"):
        return "cpu"
    if gpus < workers:
        raise ConfigError(
            f"The cluster has {gpus} GPUs for {workers} training processes.",
            remedy="Wait until all nodes have joined (ray status), lower launch.workers, or say launch.device: cpu.",
        )
    return "cuda"


class _WorkerSettings(TypedDict):
    config: dict[str, object]
    resume: bool


def _work(settings: _WorkerSettings) -> None:
    """What each worker runs. An error that mmpr made is written down: it would not survive Ray's wrapping, and a
    worker started again must not try once more what cannot work."""
    with large_imports():
        from mmpr_pipeline.training.checkpoints import CheckpointPlace
        from mmpr_pipeline.training.run.loop import train

    config = TrainConfig.model_validate(settings["config"])
    error_file = Path(config.run_dir) / ERROR
    if before := _recorded(error_file):
        raise RuntimeError(before.message)
    # A worker that Ray starts again finds the checkpoints of the attempt before it.
    resume = settings["resume"] or bool(CheckpointPlace(config.run_dir, config.checkpoints).steps())
    try:
        train(config, resume=resume)
    except MmprError as error:
        made = {"type": type(error).__name__, "message": error.message, "remedy": error.remedy}
        open_store(config.run_dir).create(ERROR, json.dumps(made).encode())
        raise RuntimeError(error.message) from None


def _fit(trainer: Any, run: Path, view: TrainingView, stopping: threading.Event) -> None:
    """Train, in another thread: this one, the main one, is where signals come to.

    Shows the steps of the workers as their metrics come into the run's directory.
    """
    from mmpr_pipeline.training.run.run_folder import METRICS, read_lines
    from mmpr_pipeline.training.world import ask_to_stop

    failed: list[BaseException] = []

    def fit() -> None:
        try:
            trainer.fit()
        except BaseException as error:  # raised in the main thread
            failed.append(error)

    thread = threading.Thread(target=fit, name="ray-train", daemon=True)
    thread.start()
    shown, asked = -1, False
    while thread.is_alive():
        thread.join(FOLLOW_EVERY)
        if stopping.is_set() and not asked:
            view.message("Stopping: the workers keep their last finished step.")
            ask_to_stop(run)
            asked = True
        lines = read_lines(run / METRICS)
        if lines and lines[-1]["step"] != shown:
            shown = lines[-1]["step"]
            view.step(shown + 1, lines[-1]["steps"], lines[-1])
    if failed:
        raise failed[0]


def _recorded(path: Path) -> MmprError | None:
    """The error that a worker wrote down."""
    if not path.is_file():
        return None
    made = json.loads(path.read_text("utf-8"))
    kind = getattr(errors, made["type"], TrainingError)
    return kind(made["message"], remedy=made["remedy"])
