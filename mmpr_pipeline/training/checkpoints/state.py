"""What a checkpoint holds: trained weights, the optimizer's moments, a moving reference, random states, the progress.

Only trained parameters are kept; frozen ones are the model's own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import torch
from torch import nn

from mmpr_pipeline.core.files import sealed, unsealed


@dataclass(frozen=True)
class RunProgress:
    """How far a run is: finished optimizer steps (hence place in the data and in the schedule), and δ's sums."""

    step: int
    pairs: int
    shift_total: float
    shift_count: int


def state_file(progress: RunProgress, hashes: dict[str, str]) -> bytes:
    """state.json: the progress, and the sha256 of every other file of the checkpoint."""
    return sealed({**asdict(progress), "hashes": hashes})


def read_state_file(raw: bytes) -> tuple[RunProgress, dict[str, str]]:
    """Progress and hashes. Raises ValueError where it is damaged."""
    names = frozenset(field.name for field in fields(RunProgress))
    state = unsealed(raw, names | {"hashes"}, frozenset())
    hashes = state.pop("hashes")
    return RunProgress(**state), hashes


def tensors_of(model: nn.Module, optimizer: torch.optim.Optimizer, reference: nn.Module | None) -> dict[str, object]:
    """Weights and AdamW's moments as torch.distributed.checkpoint takes them: this rank's shards."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict, get_state_dict

    _complete_moments(optimizer)
    weights, moments = get_state_dict(model, optimizer, options=StateDictOptions(ignore_frozen_params=True))
    state: dict[str, object] = {"model": weights, "optimizer": moments}
    if reference is not None:
        state["reference"] = get_model_state_dict(reference)
    return state


def _complete_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give AdamW's state before its first step to every parameter that has none: in a new optimizer, to load into; and
    where no gradient comes, as in the last layer of LLaVA's vision tower, so that every checkpoint has the same keys.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if not optimizer.state[parameter]:
                step = torch.zeros((), device=parameter.device if group.get("fused") else "cpu")
                moments = {name: torch.zeros_like(parameter) for name in ("exp_avg", "exp_avg_sq")}
                optimizer.state[parameter] = {"step": step, **moments}


def set_tensors(
    state: dict[str, object], model: nn.Module, optimizer: torch.optim.Optimizer, reference: nn.Module | None
) -> None:
    """Bring model, optimizer and reference to what `tensors_of` gave of others."""
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict, set_state_dict

    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=StateDictOptions(ignore_frozen_params=True, strict=False),
    )
    if reference is not None:
        set_model_state_dict(reference, state["reference"])


def random_state() -> dict[str, torch.Tensor]:
    """The generators of this rank."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: dict[str, torch.Tensor]) -> None:
    """Bring the generators to a state."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
