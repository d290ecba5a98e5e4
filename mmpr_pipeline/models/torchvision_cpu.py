"""Make torchvision importable on a CPU build of torch.

The torchvision wheels on PyPI link CUDA; beside a CPU-only torch their compiled operators do not load, and `import
torchvision` fails because it describes operators that nobody declared. What this project needs of it
(`torchvision.transforms`) is pure Python, so declaring the missing two is enough. Where the operators load, nothing is
done. It must happen in every process that imports torchvision (vLLM inspects models in a subprocess, Ray starts
workers), so set-up copies this file into the virtual environment as `_mmpr_torchvision.py`, beside a .pth file that
calls `hook()`. This file therefore imports nothing but the standard library, until torchvision is imported.
"""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import ModuleType

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_keep: list[object] = []  # torch's Library withdraws its declarations when it is collected


def install() -> None:
    """Declare torchvision's missing operators; to be called before torchvision is imported. May be called again."""
    # Whether torchvision's code has run: while it is being imported its module is there, but empty.
    loaded = hasattr(sys.modules.get("torchvision"), "_meta_registrations")
    spec = importlib.util.find_spec("torchvision") if not _keep and not loaded else None
    if spec is None:
        return
    from pathlib import Path

    import torch
    from torch import library

    # torchvision's own operators, if they can be loaded; torchvision itself does the same when it is imported.
    for compiled in [each for folder in spec.submodule_search_locations or [] for each in Path(folder).glob("_C*")]:
        with contextlib.suppress(OSError):
            torch.ops.load_library(str(compiled))
    missing = []
    for name, schema in _SCHEMAS.items():
        try:
            declared = torch._C._get_operation_overload(f"torchvision::{name}", "") is not None
        except RuntimeError:
            declared = False
        if not declared:
            missing.append(schema)
    if not missing:
        return
    operators = library.Library("torchvision", "FRAGMENT")
    for schema in missing:
        operators.define(schema)
    _keep.append(operators)


class _Watch(MetaPathFinder):
    """A finder that lets torchvision be found as always, but has `install` run before its code does.

    Asking whether torchvision is there (`datasets` and `transformers` do) must stay free: only loading it costs.
    """

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != "torchvision":
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and isinstance(spec.loader, SourceFileLoader):
            spec.loader = _InstallFirst(spec.loader.name, spec.loader.path)
        return spec


class _InstallFirst(SourceFileLoader):
    def exec_module(self, module: ModuleType) -> None:
        install()
        super().exec_module(module)


def hook() -> None:
    """Call `install` as soon as torchvision is imported, and not before. May be called again."""
    if "torchvision" not in sys.modules and not any(isinstance(finder, _Watch) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Watch())
