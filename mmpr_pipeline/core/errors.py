"""The errors of mmpr, named by the boundary they crossed.

An error stops the run, before any work where that is possible, and its message names the remedy. A bad *item* (a
broken image, a torn line, a too-long prompt) is never an error: it becomes a `records.Reject` and the run goes on.
"""

from __future__ import annotations

from mmpr_pipeline.core.masking import masked

MAX_DETAIL = 2_000
"""Most characters of a reject's detail."""


class MmprError(Exception):
    """Base of every error that mmpr raises on purpose; `mmpr` prints its message without a traceback.

    What others said is part of many messages; a secret in it is masked.
    """

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        message, remedy = masked(message), masked(remedy) if remedy else None
        super().__init__(f"{message}\n  What to do: {remedy}" if remedy else message)
        self.message = message
        self.remedy = remedy

    def __reduce__(self) -> tuple[object, ...]:
        # Ray pickles errors between processes; the default would call the constructor without the remedy.
        return (_rebuild, (type(self), self.message, self.remedy))


def _rebuild(kind: type[MmprError], message: str, remedy: str | None) -> MmprError:
    return kind(message, remedy=remedy)


class ConfigError(MmprError):
    """A setting that cannot work, or that contradicts the output it is used on."""


class SourceError(MmprError):
    """A source of questions cannot be found, reached or understood as a whole."""


class EngineError(MmprError):
    """An engine cannot start, or cannot serve at all."""


class StoreError(MmprError):
    """A path or object store cannot be read or written."""


class DatasetError(MmprError):
    """A dataset on disk is not what its manifests say, or is not finished."""


class HubError(MmprError):
    """The Hub refused, or cannot be reached."""


class TrainingError(MmprError):
    """Training cannot start, or must not go on."""


class ItemRejected(Exception):
    """One item cannot be used; caught by the step that counts rejects. `reason` is a short fixed name.

    The detail is kept and published; a secret in it is masked.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        detail = masked(detail[:MAX_DETAIL])
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[object, ...]:
        return (ItemRejected, (self.reason, self.detail))
