"""The checker as a reward for reinforcement learning: functions of the shapes that TRL, verl and NeMo-RL call.

What a doubtful verdict is worth is a setting, not a habit: None (the default for TRL) takes the completion out of the
group; 0.0 counts it as wrong, which teaches a model to write what the checker reads; any other number is between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmpr_pipeline.checking.api import check
from mmpr_pipeline.core.verdict import Verdict

CORRECT, INCORRECT = 1.0, 0.0
_KNOWN = ("kind", "choices", "question", "unit", "precision", "language", "golds")
"""Columns of a data set that tell the checker more."""

Completion = str | Sequence[Mapping[str, Any]]


def trl_reward(doubtful: float | None = None) -> Callable[..., list[float | None]]:
    """A reward function for TRL's GRPOTrainer: `reward_funcs=[trl_reward()]`.

    Called as `f(completions=..., solution=..., **columns)`; columns named as the arguments of `check` are used, one
    value a completion. `doubtful`: reward of an unparseable answer; TRL leaves a completion with None out.
    """

    def reward(completions: Sequence[Completion], solution: Sequence[str], **columns: Any) -> list[float | None]:
        """One reward a completion: 1.0 correct, 0.0 incorrect, `doubtful` for the rest."""
        known = {name: columns[name] for name in _KNOWN if name in columns}
        rows = ({name: values[i] for name, values in known.items()} for i in range(len(completions)))
        verdicts = (
            check(text_of(completion), gold, **{name: value for name, value in row.items() if value is not None})
            for completion, gold, row in zip(completions, solution, rows, strict=True)
        )
        return [_worth(verdict, doubtful) for verdict in verdicts]

    reward.__name__ = "mmpr_checker"
    return reward


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: str,
    extra_info: Mapping[str, Any] | None = None,
    doubtful: float = INCORRECT,
) -> float:
    """The score of one response, in verl's shape (`custom_reward_function.name=compute_score`).

    verl needs a number: `doubtful` is that of an unparseable answer. `extra_info` may hold what `check` takes.
    """
    known = {name: value for name, value in (extra_info or {}).items() if name in _KNOWN and value is not None}
    worth = _worth(check(solution_str, ground_truth, **known), doubtful)
    return doubtful if worth is None else worth


def openrlhf_reward(
    queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str], doubtful: float = INCORRECT, **_: Any
) -> dict[str, object]:
    """Rewards in OpenRLHF's shape (`--remote_rm_url reward.py`); a label is the JSON that `mmpr export` writes.

    A query is its prompt and the response behind it.
    """
    import torch

    scores = []
    for query, prompt, label in zip(queries, prompts, labels, strict=True):
        columns = json.loads(label)
        scores.append(compute_score("", query.removeprefix(prompt), columns["solution"], columns, doubtful))
    rewards = torch.tensor(scores)
    return {"rewards": rewards, "scores": rewards, "extra_logs": {"correct": rewards}}


def text_of(completion: Completion) -> str:
    """A completion as text: itself, or the content of its last message."""
    if isinstance(completion, str):
        return completion
    content = completion[-1]["content"] if completion else ""
    return content if isinstance(content, str) else "".join(str(part.get("text", "")) for part in content)


def _worth(verdict: Verdict, doubtful: float | None) -> float | None:
    if verdict.outcome == "unparseable":
        return doubtful
    return CORRECT if verdict.outcome == "correct" else INCORRECT
