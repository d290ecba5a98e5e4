"""Settings of a training run: typed, documented, from YAML and flags; the resolved ones are saved with the run.

As in a build, those marked `operational` may change when a run is resumed; the others are its identity.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, model_validator

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.settings import MODEL, OPERATIONAL, RUN, TRAINING, Settings, flag, load_settings
from mmpr_pipeline.models.resolve import NANO
from mmpr_pipeline.training.recipes import recipe_settings

Part = Literal["vision", "projector", "language"]


class LoraSettings(Settings):
    """Low-rank adapters by peft; the rest of the model is frozen."""

    rank: int = Field(
        ge=1,
        description="Train low-rank adapters of this rank only.",
        json_schema_extra=flag("--lora-rank", MODEL, default="no adapters"),
    )
    quantise: Literal["nf4"] | None = Field(
        default=None,
        description="nf4: the frozen weights below the adapters in four bits (QLoRA), whole on every rank; an export"
        " adds the adapters to the weights as they were.",
    )
    alpha: float = Field(default=32.0, gt=0, description="Scale: adapters count alpha / rank.")
    targets: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="Names of the linear layers of the language model that get adapters.",
    )


class LaunchSettings(Settings):
    """Where the training processes run. Under torchrun (or any launcher that sets WORLD_SIZE) `here` is right."""

    on: Literal["here", "ray"] = Field(
        default="here",
        description="here: this process; ray: workers by Ray Train.",
        json_schema_extra=flag("--on", RUN),
    )
    workers: int = Field(
        default=1,
        ge=1,
        description="For ray: training processes, one to a GPU where there are any.",
        json_schema_extra=flag("--workers", RUN),
    )
    address: str = Field(
        default="local",
        description="For ray: local, auto, or ray://host:port.",
        json_schema_extra=flag("--address", RUN),
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: cuda where there is one. A GPU too few is an error, never a run on the CPU."
    )
    shard_over: int | None = Field(
        default=None,
        ge=1,
        description="Processes that share one copy of the weights, e.g. the 8 of a node (HSDP: less traffic between"
        " nodes, more memory); all of them if not given.",
    )
    patience: float = Field(
        default=10.0, gt=0, description="Minutes that a rank waits for the others' part in a step before it gives up."
    )


class BenchmarkSettings(Settings):
    """Benchmarks that `mmpr eval` measures at checkpoints, in a process of its own beside the training's memory."""

    names: tuple[str, ...] = Field(min_length=1, description="Names of benchmarks, as `mmpr eval --benchmarks`.")
    every: int = Field(default=1, ge=1, description="Checkpoints from one measurement to the next.")
    options: tuple[str, ...] = Field(
        default=(), description="Further options of `mmpr eval`, e.g. [--limit, '500', --mode, direct]."
    )


MOST_TOKENS = 16384
"""Of a micro-batch, where the settings name no budget: more makes no step quicker."""
ReferenceKind = Literal["auto", "stored", "online", "adapter_off", "none"]


