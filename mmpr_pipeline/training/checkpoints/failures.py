"""What stopped a save or a load, in the disk's own words where a disk stopped it."""

from __future__ import annotations

import errno
from typing import Any

from mmpr_pipeline.core.errors import MmprError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def reason_of(error: BaseException) -> str:
    """What went wrong, in a line."""
    if _disk_is_full(error):
        return "the disk is full"
    causes = _causes(error)
    of_disk = next((e for e in causes if isinstance(e, OSError) and e.strerror), None)
    if of_disk:
        return f"{of_disk.strerror} ({of_disk.filename})" if of_disk.filename else str(of_disk.strerror)
    first = next((e for e in causes if not getattr(e, "failures", None)), error)  # what torch wraps
    text = first.message.rstrip(".") if isinstance(first, MmprError) else f"{type(first).__name__}: {first}"
    return text.strip().splitlines()[-1][:300]


def remedy_of(error: BaseException) -> str:
    """What can be done about a save that failed."""
    if _disk_is_full(error):
        return "Free some space, or give another --out and copy the last checkpoint there; then --resume."
    of_ours = next((e for e in _causes(error) if isinstance(e, MmprError) and e.remedy), None)
    if of_ours:
        return f"{of_ours.remedy} --resume goes on from the checkpoint before."
    if any(isinstance(e, OSError) for e in _causes(error)):
        return "Look at the disk and at the rights of the folder; --resume goes on from the checkpoint before."
    return "The disk is not the cause; please report this, with run.json and the log."


def _disk_is_full(error: BaseException) -> bool:
    signs = ("No space left", "enforce fail", "file write failed")  # of torch's own writers, in C++
    return any(
        (isinstance(e, OSError) and e.errno in _FULL) or any(sign in str(e) for sign in signs) for e in _causes(error)
    )


def _causes(error: BaseException) -> list[BaseException]:
    """The error, what each rank's was that torch gathered in it, and what these came from."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, tuple | list):
            waiting += one
        elif isinstance(one, BaseException) and one not in found:
            found.append(one)
            waiting += [*getattr(one, "failures", {}).values(), one.__cause__ or one.__context__]
    return found
