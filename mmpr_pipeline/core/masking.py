"""The one place where secrets are blotted out of whatever is shown, logged or kept.

Servers and proxies repeat what they were sent, and libraries put it into their errors: a token would come to stand on a
terminal, in config.json, in a published shard. Every error and every reject of ours goes through `masked` when it is
made, the tracebacks of all others when they are shown.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

BLOT = "***"
SHORTEST = 8
"""Fewest characters of a secret: a shorter one would blot out ordinary words."""

PART = 12
"""Fewest characters of a part of a secret: messages are cut off, and with them what they repeat."""

_NAMES = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_KEY|PRIVATE_KEY|SECRET_KEY|AUTH_KEY)(?:_\d+)?$",
    re.IGNORECASE,
)
_SIGNED = r"(?:signature|sig|token|api_?key|policy|credential|secret|expires)"
_WORDS = (
    "cache|data|datasets?|downloads?|export|files|home|hub|images|mirror|models?|offline|repo|saved|token|transfer|xet"
)
"""After `hf_` these make the name of a package, a function or a folder; whatever else stands there may be a token."""
_PATTERNS = [
    (re.compile(rf"\bhf_(?!(?:{_WORDS})(?:_(?:{_WORDS}))*(?!\w))\w{{4,}}"), f"hf_{BLOT}"),
    (re.compile(r"\bsk-[\w-]{12,}"), f"sk-{BLOT}"),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {BLOT}"),
    (re.compile(r"(https?://[^\s:/@]{1,100}):[^\s/@]{1,200}@"), rf"\1:{BLOT}@"),
    # Addresses to fetch from or to upload to carry a signature in their query: whoever has one may use it for a while.
    (re.compile(rf"(https?://[^\s?]{{1,500}})\?(?=\S{{0,2000}}?{_SIGNED}=)\S+", re.IGNORECASE), rf"\1?{BLOT}"),
]


def masked(text: str, *known: str | None) -> str:
    """The text without secrets: those of the environment and `known` ones, and whatever else looks like one."""
    text = without_secrets(text, *known)
    for pattern, blot in _PATTERNS:
        text = pattern.sub(blot, text)
    return text


def without_secrets(text: str, *known: str | None) -> str:
    """The text without the secrets of the environment and `known` ones, however they are written, whole or cut off."""
    # The environment as it lies: to decode it for each of millions of rejects would cost more than all else here.
    forms = [*_forms_of_environment(frozenset(vars(os.environ)["_data"].items())), *_forms(known)]
    for form in forms:
        text = text.replace(form, BLOT)
    for form in forms:
        if len(form) > PART:
            # The text without what ends as a secret does.
            shown = _without_begin(text, form)
            text = _without_begin(shown[::-1], form[::-1])[::-1]
    return text


def steering_nothing(text: str) -> str:
    """The text without control characters: what a model or a data set wrote must not steer the terminal."""
    return "".join(c if c in "\n\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def _without_begin(text: str, secret: str) -> str:
    """The text without what begins as a secret does."""
    at = text.find(secret[:PART])
    while at >= 0:
        # How many of their first characters are the same.
        a = text[at : at + len(secret)]
        text = (
            text[:at]
            + BLOT
            + text[
                at
                + next(
                    (n for n, (x, y) in enumerate(zip(a, secret, strict=False)) if x != y), min(len(a), len(secret))
                ) :
            ]
        )
        at = text.find(secret[:PART], at + len(BLOT))
    return text


@lru_cache(maxsize=4)
def _forms_of_environment(environment: frozenset[object]) -> list[str]:
    """How the secrets of the environment can be written: the values of variables that are named as secrets are, and
    the token with which the user is logged in to the Hub."""
    found = [value for name, value in os.environ.items() if _NAMES.search(name) and not value.startswith("/")]
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    return _forms([*found, _read(os.environ.get("HF_TOKEN_PATH") or f"{home}/token")])


def _forms(secrets: Iterable[str | None]) -> list[str]:
    """Secrets as they are, the longest first, so that none is taken for a part of another; then in URLs and in JSON."""
    plain = sorted({one for one in secrets if one and len(one) >= SHORTEST}, key=lambda one: (-len(one), one))
    written = [form for one in plain for form in (quote(one, safe=""), json.dumps(one)[1:-1])]
    return list(dict.fromkeys([*plain, *written]))


@lru_cache(maxsize=16)
def _read(path: str) -> str:
    try:
        return Path(path).expanduser().read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError, RuntimeError):
        return ""


class _Masking(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = masked(record.getMessage()), ()
        return True


def logger(name: str) -> logging.Logger:
    """The logger of a name; what is logged by it holds no secret."""
    found = logging.getLogger(name)
    if not any(isinstance(one, _Masking) for one in found.filters):
        found.addFilter(_Masking())
    return found
