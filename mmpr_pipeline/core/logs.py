"""Logs of a build: one logger a module, one file a process under OUT/logs.

They say what happened to engines, shards and stores, and decide nothing: they are not part of an output's identity,
and `mmpr verify` passes them by. Secrets are masked. Processes that the driver starts find the folder in the
environment; where an output is on S3, and on nodes of a cluster without that folder, lines go to stderr, which Ray
keeps.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
from pathlib import Path

from mmpr_pipeline.core.masking import masked

FOLDER = "logs/"
"""Where an output on a disk keeps its logs."""

_PLACE, _LEVEL = "MMPR_LOGS", "MMPR_LOG_LEVEL"
_FORMAT = "%(asctime)s %(levelname)s %(process)d %(name)s: %(message)s"


class _Masked(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return masked(super().format(record))


def choose_level(level: str) -> None:
    """Log from this level on, in this process and in those that it starts. Raises ValueError for an unknown level."""
    if level.upper() not in logging.getLevelNamesMapping():
        raise ValueError(f"{level!r} is not a log level; use debug, info, warning or error")
    os.environ[_LEVEL] = level.upper()


def keep_logs(folder: Path | None) -> None:
    """Let this process and those that it starts write their logs into a folder; None: to stderr only if asked."""
    if folder is None:
        os.environ.pop(_PLACE, None)
    else:
        os.environ[_PLACE] = str(folder)
    attach("driver")


def take_over(*libraries: str) -> None:
    """Send what other libraries say, from warnings on, to this process's log; where it has none, keep only errors."""
    ours = next((h for h in logging.getLogger("mmpr_pipeline").handlers if getattr(h, "of_mmpr", False)), None)
    if ours is not None:
        logging.captureWarnings(True)
    for name in (*libraries, *(["py.warnings"] if ours else [])):
        logger = logging.getLogger(name)
        if ours is None:
            logger.setLevel(logging.ERROR)
            continue
        logger.handlers[:], logger.propagate = [ours], False
        logger.setLevel(logging.WARNING)


def attach(role: str) -> None:
    """Send this process's lines to its file, named by host, role and process. May be called again."""
    package = logging.getLogger("mmpr_pipeline")
    for old in [handler for handler in package.handlers if getattr(handler, "of_mmpr", False)]:
        package.removeHandler(old)
        old.close()
    place = os.environ.get(_PLACE)
    handler: logging.Handler | None = None
    if place:
        try:
            Path(place).mkdir(parents=True, exist_ok=True)
            name = f"{role}-{socket.gethostname()}-{os.getpid()}.log"
            handler = logging.FileHandler(Path(place) / name, encoding="utf-8", delay=True)
        except OSError:  # another machine's disk, or a full one: the build matters more than its log
            handler = None
    if handler is None and (role != "driver" or _LEVEL in os.environ):
        handler = logging.StreamHandler(sys.stderr)
    if handler is None:
        return
    handler.of_mmpr = True  # type: ignore[attr-defined]
    handler.setFormatter(_Masked(_FORMAT))
    package.addHandler(handler)
    package.setLevel(os.environ.get(_LEVEL, "INFO"))
