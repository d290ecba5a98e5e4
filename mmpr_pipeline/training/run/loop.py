"""A training run from its settings to its summary: prepare, score the reference, train, keep checkpoints, export.

`train` is the train function of every launcher: it is called once in each process.
"""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, MmprError, StoreError, TrainingError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.dataset.files.trained_on import write_trained_on
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.checkpoints import RunProgress, step_name
from mmpr_pipeline.training.data.shards import ReferenceKey
from mmpr_pipeline.training.data.stream import prefetch
from mmpr_pipeline.training.objective.reference import follow_policy, score_shards
from mmpr_pipeline.training.run.device import matmul_peak, memory_gib
from mmpr_pipeline.training.run.export import export_model
from mmpr_pipeline.training.run.measuring import (
    BENCHMARKS,
    HELD_OUT_METRICS,
    Measured,
    answers,
    measure_benchmarks,
    measure_held_out,
)
from mmpr_pipeline.training.run.preparation import PreparedRun
from mmpr_pipeline.training.run.run_folder import HELD_OUT, REJECTS, SUMMARY, Metrics, TrainingView, read_lines
from mmpr_pipeline.training.run.step import lr_at
from mmpr_pipeline.training.settings import TrainConfig
from mmpr_pipeline.training.world import STOP, Stopped, connect, stop_requested


@dataclass(frozen=True)
class Result:
    """What became of a run. `interrupted`: stopped by a signal; a checkpoint was kept, and --resume goes on."""

    step: int
    steps: int
    interrupted: bool
    rejected: dict[str, int]
    export: str | None = None


def train(config: TrainConfig, view: TrainingView | None = None, *, resume: bool = False) -> Result:
    """Run, or go on with, the training that the settings describe. In every process of it.

    Raises ConfigError, DatasetError, EngineError or StoreError before any work where that is possible, TrainingError
    where training must not go on. May be killed at any time: the same call with `resume` goes on from the newest
    checkpoint, and its losses are those of a run that was never stopped. Asked to stop (see `world`), it keeps its
    last finished step at once, in the middle of the next.
    """
    run = Path(config.run_dir).expanduser().absolute()
    with connect(config.launch.device, config.launch.patience) as world, ExitStack() as held:
        if world.is_main:  # two runs in one directory would mix their metrics and checkpoints
            held.enter_context(open_store(config.run_dir).lease())
            held.callback((run / STOP).unlink, missing_ok=True)
        stopping = held.enter_context(stop_requested(run if world.is_main else None))
        shown = view if view and world.is_main else TrainingView()
        return Trainer(config, world, shown, resume, stopping).run()


