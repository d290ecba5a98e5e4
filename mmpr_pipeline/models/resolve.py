"""Which model is meant, which one a build uses where its user names none, and the label under which rollouts are kept.

A label must tell two models apart and be the same on every machine: a Hub id with its revision, or the base name of a
local directory with a digest of what is in it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mmpr_pipeline.core.errors import EngineError
from mmpr_pipeline.core.records import content_id

NANO = "nano"
"""Name of the embedded model."""
NANO_CHECKPOINT = Path(__file__).resolve().parents[1] / "nano" / "checkpoint"
HUB_SECONDS = 5.0
"""Seconds to wait for a connection before the Hub counts as out of reach."""
_HEAD_BYTES = 2**20
_IDENTIFYING = {".json", ".safetensors", ".bin", ".model", ".jinja", ".txt", ".py", ".pt", ".gguf"}


class HubAwayError(EngineError):
    """The Hub cannot be asked now for a model that is not in the local cache; whether there is one stays unknown."""


@dataclass(frozen=True)
class ModelRef:
    """A model as vLLM is asked for it, and its label."""

    path: str
    revision: str | None
    label: str
    config: dict[str, Any]
    """Its config.json."""

    @property
    def architecture(self) -> str | None:
        """First architecture that the config names."""
        names = self.config.get("architectures")
        return names[0] if names else None

    @property
    def dtype(self) -> str | None:
        """The type in which the weights are stored, where the config states it."""
        return self.config.get("dtype") or self.config.get("torch_dtype")

    @property
    def context(self) -> int | None:
        """Context length in tokens, where the config states it."""
        for part in (self.config.get("text_config"), self.config.get("llm_config"), self.config):
            if isinstance(part, dict) and isinstance(part.get("max_position_embeddings"), int):
                return int(part["max_position_embeddings"])
        return None


def resolve_model(name: str, revision: str | None = None) -> ModelRef:
    """The model of this name: `nano`, a local folder, or a Hub id.

    Raises EngineError where it cannot be found, HubAwayError where the Hub cannot be asked.
    """
    path = NANO_CHECKPOINT if name == NANO else Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise EngineError(
                f"{path} is not a model: it has no config.json.",
                remedy="Give the directory that `save_pretrained` wrote, or a Hub id.",
            )
        label = f"{NANO if name == NANO else path.resolve().name}@{directory_digest(path)}"
        return ModelRef(str(path), None, label, read_model_config(path / "config.json"))
    if path.is_absolute() or name.startswith(("./", "../", "~")) or name.count("/") > 1:
        raise EngineError(
            f"The model directory {name} does not exist.",
            remedy="Give the directory of a checkpoint (with its config.json), or a Hub id such as org/name.",
        )
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    away = hub_away()
    retries = logging.getLogger("huggingface_hub.utils._http")  # each of which warns; one error tells it all
    level = retries.level
    retries.setLevel(logging.ERROR)
    try:
        # snapshots/<commit>/config.json; where the Hub cannot be reached, from the local cache
        config = Path(hf_hub_download(name, "config.json", revision=revision, local_files_only=away is not None))
    except LocalEntryNotFoundError:
        raise HubAwayError(
            f"Cannot get the model {name!r}: {away or 'The Hub does not answer'}, and the model is not in the local "
            "cache.",
            remedy=f"Where the Hub can be reached, run `hf download {name}`; or give the directory of a downloaded "
            "model.",
        ) from None
    except (OSError, HFValidationError) as error:  # the Hub's own errors are OSErrors
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise EngineError(
            f"Cannot get the model {name!r}: {lines[0]}",
            remedy="Give a Hub id that exists (log in if it is gated), or the directory of a downloaded model.",
        ) from None
    finally:
        retries.setLevel(level)
    commit = config.parent.name
    return ModelRef(name, commit, f"{name}@{commit}", read_model_config(config))


def hub_away() -> str | None:
    """Why the Hub cannot be asked now, without asking it: that goes on for a minute where nobody answers."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    if any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return None  # the proxy may know it
    address = urlsplit(constants.ENDPOINT)
    try:
        port = address.port or (80 if address.scheme == "http" else 443)
        socket.create_connection((address.hostname or "", port), timeout=HUB_SECONDS).close()
    except (OSError, ValueError) as error:  # ValueError: an address with no port that there could be
        why = getattr(error, "strerror", None) or error
        return f"The Hub ({address.hostname}) cannot be reached ({why})"
    return None


def pinned_revision(name: str, revision: str | None) -> str | None:
    """The commit of a Hub model, so that engines that start hours apart load the same weights; else `revision`.

    A model that cannot be found is left as it is: whoever loads it says what is wrong.
    """
    try:
        return resolve_model(name, revision).revision
    except EngineError:
        return revision


def directory_digest(directory: Path) -> str:
    """First 12 hex digits over names, sizes and the first MiB of each file of a checkpoint, in order of names.

    Not the whole weights: that would read tens of gigabytes at every start. Safetensors files name and place all their
    tensors in that first MiB, and retrained weights differ in what follows there.
    """
    parts = []
    for path in sorted(directory.iterdir(), key=lambda path: path.name):
        if path.is_file() and path.suffix in _IDENTIFYING and not path.name.startswith("."):
            with path.open("rb") as file:
                head = hashlib.sha256(file.read(_HEAD_BYTES)).hexdigest()
            parts.append(f"{path.name} {path.stat().st_size} {head}")
    return content_id(*parts)[:12]


def read_model_config(path: Path) -> dict[str, Any]:
    """A model's config.json, at its path. Raises EngineError where it cannot be read."""
    try:
        config = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read: {error}", remedy="Download or save the checkpoint again.") from None
    return config if isinstance(config, dict) else {}


DEFAULT = "OpenGVLab/InternVL2-8B"
"""The paper's model. vLLM serves it without remote code once it is converted to the native format."""
ALTERNATIVES = (DEFAULT, "OpenGVLab/InternVL3-2B-hf", "OpenGVLab/InternVL3-8B-hf")
"""Models that can be named instead of the embedded one."""
DEFAULT_TEXT = f"{DEFAULT} where there are GPUs, else a rehearsal with {NANO}"


@dataclass(frozen=True)
class ModelChoice:
    """The model of a build, and why it is this one."""

    model: str
    line: str
    """The choice in a sentence, for the first line of a build."""
    rehearsal: bool = False


def choose_model(gpus: int, where: str) -> ModelChoice:
    """The model for a build that names none; `where` says what was looked at, as `this machine`."""
    if gpus:
        return ModelChoice(
            DEFAULT, f"Model: {DEFAULT}, the default with GPUs ({gpus} on {where}); --model names another."
        )
    return ModelChoice(
        NANO, f"Rehearsal: {REHEARSAL} No GPU was found on {where} and no --model was named. {INSTEAD}", True
    )


REHEARSAL = (
    f"made with the embedded toy model {NANO}, which knows the nano_* sources only. The pairs show how a build works; "
    "do not train on them."
)
INSTEAD = (
    f"For real data name a model with --model (each needs a GPU): {', '.join(ALTERNATIVES)}; or a server with --engine "
    "openai."
)
REHEARSAL_WARNING = f"This is a rehearsal, {REHEARSAL} {INSTEAD}"


def local_gpus() -> int:
    """GPUs that CUDA programs may use on this machine, found without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([part for part in visible.split(",") if part.strip() and not part.strip().startswith("-")])
    if shutil.which("nvidia-smi"):
        try:
            listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return 0
        return sum(line.startswith("GPU ") for line in listed.stdout.splitlines())
    return len([path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[6:].isdigit()])
