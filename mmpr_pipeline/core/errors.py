"""The errors of mmpr, named by the boundary they crossed.

An error stops the run, before any work where that is possible, and its message names the remedy. A bad *item* (a
broken image, a torn line, a too-long prompt) is never an error: it becomes a `records.Reject` and the run goes on.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from importlib.util import find_spec

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


class UnknownNameError(ConfigError, ValueError):
    """A name that no implementation has. A ValueError too, so that a setting's validation can report it."""


class SourceError(MmprError):
    """A source of questions cannot be found, reached or understood as a whole."""


class SourceAwayError(SourceError):
    """The Hub gave no answer for a source; any other error is about that one source only."""


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


EXTRAS = {
    "build": ("ray", "webdataset", "httpx", "tokenizers", "rensa", "vl_convert", "sympy"),
    "math": ("sympy",),
    "hub": ("huggingface_hub",),
    "s3": ("boto3", "botocore"),
    "train": ("torch", "transformers", "peft", "safetensors"),
    "gpu": ("vllm",),
    "eval": ("if_verifiable",),
}
"""Extra of the distribution to the packages it brings that this code imports; on CPUs `cpu` is there instead of `gpu`.
What is in none of them comes with `pip install mmpr-pipeline` alone."""


class MissingPackageError(ConfigError, ImportError):
    """A package of an extra is not installed; the remedy is the command that installs it."""


def require(extra: str) -> None:
    """Raise MissingPackageError where a package of this extra is not installed. Imports nothing."""
    missing = [name for name in EXTRAS[extra] if find_spec(name) is None]
    if missing:
        raise MissingPackageError(f"{_listed(missing)} not installed.", remedy=_install(extra))


def explain_missing_package(error: ModuleNotFoundError) -> MissingPackageError | None:
    """The error to show instead, where the module that is missing belongs to an extra; else None."""
    name = (error.name or "").partition(".")[0]
    extra = next((extra for extra, names in EXTRAS.items() if name in names), None)
    return MissingPackageError(f"{name} is not installed.", remedy=_install(extra)) if extra else None


def _listed(names: list[str]) -> str:
    return f"{', '.join(names)} {'is' if len(names) == 1 else 'are'}"


def _install(extra: str) -> str:
    if extra == "gpu":
        return "On a machine with GPUs run `pip install 'mmpr-pipeline[gpu]'`, on CPUs 'mmpr-pipeline[cpu]'."
    return f"Run `pip install 'mmpr-pipeline[{extra}]'`."


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


MOST_NAMES = 10
"""Names listed where a word is not known."""


def nearest(word: str, names: Sequence[str], *, listing: bool = True) -> str:
    """`; did you mean X?` with the nearest of the names, or `; it has A, B …` with at most ten of them."""
    folded = {name.casefold(): name for name in names}
    close = difflib.get_close_matches(word.casefold(), list(folded), n=2, cutoff=0.6)
    begun = word.casefold()
    close = close or [n for n in folded if len(n) > 2 and (begun.startswith(n) or (begun and n.startswith(begun)))][:3]
    if close:
        return f"; did you mean {' or '.join(folded[name] for name in close)}?"
    if not listing or not names:
        return ""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return f"; there are {', '.join(names[:MOST_NAMES])}{more}"
