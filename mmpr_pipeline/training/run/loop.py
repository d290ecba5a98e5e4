"""A training run from its settings to its summary: set up, score the reference, train, keep checkpoints, export.

`train` is the train function of every launcher: it is called once in each process.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from mmpr_pipeline.core.errors import ConfigError, MmprError, StoreError, TrainingError
from mmpr_pipeline.core.json_files import json_bytes
from mmpr_pipeline.dataset.files.trained_on import write_trained_on
from mmpr_pipeline.models.resolve import NANO
from mmpr_pipeline.models.tiles import tile_settings
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.checkpoints.checkpointer import Checkpointer
from mmpr_pipeline.training.checkpoints.places import checkpoint_place, step_name
from mmpr_pipeline.training.checkpoints.state import RunProgress
from mmpr_pipeline.training.data.encode import PairEncoder
from mmpr_pipeline.training.data.held_out import hold_out
from mmpr_pipeline.training.data.order import Order
from mmpr_pipeline.training.data.shards import Shards
from mmpr_pipeline.training.data.stream import Stream, prefetch
from mmpr_pipeline.training.distributed.fsdp import shard
from mmpr_pipeline.training.distributed.stopping import Stopped, forget, stop_requested
from mmpr_pipeline.training.distributed.weights import fill, stored_weights
from mmpr_pipeline.training.distributed.world import World, connect
from mmpr_pipeline.training.objective.loss import LossSettings
from mmpr_pipeline.training.objective.reference import AdapterOffReference, NoReference, OnlineReference, follow_policy
from mmpr_pipeline.training.objective.reference_pass import column_store, reference_key, score_shards
from mmpr_pipeline.training.objective.reward_shift import RewardShift
from mmpr_pipeline.training.policy.families import family_of
from mmpr_pipeline.training.policy.flops import ModelShape, matmul_peak, shape_of
from mmpr_pipeline.training.policy.fused import fuse
from mmpr_pipeline.training.policy.kernels import choose_backend
from mmpr_pipeline.training.policy.load import (
    choose_parts,
    computation_type,
    empty_model,
    find_model,
    load_model,
    load_processor,
)
from mmpr_pipeline.training.policy.nf4 import quantise_base
from mmpr_pipeline.training.policy.paths import choose_path
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.recipes import warning
from mmpr_pipeline.training.run.console import NoTrainingView, TrainingView
from mmpr_pipeline.training.run.export import check_target, export_model
from mmpr_pipeline.training.run.fitting import (
    check_host_memory,
    check_resting,
    device_memory,
    fit_step,
    main_memory,
    room_of,
)
from mmpr_pipeline.training.run.measuring import samples
from mmpr_pipeline.training.run.measuring.benchmarks import BENCHMARKS, Measured, measure_benchmarks
from mmpr_pipeline.training.run.measuring.held_out import (
    HELD_OUT_METRICS,
    HeldOutRecord,
    best_step,
    held_out_line,
    measure_held_out,
)
from mmpr_pipeline.training.run.metrics import REJECTS, Metrics, memory_gib, read_lines
from mmpr_pipeline.training.run.run_folder import SUMMARY, Computed, claim_run, computed_before, note
from mmpr_pipeline.training.run.schedule import lr_at
from mmpr_pipeline.training.run.step import Learner, make_optimizer
from mmpr_pipeline.training.settings import MOST_TOKENS, ReferenceKind, TrainConfig


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
    checkpoint, and its losses are those of a run that was never stopped. Asked to stop (see `stopping`), it keeps its
    last finished step at once, in the middle of the next.
    """
    run = Path(config.run_dir).expanduser().absolute()
    with connect(config.launch.device, config.launch.patience) as world, ExitStack() as held:
        if world.is_main:  # two runs in one directory would mix their metrics and checkpoints
            held.enter_context(open_store(config.run_dir).lease())
            held.callback(forget, run)
        stopping = held.enter_context(stop_requested(run if world.is_main else None))
        shown: TrainingView = (view or NoTrainingView()) if world.is_main else NoTrainingView()
        return Trainer(config, world, shown, resume, stopping).run()


