"""A package that is not installed, and the command that installs it."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata

_EXTRAS = {
    "train": ("torch", "transformers", "peft", "safetensors"),
    "build": ("ray",),
    "gpu": ("vllm",),
    "hub": ("huggingface_hub", "datasets"),
    "s3": ("boto3", "botocore"),
}
"""Packages by the extra of ours that brings them."""
_ALONE = ("tensorboard", "wandb", "webdataset", "vl_convert", "uvicorn")


def advice(error: ModuleNotFoundError) -> str | None:
    """What is missing and how to get it, in words; None for a module that is none of ours to install."""
    package = (error.name or "").partition(".")[0]
    if package not in _ALONE and not any(package in packages for packages in _EXTRAS.values()):
        return None
    return f"This needs {package}, which is not installed.\n  What to do: {install(package)}"


def install(package: str) -> str:
    """The command that installs a package: by the extra that brings it, where this version has that extra."""
    extra = next((name for name, packages in _EXTRAS.items() if package in packages), None)
    try:
        known = metadata("mmpr-pipeline").get_all("Provides-Extra") or []
    except PackageNotFoundError:  # run from a folder
        known = []
    return f"pip install 'mmpr-pipeline[{extra}]'" if extra in known else f"pip install {package.replace('_', '-')}"
