"""A training run made ready: all that can fail early fails here, before the first step.

Settings and data, the model and its shards, the reference, the optimizer, checkpoints, and what fits into memory.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.models.images import tile_settings
from mmpr_pipeline.models.resolve import NANO
from mmpr_pipeline.storage import open_store
from mmpr_pipeline.training.checkpoints.checkpointer import Checkpointer
from mmpr_pipeline.training.checkpoints.places import checkpoint_place
from mmpr_pipeline.training.data.encode import PairEncoder
from mmpr_pipeline.training.data.held_out import hold_out
from mmpr_pipeline.training.data.order import Order, Slice
from mmpr_pipeline.training.data.shards import Shards
from mmpr_pipeline.training.data.stream import Stream
from mmpr_pipeline.training.distributed.fsdp import shard
from mmpr_pipeline.training.distributed.weights import fill, stored_weights
from mmpr_pipeline.training.distributed.world import World
from mmpr_pipeline.training.objective.loss import LossSettings
from mmpr_pipeline.training.objective.reference import AdapterOffReference, NoReference, OnlineReference
from mmpr_pipeline.training.objective.reward_shift import RewardShift
from mmpr_pipeline.training.policy.families import family_of
from mmpr_pipeline.training.policy.flops import ModelShape, shape_of
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
from mmpr_pipeline.training.run.console import TrainingView
from mmpr_pipeline.training.run.export import check_target
from mmpr_pipeline.training.run.fitting import (
    check_host_memory,
    check_resting,
    device_memory,
    fit_step,
    main_memory,
    room_of,
)
from mmpr_pipeline.training.run.measuring.held_out import HELD_OUT_METRICS, HeldOutRecord
from mmpr_pipeline.training.run.run_folder import Computed, claim_run, computed_before, note
from mmpr_pipeline.training.run.step import Learner, make_optimizer
from mmpr_pipeline.training.settings import MOST_TOKENS, ReferenceKind, TrainConfig


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
        encoder = PairEncoder(self.processor, self.policy.bare, self.policy.family, self.max_tiles)
        encodes = hasattr(self.policy.bare.base_model, "get_image_features")
        self.blank = encoder.blank() if encodes or world.size > 1 else {}
        budget = config.token_budget or MOST_TOKENS
        self.stream = Stream(self.shards, encoder, budget, world.rank, world.size, self.dtype)
        self.stream.image_budget = config.image_budget
        self.policy.backend = backend = choose_backend(world.device, self.dtype, notify=self.view.message)
        reference, self.moving = self._reference(kind)
        shard(self.policy, world, self.dtype, self.blank, config.launch.shard_over)
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
        _, first_step = next(self.order.steps(0, 1, self._sizes))
        self._choose_path(first_step)
        self.scores_reference = kind == "stored"
        attention = backend if self.policy.shares else "the model's own"
        self._computed: Computed = {
            "device": _name(world.device), "ranks": world.size, "dtype": str(self.dtype), "attention": attention,
            "layers": self.layers,
        }  # fmt: skip
        self._fit(first_step)
        if world.is_main:
            kinds = f"attention by {attention}, norms and MLPs {self.layers}"
            self.view.message(f"On {world.size} x {_name(world.device)}, {self.dtype}; {kinds}.")
            note(self.run_dir, self._computed)

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

    def _fit(self, slices: list[Slice]) -> None:
        """Choose tokens of a micro-batch and what layers keep, by measuring; a resumed run keeps to what it chose."""
        config, world = self.config, self.world
        kept = world.on_main(lambda: computed_before(self.run_dir))
        alike = all(kept.get(name) == value for name, value in self._computed.items())
        budget = config.token_budget or (kept.get("token_budget") if alike else None)
        recompute, vision = config.recompute, config.recompute_vision
        if alike and recompute == "auto":
            recompute = kept["recompute"]
            vision = kept["recompute_vision"] if vision == "auto" else vision
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

    def _choose_path(self, slices: list[Slice]) -> None:
        choose_path(self.policy, self.stream, slices, self.view.message)
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
            policy.backend = self.policy.backend
            if not self.config.follows:
                policy.requires_grad_(False).to(dtype=self.dtype)
            shard(policy, self.world, self.dtype, self.blank, self.config.launch.shard_over)
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

    def _committed(self) -> None:
        """A checkpoint is in its place: name the best, and remove what is neither that nor among the newest."""
        self.place.prune(self.config.keep, self.record.best() if self.record else None)

    def _can_copy(self, trained: int) -> bool:
        """Whether the machine has the memory for copies of all its ranks' shards; the same on every rank."""
        needed, free = 12 * trained // self.world.size, main_memory(self.world)
        short = self.world.any(needed > free)[0]
        if short:
            self.view.message(
                f"Training waits while checkpoints are written: their copies would take {needed / 2**30:.1f} GiB of"
                f" main memory a process, {free / 2**30:.1f} GiB are free."
            )
        return not short


def _name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