class TrainConfig(Settings):
    """Everything a training run does. Defaults are the paper's (arXiv 2411.10442, section 4.1)."""

    data: str = Field(description="Output of `mmpr build`: a directory or s3:// prefix.", json_schema_extra=OPERATIONAL)
    run_dir: str = Field(
        description="Directory of checkpoints and metrics.",
        json_schema_extra=flag("--out", RUN, default="runs/ and the name of the data", operational=True),
    )
    model: str = Field(
        default=NANO,
        description="Hub id or directory of the model to train; `nano` is the embedded one.",
        json_schema_extra=flag(
            "--model", MODEL, default="the model that made the pairs", operational=True
        ),  # places; what lies there is part of the run's identity
    )
    revision: str | None = Field(
        default=None,
        description="Revision of a Hub model; the newest if not given.",
        json_schema_extra=flag("--revision", MODEL, default="the newest", operational=True),
    )
    export: str | None = Field(
        default=None,
        description="Where to write the trained model at the end; `best` or `newest`: that checkpoint, to a folder of"
        " this name in run_dir.",
        json_schema_extra=flag("--export", RUN, operational=True),
    )

    allow_rehearsal: bool = Field(
        default=False,
        description="Train another model than nano on the pairs of a rehearsal.",
        json_schema_extra=flag("--allow-rehearsal", RUN, operational=True),
    )
    recipe: str | None = Field(
        default=None,
        description="Defaults of a published recipe: internvl2, internvl2.5, internvl3, internvl3.5 or nemotron; other"
        " settings win over it.",
        json_schema_extra=flag("--recipe", TRAINING, operational=True),
    )
    epochs: int = Field(
        default=1, ge=1, description="Passes over the data.", json_schema_extra=flag("--epochs", TRAINING)
    )
    batch: int = Field(
        default=256,
        ge=1,
        description="Pairs of an optimizer step, over all ranks.",
        json_schema_extra=flag("--batch", TRAINING, unit="pairs"),
    )
    max_steps: int | None = Field(
        default=None,
        ge=1,
        description="Stop after this many optimizer steps; the schedule stays that of the whole run.",
        json_schema_extra=flag("--max-steps", TRAINING, unit="steps", operational=True),
    )
    lr: float = Field(
        default=5e-6, gt=0, description="Highest learning rate.", json_schema_extra=flag("--lr", TRAINING)
    )
    lr_end: float = Field(default=0.0, ge=0, description="Learning rate that the fall ends at.")
    schedule: Literal["cosine", "linear", "constant"] = Field(default="cosine", description="Fall after the warm-up.")
    warm_up: float = Field(default=0.05, ge=0, lt=1, description="Share of the steps with a rising rate.")
    weight_decay: float = Field(default=0.05, ge=0, description="Decoupled weight decay, of matrices only.")
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="AdamW's moment decays.")
    max_grad_norm: float = Field(default=1.0, ge=0, description="Gradients are clipped to this norm; 0: never.")

    loss: str = Field(
        default="mpo",
        description="Named loss: mpo, dpo, bco+sft, ipo, orpo, ...",
        json_schema_extra=flag("--loss", TRAINING),
    )
    loss_weights: dict[str, float] | None = Field(default=None, description="Weights by term instead of a named loss.")
    beta: float = Field(default=0.1, gt=0, description="Scale of rewards.")
    delta_decay: float | None = Field(
        default=None,
        ge=0,
        lt=1,
        description="BCO: decay a step of a moving average for δ; if not given, δ is the mean of all rewards so far.",
    )
    label_noise: float = Field(default=0.0, ge=0, lt=0.5, description="Share of pairs labelled the wrong way (cDPO).")
    experts_weight: float | None = Field(
        default=None,
        ge=0,
        description="Mixture of experts: weight of the auxiliary loss that keeps their load even; if not given, the"
        " model's own (router_aux_loss_coef).",
    )
    reference: ReferenceKind = Field(
        default="auto",
        description="stored: scored once, kept beside the shards; online: a second model in memory; adapter_off: the"
        " model without its adapters; none. auto: adapter_off with LoRA, else stored; none for losses without one.",
    )
    follow_every: int = Field(default=64, ge=1, description="TR-DPO: steps between updates of the reference.")
    follow_share: float = Field(default=0.6, gt=0, le=1, description="TR-DPO: share of the policy in an update.")

    freeze: tuple[Part, ...] = Field(
        default=(), description="Parts that are not trained.", json_schema_extra=flag("--freeze", MODEL)
    )
    lora: LoraSettings | None = Field(default=None, description="Train adapters only.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="Type of the computation; weights and optimizer stay float32. auto: bfloat16 on GPUs.",
    )
    max_tiles: int | None = Field(
        default=None,
        ge=1,
        description="Most tiles of an image, whatever its source asks for. Left out: as many as each source asks for.",
    )
    seed: int = Field(
        default=0,
        ge=0,
        lt=2**31,
        description="Seed of the order of the data and of new weights.",
        json_schema_extra=flag("--seed", TRAINING),
    )
    window: int = Field(default=8, ge=1, description="Shards shuffled together; all of them where they are fewer.")

    pairs_per_question: int = Field(
        default=4,
        ge=1,
        description="Most pairs of a question side by side in a step; those of a question with more are spread over the"
        " window. With 4, 256 pairs are of 64 questions at least. More is quicker (image and prompt are computed once"
        " for them), fewer is closer to pairs drawn one by one, as the paper draws them, and keeps more ranks busy.",
    )

    held_out: float = Field(
        default=0.01,
        ge=0,
        lt=0.5,
        description="Share of the pairs, in whole questions, that is not trained on but measured at every checkpoint.",
    )
    held_out_pairs: int = Field(default=1024, ge=1, description="Most pairs held out, whatever their share.")
    samples: int = Field(
        default=3,
        ge=0,
        description="Held-out questions that the model answers, greedily, at every checkpoint, for samples.jsonl and"
        " `mmpr view RUN`. Where weights are sharded all ranks answer together, gathering them for every token.",
        json_schema_extra=OPERATIONAL,
    )
    sample_tokens: int = Field(
        default=128, ge=1, description="Most tokens of such an answer.", json_schema_extra=OPERATIONAL
    )
    benchmarks: BenchmarkSettings | None = Field(
        default=None,
        description="Benchmarks measured at checkpoints, and of the model before the first step.",
        json_schema_extra=OPERATIONAL,
    )
    best_by: str = Field(
        default="accuracy",
        description="By what the best checkpoint is named, which is kept beside the newest: accuracy, margin, nll or"
        " loss of the held-out pairs, or the name of a benchmark of `benchmarks`.",
        json_schema_extra=OPERATIONAL,
    )
    exported: Literal["newest", "best"] = Field(
        default="newest", description="Which checkpoint's weights are exported.", json_schema_extra=OPERATIONAL
    )

    token_budget: int | None = Field(
        default=None,
        ge=16,
        description="Most tokens of a micro-batch on one device; if not given, 16,384, or half of it where layers can"
        " then keep the results of matrix products.",
        json_schema_extra=flag("--token-budget", RUN, unit="tokens", default="by what fits", operational=True),
    )
    recompute: Literal["auto", "none", "matmuls", "full"] = Field(
        default="auto",
        description="Gradient checkpointing. none: keep everything; matmuls: keep what matrix products gave (half of"
        " the memory of none, little slower); full: keep each layer's input only (a third more time); auto: matmuls"
        " where a step, as measured before the first one, then takes at most nine tenths of a GPU (half of the main"
        " memory), else full.",
        json_schema_extra=OPERATIONAL,
    )
    recompute_vision: Literal["auto", "none", "matmuls", "full"] = Field(
        default="auto",
        description="The same of the vision tower's layers; auto: as the language model's, or full where only that lets"
        " the language model keep its products.",
        json_schema_extra=OPERATIONAL,
    )
    image_budget: int | None = Field(
        default=None,
        ge=1,
        description="Most image tokens of a micro-batch on one device (InternVL: 256 a tile), for towers that are large"
        " beside their language model; a question's images stay together. If not given, as many as token_budget holds.",
        json_schema_extra=OPERATIONAL,
    )
    checkpoint_every: int = Field(
        default=100, ge=1, description="Steps between checkpoints.", json_schema_extra=OPERATIONAL
    )
    keep: int = Field(default=2, ge=1, description="Checkpoints kept, the newest ones.", json_schema_extra=OPERATIONAL)
    checkpoints: str | None = Field(
        default=None,
        description="Where checkpoints are kept: a directory that every node sees, or an s3:// prefix; `checkpoints` in"
        " run_dir if not given.",
        json_schema_extra=flag("--checkpoints", RUN, default="in the run's directory", operational=True),
    )
    write_behind: bool = Field(
        default=True,
        description="Checkpoints are copied to main memory and written while training goes on (12 bytes a trained"
        " parameter, shared among the ranks); where that memory is not free, training waits for the disk.",
        json_schema_extra=OPERATIONAL,
    )
    check_start: bool = Field(
        default=True,
        description="Stop if the first loss is not that of policy = reference.",
        json_schema_extra=OPERATIONAL,
    )
    watch: tuple[Literal["tensorboard", "wandb"], ...] = Field(
        default=(), description="Where metrics go besides metrics.jsonl.", json_schema_extra=OPERATIONAL
    )
    launch: LaunchSettings = Field(default=LaunchSettings(), json_schema_extra=OPERATIONAL)

    @model_validator(mode="wrap")
    @classmethod
    def _said_by_others_and_possible(cls, data: Any, validated: ModelWrapValidatorHandler[Self]) -> Self:
        """What other settings say where nothing is said: of the named recipe (a loss by name takes the place of its
        weights), the run's directory by the name of the data, and in it the export of the `best` or `newest`. Then
        what cannot be combined."""
        if isinstance(data, dict):
            if data.get("recipe"):
                settings = recipe_settings(data["recipe"])
                if "loss" in data:
                    settings.pop("loss_weights", None)
                data = {**settings, **data}
            if not data.get("run_dir") and isinstance(data.get("data"), str):
                data = {**data, "run_dir": f"runs/{Path(data['data'].rstrip('/')).name or 'run'}"}
            if data.get("export") in ("best", "newest") and data.get("run_dir"):
                data = {**data, "exported": data["export"], "export": f"{data['run_dir']}/{data['export']}"}
        config = validated(data)
        if config.best_by not in ("accuracy", "margin", "nll", "loss") and not config.benchmarks:
            raise ValueError(f"best_by {config.best_by!r} is a benchmark's name, and `benchmarks` names none")
        if config.lora and config.freeze:
            raise ValueError("with lora everything but the adapters is frozen: leave `freeze` out")
        if set(config.freeze) == {"vision", "projector", "language"}:
            raise ValueError("every part of the model is frozen: nothing is left to train")
        if config.reference == "adapter_off" and not config.lora:
            raise ValueError("reference adapter_off needs lora; use `stored`, which costs no memory either")
        if config.follows and (config.reference not in ("auto", "online") or config.lora):
            raise ValueError("tr_dpo moves its reference: it needs `reference: online`, and no lora")
        return config

    @property
    def follows(self) -> bool:
        """Whether the reference follows the policy (TR-DPO)."""
        return self.loss.startswith("tr_dpo") and self.loss_weights is None

    def weights(self) -> dict[str, float]:
        """Loss weights by term. Raises ConfigError for an unknown name."""
        from mmpr_pipeline.training.objective.loss import recipe

        return dict(self.loss_weights) if self.loss_weights else recipe(self.loss)

    def reference_kind(self) -> ReferenceKind:
        """The reference that `auto` means."""
        from mmpr_pipeline.training.objective.loss import needs_reference

        if not needs_reference(self.weights()):
            return "none"
        if self.reference != "auto":
            return self.reference
        return "online" if self.follows else "adapter_off" if self.lora else "stored"


def load_train_config(path: str | Path | None, overrides: Mapping[str, object]) -> TrainConfig:
    """Settings of a YAML file (if any) with flags on top. Raises ConfigError naming each setting that is wrong."""
    return load_settings(TrainConfig, path, overrides, "mmpr train")


def parse_weights(text: str) -> dict[str, float]:
    """Loss weights of a flag: `dpo=0.8,bco=0.2,sft=1`. Raises ConfigError."""
    try:
        return {name.strip(): float(value) for name, value in (part.split("=") for part in text.split(","))}
    except ValueError:
        raise ConfigError(
            f"Could not parse the loss weights {text!r}.", remedy="Write them as dpo=0.8,bco=0.2,sft=1.0."
        ) from None
