"""mmpr: multimodal preference data at scale (MMPR), and training on it (MPO; arXiv 2411.10442).

    import mmpr_pipeline as mmpr

    for outcome in mmpr.pairs([mmpr.question("How many dots?", "dots.png", answer=3)], engine="vllm"):
        print(outcome.pairs)

Every name is imported when it is first used: `import mmpr_pipeline` imports nothing heavy. See docs/python.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmpr_pipeline.core.version import __version__

if TYPE_CHECKING:
    from mmpr_pipeline.checking import check
    from mmpr_pipeline.checking.api import Checker, checker
    from mmpr_pipeline.core.errors import MmprError
    from mmpr_pipeline.core.records import Image, PreferencePair, Question, QuestionOutcome, Rollout
    from mmpr_pipeline.core.verdict import Verdict
    from mmpr_pipeline.dataset.export.run import export
    from mmpr_pipeline.dataset.files.load import load
    from mmpr_pipeline.dataset.publish.run import publish
    from mmpr_pipeline.dataset.review.verify import verify
    from mmpr_pipeline.engines.engine import Engine
    from mmpr_pipeline.face.builds import build, evaluate, rebuild, train
    from mmpr_pipeline.face.pairs import pairs
    from mmpr_pipeline.face.shown import show
    from mmpr_pipeline.pairing.strategy import Pairs, Strategy
    from mmpr_pipeline.sources.python_source import PythonSource as Source
    from mmpr_pipeline.sources.python_source import question
    from mmpr_pipeline.storage.store import Store
    from mmpr_pipeline.study.iterate.run import iterate

_PLACES = {
    "Checker": "checking.api",
    "Engine": "engines.engine",
    "Image": "core.records",
    "MmprError": "core.errors",
    "Pairs": "pairing.strategy",
    "PreferencePair": "core.records",
    "Question": "core.records",
    "QuestionOutcome": "core.records",
    "Rollout": "core.records",
    "Source": "face.builds",
    "Store": "storage.store",
    "Strategy": "pairing.strategy",
    "Verdict": "core.verdict",
    "build": "face.builds",
    "check": "checking",
    "checker": "checking.api",
    "evaluate": "face.builds",
    "export": "dataset.export.run",
    "iterate": "study.iterate.run",
    "load": "dataset.files.load",
    "pairs": "face.pairs",
    "publish": "dataset.publish.run",
    "question": "sources.python_source",
    "rebuild": "face.builds",
    "show": "face.shown",
    "train": "face.builds",
    "verify": "dataset.review.verify",
}
"""Name to the module that defines it."""

__all__ = [
    "Checker", "Engine", "Image", "MmprError", "Pairs", "PreferencePair", "Question", "QuestionOutcome", "Rollout",
    "Source", "Store", "Strategy", "Verdict", "__version__", "build", "check", "checker", "evaluate", "export",
    "iterate", "load", "pairs", "publish", "question", "rebuild", "show", "train", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
    except ModuleNotFoundError as error:
        from mmpr_pipeline.core.errors import explain_missing_package

        raise explain_missing_package(error) or error from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