class Trainer(PreparedRun):
    """A run that is ready, trained by `run`."""

    def run(self) -> Result:
        """Score the reference where it is to be stored; train until the end, or until asked to stop; export."""
        world, config, data = self.world, self.config, self.shards.store
        rows, step, interrupted = None, self.resumed_from or 0, True
        try:
            if self.scores_reference:
                found, tiles, dtype = self.folder, self.max_tiles, str(self.dtype)
                key = world.on_main(lambda: ReferenceKey.of(found.label, found.revision, found.path, tiles, dtype))
                try:  # beside the shards; in the run where the dataset is read-only
                    world.on_main(data.check_writable)
                    store = data
                except StoreError:
                    store = open_store(self.run_dir)
                rows = score_shards(
                    self.policy, self.stream, world, store, key, self.view.scoring, self.stopping.is_set
                )  # fmt: skip
            step, interrupted = self._train(rows)
        except Stopped:
            pass  # while the reference was scored
        except MmprError:
            with suppress(StoreError):  # the checkpoint before is whole; what ended the training is raised
                self.checkpointer.wait()
            raise
        rejected = dict(Counter(line["reason"] for line in read_lines(self.run_dir / REJECTS) if "reason" in line))
        exported = None
        if config.export and step >= self.stop_at and not interrupted:
            if config.exported == "best":
                best = world.on_main(self.best)
                if best is None:
                    self.view.message("No checkpoint of this run was measured: the newest is exported.")
                else:
                    self.view.message(f"The best checkpoint by {config.best_by} is {step_name(best)}.")
                    self.checkpointer.load(best)
            self.view.message("exporting")
            exported = str(self._export(Path(config.export)))
        result = Result(step, self.steps, interrupted, rejected, exported)
        if world.is_main:
            open_store(self.run_dir).write(SUMMARY, json_bytes(asdict(result)))
        return result

    def _train(self, rows: Any) -> tuple[int, bool]:
        """The steps that are left; gives how many are finished, and whether the run was asked to stop."""
        config, world, shift = self.config, self.world, self.learner.shift
        step, stop = 0, self.stop_at
        if self.resumed_from is not None:
            progress = self.checkpointer.load(self.resumed_from)
            shift.total, shift.count, step = progress.shift_total, progress.shift_count, progress.step
            self.view.message(f"Resuming at step {step} of {self.steps}.")
        metrics = Metrics(self.run_dir, config.watch, config.model_dump(mode="json"), step) if world.is_main else None
        saved = step
        with ExitStack() as cleanup:
            if metrics:
                cleanup.callback(metrics.close)
            events = prefetch(self.stream.steps(self.order.steps(step, stop, self._sizes), rows))
            cleanup.callback(events.close)
            peak = matmul_peak(world.device, self.dtype) * world.size
            if step == 0:
                self._measure(0, metrics, rows)
            while step < stop:
                try:
                    self._step(step, events, metrics, peak)
                except Stopped:
                    break
                step += 1
                if step % config.checkpoint_every == 0 or step == stop:
                    self._measure(step, metrics, rows)
                    self.checkpointer.save(RunProgress(step, step * config.batch, shift.total, shift.count))
                    saved = step
            if step > saved:
                self.checkpointer.save(RunProgress(step, step * config.batch, shift.total, shift.count))
            self.checkpointer.wait()
        return step, world.any(step < stop or self.stopping.is_set())[0]

    def _step(self, step: int, events: Iterator[Any], metrics: Metrics | None, peak: float) -> None:
        config, world = self.config, self.world
        rate = lr_at(
            step, self.steps, peak_lr=config.lr, warm_up=config.warm_up, schedule=config.schedule,
            final_lr=config.lr_end,
        )  # fmt: skip
        for group in self.learner.optimizer.param_groups:
            group["lr"] = rate
        began = time.perf_counter()
        check = self.dtype if step == 0 and config.check_start else None
        found, rejects = self.learner.step(step, events, check)
        if self.moving is not None and (step + 1) % config.follow_every == 0:
            follow_policy(self.moving, self.policy, config.follow_share)
        seconds = time.perf_counter() - began
        left_out = [asdict(r) for part in world.all_gather(rejects) for r in part] if found["rejected"] else []
        if step == 0 and not found["pairs"]:
            reasons = Counter(each["reason"] for each in left_out)
            raise TrainingError(
                f"No pair of the first step can be used: {dict(reasons)}.",
                remedy="See `mmpr verify`; raise the token budget if pairs are too long.",
            )
        line = {
            "step": step,
            "steps": self.steps,
            **{name: found[name] for name in found if name != "flops"},
            "lr": rate,
            "seconds": seconds,
            "tokens_per_second": found["tokens"] / seconds,
            "pairs_per_second": found["pairs"] / seconds,
            "mfu": found["flops"] / seconds / peak,
            "memory_gib": memory_gib(world.device),
        }
        if metrics:
            metrics.write(line)
            for each in left_out:
                metrics.append(REJECTS, {"step": step, **each})
        self.view.step(step + 1, self.stop_at, line)

    def _measure(self, step: int, metrics: Metrics | None, rows: Any) -> None:
        """Measure held-out pairs, benchmarks and the fixed questions, as far as there are any."""
        config, stopping, slices = self.config, self.stopping.is_set, self.held_out.slices
        try:
            found = measure_held_out(self.learner, self.stream, slices, rows, stopping) if slices else {}
        except Stopped:
            return
        benchmarks = self._benchmarks(step)
        if (found or benchmarks) and metrics:
            also = {"benchmarks": benchmarks} if benchmarks else {}
            metrics.append(HELD_OUT, {"step": step, **found, **also})
            of_benchmarks = {f"benchmark/{name}": each["value"] for name, each in benchmarks.items()}
            metrics.watch({**{f"held_out/{name}": value for name, value in found.items()}, **of_benchmarks}, step)
        if found:
            self.view.message(
                f"Held out, after {step} steps: accuracy {found['accuracy']:.3f}, margin {found['reward/margin']:+.3f},"
                f" NLL {found['nll']:.4f}, loss {found['loss']:.4f} ({found['pairs']:.0f} pairs)."
            )
        # Questions spread over the held-out ones: the same at every checkpoint.
        count = min(config.samples, len(slices))
        asked = [slices[i * len(slices) // count] for i in range(count)]
        if asked:
            lines = list(answers(self.policy, self.stream, asked, config.sample_tokens, self.world, stopping))
            if metrics:
                metrics.samples(lines, step)

    def _benchmarks(self, step: int) -> dict[str, Measured]:
        """What `mmpr eval` says of the present weights. A failure before the first step ends the run; later ones are
        reported and passed over."""
        config, wanted = self.config, self.config.benchmarks
        if wanted is None or step // config.checkpoint_every % wanted.every:
            return {}
        self.view.message(f"Measuring {', '.join(wanted.names)}, after {step} steps.")
        out = self.run_dir / BENCHMARKS / step_name(step)
        exported = self.run_dir / BENCHMARKS / "model"
        model = self._export(exported) if step else None
        try:
            found = self.world.on_main(lambda: measure_benchmarks(model or self.folder.path, out, wanted))
        except TrainingError as error:
            if not step:
                raise
            self.view.message(str(error))
            return {}
        finally:
            if self.world.is_main:
                shutil.rmtree(exported, ignore_errors=True)
        if config.best_by not in (*HELD_OUT_METRICS, *found):
            raise ConfigError(
                f"best_by is {config.best_by}, which was not measured.", remedy=f"Name one of {', '.join(found)}."
            )
        self.view.message([f"{name}: {each['value']:.2f}" for name, each in found.items()])
        return found

    def _export(self, out: Path) -> Path:
        """Write the present weights to `out`, with what `mmpr eval` needs to leave out what was trained on."""
        made = export_model(self.policy, self.folder, out, self.config.lora, self.world, self.stored)
        if self.world.is_main:
            write_trained_on(self.config.data, made, self.folder.path)
        return made
