"""What was scored, on disk: a file for each benchmark, mode and model, so that an evaluation goes on where it was."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypedDict

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.records import content_id
from mmpr_pipeline.evaluation.metrics.metric import ScoredItem
from mmpr_pipeline.evaluation.scoring.graded import Graded
from mmpr_pipeline.storage import Store


@dataclass(frozen=True)
class StoredScores:
    """One model's marks on one benchmark in one mode."""

    model: str
    mode: str
    marks: tuple[ScoredItem, ...]
    texts: tuple[tuple[str, ...], ...]
    """The responses of each mark."""
    tokens: int = 0
    """Generated tokens, all responses."""
    seconds: float = 0.0
    judge: str | None = None
    unreadable: dict[str, int] = field(default_factory=dict)
    """Rows that could not be used, by reason."""
    left_out: int = 0
    """Rows that a model was trained on."""
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    """For each model that says what it was trained on: rows asked whose question, image or wording it has seen."""


class _KeptResponse(TypedDict):
    text: str
    score: float
    said: str | None
    rule: str
    parts: dict[str, float]


class _KeptMark(TypedDict):
    """A line of the file: an item, its scored responses, or the reason why there are none."""

    id: str
    groups: dict[str, list[str]]
    cluster: str
    cycle: str
    reason: str | None
    responses: list[_KeptResponse]


def scores_key(benchmark: str, mode: str, model: str) -> str:
    """Where one model's marks lie."""
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", model).strip("._")[-60:]
    return f"scored/{benchmark}/{mode}/{slug}-{content_id(model)[:6]}.jsonl"


def write_scored(store: Store, key: str, identity: Mapping[str, object], scored: StoredScores) -> None:
    """One line of facts, then one a mark."""
    head = {
        "identity": identity,
        **{name: getattr(scored, name) for name in ("model", "mode", "tokens", "seconds", "judge")},
        **{name: getattr(scored, name) for name in ("unreadable", "left_out", "seen")},
    }
    lines = [json.dumps(head)]
    for mark, texts in zip(scored.marks, scored.texts, strict=True):
        kept: _KeptMark = {
            "id": mark.id,
            "groups": {name: list(values) for name, values in mark.groups.items()},
            "cluster": mark.cluster,
            "cycle": mark.cycle,
            "reason": mark.reason,
            "responses": [
                {"text": text, "score": each.score, "said": each.said, "rule": each.rule, "parts": dict(each.parts)}
                for text, each in zip(texts, mark.graded, strict=True)
            ],
        }
        lines.append(json.dumps(kept, ensure_ascii=False))
    store.write(key, ("\n".join(lines) + "\n").encode("utf-8", "replace"))


def read_scored(store: Store, key: str, identity: Mapping[str, object] | None) -> StoredScores | None:
    """What was scored before; None where nothing was. Raises ConfigError where it was scored with other settings."""
    if not store.exists(key):
        return None
    head, *lines = store.read(key).decode("utf-8").splitlines()
    stored = json.loads(head)
    if identity is not None and stored["identity"] != identity:
        changed = sorted(
            name for name in {*stored["identity"], *identity} if stored["identity"].get(name) != identity.get(name)
        )
        raise ConfigError(
            f"{key} was scored with other settings: {', '.join(changed)}.",
            remedy="Use another --out or the earlier settings; the existing files are left unchanged.",
        )
    rows: list[_KeptMark] = [json.loads(line) for line in lines]
    return StoredScores(
        **{
            name: stored[name]
            for name in ("model", "mode", "tokens", "seconds", "judge", "unreadable", "left_out", "seen")
        },
        marks=tuple(map(_mark, rows)),
        texts=tuple(tuple(each["text"] for each in row["responses"]) for row in rows),
    )


def _mark(row: _KeptMark) -> ScoredItem:
    graded = [Graded(r["score"], r["said"], r["rule"], r["parts"]) for r in row["responses"]]
    groups = {name: tuple(values) for name, values in row["groups"].items()}
    return ScoredItem(row["id"], tuple(graded), groups, row["cluster"], row["cycle"], row["reason"])
