"""Engines that sample nothing: rollouts that were recorded before, and the pairs that sources bring.

The replay engine reads a JSONL file. One JSON object a line: `question_id` (the id as its source gives it), `response`,
optionally `model`; further fields are ignored. The file is mapped, not read: only the byte range of each line is held,
so that a file of many million rollouts costs about 20 bytes for each, and all processes of a machine share its pages.

The engine behind preset pairs answers with the two responses that the question's source brings, chosen first.
"""

from __future__ import annotations

import hashlib
import mmap
from array import array
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pydantic_core import from_json

from mmpr_pipeline.core.errors import ConfigError, EngineError, ItemRejected
from mmpr_pipeline.core.records import Reject, Rollout
from mmpr_pipeline.engines.engine import ContinueRequest, EngineInfo, EngineStats, SampleRequest
from mmpr_pipeline.engines.registry import EngineKind
from mmpr_pipeline.engines.settings import EngineSettings

MAX_LINE = 16 * 2**20
LISTED_REJECTS = 1000
_SAMPLED_BYTES = 2**20


class ReplayEngine:
    """Serves recorded rollouts in the order of the file; a question that has none left gets fewer, or none."""

    can_continue = False

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._data = _map(self._path)
        self._spans: dict[str, array[int]] = {}
        self.rejects: list[Reject] = []
        """The lines that could not be used, the first 1,000 of them; `rejected_lines` counts all."""
        self.rejected_lines = 0
        self._stats = EngineStats()
        for number, (start, end) in enumerate(_lines(self._data), 1):
            try:
                source_id = _checked_id(self._data, start, end)
            except ItemRejected as reject:
                self.rejected_lines += 1
                if len(self.rejects) < LISTED_REJECTS:
                    self.rejects.append(
                        Reject(
                            source=self._path.name,
                            source_id=f"line {number}",
                            reason=reject.reason,
                            detail=reject.detail[:200],
                        )
                    )
                continue
            if source_id is not None:
                self._spans.setdefault(source_id, array("Q")).extend((start, end))
        if not self._spans:
            raise EngineError(
                f"{self._path} holds no recorded rollout ({self.rejected_lines} lines cannot be used).",
                remedy='Give a JSONL file with lines such as {"question_id": "7", "response": "...", "model": "..."}.',
            )
        self.info = EngineInfo(engine="replay", model="recorded", context=None, can_continue=False, recorded=True)

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """Recorded rollouts `first_index` to `first_index + n`, as far as there are any."""
        spans = self._spans.get(request.question.source_id, array("Q"))
        first = request.first_index
        last = max(first, min(first + request.n, len(spans) // 2))
        self._stats.requests += 1
        self._stats.rollouts += last - first
        rollouts = []
        for at, i in enumerate(range(first, last)):
            line = from_json(self._data[spans[2 * i] : spans[2 * i + 1]])
            model = str(line.get("model") or "unknown")
            rollouts.append(request.rollout(at, line["response"], 0, "recorded", model))
        return rollouts

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """Not possible: there is no model."""
        raise ItemRejected("engine_cannot_continue", "recorded rollouts cannot be continued")

    async def stats(self) -> EngineStats:
        """Counts since the start."""
        return replace(self._stats, recorded=self.recorded, rejected_lines=self.rejected_lines)

    async def close(self) -> None:
        """Let go of the file."""
        self._data.close()

    @property
    def recorded(self) -> int:
        """Usable rollouts in the file."""
        return sum(len(spans) // 2 for spans in self._spans.values())


def _checked_id(data: mmap.mmap, start: int, end: int) -> str | None:
    """The question's id of a usable line, None for an empty one; raises ItemRejected for any other."""
    if end - start > MAX_LINE:
        raise ItemRejected("line_too_long", f"{end - start} bytes")
    raw = data[start:end]
    if not raw.strip():
        return None
    try:
        line = from_json(raw)
    except ValueError as error:
        raise ItemRejected("torn_line", str(error)) from None
    source_id = line.get("question_id") if isinstance(line, dict) else None
    if not isinstance(source_id, str | int) or not isinstance(line.get("response"), str):
        raise ItemRejected("not_a_rollout", "needs question_id and response")
    return str(source_id)


def _map(path: Path) -> mmap.mmap:
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:  # ValueError: an empty file cannot be mapped
        raise EngineError(
            f"Cannot read the recorded rollouts {path}: {error}",
            remedy="Give a readable JSONL file by --rollouts (seen from every machine that works on shards).",
        ) from None


def _lines(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    start, size = 0, len(data)
    while start < size:
        end = data.find(b"\n", start)
        end = size if end < 0 else end
        yield start, end
        start = end + 1


def _make(settings: EngineSettings) -> ReplayEngine:
    if not settings.rollouts:
        raise ConfigError("The replay engine has no recorded rollouts.", remedy="Give --rollouts FILE.")
    return ReplayEngine(settings.rollouts)


def _identity(settings: EngineSettings) -> dict[str, object]:
    # Digest of a file's size, beginning and end: recorded rollouts can be too large to be read twice.
    path = settings.rollouts or ""
    try:
        size = Path(path).stat().st_size
        with Path(path).open("rb") as file:
            digest = hashlib.sha256(f"{size}:".encode() + file.read(_SAMPLED_BYTES))
            file.seek(max(0, size - _SAMPLED_BYTES))
            digest.update(file.read(_SAMPLED_BYTES))
    except OSError as error:
        raise ConfigError(
            f"Cannot read the recorded rollouts {path}: {error.strerror}.", remedy="Give --rollouts a readable file."
        ) from None
    return {"name": "replay", "rollouts": digest.hexdigest()[:32]}


KIND = EngineKind(make=_make, identity=_identity)


MODEL = "preset"
"""Stands where a model's name does: who wrote the responses is not known."""


class PresetEngine:
    """Samples nothing. A question whose source brings no whole pair gets no rollout."""

    can_continue = False
    resumed_rollouts = 0

    def __init__(self) -> None:
        self._stats = EngineStats()
        self.info = EngineInfo(engine="preset", model=MODEL, context=None, can_continue=False, recorded=True)

    async def sample(self, request: SampleRequest) -> list[Rollout]:
        """The chosen response as rollout 0 and the rejected one as rollout 1."""
        preset = request.question.preset
        texts = (preset.chosen, preset.rejected) if preset and request.first_index == 0 else ()
        self._stats.requests += 1
        self._stats.rollouts += len(texts)
        return [request.rollout(at, text, 0, "recorded", MODEL, seed=0) for at, text in enumerate(texts)]

    async def continue_without_image(self, request: ContinueRequest) -> Rollout:
        """Not possible: there is no model."""
        raise ItemRejected("engine_cannot_continue", "preset responses cannot be continued")

    async def stats(self) -> EngineStats:
        """Counts since the start."""
        return replace(self._stats)

    def forget(self) -> None:
        """Nothing was journalled."""

    async def close(self) -> None:
        """Nothing is held open."""
