"""A training run made ready: all that can fail early fails here, before the first step.

Settings and data, the model and its shards, the reference, the optimizer, checkpoints, and what fits into memory.
"""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import torch

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import sealed
from mmpr_pipeline.models.messages import tile_settings
from mmpr_pipeline.models.resolve import NANO
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.checkpoints import Checkpointer, CheckpointPlace
from mmpr_pipeline.training.data.batch import ImageInputs
from mmpr_pipeline.training.data.encode import PairEncoder
from mmpr_pipeline.training.data.order import Order, Slice
from mmpr_pipeline.training.data.shards import Shards, hold_out
from mmpr_pipeline.training.data.stream import Stream
from mmpr_pipeline.training.objective.loss import LossSettings
from mmpr_pipeline.training.objective.reference import Reference, adapter_off_reference, no_reference, online_reference
from mmpr_pipeline.training.policy.families.family import family_of
from mmpr_pipeline.training.policy.kernels import choose_backend
from mmpr_pipeline.training.policy.layers import fuse
from mmpr_pipeline.training.policy.load import (
    choose_parts,
    computation_type,
    empty_model,
    fill,
    find_model,
    load_model,
    load_processor,
    shard,
    stored_weights,
)
from mmpr_pipeline.training.policy.nf4 import quantise_base
from mmpr_pipeline.training.policy.prefix_shared import PrefixSharedPolicy
from mmpr_pipeline.training.recipes import warning
from mmpr_pipeline.training.run.device import (
    ModelShape,
    check_host_memory,
    check_resting,
    device_memory,
    main_memory,
    shape_of,
)
from mmpr_pipeline.training.run.export import check_target
from mmpr_pipeline.training.run.fitting import choose_path, fit_step
from mmpr_pipeline.training.run.measuring import HELD_OUT_METRICS, name_best
from mmpr_pipeline.training.run.run_folder import RUN_FILE, Computed, TrainingView, claim_run
from mmpr_pipeline.training.run.step import Learner, RewardShift, make_optimizer
from mmpr_pipeline.training.settings import MOST_TOKENS, ReferenceKind, TrainConfig
from mmpr_pipeline.training.world import World


