"""One step of a study: a folder with what it is to do (`step.json`), what it made, and, written last, `done.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NotRequired, TypedDict, final

from mmpr_pipeline.core.errors import ConfigError
from mmpr_pipeline.core.files import json_bytes
from mmpr_pipeline.core.settings import differences
from mmpr_pipeline.dataset.files.layout import CountsFields
from mmpr_pipeline.evaluation.results import MeanFields
from mmpr_pipeline.storage import open_store

STEP, DONE, LOG = "step.json", "done.json", "log.txt"
HERE = "./"
"""What begins a path that is meant from the study's directory, so that a moved study is the same study."""

Kind = Literal["build", "repair", "train", "measure", "hold_out", "evaluate", "pair_by_world", "hand_over"]


@final
class HandedOver(TypedDict):
    """Pairs that became rows of a source, and the tokens that were generated for them where that is counted."""

    pairs: int
    generated_tokens: NotRequired[int]


class StepFacts(TypedDict, total=False):
    """What a finished step wrote down: its time, and what its kind of work has counted."""

    seconds: float
    counts: CountsFields | HandedOver
    steps: int
    left_out: int
    questions: int
    accuracy: dict[str, MeanFields]
    outcomes: dict[str, int]


def build_counts(facts: StepFacts) -> CountsFields:
    """The counts of a build or a repair. Raises TypeError for another step's."""
    counts = facts["counts"]
    if "questions" not in counts:
        raise TypeError("these are the counts of pairs that were handed over")
    return counts


@dataclass(frozen=True)
class Step:
    """What is done in one go. `settings` are plain JSON data; `needs` names the steps whose results it uses."""

    name: str
    kind: Kind
    settings: Mapping[str, object]
    needs: tuple[str, ...] = field(default=())

    def folder(self, root: Path) -> Path:
        """Where the step's files are."""
        return root / "steps" / self.name

    def done(self, root: Path) -> StepFacts | None:
        """What the finished step wrote down; None where it is not finished.

        Raises ConfigError where the folder holds a step with other settings, finished or begun.
        """
        folder = self.folder(root)
        if not (folder / STEP).is_file():
            return None
        before = json.loads((folder / STEP).read_text("utf-8"))
        if lines := differences(before, self.described()):
            raise ConfigError(
                f"The step {self.name} in {root} was begun with other settings:\n    " + "\n    ".join(lines),
                remedy=f"Use the same settings, another --out, or remove {folder}.",
            )
        return json.loads((folder / DONE).read_text("utf-8")) if (folder / DONE).is_file() else None

    def begin(self, root: Path) -> None:
        """Write down what the step is to do."""
        open_store(self.folder(root)).write(STEP, json_bytes(self.described()))

    def finish(self, root: Path, facts: StepFacts) -> None:
        """Write the marker of a finished step, with the facts that reports show."""
        open_store(self.folder(root)).write(DONE, json_bytes(facts))

    def described(self) -> dict[str, object]:
        """The step as JSON data."""
        described: dict[str, object] = json.loads(json.dumps(asdict(self)))
        return described


def read_step(folder: Path) -> Step:
    """The step that a folder was begun for."""
    data = json.loads((folder / STEP).read_text("utf-8"))
    return Step(data["name"], data["kind"], data["settings"], tuple(data["needs"]))


def placed(value: Any, root: Path) -> Any:
    """Settings with every path that begins with `./` made absolute."""
    if isinstance(value, dict):
        return {name: placed(each, root) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [placed(each, root) for each in value]
    if isinstance(value, str) and value.startswith(HERE):
        return str(root / value[len(HERE) :])
    return value
