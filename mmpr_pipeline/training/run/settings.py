"""Settings of where a run computes, and of the benchmarks that it measures."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from mmpr_pipeline.core.settings import RUN, Settings, flag


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
