"""Make torchvision importable on a CPU build of torch.

The torchvision wheels on PyPI link CUDA; beside a CPU-only torch their compiled operators do not load, and `import
torchvision` fails because it describes operators that nobody declared. What this project needs of it
(`torchvision.transforms`) is pure Python, so declaring the missing two is enough. Where the operators load, nothing is done.
"""

from __future__ import annotations

import importlib.util
import sys

_SCHEMAS = {
    "nms": "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms": "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
}
_keep: list[object] = []  # a torch.library.Library withdraws its declarations when it is collected


def install() -> None:
    """Declare torchvision's missing operators; to be called before torchvision is imported. May be called again."""
    if _keep or "torchvision" in sys.modules or importlib.util.find_spec("torchvision") is None:
        return
    import torch

    _load_compiled()
    missing = [schema for name, schema in _SCHEMAS.items() if not _declared(name)]
    if not missing:
        return
    library = torch.library.Library("torchvision", "FRAGMENT")
    for schema in missing:
        library.define(schema)
    _keep.append(library)


def _load_compiled() -> None:
    """Load torchvision's own operators, if they can be loaded; torchvision itself does the same when imported."""
    from pathlib import Path

    import torch

    spec = importlib.util.find_spec("torchvision")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for library in Path(folder).glob("_C*"):
            try:
                torch.ops.load_library(str(library))
            except OSError:
                return


def _declared(name: str) -> bool:
    import torch

    try:
        torch._C._get_operation_overload(f"torchvision::{name}", "")
    except RuntimeError:
        return False
    return torch._C._get_operation_overload(f"torchvision::{name}", "") is not None
