"""IFEval (Zhou et al. 2023): instructions whose following can be checked, by the checks of the package if-verifiable.

They are the benchmark's own 25 checks, kept up by a third party. Two of them count sentences or capital words with
NLTK's `punkt` data, which is fetched once; the package is an extra: `pip install 'mmpr-pipeline[eval]'`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from mmpr_pipeline.core.errors import ConfigError, explain_missing_package
from mmpr_pipeline.evaluation.benchmarks.items import BenchmarkItem
from mmpr_pipeline.evaluation.scoring.graded import Graded


def ifeval(item: BenchmarkItem, response: str) -> Graded:
    """1 where every instruction is followed, strictly; `parts` count instructions and how many were, strict and loose.

    Loose also tries the response without its first line, its last line, and its asterisks. Raises ConfigError where
    the package or NLTK's data is missing.
    """
    ids = [str(one) for one in item.cells("instruction_id_list")]
    kwargs = [
        {name: value for name, value in one.items() if value is not None} if isinstance(one, dict) else {}
        for one in item.cells("kwargs")
    ]
    evaluate, registry = _library()
    if unknown := sorted(set(ids) - set(registry)):
        raise ConfigError(f"if-verifiable does not know {', '.join(unknown)}.", remedy="Install if-verifiable>=0.1.2.")
    try:
        checked_results, checked_scores = evaluate(response, ids, kwargs, item.question.text, registry)
    except LookupError as error:
        raise ConfigError(
            f"An instruction of IFEval needs data of NLTK that is not here: {str(error).strip().splitlines()[0][:80]}",
            remedy="Run `python -m nltk.downloader punkt punkt_tab` once, where there is a network.",
        ) from None
    results, scores = (list(checked_results), checked_scores)
    parts = {
        "strict": scores.binary_strict,
        "loose": scores.binary_loose,
        "instructions": float(len(ids)),
        "followed": float(sum(each.strict_pass for each in results)),
        "followed_loosely": float(sum(each.loose_pass for each in results)),
    }
    broken = [each.instruction_id for each in results if not each.strict_pass]
    return Graded(scores.binary_strict, ", ".join(broken) or None, "ifeval", parts)


@cache
def _library() -> tuple[Any, Any]:
    try:
        from if_verifiable.common import evaluate_instructions
        from if_verifiable.ifeval import INSTRUCTION_DICT
    except ModuleNotFoundError as error:
        raise explain_missing_package(error) or error from None
    return evaluate_instructions, INSTRUCTION_DICT