class PreparedRun:
    """One run in one process, ready for its first step. Raises ConfigError, DatasetError, EngineError, StoreError or
    TrainingError where it cannot be."""

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
        self.stop_at = min(self.steps, config.max_steps or self.steps)
        self.folder = find_model(config.model, config.revision)
        if config.export:
            check_target(Path(config.export))
        self.place = CheckpointPlace(self.run_dir, config.checkpoints)
        data = self.shards.identity
        self.resumed_from, described = world.on_main(
            lambda: claim_run(self.run_dir, self.place, config, self.folder, data, resume)
        )
        shape = self._load()
        trained = sum(p.numel() for p in self.policy.parameters() if p.requires_grad)
        if world.is_main:
            self.place.check_room(12 * trained // world.size, 12 * trained)
        self._warn()
        room, free = device_memory(world)
        resting = check_resting(self.policy, config.launch.shard_over or world.size, kind == "online", free)
        self.view.message(f"Weights, gradients and Adam's moments: {resting / 2**30:.2f} GiB a process.")
        self.max_tiles = config.max_tiles or self.shards.most_tiles
        encoder = PairEncoder(self.processor, self.policy.bare, self.policy.family, self.max_tiles)
        encodes = hasattr(self.policy.bare.base_model, "get_image_features")
        blank = encoder.blank() if encodes or world.size > 1 else {}
        self.stream = Stream(
            self.shards, encoder, config.token_budget or MOST_TOKENS, world.rank, world.size, self.dtype,
            image_budget=config.image_budget,
        )  # fmt: skip
        self.policy.backend = choose_backend(world.device, self.dtype, notify=self.view.message)
        reference, second = self._reference(kind, blank)
        self.moving = second if config.follows else None
        self.scores_reference = kind == "stored"
        shard(self.policy, world, self.dtype, blank, config.launch.shard_over)
        if self.stored:
            fill(self.policy, self.stored, world.device, config.seed)
        optimizer = make_optimizer(self.policy, config.weight_decay, config.betas)
        losses = LossSettings(config.beta, config.label_noise)
        self.learner = Learner(
            self.policy, optimizer, world, weights, losses, config.batch, config.max_grad_norm, shape, reference,
            stopping.is_set, RewardShift(decay=config.delta_decay),
        )  # fmt: skip
        # A checkpoint in its place names the best, and lets go what is neither that nor among the newest.
        measures = bool(self.held_out.groups or config.benchmarks)
        self.checkpointer = Checkpointer(
            self.place, world, self.policy, optimizer, self.moving,
            behind=config.write_behind and self._can_copy(12 * trained // world.size),
            committed=lambda: self.place.prune(config.keep, self.best() if measures else None),
        )  # fmt: skip
        _, first_step = next(self.order.steps(0, 1, self._sizes))
        choose_path(self.policy, self.stream, first_step, self.view.message)
        if second and not self.policy.shares:
            second.give_up_sharing("as the policy")
        self.stream.shares = self.policy.shares
        if self.policy.experts and config.experts_weight is not None:
            self.policy.experts = replace(self.policy.experts, weight=config.experts_weight)
        attention = self.policy.backend if self.policy.shares else "the model's own"
        name = torch.cuda.get_device_name(world.device) if world.device.type == "cuda" else "CPU"
        computed: Computed = {
            "device": name, "ranks": world.size, "dtype": str(self.dtype), "attention": attention,
            "layers": self.layers,
        }  # fmt: skip
        computed |= self._fit(first_step, computed, described.get("computed", {}), room)
        self.view.message(
            f"On {world.size} x {name}, {self.dtype}; attention by {attention}, norms and MLPs {self.layers}."
        )
        if world.is_main:
            open_store(self.run_dir).write(RUN_FILE, sealed({**described, "computed": computed}))

    def _load(self) -> ModelShape:
        """The policy, its parts chosen, as yet without weights where they are stored one to one."""
        config = self.config
        torch.manual_seed(config.seed)
        self.processor = load_processor(self.folder.path)
        model = empty_model(self.folder.path)
        self.stored = stored_weights(self.folder.path, model)
        if self.stored is None:
            self.view.message(f"{self.folder.label} is not stored one to one; every rank loads the model whole.")
            check_host_memory(model, self.world)
            model = load_model(self.folder.path)
        self.layers = fuse(family_of(model).language_model(model), self.world.device, self.dtype, self.view.message)
        self.policy = PrefixSharedPolicy(choose_parts(model, config))
        self.policy.train()
        for parameter in self.policy.parameters():
            if not parameter.requires_grad:  # nothing is added to it: the computation's type is enough
                parameter.data = parameter.data.to(self.dtype)
        shape = shape_of(self.policy.bare, self.policy.family)
        if config.lora and config.lora.quantise:
            if self.stored is None:
                raise ConfigError(
                    "The weights of this model are not stored one to one: they cannot be packed while they are read.",
                    remedy="Leave lora.quantise out.",
                )
            quantise_base(self.policy.bare)
        return shape

    def _reference(self, kind: ReferenceKind, blank: ImageInputs) -> tuple[Reference | None, PrefixSharedPolicy | None]:
        """The reference, None where its rows come with the data; and the second model of an online one, sharded as the
        policy is."""
        if kind == "stored":
            return None, None
        if kind != "online":
            return (adapter_off_reference(self.policy) if kind == "adapter_off" else no_reference), None
        model = empty_model(self.folder.path) if self.stored else load_model(self.folder.path)
        fuse(family_of(model).language_model(model), self.world.device, self.dtype)
        policy = PrefixSharedPolicy(model)
        policy.backend = self.policy.backend
        if not self.config.follows:
            policy.requires_grad_(False).to(dtype=self.dtype)
        shard(policy, self.world, self.dtype, blank, self.config.launch.shard_over)
        if self.stored:
            fill(policy, self.stored, self.world.device, self.config.seed)
        return online_reference(policy), policy

    def _warn(self) -> None:
        """Say where images are cut into fewer tiles than were sampled with, and where the learning rate is far above
        what the model's authors took; of all weights, not of adapters."""
        config, model = self.config, self.policy.bare
        asked, limit = self.shards.most_tiles, config.max_tiles
        if limit and limit < asked and tile_settings(type(model).__name__, limit):
            self.view.message(
                f"max_tiles cuts images into at most {limit} tiles; sources ask for up to {asked}, and so were sampled."
            )
        kinds = model.config.model_type, self.policy.family.language_model(model).config.model_type
        if config.lora or config.model == NANO:  # nano is no model of these authors
            return
        if heard := warning(config.lr, f"{config.model} {self.folder.label}", *kinds):
            self.view.message(heard)

    def _fit(self, slices: list[Slice], computed: Computed, kept: Computed, room: int) -> Computed:
        """Choose tokens of a micro-batch and what layers keep, by measuring; a resumed run keeps to what it chose."""
        config, world = self.config, self.world
        alike = all(kept.get(name) == value for name, value in computed.items())
        budget = config.token_budget or (kept.get("token_budget") if alike else None)
        recompute, vision = config.recompute, config.recompute_vision
        if alike and recompute == "auto":
            recompute = kept["recompute"]
            vision = kept["recompute_vision"] if vision == "auto" else vision
        fit = fit_step(self.policy, self.stream, slices, world, budget, recompute, vision, room)
        self.stream.budget = fit.token_budget
        where = "each GPU" if world.device.type == "cuda" else "each process"
        self.view.message(
            f"A step of {fit.token_budget:,} tokens (recompute: {fit.recompute}, of the vision tower"
            f" {fit.recompute_vision}) takes about"
            f" {fit.needed / 2**30:.2f} GiB of {where}."
        )
        return {
            "recompute": fit.recompute, "recompute_vision": fit.recompute_vision, "token_budget": fit.token_budget,
        }  # fmt: skip

    def _sizes(self, shard: int) -> list[int]:
        """Pairs of each group to train on: 0 for those held out."""
        out = self.held_out.groups.get(shard, frozenset())
        return [0 if group in out else size for group, size in enumerate(self.shards[shard].sizes)]

    def best(self) -> int | None:
        """The best checkpoint so far."""
        return name_best(self.run_dir, self.place, self.config.best_by)

    def _can_copy(self, needed: int) -> bool:
        """Whether the machine has the memory for copies of all its ranks' shards; the same on every rank."""
        free = main_memory(self.world)
        short = self.world.any(needed > free)[0]
        if short:
            self.view.message(
                f"Training waits while checkpoints are written: their copies would take {needed / 2**30:.1f} GiB of"
                f" main memory a process, {free / 2**30:.1f} GiB are free."
            )
        return not short