class Trainer:
    """One run in one process. The constructor does all that can fail early; `run` trains."""

    def __init__(
        self, config: TrainConfig, world: World, view: TrainingView, resume: bool, stopping: threading.Event
    ) -> None:
        self.config, self.world, self.view, self.stopping = config, world, view, stopping
        self.run_dir = Path(config.run_dir).expanduser().absolute()
        self.dtype = computation_type(config, world.device)
        weights, kind = config.weights(), config.reference_kind()
        self.shards = Shards(open_store(config.data), cached=2 * config.window)
        self.held_out = hold_out(self.shards, config.held_out, config.held_out_pairs, config.seed)
        if config.exported == "best" and not self.held_out.groups and config.best_by in HELD_OUT_METRICS:
            raise ConfigError(
                "No pair is held out, so no checkpoint can be called the best.",
                remedy="Hold more questions out (held_out), or export the newest.",
            )
        left = tuple(pairs - self.held_out.pairs.get(shard, 0) for shard, pairs in enumerate(self.shards.pairs))
        self.order = Order(left, config.batch, config.seed, config.window, config.pairs_per_question)
        self.steps = self.order.steps_per_epoch * config.epochs
        self.folder = find_model(config.model, config.revision)
        if config.export:
            check_target(Path(config.export))
        self.place = checkpoint_place(self.run_dir, config.checkpoints)
        data = self.shards.identity
        self.resumed_from = world.on_main(
            lambda: claim_run(self.run_dir, self.place, config, self.folder, data, resume)
        )
        self.policy, shape = self._load()
        trained = sum(p.numel() for p in self.policy.parameters() if p.requires_grad)
        if world.is_main:
            self.place.check_room(12 * trained // world.size, 12 * trained)
        self._warn()
        over = config.launch.shard_over or world.size
        resting = check_resting(self.policy, over, kind == "online", device_memory(world))
        self.view.message(f"Weights, gradients and Adam's moments: {resting / 2**30:.2f} GiB a process.")
        self.max_tiles = config.max_tiles or self.shards.most_tiles
        self.encoder = encoder = PairEncoder(self.processor, self.policy.bare, self.policy.family, self.max_tiles)
        budget = config.token_budget or MOST_TOKENS
        self.stream = Stream(self.shards, encoder, budget, world.rank, world.size, self.dtype)
        self.stream.image_budget = config.image_budget
        reference, self.moving = self._reference(kind)
        backend = choose_backend(world.device, self.dtype, notify=self.view.message)
        self.policy.backend = backend
        if isinstance(reference, OnlineReference):
            reference.policy.backend = backend
        shard(self.policy, world, self.dtype, config.launch.shard_over)
        if self.stored:
            fill(self.policy, self.stored, world.device, config.seed)
        optimizer = make_optimizer(self.policy, config.weight_decay, config.betas)
        losses = LossSettings(config.beta, config.label_noise)
        self.learner = Learner(
            self.policy, optimizer, world, weights, losses, config.batch, config.max_grad_norm, shape, reference,
            stopping.is_set, RewardShift(decay=config.delta_decay),
        )  # fmt: skip
        self.checkpointer = Checkpointer(
            self.place, world, self.policy, optimizer, self.moving,
            behind=config.write_behind and self._can_copy(trained), committed=self._committed,
        )  # fmt: skip
        self.record: HeldOutRecord | None = None
        self._choose_path(encoder)
        self.scores_reference = kind == "stored"
        attention = backend if self.policy.shares else "the model's own"
        self._computed: Computed = {
            "device": _name(world.device), "ranks": world.size, "dtype": str(self.dtype), "attention": attention,
            "layers": self.layers,
        }  # fmt: skip
        self._fit()
        if world.is_main:
            kinds = f"attention by {attention}, norms and MLPs {self.layers}"
            self.view.message(f"On {world.size} x {_name(world.device)}, {self.dtype}; {kinds}.")
            note(self.run_dir, self._computed)

    def run(self) -> Result:
        """Score the reference where it is to be stored; train until the end, or until asked to stop; export."""
        try:
            rows = None
            if self.scores_reference:
                key = self.world.on_main(lambda: reference_key(self.folder, self.max_tiles, str(self.dtype)))
                data, stopping = self.shards.store, self.stopping.is_set
                beside = self.world.on_main(lambda: column_store(data, self.run_dir) is data)
                store = data if beside else open_store(self.run_dir)
                rows = score_shards(self.policy, self.stream, self.world, store, key, self.view.scoring, stopping)
        except Stopped:
            return self._finish(self.resumed_from or 0, True)
        try:
            step, interrupted = self._train(rows)
        except MmprError:
            with suppress(StoreError):  # the checkpoint before is whole; what ended the training is raised
                self.checkpointer.wait()
            raise
        return self._finish(step, interrupted)

    def _train(self, rows: Any) -> tuple[int, bool]:
        """The steps that are left; gives how many are finished, and whether the run was asked to stop."""
        config, world = self.config, self.world
        if self.resumed_from is None:
            start = 0
        else:
            progress = self.checkpointer.load(self.resumed_from)
            self.learner.shift.total, self.learner.shift.count = progress.shift_total, progress.shift_count
            self.view.message(f"Resuming at step {progress.step} of {self.steps}.")
            start = progress.step
        if world.is_main:
            self.record = HeldOutRecord(self.run_dir, self.place, config.best_by, start)
        stop = min(self.steps, config.max_steps or self.steps)
        metrics = Metrics(self.run_dir, config.watch, config.model_dump(mode="json"), start) if world.is_main else None
        saved = step = start
        with ExitStack() as cleanup:
            if metrics:
                cleanup.callback(metrics.close)
            events = prefetch(self.stream.steps(self.order.steps(start, stop, self._sizes), rows))
            cleanup.callback(events.close)  # type: ignore[attr-defined]
            peak = matmul_peak(world.device, self.dtype) * world.size
            if start == 0:
                self._measure(0, metrics, rows)
            while step < stop:
                try:
                    self._step(step, events, metrics, peak)
                except Stopped:
                    break
                step += 1
                if step % config.checkpoint_every == 0 or step == stop:
                    self._measure(step, metrics, rows)
                    self._save(step)
                    saved = step
            if step > saved:
                self._save(step)
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
            metrics.reject(step, left_out)
        self.view.step(step + 1, min(self.steps, config.max_steps or self.steps), line)

    def _load(self) -> tuple[PrefixSharedPolicy, ModelShape]:
        torch.manual_seed(self.config.seed)
        self.processor = load_processor(self.folder.path)
        model = empty_model(self.folder.path)
        self.stored = stored_weights(self.folder.path, model)
        if self.stored is None:
            self.view.message(f"{self.folder.label} is not stored one to one; every rank loads the model whole.")
            check_host_memory(model, self.world)
            model = load_model(self.folder.path)
        self.layers = self._fuse(model, self.view.message)
        policy = PrefixSharedPolicy(choose_parts(model, self.config))
        policy.train()
        for parameter in policy.parameters():
            if not parameter.requires_grad:  # nothing is added to it: the computation's type is enough
                parameter.data = parameter.data.to(self.dtype)
        shape = shape_of(policy.bare, policy.family)
        if self.config.lora and self.config.lora.quantise:
            if self.stored is None:
                raise ConfigError(
                    "The weights of this model are not stored one to one: they cannot be packed while they are read.",
                    remedy="Leave lora.quantise out.",
                )
            quantise_base(policy.bare)
        return policy, shape

    def _fuse(self, model: Any, notify: Callable[[str], None] | None = None) -> str:
        return fuse(family_of(model).language_model(model), self.world.device, self.dtype, notify)

    def _warn(self) -> None:
        """Say where images are cut into fewer tiles than were sampled with, and where the learning rate is far above
        what the model's authors took; of all weights, not of adapters."""
        asked, limit = self.shards.most_tiles, self.config.max_tiles
        if limit and limit < asked and tile_settings(type(self.policy.bare).__name__, limit):
            self.view.message(
                f"max_tiles cuts images into at most {limit} tiles; sources ask for up to {asked}, and so were sampled."
            )
        config, model = self.config, self.policy.bare
        kinds = model.config.model_type, self.policy.family.language_model(model).config.model_type
        if config.lora or config.model == NANO:  # nano is no model of these authors
            return
        if heard := warning(config.lr, f"{config.model} {self.folder.label}", *kinds):
            self.view.message(heard)

    def _fit(self) -> None:
        """Choose tokens of a micro-batch and what layers keep, by measuring; a resumed run keeps to what it chose."""
        config, world = self.config, self.world
        kept = world.on_main(lambda: computed_before(self.run_dir))
        alike = all(kept.get(name) == value for name, value in self._computed.items())
        budget = config.token_budget or (kept.get("token_budget") if alike else None)
        recompute, vision = config.recompute, config.recompute_vision
        if alike and recompute == "auto":
            recompute = kept["recompute"]
            vision = kept["recompute_vision"] if vision == "auto" else vision
        _, slices = next(self.order.steps(0, 1, self._sizes))
        fit = fit_step(self.policy, self.stream, slices, world, budget, recompute, vision, room_of(world))
        self.stream.budget = fit.token_budget
        self._computed |= {
            "recompute": fit.recompute, "recompute_vision": fit.recompute_vision, "token_budget": fit.token_budget,
        }  # fmt: skip
        where = "each GPU" if world.device.type == "cuda" else "each process"
        self.view.message(
            f"A step of {fit.token_budget:,} tokens (recompute: {fit.recompute}, of the vision tower"
            f" {fit.recompute_vision}) takes about"
            f" {fit.needed / 2**30:.2f} GiB of {where}."
        )

    def _choose_path(self, encoder: PairEncoder) -> None:
        _, slices = next(self.order.steps(0, 1, self._sizes))
        choose_path(self.policy, encoder, self.shards, slices, self.dtype, self.view.message)
        self.stream.shares = self.policy.shares
        if isinstance(self.learner.reference, OnlineReference) and not self.policy.shares:
            self.learner.reference.policy.give_up_sharing("as the policy")
        if self.policy.experts and self.config.experts_weight is not None:
            self.policy.experts = replace(self.policy.experts, weight=self.config.experts_weight)

    def _reference(self, kind: ReferenceKind) -> tuple[Any, PrefixSharedPolicy | None]:
        """The reference, None where its rows come with the data; and its policy, where that moves (TR-DPO)."""
        if kind == "online":
            model = empty_model(self.folder.path) if self.stored else load_model(self.folder.path)
            self._fuse(model)
            policy = PrefixSharedPolicy(model)
            if not self.config.follows:
                policy.requires_grad_(False).to(dtype=self.dtype)
            shard(policy, self.world, self.dtype, self.config.launch.shard_over)
            if self.stored:
                fill(policy, self.stored, self.world.device, self.config.seed)
            online = OnlineReference(policy)
            return online, online.policy if self.config.follows else None
        if kind == "stored":
            return None, None
        return (AdapterOffReference(self.policy) if kind == "adapter_off" else NoReference()), None

    def _sizes(self, shard: int) -> list[int]:
        """Pairs of each group to train on."""
        return self.held_out.left(shard, self.shards[shard].sizes)

    def _measure(self, step: int, metrics: Metrics | None, rows: Any) -> None:
        """Measure held-out pairs, benchmarks and the fixed questions, as far as there are any."""
        slices = self.held_out.slices(self.shards) if self.held_out.groups else []
        found = measure_held_out(self.learner, self.stream, slices, rows, self.stopping.is_set) if slices else {}
        if found is None:
            return
        benchmarks = self._benchmarks(step)
        if (found or benchmarks) and self.record and metrics:
            self.record.add(step, found, benchmarks)
            of_benchmarks = {f"benchmark/{name}": each["value"] for name, each in benchmarks.items()}
            metrics.watch({**{f"held_out/{name}": value for name, value in found.items()}, **of_benchmarks}, step)
        if found:
            self.view.message(held_out_line(step, found))
        if slices and self.config.samples:
            asked = samples.fixed_questions(slices, self.config.samples)
            lines = list(
                samples.say(
                    self.policy, self.encoder, self.shards, asked, self.dtype, self.config.sample_tokens, self.world,
                    self.stopping.is_set,
                )
            )  # fmt: skip
            if metrics:
                samples.add(self.run_dir, step, lines)
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
        model = export_model(self.policy, self.folder, exported, config.lora, self.world, self.stored) if step else None
        if model and self.world.is_main:
            write_trained_on(config.data, model, self.folder.path)
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

    def _save(self, step: int) -> None:
        shift = self.learner.shift
        self.checkpointer.save(RunProgress(step, step * self.config.batch, shift.total, shift.count))

    def _committed(self) -> None:
        """A checkpoint is in its place: name the best, and remove what is neither that nor among the newest."""
        if self.record:
            self.record.note_best()
        self.place.prune(self.config.keep, best_step(self.run_dir, self.place))

    def _can_copy(self, trained: int) -> bool:
        """Whether the machine has the memory for copies of all its ranks' shards; the same on every rank."""
        needed, free = 12 * trained // self.world.size, main_memory("MemAvailable") // self.world.local_size
        short = self.world.any(needed > free)[0]
        if short:
            self.view.message(
                f"Training waits while checkpoints are written: their copies would take {needed / 2**30:.1f} GiB of"
                f" main memory a process, {free / 2**30:.1f} GiB are free."
            )
        return not short

    def _finish(self, step: int, interrupted: bool) -> Result:
        done = step >= min(self.steps, self.config.max_steps or self.steps) and not interrupted
        rejected = dict(Counter(line["reason"] for line in read_lines(self.run_dir / REJECTS) if "reason" in line))
        exported = None
        if done and self.config.export:
            if self.config.exported == "best":
                best = self.world.broadcast(best_step(self.run_dir, self.place) if self.world.is_main else None)
                if best is None:
                    self.view.message("No checkpoint of this run was measured: the newest is exported.")
                else:
                    self.view.message(f"The best checkpoint by {self.config.best_by} is {step_name(best)}.")
                    self.checkpointer.load(best)
            self.view.message("exporting")
            target = Path(self.config.export)
            exported = str(export_model(self.policy, self.folder, target, self.config.lora, self.world, self.stored))
            if self.world.is_main:  # so that `mmpr eval` can leave out what was trained on
                write_trained_on(self.config.data, Path(exported), self.folder.path)
        result = Result(step, self.steps, interrupted, rejected, exported)
        if self.world.is_main:
            open_store(self.run_dir).write(SUMMARY, json_bytes(asdict(result)))
        return result


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
